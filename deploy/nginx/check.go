package nginx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/deploy"
)

// testLimit is how long nginx may take to read a configuration with many
// thousands of certificates.
const testLimit = 5 * time.Minute

// Check asks nginx about its configuration as it stands, and whether it loads
// the staged pairs. Nothing that is in force is touched. Without placements it
// asks only the first.
func (target *Target) Check(ctx context.Context, placements []deploy.Placement) error {
	pairs, awaited, err := target.stagedPairs(ctx, placements)
	if err != nil {
		return err
	}
	if err := target.test(ctx, awaited); err != nil {
		return err
	}
	if len(pairs) == 0 {
		return nil
	}
	return target.try(ctx, pairs)
}

// stagedPairs collects what is to be tried: certificate and key paths. Awaited
// are files that the configuration names although they are not there yet, and
// that the swap will put there.
func (target *Target) stagedPairs(ctx context.Context, placements []deploy.Placement) (pairs [][2]string, awaited []string, err error) {
	if len(placements) == 0 {
		return nil, nil, nil
	}
	configuration, err := target.configuration(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, placement := range placements {
		uses, err := target.uses(configuration, placement)
		if err != nil {
			return nil, nil, err
		}
		for _, place := range uses.places {
			if err := place.checkStaged(placement); err != nil {
				return nil, nil, err
			}
			certificate, key, err := place.staged(placement)
			if err != nil {
				return nil, nil, err
			}
			if placement.Generation > 0 {
				pairs = append(pairs, [2]string{certificate, key})
			}
			for _, path := range place.opens() {
				if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
					awaited = append(awaited, path)
				}
			}
		}
	}
	return pairs, awaited, nil
}

// test runs "nginx -t". The one failure that is no refusal: a file that is
// awaited. Such an nginx cannot start as it is, and the swap is the cure.
func (target *Target) test(ctx context.Context, awaited []string) error {
	err := target.ask(ctx, deploy.Command{Argv: target.argv("-t"), Limit: testLimit})
	var refused *deploy.Refused
	if errors.As(err, &refused) {
		for _, path := range awaited {
			if strings.Contains(refused.Output, `"`+path+`"`) && strings.Contains(refused.Output, "No such file") {
				return nil
			}
		}
	}
	return err
}

// ask runs a test of nginx. Error: *deploy.Refused when nginx said no.
func (target *Target) ask(ctx context.Context, command deploy.Command) error {
	_, _, err := deploy.Run(ctx, command)
	var exit *exec.ExitError
	var failed *deploy.CommandError
	if errors.As(err, &failed) && errors.As(err, &exit) && exit.Exited() && ctx.Err() == nil {
		return &deploy.Refused{Command: failed.Command, Output: failed.Output}
	}
	return err
}

// try lets nginx load the pairs in a configuration of our own: its own folder,
// its own pid file, one UNIX socket that nobody can reach. All pairs in one run.
func (target *Target) try(ctx context.Context, pairs [][2]string) error {
	built, err := target.binary(ctx)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "backstay-check-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(path, trial(built, folder, pairs), 0o600); err != nil {
		return err
	}
	err = target.ask(ctx, deploy.Command{Argv: []string{target.argv()[0], "-t", "-p", folder, "-c", path}, Folder: folder, Limit: testLimit})
	var refused *deploy.Refused
	if errors.As(err, &refused) && !mentions(refused.Output, pairs) {
		return fmt.Errorf("the staged certificates could not be tried: %w", &deploy.CommandError{Command: refused.Command, Output: refused.Output, Err: errors.New("failed for another reason")})
	}
	return err
}

func mentions(output string, pairs [][2]string) bool {
	for _, pair := range pairs {
		if strings.Contains(output, pair[0]) || strings.Contains(output, pair[1]) {
			return true
		}
	}
	return false
}

// trial is the configuration of a try.
func trial(built binary, folder string, pairs [][2]string) []byte {
	var text strings.Builder
	if os.Geteuid() == 0 {
		text.WriteString("user root;\n") // the built-in user may not exist, and nothing will run
	}
	line := func(format string, words ...any) { fmt.Fprintf(&text, format+";\n", words...) }
	line("pid %s", quote(filepath.Join(folder, "nginx.pid")))
	line("error_log stderr")
	text.WriteString("events {}\nhttp {\n")
	line("access_log off")
	line("server_names_hash_bucket_size 128")
	line("server_names_hash_max_size 1048576")
	line("client_body_temp_path %s", quote(filepath.Join(folder, "client_body")))
	for _, module := range []string{"proxy", "fastcgi", "uwsgi", "scgi"} {
		if !built.without["http_"+module] {
			line("%s_temp_path %s", module, quote(filepath.Join(folder, module)))
		}
	}
	for index, pair := range pairs {
		// The socket is relative to the folder it is run in: a UNIX path is short.
		fmt.Fprintf(&text, "server { listen unix:check.sock ssl; server_name %d.invalid; ssl_certificate %s; ssl_certificate_key %s; }\n", index, quote(pair[0]), quote(pair[1]))
	}
	text.WriteString("}\n")
	return []byte(text.String())
}
