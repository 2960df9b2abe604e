package nginx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/backstay/backstay/deploy"
)

// Reload makes nginx read its configuration again: by the configured command or
// unit, else by SIGHUP to its master. nginx tests the configuration first and
// keeps the old one when it does not load. Error: deploy.ErrNotRunning.
func (target *Target) Reload(ctx context.Context) error {
	handled, err := deploy.RunReload(ctx, target.configured.Reload, target.renewed())
	if !handled {
		err = target.signal(ctx)
	}
	if err == nil {
		target.mutex.Lock()
		target.recent = nil
		target.mutex.Unlock()
	}
	return err
}

// renewed tells a reload command what changed: the placements swapped since the
// last reload, or after a restart, when that is not known any more, all.
func (target *Target) renewed() deploy.Renewed {
	target.mutex.Lock()
	recent := slices.Clone(target.recent)
	target.mutex.Unlock()
	if len(recent) == 0 {
		names, _ := deploy.RecordedNames(target.state, target.configured.Name)
		for _, name := range names {
			number, err := deploy.Recorded(target.state, target.configured.Name, name)
			if err != nil {
				continue
			}
			if found, err := deploy.Read(target.state, name, number); err == nil {
				recent = append(recent, deploy.Placement{Name: name, Generation: number, Domains: found.Chain[0].DNSNames})
			}
		}
	}
	var renewed deploy.Renewed
	for _, placement := range recent {
		renewed.Lineage = deploy.LinkPath(target.state, target.configured.Name, placement.Name)
		for _, domain := range placement.Domains {
			if !slices.Contains(renewed.Domains, domain) {
				renewed.Domains = append(renewed.Domains, domain)
			}
		}
	}
	return renewed
}

// signal sends SIGHUP to the master of this configuration. The process is held
// by a descriptor while we look at it, so that a number in use again cannot get
// the signal.
func (target *Target) signal(ctx context.Context) error {
	built, err := target.binary(ctx)
	if err != nil {
		return err
	}
	path, err := target.pidFile(ctx, built)
	if err != nil {
		return err
	}
	number, err := readPID(path)
	if err != nil {
		return err
	}
	process, err := os.FindProcess(number)
	if err != nil {
		return fmt.Errorf("%w: %s names process %d: %w", deploy.ErrNotRunning, path, number, err)
	}
	defer process.Release()
	if err := target.recognise(ctx, number); err != nil {
		return fmt.Errorf("%s names process %d: %w", path, number, err)
	}
	switch err := process.Signal(syscall.SIGHUP); {
	case errors.Is(err, os.ErrProcessDone):
		return fmt.Errorf("%w: process %d ended", deploy.ErrNotRunning, number)
	case err != nil:
		return fmt.Errorf("cannot signal nginx (process %d): %w; run as its user or as root, or set reload to \"unit:nginx\"", number, err)
	}
	return nil
}

// pidFile is the configured one, else the configuration's, else the build's.
func (target *Target) pidFile(ctx context.Context, built binary) (string, error) {
	if target.configured.PID != "" {
		return built.absolute(target.configured.PID), nil
	}
	configuration, err := target.configuration(ctx)
	if err != nil {
		return "", err
	}
	if configuration.PIDFile != "" {
		return built.absolute(configuration.PIDFile), nil // relative to the prefix, unlike includes
	}
	return built.pid, nil
}

// readPID reads a pid file. One that is absent or empty ("nginx -t" makes an
// empty one) means that nginx does not run.
func readPID(path string) (int, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("%w: no pid file %s", deploy.ErrNotRunning, path)
	}
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() || info.Size() > 32 {
		return 0, fmt.Errorf("%s is no pid file", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	if strings.TrimSpace(string(text)) == "" {
		return 0, fmt.Errorf("%w: the pid file %s is empty", deploy.ErrNotRunning, path)
	}
	number, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || number < 1 { // 0 and negative numbers would signal whole groups
		return 0, fmt.Errorf("%s holds no process number", path)
	}
	return number, nil
}

// recognise makes sure that a process is an nginx master which reads this
// configuration.
func (target *Target) recognise(ctx context.Context, number int) error {
	folder := filepath.Join("/proc", strconv.Itoa(number))
	text, err := os.ReadFile(filepath.Join(folder, "cmdline"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%w: there is no such process", deploy.ErrNotRunning)
	}
	if err != nil {
		return err
	}
	title := strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
	arguments, master := strings.CutPrefix(title, "nginx: master process ")
	if !master {
		// With "master_process off" the title is not set.
		_, arguments, _ = strings.Cut(title, " ")
		if strings.HasPrefix(title, "nginx: ") || !target.isBinary(strings.SplitN(title, " ", 2)[0]) {
			return fmt.Errorf("%w: that is another program", deploy.ErrNotRunning)
		}
	}
	// Unreadable for other users' processes: the title has to do then.
	if program, err := os.Readlink(filepath.Join(folder, "exe")); err == nil && !target.isBinary(strings.TrimSuffix(program, " (deleted)")) {
		return fmt.Errorf("%w: that is another program", deploy.ErrNotRunning)
	}
	return target.sameMain(ctx, arguments)
}

// isBinary reports whether a path is that of our nginx; only its name counts,
// since an upgrade replaces the file under a running master.
func (target *Target) isBinary(path string) bool {
	base := filepath.Base(path)
	if base == "nginx" || base == filepath.Base(target.argv()[0]) {
		return true
	}
	found, err := exec.LookPath(target.argv()[0])
	if err != nil {
		return false
	}
	resolved, err := filepath.EvalSymlinks(found)
	return err == nil && filepath.Base(resolved) == base
}

// sameMain compares the main file of a running master with ours.
func (target *Target) sameMain(ctx context.Context, arguments string) error {
	_, said, err := deploy.Run(ctx, deploy.Command{Argv: []string{target.argv()[0], "-V"}})
	if err != nil {
		return err
	}
	ours := parseBuild(string(said), target.configured.Prefix, target.configured.Config).main
	prefix, main := masterOptions(arguments)
	theirs := parseBuild(string(said), prefix, main).main
	if same(ours, theirs) || strings.Contains(ours, " ") && strings.Contains(arguments, ours) {
		return nil
	}
	return fmt.Errorf("that nginx reads %s, not %s", theirs, ours)
}

// masterOptions reads -p and -c from the title of a master, in which the words
// of -g are not quoted any more (ngx_get_options).
func masterOptions(arguments string) (prefix, main string) {
	words := strings.Fields(arguments)
	for index := 0; index < len(words); index++ {
		letters, option := strings.CutPrefix(words[index], "-")
		if !option {
			continue
		}
		at := strings.IndexAny(letters, "pcgse")
		if at < 0 {
			continue
		}
		value := letters[at+1:]
		if value == "" && index+1 < len(words) {
			index++
			value = words[index]
		}
		switch letters[at] {
		case 'p':
			prefix = value
		case 'c':
			main = value
		}
	}
	return prefix, main
}
