//go:build killpoint

package durable

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
)

var (
	sequence atomic.Uint64
	reached  atomic.Int64
)

// Point counts the places where a crash must be harmless, over all threads.
// BACKSTAY_KILL_POINT=N kills this process (SIGKILL, no deferred function runs)
// at the Nth; BACKSTAY_KILL_TRACE=FILE appends a line for each. Only in builds
// with the tag killpoint, which nobody ships.
func Point(operation, path string) {
	number := reached.Add(1)
	if trace := os.Getenv("BACKSTAY_KILL_TRACE"); trace != "" {
		if file, err := os.OpenFile(trace, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err == nil {
			fmt.Fprintf(file, "%d %s %s\n", number, operation, path)
			file.Close()
		}
	}
	if at, err := strconv.ParseInt(os.Getenv("BACKSTAY_KILL_POINT"), 10, 64); err == nil && at == number {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
