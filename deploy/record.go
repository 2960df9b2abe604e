package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/durable"
)

// STATE/targets/TARGET is what Backstay keeps for one target; in it the link
// NAME -> ../../certs/NAME/NUMBER says which generation is in force there, so
// that rolling one target back moves no other. A server may name the files
// behind that link itself; elsewhere it is a record for people and hooks.

// ErrBusy is returned when another process is changing the same target.
var ErrBusy = errors.New("another process is deploying to this target")

// TargetFolder is where STATE keeps what belongs to one target.
func TargetFolder(state, target string) string {
	return filepath.Join(state, "targets", target)
}

// LinkPath is the link of one certificate at one target.
func LinkPath(state, target, name string) string {
	return filepath.Join(TargetFolder(state, target), name)
}

// OpenTarget makes the folder of a target.
func OpenTarget(state, target string) (string, error) {
	if err := errors.Join(checkState(state), checkTarget(target)); err != nil {
		return "", err
	}
	folder := TargetFolder(state, target)
	for _, path := range []string{filepath.Dir(folder), folder} {
		if err := ensureFolder(path, folderMode); err != nil {
			return "", explain(path, err)
		}
	}
	return folder, nil
}

// Lock takes the target for this process until release. The kernel lets go of
// it when a process dies, so there is no stale lock to remove by hand.
// Error: ErrBusy.
func Lock(state, target string) (release func(), err error) {
	folder, err := OpenTarget(state, target)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(folder, ".lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, explain(path, err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() {
		// Unlocked by word, not only by closing: a command that another goroutine is
		// just starting holds a copy of the descriptor until it is executed.
		unix.Flock(int(file.Fd()), unix.LOCK_UN)
		file.Close()
	}, nil
}

// Record points the target's link of a certificate to a generation, by one
// rename; 0 (a pair that is not ours) removes the link.
func Record(state, target, name string, number int) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if _, err := OpenTarget(state, target); err != nil {
		return err
	}
	path := LinkPath(state, target, name)
	if number == 0 {
		return explain(path, durable.Remove(path))
	}
	return explain(path, ensureLink(filepath.Join("..", "..", "certs", name, strconv.Itoa(number)), path))
}

// Recorded reads the link back. Error: fs.ErrNotExist when there is none.
func Recorded(state, target, name string) (int, error) {
	if err := errors.Join(checkState(state), checkTarget(target), CheckName(name)); err != nil {
		return 0, err
	}
	return generationLink(LinkPath(state, target, name), filepath.Join("..", "..", "certs", name))
}

// RecordedNames lists the certificates that have a link at the target, in order.
func RecordedNames(state, target string) ([]string, error) {
	entries, err := os.ReadDir(TargetFolder(state, target))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if _, err := Recorded(state, target, entry.Name()); err == nil {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}
