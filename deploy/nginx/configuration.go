package nginx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/backstay/backstay/deploy"
)

// binary is what "nginx -V" says of a binary, with nginx's own defaults.
type binary struct {
	prefix  string
	main    string          // absolute
	pid     string          // absolute
	without map[string]bool // modules left out, such as http_fastcgi
}

// argv is the binary with the target's own -p and -c.
func (target *Target) argv(arguments ...string) []string {
	argv := []string{target.configured.Binary}
	if argv[0] == "" {
		argv[0] = "nginx"
	}
	if target.configured.Prefix != "" {
		argv = append(argv, "-p", target.configured.Prefix)
	}
	if target.configured.Config != "" {
		argv = append(argv, "-c", target.configured.Config)
	}
	return append(argv, arguments...)
}

// binary asks nginx for its build. Cheap, so it is not kept: an upgrade may
// change it.
func (target *Target) binary(ctx context.Context) (binary, error) {
	_, said, err := deploy.Run(ctx, deploy.Command{Argv: []string{target.argv()[0], "-V"}})
	if err != nil {
		return binary{}, err
	}
	return parseBuild(string(said), target.configured.Prefix, target.configured.Config), nil
}

// parseBuild reads the configure arguments; relative paths start at the prefix.
func parseBuild(said, prefix, main string) binary {
	built := binary{prefix: "/usr/local/nginx", main: "conf/nginx.conf", pid: "logs/nginx.pid", without: map[string]bool{}}
	_, arguments, _ := strings.Cut(said, "configure arguments:")
	for _, argument := range splitArguments(arguments) {
		name, value, _ := strings.Cut(argument, "=")
		switch name {
		case "--prefix":
			built.prefix = value
		case "--conf-path":
			built.main = value
		case "--pid-path":
			built.pid = value
		}
		if module, without := strings.CutPrefix(name, "--without-"); without {
			built.without[strings.TrimSuffix(module, "_module")] = true
		}
	}
	if prefix != "" {
		built.prefix = prefix
	}
	if main != "" {
		built.main = main
	}
	built.main, built.pid = built.absolute(built.main), built.absolute(built.pid)
	return built
}

func (built binary) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(built.prefix, path)
}

// splitArguments splits at blanks outside single quotes, as configure wrote them.
func splitArguments(text string) []string {
	var list []string
	var word strings.Builder
	quoted := false
	for _, letter := range text + " " {
		switch {
		case letter == '\'':
			quoted = !quoted
		case !quoted && (letter == ' ' || letter == '\n'):
			if word.Len() > 0 {
				list = append(list, word.String())
				word.Reset()
			}
		default:
			word.WriteRune(letter)
		}
	}
	return list
}

// cached is a configuration with what must stay the same for it to hold: with
// thousands of server blocks, reading it anew for each certificate would take
// hours.
type cached struct {
	configuration Configuration
	stamps        map[string]stamp
}

type stamp struct {
	inode, size int64
	changed     int64 // nanoseconds
	present     bool
}

// configuration reads the configuration, or returns the last reading when
// nothing it depends on changed.
func (target *Target) configuration(ctx context.Context) (Configuration, error) {
	target.mutex.Lock()
	defer target.mutex.Unlock()
	if target.cached != nil && target.cached.holds() {
		return target.cached.configuration, nil
	}
	main := target.configured.Config
	if !filepath.IsAbs(main) {
		built, err := target.binary(ctx)
		if err != nil {
			return Configuration{}, fmt.Errorf("cannot find nginx's configuration; name it with `config:`: %w", err)
		}
		main = built.main
	}
	// Stamps are taken before reading: a change in between is seen next time.
	configuration, err := target.read(ctx, main)
	if err != nil {
		return Configuration{}, err
	}
	before := target.stamps(configuration)
	if configuration, err = target.read(ctx, main); err != nil {
		return Configuration{}, err
	}
	target.cached = &cached{configuration: configuration, stamps: before}
	return configuration, nil
}

// stamps marks every file, and every folder an include may find files in. Our
// own texts are left out: what they say is read from their links each time.
func (target *Target) stamps(configuration Configuration) map[string]stamp {
	stamps := map[string]stamp{}
	mark := func(path string) {
		if filepath.Dir(path) != deploy.TargetFolder(target.state, target.configured.Name) {
			stamps[path] = stampOf(path)
		}
	}
	folders := func(patterns []string) {
		for _, pattern := range patterns {
			mark(pattern)
			if folder := filepath.Dir(pattern); !strings.ContainsAny(folder, "*?[") && folder != deploy.TargetFolder(target.state, target.configured.Name) {
				mark(folder)
			}
		}
	}
	for _, path := range configuration.Files {
		mark(path)
	}
	folders(configuration.Files)
	folders(configuration.Includes)
	for _, server := range configuration.Servers {
		folders(server.Includes)
	}
	return stamps
}

func (cached *cached) holds() bool {
	for path, before := range cached.stamps {
		if stampOf(path) != before {
			return false
		}
	}
	return true
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{present: !errors.Is(err, fs.ErrNotExist)}
	}
	return stamp{inode: inode(info), size: info.Size(), changed: info.ModTime().UnixNano(), present: true}
}

func inode(info fs.FileInfo) int64 {
	system, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return int64(system.Ino)
}

// includes reports whether a server block includes path, there or not.
func (server Server) includes(path string) bool {
	return slices.ContainsFunc(server.Includes, func(written string) bool { return same(written, path) })
}

// same reports whether two names are one file, links in their folders resolved.
func same(a, b string) bool {
	if filepath.Base(a) != filepath.Base(b) {
		return false
	}
	a, b = filepath.Clean(a), filepath.Clean(b)
	if a == b {
		return true
	}
	folderA, errA := filepath.EvalSymlinks(filepath.Dir(a))
	folderB, errB := filepath.EvalSymlinks(filepath.Dir(b))
	return errA == nil && errB == nil && folderA == folderB
}
