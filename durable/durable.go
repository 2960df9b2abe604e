// Package durable writes files that survive a crash and a power cut.
//
// Promise: when a function of this package returns nil, what it wrote is on
// disk under its final name with its final mode, and so is the folder entry; a
// reader sees the old content or the new, never a part. A kill at any
// instruction leaves at most one temporary file whose name begins with
// TemporaryPrefix; Sweep removes those.
//
// Limits: Linux and other POSIX systems, one file system per rename. A disk
// that lies about fsync is beyond us.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// TemporaryPrefix begins the name of every file that is not finished yet.
const TemporaryPrefix = ".backstay-tmp-"

// WriteFile replaces path by data with exactly mode (the umask has no say).
// The temporary file is created with its final mode before the first byte is
// written, so that a key is never readable by others, not even for an instant.
// Error: an *fs.PathError or *os.LinkError; path is then untouched.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	return writeOwned(path, data, mode, -1, -1)
}

// WriteOwned is WriteFile with an owner: uid and gid, -1 to leave one alone.
func WriteOwned(path string, data []byte, mode fs.FileMode, uid, gid int) error {
	return writeOwned(path, data, mode, uid, gid)
}

// File is one of several files that WriteFiles replaces.
type File struct {
	Name string // inside the folder
	Data []byte
	Mode fs.FileMode
}

// WriteFiles replaces files of one folder in the order given, and syncs the
// folder once at the end. A crash may leave any number of the first ones new and
// the rest old: write that file last whose presence says that all are there.
func WriteFiles(folder string, files ...File) error {
	for _, file := range files {
		if err := replace(filepath.Join(folder, file.Name), file.Data, file.Mode, -1, -1); err != nil {
			return err
		}
	}
	return SyncFolder(folder)
}

func writeOwned(path string, data []byte, mode fs.FileMode, uid, gid int) error {
	if err := replace(path, data, mode, uid, gid); err != nil {
		return err
	}
	// After this line a crash changes nothing; before it the rename may be lost.
	return SyncFolder(filepath.Dir(path))
}

// replace does all but the folder's sync.
func replace(path string, data []byte, mode fs.FileMode, uid, gid int) (err error) {
	folder := filepath.Dir(path)
	file, err := createTemporary(folder, mode)
	if err != nil {
		return err
	}
	temporary := file.Name()
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(temporary)
		}
	}()
	Point("create", path)
	if uid >= 0 || gid >= 0 {
		if err = file.Chown(uid, gid); err != nil {
			return err
		}
	}
	// O_CREATE's mode is cut by the umask; Chmod is not. Before the content.
	if err = file.Chmod(mode); err != nil {
		return err
	}
	if _, err = file.Write(data); err != nil {
		return err
	}
	Point("write", path)
	if err = file.Sync(); err != nil {
		return err
	}
	if err = file.Close(); err != nil {
		return err
	}
	Point("sync", path)
	if err = os.Rename(temporary, path); err != nil {
		return err
	}
	Point("rename", path)
	return nil
}

// createTemporary opens a new file in folder, never following a link that
// somebody put there beforehand (O_EXCL).
func createTemporary(folder string, mode fs.FileMode) (*os.File, error) {
	for attempt := 0; ; attempt++ {
		name := filepath.Join(folder, fmt.Sprintf("%s%d-%d", TemporaryPrefix, os.Getpid(), sequence.Add(1)))
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if errors.Is(err, fs.ErrExist) && attempt < 100 {
			continue
		}
		return file, err
	}
}

// Symlink makes path a link to target, replacing in one step whatever file or
// link stood there. A folder at path is an error.
func Symlink(target, path string) error {
	folder := filepath.Dir(path)
	for attempt := 0; ; attempt++ {
		temporary := filepath.Join(folder, fmt.Sprintf("%s%d-%d", TemporaryPrefix, os.Getpid(), sequence.Add(1)))
		err := os.Symlink(target, temporary)
		if errors.Is(err, fs.ErrExist) && attempt < 100 {
			continue
		}
		if err != nil {
			return err
		}
		Point("symlink", path)
		if err := os.Rename(temporary, path); err != nil {
			os.Remove(temporary)
			return err
		}
		Point("rename", path)
		return SyncFolder(folder)
	}
}

// MkdirAll makes path and its missing parents with mode and syncs each new
// entry into its parent.
func MkdirAll(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	if err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("exists and is not a folder")}
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent, mode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	Point("mkdir", path)
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	return SyncFolder(parent)
}

// Remove deletes path and syncs its folder. A path that is not there is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	Point("remove", path)
	return SyncFolder(filepath.Dir(path))
}

// SyncFolder makes the entries of folder durable.
func SyncFolder(folder string) error {
	file, err := os.Open(folder)
	if err != nil {
		return err
	}
	err = file.Sync()
	if closing := file.Close(); err == nil {
		err = closing
	}
	return err
}

// Sweep removes temporary files that a killed process left in folder. Only call
// it under the lock that makes this process the only writer there.
func Sweep(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), TemporaryPrefix) {
			if err := Remove(filepath.Join(folder, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Unfinished reports whether a killed process left a temporary file in folder.
func Unfinished(folder string) bool {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return false
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), TemporaryPrefix) {
			return true
		}
	}
	return false
}
