package nginx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Caps on what is read.
const (
	largestFile  = 16 << 20
	largestDump  = 256 << 20
	mostFiles    = 100_000
	mostProblems = 100
)

// source gives the texts of a configuration. An absent file is fs.ErrNotExist.
type source interface {
	read(path string) (string, error)
	// match returns the files of a glob(3) pattern, sorted by byte.
	match(pattern string) ([]string, error)
}

// dump is the output of nginx -T: the files that nginx itself read.
type dump map[string]string

const dumpMarker = "# configuration file "

// splitDump takes a dump apart; main is its first file.
func splitDump(text string) (files dump, main string, err error) {
	if len(text) > largestDump {
		return nil, "", fmt.Errorf("a dump larger than %d bytes", largestDump)
	}
	files = dump{}
	for name, body := "", ""; ; {
		start := nextMarker(text)
		if start >= 0 {
			body = text[:start]
		} else {
			body = text
		}
		if name != "" {
			if _, twice := files[name]; !twice {
				files[name] = strings.TrimSuffix(body, "\n") // nginx adds one
			}
		}
		if start < 0 {
			break
		}
		line, rest, _ := strings.Cut(text[start:], "\n")
		name, text = strings.TrimSuffix(strings.TrimPrefix(line, dumpMarker), ":"), rest
		if main == "" {
			main = name
		}
		if len(files) > mostFiles {
			return nil, "", fmt.Errorf("more than %d files", mostFiles)
		}
	}
	if main == "" {
		return nil, "", errors.New("no line \"# configuration file PATH:\": not the output of nginx -T")
	}
	return files, main, nil
}

// nextMarker finds the next line that announces a file.
func nextMarker(text string) int {
	for from := 0; ; {
		found := strings.Index(text[from:], dumpMarker)
		if found < 0 {
			return -1
		}
		start := from + found
		line, _, _ := strings.Cut(text[start:], "\n")
		if (start == 0 || text[start-1] == '\n') && strings.HasPrefix(line, dumpMarker+"/") && strings.HasSuffix(line, ":") {
			return start
		}
		from = start + len(dumpMarker)
	}
}

func (files dump) read(path string) (string, error) {
	text, there := files[path]
	if !there {
		return "", &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	return text, nil
}

func (files dump) match(pattern string) ([]string, error) {
	var list []string
	for name := range files {
		matched, err := path.Match(globPattern(pattern), name)
		if err != nil {
			return nil, err
		}
		if matched && !hiddenMatch(pattern, name) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list, nil
}

// disk reads the files themselves.
type disk struct{ ctx context.Context }

func (disk disk) read(path string) (string, error) {
	if err := disk.ctx.Err(); err != nil {
		return "", err
	}
	// Without blocking: a named pipe must not hold us for ever.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, largestFile+1))
	if err != nil {
		return "", err
	}
	if len(text) > largestFile {
		return "", fmt.Errorf("%s: larger than %d bytes", path, largestFile)
	}
	return string(text), nil
}

func (disk disk) match(pattern string) ([]string, error) {
	if err := disk.ctx.Err(); err != nil {
		return nil, err
	}
	list, err := filepath.Glob(globPattern(pattern))
	list = slices.DeleteFunc(list, func(name string) bool { return hiddenMatch(pattern, name) })
	slices.Sort(list)
	return list, err
}

// isGlob is nginx's own test.
func isGlob(pattern string) bool { return strings.ContainsAny(pattern, "*?[") }

// globPattern turns a glob(3) pattern into one of path.Match: they differ in
// how a class is negated.
func globPattern(pattern string) string { return strings.ReplaceAll(pattern, "[!", "[^") }

// hiddenMatch reports whether a match is one that glob(3) does not make: a
// leading dot is matched by a dot only. (Editors leave .name.swp in conf.d.)
func hiddenMatch(pattern, name string) bool {
	patterns, names := strings.Split(pattern, "/"), strings.Split(name, "/")
	if len(patterns) != len(names) {
		return false
	}
	for index, element := range names {
		if strings.HasPrefix(element, ".") && !strings.HasPrefix(patterns[index], ".") {
			return true
		}
	}
	return false
}
