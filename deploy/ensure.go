package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/backstay/backstay/durable"
)

// The ensure functions make a thing so and durable, and do nothing but sync
// when it already is. The sync is not idle: whoever was killed between a rename
// and its sync left an entry that a power cut may still undo.

// Owner is who a file belongs to.
type Owner struct{ UID, GID int }

// access is the mode and owner a file shall have; a nil owner is left to the system.
type access struct {
	mode  fs.FileMode
	owner *Owner
}

func ensureFile(path string, data []byte, want access) error {
	if holds(path, data, want) {
		return durable.SyncFolder(filepath.Dir(path))
	}
	uid, gid := -1, -1
	if want.owner != nil {
		uid, gid = want.owner.UID, want.owner.GID
	}
	return durable.WriteOwned(path, data, want.mode, uid, gid)
}

// holds reports whether path is already the regular file we want.
func holds(path string, data []byte, want access) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != want.mode || info.Size() != int64(len(data)) {
		return false
	}
	if want.owner != nil && *want.owner != ownerOf(info) {
		return false
	}
	text, err := os.ReadFile(path)
	return err == nil && bytes.Equal(text, data)
}

func ensureLink(target, path string) error {
	if now, err := os.Readlink(path); err == nil && now == target {
		return durable.SyncFolder(filepath.Dir(path))
	}
	return durable.Symlink(target, path)
}

// ensureFolder makes path a real folder with mode. A folder that a killed
// process left between mkdir and chmod gets its mode here.
func ensureFolder(path string, mode fs.FileMode) error {
	if err := durable.MkdirAll(path, mode); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("is a link, not a folder")}
	}
	if info.Mode().Perm() != mode {
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	return durable.SyncFolder(filepath.Dir(path))
}

func ownerOf(info fs.FileInfo) Owner {
	system := info.Sys().(*syscall.Stat_t) // always so on the systems we support
	return Owner{UID: int(system.Uid), GID: int(system.Gid)}
}

// sweepDead removes temporary files of processes that are no more from a folder
// that others write to as well. (A folder that is ours alone is swept whole by
// durable.Sweep.) A process number in use again only delays the removal.
func sweepDead(folder string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, entry := range entries {
		rest, ours := strings.CutPrefix(entry.Name(), durable.TemporaryPrefix)
		number, _, _ := strings.Cut(rest, "-")
		process, err := strconv.Atoi(number)
		if !ours || err != nil || process <= 0 {
			continue
		}
		if errors.Is(syscall.Kill(process, 0), syscall.ESRCH) {
			os.Remove(filepath.Join(folder, entry.Name())) // tidiness only: an error is not worth a failed deployment
		}
	}
}

// explain adds the likely cause to the errors of replacing a file.
func explain(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EXDEV):
		return fmt.Errorf("%s cannot be replaced by a rename, it is a mount point of its own; mount its folder instead: %w", path, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("no space left to write %s; what was in force is untouched: %w", path, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s is on a file system mounted read-only: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be written by this user: %w", path, err)
	}
	return err
}
