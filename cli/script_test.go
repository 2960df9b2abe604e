package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/testbed/nginx"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"backstay": scriptedBackstay})
}

// scriptedBackstay is the program that scripts run: cmd/backstay, as an ordinary
// user, so that no script ever touches the system's own paths. $CONFIG and $STATE
// stand in for --config and --state; $RUN_AS is a user id to become first.
func scriptedBackstay() {
	if id, err := strconv.Atoi(os.Getenv("RUN_AS")); err == nil {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(id), syscall.Setuid(id)); err != nil {
			panic(err)
		}
	}
	ctx, interrupt := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { <-signals; interrupt(ErrInterrupted) }()
	environment := Process()
	environment.User = 1000
	var flags []string
	for flag, variable := range map[string]string{"--config=": "CONFIG", "--state=": "STATE"} { // order does not matter
		if value := os.Getenv(variable); value != "" {
			flags = append(flags, flag+value)
		}
	}
	environment.Arguments = append(flags, environment.Arguments...)
	os.Exit(Main(ctx, environment))
}

// TestScript runs the commands as a person types them. Each script begins with
// an empty home; XDG folders lie in it. Besides the commands of testscript there
// are those of scriptCommands and, for a world with a CA, those of
// worldCommands.
func TestScript(t *testing.T) { runScripts(t, "testdata/script") }

func runScripts(t *testing.T, folder string) {
	commands := map[string]func(ts *testscript.TestScript, neg bool, arguments []string){
		"code": exitCode, "records": records, "until": until,
	}
	for name, command := range worldCommands {
		commands[name] = command
	}
	testscript.Run(t, testscript.Params{
		Dir:                 folder,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir+"/home")
			env.Setenv("XDG_CONFIG_HOME", env.WorkDir+"/home/.config")
			env.Setenv("XDG_STATE_HOME", env.WorkDir+"/home/.local/state")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command of a run with -race lasts a second longer
			made := &scriptWorld{folder: env.WorkDir}
			env.Values[scriptWorldKey{}] = made
			env.Defer(made.close)
			return nil
		},
		Condition: condition,
		Cmds:      commands,
	})
}

// condition knows file:PATH, nginx (it is installed) and root.
func condition(name string) (bool, error) {
	if path, ok := strings.CutPrefix(name, "file:"); ok {
		_, err := os.Stat(path)
		return err == nil, nil
	}
	switch name {
	case "nginx":
		_, err := nginx.Find()
		return err == nil, nil
	case "root":
		return os.Geteuid() == 0, nil
	}
	return false, errors.New("unknown condition " + name)
}

// exitCode is `code N COMMAND…`: it runs a command and wants exactly that exit
// code. A failure must say what happened and what to type next.
func exitCode(ts *testscript.TestScript, neg bool, arguments []string) {
	if neg || len(arguments) < 2 {
		ts.Fatalf("usage: code N COMMAND [ARGUMENT…]")
	}
	got := "0"
	if err := ts.Exec(arguments[1], arguments[2:]...); err != nil {
		got = exitStatus(err)
	}
	if got != arguments[0] {
		ts.Fatalf("exit code %s, want %s", got, arguments[0])
	}
	said := ts.ReadFile("stderr")
	switch got {
	case "1", "2", "4", "6":
		if !regexp.MustCompile(`(?m)^backstay: \S`).MatchString(said) || !regexp.MustCompile(`(?m)^  next:  \S`).MatchString(said) {
			ts.Fatalf("a failure must say what happened and what to type next")
		}
	}
	if strings.Contains(said, "internal error") {
		ts.Fatalf("an internal error")
	}
}

// records is `records [KIND=COUNT…]`: every line of the last standard output is
// one JSON object with kind and schema; a result is the last line, and the only
// one; so many of each kind are there.
func records(ts *testscript.TestScript, neg bool, arguments []string) {
	if neg {
		ts.Fatalf("usage: records [KIND=COUNT…]")
	}
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile("stdout"), "\n"), "\n")
	counts := map[string]int{}
	for index, line := range lines {
		kind, err := recordKind([]byte(line))
		if err != nil {
			ts.Fatalf("line %d: %v: %s", index+1, err, line)
		}
		counts[kind]++
		if kind == "result" && index != len(lines)-1 {
			ts.Fatalf("a result in line %d of %d", index+1, len(lines))
		}
	}
	for _, wanted := range arguments {
		kind, count, _ := strings.Cut(wanted, "=")
		if strconv.Itoa(counts[kind]) != count {
			ts.Fatalf("%d records of kind %s, want %s", counts[kind], kind, count)
		}
	}
}

func recordKind(line []byte) (string, error) {
	var record struct {
		Kind   string `json:"kind"`
		Schema int    `json:"schema"`
	}
	if err := json.Unmarshal(line, &record); err != nil {
		return "", err
	}
	if record.Kind == "" || record.Schema != 1 || bytes.ContainsAny(line, "\x1b\r") {
		return "", errors.New("no kind, no schema 1, or a control character")
	}
	return record.Kind, nil
}
