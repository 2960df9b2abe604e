package deploytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// Act is one thing that a killed process was doing. Its argument is JSON, since
// it crosses a process boundary.
type Act func(argument json.RawMessage) error

const (
	actVariable      = "BACKSTAY_TEST_ACT"
	argumentVariable = "BACKSTAY_TEST_ARGUMENT"
	mostPoints       = 400 // an act with more durable steps than this never ends
)

var killable struct {
	once   sync.Once
	binary string
	folder string
	err    error
}

// Main is the TestMain of a package that uses Kill: in a process started by
// Kill it carries out one act, else it runs the tests.
func Main(m *testing.M, acts map[string]Act) {
	if name := os.Getenv(actVariable); name != "" {
		act, known := acts[name]
		if !known {
			fmt.Fprintln(os.Stderr, "unknown act", name)
			os.Exit(3)
		}
		if err := act(json.RawMessage(os.Getenv(argumentVariable))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if killable.folder != "" {
		os.RemoveAll(killable.folder)
	}
	os.Exit(code)
}

// build compiles the test binary of the package under test once more, with the
// points of package durable armed.
func build(t *testing.T) string {
	t.Helper()
	killable.once.Do(func() {
		if killable.folder, killable.err = os.MkdirTemp("", "backstay-killable-"); killable.err != nil {
			return
		}
		killable.binary = filepath.Join(killable.folder, "killable")
		command := exec.Command("go", "test", "-c", "-tags", "killpoint", "-o", killable.binary, ".")
		if output, err := command.CombinedOutput(); err != nil {
			killable.err = fmt.Errorf("%w: %s", err, output)
		}
	})
	if errors.Is(killable.err, exec.ErrNotFound) {
		t.Skip("no go tool: cannot build the process to be killed")
	}
	if killable.err != nil {
		t.Fatal(killable.err)
	}
	return killable.binary
}

// Kill runs the act in a process of its own, killing it at its first durable
// point, then afresh at its second, and so on until it lives to the end. Fresh
// makes a new world and returns the act's argument; after each kill, check says
// what must hold at once, before anything is repaired, and then the act is run
// to its end and done says what must hold then. It returns the number of kills.
func Kill(t *testing.T, name string, fresh func(*testing.T) any, check, done func(t *testing.T, argument any)) int {
	t.Helper()
	binary := build(t)
	for point := 1; point <= mostPoints; point++ {
		survived := false
		t.Run(fmt.Sprintf("killed-at-%d", point), func(t *testing.T) {
			argument := fresh(t)
			survived = !run(t, binary, name, argument, point)
			check(t, argument)
			if run(t, binary, name, argument, 0) {
				t.Fatal("killed although no point was named")
			}
			done(t, argument)
		})
		if t.Failed() {
			t.FailNow()
		}
		if survived {
			if point == 1 {
				t.Fatal("the act passed no durable point: nothing was tested")
			}
			return point - 1
		}
	}
	t.Fatalf("%s still dies at point %d", name, mostPoints)
	return 0
}

// run carries out an act and reports whether it was killed.
func run(t *testing.T, binary, name string, argument any, point int) (killed bool) {
	t.Helper()
	text, err := json.Marshal(argument)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(binary)
	command.Env = append(os.Environ(), actVariable+"="+name, argumentVariable+"="+string(text))
	if point > 0 {
		command.Env = append(command.Env, "BACKSTAY_KILL_POINT="+strconv.Itoa(point))
	}
	output, err := command.CombinedOutput()
	if err == nil {
		return false
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
			return true
		}
	}
	t.Fatalf("%s: %v: %s", name, err, output)
	return false
}
