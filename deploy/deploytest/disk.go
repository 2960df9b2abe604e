package deploytest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// SmallDisk mounts an empty file system of its own for the test. Skipped by
// name where mounting is not allowed.
func SmallDisk(t *testing.T, kilobytes int) string {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, fmt.Sprintf("size=%dk,mode=755", kilobytes)); err != nil {
		t.Skipf("a small disk needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return folder
}

// ReadOnly remounts a SmallDisk read-only, or writable again.
func ReadOnly(t *testing.T, folder string, yes bool) {
	t.Helper()
	flags := uintptr(syscall.MS_REMOUNT)
	if yes {
		flags |= syscall.MS_RDONLY
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", flags, ""); err != nil {
		t.Fatal(err)
	}
}

// Fill writes to the disk until not a byte more fits. It returns what frees it.
func Fill(t *testing.T, folder string) (free func()) {
	t.Helper()
	path := filepath.Join(folder, "filling")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = file.Write(make([]byte, 512))
	}
	file.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
