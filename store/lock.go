package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/durable"
)

// Lock is the kernel's lock on the state folder: whoever holds it may act. It is
// gone with its process, however that ends, so it can never be stale.
type Lock struct{ file *os.File }

// Held is returned when another process has the lock.
type HeldBy struct{ PID int }

func (held *HeldBy) Error() string {
	if held.PID == 0 {
		return "another backstay is working on this state folder"
	}
	return fmt.Sprintf("another backstay (process %d) is working on this state folder", held.PID)
}

// TryLock takes the lock or returns *HeldBy at once.
func TryLock(folder string) (*Lock, error) {
	if err := durable.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &HeldBy{PID: readPID(file)}
		}
		return nil, err
	}
	// Who holds it is only told to people; nothing is decided by it.
	file.Truncate(0)
	file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return &Lock{file: file}, nil
}

// WaitLock takes the lock, waiting for whoever holds it; waiting is called once,
// before the first wait.
func WaitLock(ctx context.Context, folder string, waiting func(*HeldBy)) (*Lock, error) {
	told := false
	for {
		lock, err := TryLock(folder)
		var held *HeldBy
		if !errors.As(err, &held) {
			return lock, err
		}
		if !told && waiting != nil {
			waiting(held)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(held, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func readPID(file *os.File) int {
	text := make([]byte, 20)
	n, _ := file.ReadAt(text, 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	return pid
}

// Release gives the lock back.
func (lock *Lock) Release() error { return lock.file.Close() }
