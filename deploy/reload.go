package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/backstay/backstay/config"
)

// Renewed is what a reload command is told, in certbot's variables.
type Renewed struct {
	Lineage string   // folder with fullchain.pem and privkey.pem; its last element is the certificate's name
	Domains []string // all names whose certificates changed
}

// RunReload carries out a reload that is a command or a systemd unit. Handled
// is false when the configuration names neither: the target kind's own way then.
// It never restarts: a unit is only ever reloaded, and a unit that cannot be is
// an error. Error: a *CommandError.
func RunReload(ctx context.Context, reload config.Reload, renewed Renewed) (handled bool, err error) {
	switch {
	case reload.None:
		return true, nil
	case reload.Unit != "":
		if err := checkUnit(reload.Unit); err != nil {
			return true, err
		}
		_, _, err = Run(ctx, Command{Argv: []string{"systemctl", "reload", reload.Unit}})
		var failed *CommandError
		if errors.As(err, &failed) && strings.Contains(failed.Output, "is not active, cannot reload") {
			err = fmt.Errorf("%w: %w", ErrNotRunning, err)
		}
		return true, err
	case len(reload.Argv) > 0:
		variables := []string{"RENEWED_LINEAGE=" + renewed.Lineage, "RENEWED_DOMAINS=" + joined(renewed.Domains)}
		_, _, err = Run(ctx, Command{Argv: reload.Argv, Environment: variables})
		return true, err
	}
	return false, nil
}

// longestVariable stays under what Linux passes on in one variable (128 KiB).
const longestVariable = 100 << 10

// joined is a list of names, cut at a name where it would not be passed on.
func joined(names []string) string {
	text := strings.Join(names, " ")
	if len(text) > longestVariable {
		text = text[:strings.LastIndexByte(text[:longestVariable], ' ')]
	}
	return text
}

// checkUnit allows what systemd.unit(5) allows in a name, and nothing that
// systemctl could take for an option.
func checkUnit(unit string) error {
	for position := range len(unit) {
		letter := unit[position]
		if letter >= 'a' && letter <= 'z' || letter >= 'A' && letter <= 'Z' || letter >= '0' && letter <= '9' ||
			position > 0 && letter == '-' || strings.IndexByte(`:_.\@`, letter) >= 0 {
			continue
		}
		return fmt.Errorf("systemd unit %q: not a unit name", unit)
	}
	return nil
}
