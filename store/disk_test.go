package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/backstay/backstay/store"
)

// smallDisk is a file system of its own with little room.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size="+size+",mode=0700"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return folder
}

// TestFullDisk: writes fail while the disk is full, those that were done stay,
// and writing goes on once there is room, without a restart.
func TestFullDisk(t *testing.T) {
	for _, writers := range []int{1, 20} {
		t.Run(fmt.Sprintf("%d at once", writers), func(t *testing.T) {
			folder := smallDisk(t, "3m")
			state := open(t, folder)
			reserve := filepath.Join(folder, "reserve")
			if err := os.WriteFile(reserve, make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			var mutex sync.Mutex
			done, failed := map[string]bool{}, 0
			one := func(name string) {
				err := state.Write(context.Background(), func(tx *store.Tx) error { return tx.SetFact(name, strings.Repeat("x", 20_000)) })
				mutex.Lock()
				defer mutex.Unlock()
				if done[name] = err == nil; err != nil {
					failed++
				}
			}
			for round := 0; failed == 0 && round < 1000; round++ {
				var all sync.WaitGroup
				for writer := range writers {
					all.Add(1)
					go func() { defer all.Done(); one(fmt.Sprintf("fill-%d-%d", round, writer)) }()
				}
				all.Wait()
			}
			if failed == 0 {
				t.Fatal("the disk was never full")
			}
			checkDone(t, state, done)
			if err := os.Remove(reserve); err != nil {
				t.Fatal(err)
			}
			for number := range 3 {
				name := fmt.Sprintf("after-%d", number)
				if one(name); !done[name] {
					t.Errorf("write %d after the disk has room fails", number)
				}
			}
			checkDone(t, state, done)
			if err := state.Close(); err != nil {
				t.Error(err)
			}
			checkDone(t, open(t, folder), done)
		})
	}
}

// checkDone: a write is there when it was said to be done, and not there when it
// was refused.
func checkDone(t *testing.T, state *store.Store, done map[string]bool) {
	t.Helper()
	for name, ok := range done {
		value, err := state.Fact(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		if ok != (value != "") {
			t.Errorf("%s: said to be done %t, there %t", name, ok, value != "")
		}
	}
}

// TestOneHugeWriteOnAFullDisk is undone alone: the small ones that share its
// transaction are done or refused, and what they were told is true.
func TestOneHugeWriteOnAFullDisk(t *testing.T) {
	folder := smallDisk(t, "4m")
	state := open(t, folder)
	names := make([]string, 30)
	var changes []func(*store.Tx) error
	for number := range names {
		names[number] = fmt.Sprintf("writer-%d", number)
		size := 10
		if number == 7 {
			size = 5 << 20
		}
		changes = append(changes, func(tx *store.Tx) error {
			for part := 0; part <= size; part += 100_000 {
				if err := tx.SetFact(fmt.Sprintf("%s-%d", names[number], part), strings.Repeat("x", min(size, 100_000))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	done, failed := map[string]bool{}, 0
	for number, err := range blocked(t, state, changes) {
		done[names[number]+"-0"] = err == nil
		if err != nil {
			failed++
		}
	}
	if !done["writer-0-0"] && failed == 0 || done["writer-7-0"] {
		t.Errorf("%d failed, the huge one done: %t", failed, done["writer-7-0"])
	}
	checkDone(t, state, done)
	write(t, state, func(tx *store.Tx) error { return tx.SetFact("after", "x") })
	if err := state.Check(context.Background()); err != nil {
		t.Error(err)
	}
}
