package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/store"
)

// TestMain turns this test into the process that is killed, when asked to.
func TestMain(m *testing.M) {
	switch folder := os.Getenv("BACKSTAY_STORE_VICTIM"); {
	case folder == "":
		os.Exit(m.Run())
	case os.Getenv("BACKSTAY_STORE_LOCK") != "":
		holdLock(folder)
	default:
		writeForEver(folder)
	}
}

// parts is how many rows each write of the victim has.
const parts = 5

// writeForEver writes in four goroutines and says on standard output what is
// done, each line in one write.
func writeForEver(folder string) {
	state, err := store.Open(context.Background(), store.Config{Folder: folder})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var all sync.WaitGroup
	for worker := range 4 {
		all.Add(1)
		go func() {
			defer all.Done()
			for number := worker; number < 100_000; number += 4 {
				err := state.Write(context.Background(), func(tx *store.Tx) error {
					for part := range parts {
						if err := tx.SetFact(fmt.Sprintf("write-%d-%d", number, part), strings.Repeat("x", 500)); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				fmt.Println("done", number)
			}
		}()
	}
	all.Wait()
}

// victim starts this test as another process.
func victim(t *testing.T, folder string, environment ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), append(environment, "BACKSTAY_STORE_VICTIM="+folder)...)
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill() })
	return command, bufio.NewScanner(output)
}

// survivors opens what a kill has left: whole writes only, and each one that was
// said to be done.
func survivors(t *testing.T, folder string, done []int) (whole int) {
	t.Helper()
	state := open(t, folder)
	if err := state.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	rows, err := state.Query(context.Background(), `SELECT name FROM fact WHERE name LIKE 'write-%'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := map[int]int{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(strings.Split(name, "-")[1])
		if err != nil {
			t.Fatal(err)
		}
		found[number]++
	}
	for number, count := range found {
		if count != parts {
			t.Errorf("write %d: %d of %d parts", number, count, parts)
		}
	}
	for _, number := range done {
		if found[number] == 0 {
			t.Errorf("write %d was done and is gone", number)
		}
	}
	if err := state.Close(); err != nil {
		t.Error(err)
	}
	return len(found)
}

// readDone reads what the victim says until it ends, or until enough.
func readDone(t *testing.T, lines *bufio.Scanner, enough int) (done []int) {
	t.Helper()
	for len(done) < enough && lines.Scan() {
		word, number, _ := strings.Cut(lines.Text(), " ")
		value, err := strconv.Atoi(number)
		if word != "done" || err != nil {
			t.Fatalf("the victim says %q", lines.Text())
		}
		done = append(done, value)
	}
	return done
}

// TestKillLeavesWholeWrites: a process that is killed while it writes, again and
// again over the same folder.
func TestKillLeavesWholeWrites(t *testing.T) {
	folder := t.TempDir()
	for round := range 8 {
		command, lines := victim(t, folder)
		done := readDone(t, lines, 1+rand.IntN(60))
		if err := command.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		done = append(done, readDone(t, lines, 1<<30)...) // what it had said before it died
		command.Wait()
		if whole := survivors(t, folder, done); len(done) == 0 || whole < len(done) {
			t.Errorf("round %d: %d said, %d there", round, len(done), whole)
		}
	}
}

func holdLock(folder string) {
	lock, err := store.TryLock(folder)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("held")
	syscall.Pause() // until somebody kills us
	lock.Release()
}

// TestTheLockHasOneHolder, is said to be whose, and is gone with its process.
func TestTheLockHasOneHolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	command, lines := victim(t, folder, "BACKSTAY_STORE_LOCK=1")
	if !lines.Scan() || lines.Text() != "held" {
		t.Fatalf("the other process says %q", lines.Text())
	}
	_, err := store.TryLock(folder)
	var held *store.HeldBy
	if !errors.As(err, &held) || held.PID != command.Process.Pid || !strings.Contains(err.Error(), strconv.Itoa(command.Process.Pid)) {
		t.Fatalf("%v, want process %d", err, command.Process.Pid)
	}

	// Waiting says so once and ends with its context.
	ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
	defer cancel()
	told := 0
	if _, err := store.WaitLock(ctx, folder, func(by *store.HeldBy) { told++ }); !errors.As(err, &held) || !errors.Is(err, context.DeadlineExceeded) || told != 1 {
		t.Errorf("waiting: %v, told %d times", err, told)
	}

	got := make(chan error, 1)
	go func() {
		lock, err := store.WaitLock(context.Background(), folder, nil)
		if err == nil {
			err = lock.Release()
		}
		got <- err
	}()
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	command.Wait()
	if err := <-got; err != nil {
		t.Errorf("after the kill: %v", err)
	}
	lock, err := store.TryLock(folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.TryLock(folder); !errors.As(err, &held) || held.PID != os.Getpid() {
		t.Errorf("twice in one process: %v", err)
	}
	lock.Release()
	if lock, err = store.TryLock(folder); err != nil {
		t.Errorf("after the release: %v", err)
	} else {
		lock.Release()
	}
}
