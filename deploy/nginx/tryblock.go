package nginx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/backstay/backstay/deploy"
)

// ErrCannotTry is returned when a block cannot be tried before it is written:
// the main file does not hold the http block itself.
var ErrCannotTry = errors.New("the http block is not in the main file")

// TryBlock asks nginx about the configuration as it would be with one more
// block at the end of http, before that block is written anywhere: a kill while
// a refused block lies in conf.d would leave an nginx that does not start. The
// copy of the main file lies beside it, because relative paths start there.
// Errors: *deploy.Refused, ErrCannotTry.
func (target *Target) TryBlock(ctx context.Context, text string) error {
	configuration, err := target.configuration(ctx)
	if err != nil {
		return err
	}
	main, err := os.ReadFile(configuration.Main)
	if err != nil {
		return err
	}
	end := configuration.HTTPEnd
	if end < 0 || end >= len(main) || main[end] != '}' {
		return ErrCannotTry
	}
	file, err := os.CreateTemp(filepath.Dir(configuration.Main), ".backstay-try-*.conf") // mode 0600; a leading dot is in no include
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = fmt.Fprintf(file, "%s\n%s\n%s", main[:end], text, main[end:])
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	argv := []string{target.argv()[0], "-t", "-c", file.Name()}
	if target.configured.Prefix != "" {
		argv = append(argv, "-p", target.configured.Prefix)
	}
	return target.ask(ctx, deploy.Command{Argv: argv, Limit: testLimit})
}
