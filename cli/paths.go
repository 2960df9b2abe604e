package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/backstay/backstay/config"
)

const (
	systemConfig = "/etc/backstay/backstay.yaml"
	systemState  = "/var/lib/backstay"
)

// statePath is the state folder: --state, else /var/lib/backstay as root, else
// $XDG_STATE_HOME/backstay. It need not exist. Error: a *failure with ExitUsage
// when there is no home folder to fall back on.
func (p *program) statePath() (string, error) {
	switch {
	case p.settings.state != "":
		return filepath.Abs(p.settings.state)
	case p.environment.User == 0:
		return systemState, nil
	}
	folder := p.home("XDG_STATE_HOME", ".local/state")
	if folder == "" {
		return "", usage("no state folder", "neither XDG_STATE_HOME nor HOME is set", "the same command with --state DIR")
	}
	return filepath.Join(folder, "backstay"), nil
}

// configPath is the main configuration file: --config, else the system's when
// it exists, else the user's when that exists. Error: a *failure with ExitUsage.
func (p *program) configPath() (string, error) {
	if p.settings.config != "" {
		return p.settings.config, nil
	}
	candidates := []string{systemConfig}
	if folder := p.home("XDG_CONFIG_HOME", ".config"); folder != "" {
		candidates = append(candidates, filepath.Join(folder, "backstay", "backstay.yaml"))
	}
	for _, path := range candidates {
		// Anything but "not there" is for the loader to report: a file that
		// may not be read must not be passed over for another.
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
	}
	cause := "there is no " + candidates[0]
	for _, path := range candidates[1:] {
		cause += " and no " + path
	}
	return "", usage("no configuration", cause, "backstay init, or the same command with --config FILE")
}

// home is an XDG base folder; a relative value counts as not set, as the
// specification wants.
func (p *program) home(variable, below string) string {
	if folder := p.environment.Getenv(variable); filepath.IsAbs(folder) {
		return folder
	}
	if folder := p.environment.Getenv("HOME"); filepath.IsAbs(folder) {
		return filepath.Join(folder, below)
	}
	return ""
}

// loadConfig loads the configuration for a command that needs one. Warnings
// and mistakes go to standard error. Error: a *failure with ExitUsage.
func (p *program) loadConfig() (*config.Config, error) {
	path, err := p.configPath()
	if err != nil {
		return nil, err
	}
	loaded, problems, err := config.Load(path, config.Options{})
	if err != nil {
		return nil, unreadable(err)
	}
	for _, problem := range problems {
		if problem.Warning && p.settings.quiet {
			continue
		}
		p.output.message(problem.String() + "\n")
	}
	if loaded == nil {
		return nil, usage("the configuration has "+mistakes(problems), "each is shown above with its place", "backstay config check --config "+path)
	}
	return loaded, nil
}

// mistakes counts the problems that are errors, in words.
func mistakes(problems []config.Problem) string {
	number := config.Errors(problems)
	for _, problem := range problems {
		if problem.Code == config.TooManyProblems && !problem.Warning {
			return "more than " + count(number-1, "mistake")
		}
	}
	return count(number, "mistake")
}

// unreadable words an error of the loader.
func unreadable(err error) error {
	cause := "the file, or one in conf.d beside it, cannot be read"
	var path *fs.PathError
	name := ""
	if errors.As(err, &path) {
		name = " " + path.Path
		cause = path.Err.Error()
	}
	failed := usage("cannot read the configuration"+name, cause, "backstay config check --config FILE")
	failed.Err = err
	if errors.Is(err, fs.ErrPermission) {
		failed.Next = "the same command as a user who may read it"
	}
	return failed
}

// count is "1 mistake", "2 mistakes".
func count(number int, noun string) string {
	if number == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", number, noun)
}
