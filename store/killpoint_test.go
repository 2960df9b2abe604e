//go:build killpoint

package store_test

import (
	"fmt"
	"testing"
)

// TestKillAtEveryPoint: before and after each of the first commits, and while
// the folder is made. Run with -tags killpoint.
func TestKillAtEveryPoint(t *testing.T) {
	for point := 1; point <= 24; point++ {
		t.Run(fmt.Sprint(point), func(t *testing.T) {
			folder := t.TempDir() + "/state"
			command, lines := victim(t, folder, fmt.Sprintf("BACKSTAY_KILL_POINT=%d", point))
			done := readDone(t, lines, 1<<30)
			if err := command.Wait(); err == nil {
				t.Fatal("nobody was killed")
			}
			survivors(t, folder, done)
			// What comes up next writes on.
			command, lines = victim(t, folder)
			done = append(done, readDone(t, lines, 5)...)
			command.Process.Kill()
			command.Wait()
			survivors(t, folder, done)
		})
	}
}
