package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func exitStatus(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return strconv.Itoa(exit.ExitCode())
	}
	return err.Error()
}

// bench is a program whose streams and clock the test holds.
type bench struct {
	*program
	stdout, stderr bytes.Buffer
	now            time.Time
	variables      map[string]string
}

func newBench(arguments ...string) *bench {
	b := &bench{now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), variables: map[string]string{}}
	b.program = &program{
		environment: Environment{
			Arguments: arguments, Stdin: strings.NewReader(""), Stdout: &b.stdout, Stderr: &b.stderr, User: 1000,
			Now:    func() time.Time { return b.now },
			Getenv: func(name string) string { return b.variables[name] },
		},
		started: b.now,
		command: "test",
	}
	b.output.stdout, b.output.stderr = &b.stdout, &b.stderr
	return b
}

func TestWorst(t *testing.T) {
	order := []int{ExitInterrupted, ExitUsage, ExitForbidden, ExitFailed, ExitUnreachable, ExitPartly, ExitFindings, ExitDone}
	for i, high := range order {
		for _, low := range order[i:] {
			if got := worst(low, high); got != high {
				t.Errorf("worst(%d, %d) = %d", low, high, got)
			}
		}
	}
}

func TestTable(t *testing.T) {
	b := newBench()
	b.table([]string{"NAME", "STATE", "NEXT"}, [][]string{{"www", "ok", "2027"}, {"a-long-name", "\x1b[31mred", ""}, {"é", "due", "x"}})
	want := "NAME         STATE        NEXT\nwww          ok           2027\na-long-name  \\x1b[31mred\né            due          x\n"
	if b.stdout.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.stdout.String(), want)
	}
	b = newBench()
	b.settings.json = true
	b.table([]string{"NAME"}, nil)
	b.printf("text %s", "x")
	if b.stdout.Len() > 0 {
		t.Errorf("text among the records: %q", b.stdout.String())
	}
}

// TestHostileText: nothing that is printed for a person passes a control,
// bidirectional or invalid byte on.
func TestHostileText(t *testing.T) {
	const hostile = "a\x1b]0;x\x07\u202eb\x7f\U000e0041\xff\r\nc"
	b := newBench()
	b.printf("%s\n", hostile)
	b.table([]string{hostile}, [][]string{{hostile}})
	b.note("%s %v", hostile, errors.New(hostile))
	b.tell(&failure{What: hostile, Cause: hostile, Next: hostile})
	b.settings.json = true
	b.record(map[string]string{"kind": "x", "text": hostile})
	var back map[string]string
	lines := strings.Split(strings.TrimSpace(b.stdout.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &back); err != nil || back["text"] != strings.ToValidUTF8(hostile, "\ufffd") {
		t.Errorf("a record must mean what it meant: %v %q", err, back["text"])
	}
	all := b.stdout.String() + b.stderr.String()
	if strings.ContainsAny(all, "\x1b\x07\r\u202e\x7f") || !utf8.ValidString(all) || strings.Count(all, "a") < 8 {
		t.Errorf("printed: %q", all)
	}
}

func TestProgress(t *testing.T) {
	b := newBench()
	b.environment.StderrTerminal = true
	line := b.progress("endpoints", 100)
	line.add(10)
	b.now = b.now.Add(1999 * time.Millisecond)
	line.add(10)
	if b.stderr.Len() > 0 {
		t.Fatalf("shown too early: %q", b.stderr.String())
	}
	b.now = b.now.Add(time.Millisecond)
	line.add(5)
	if got := b.stderr.String(); got != "25 of 100 endpoints, 12/s, 6s left" {
		t.Errorf("%q", got)
	}
	line.add(5) // too soon to be drawn again
	b.note("hello")
	if got := b.stderr.String(); !strings.HasSuffix(got, "left\r\x1b[Khello\n") {
		t.Errorf("a note must clear the line first: %q", got)
	}
	for name, change := range map[string]func(*bench){
		"no terminal": func(b *bench) { b.environment.StderrTerminal = false },
		"quiet":       func(b *bench) { b.settings.quiet = true },
	} {
		b := newBench()
		b.environment.StderrTerminal = true
		change(b)
		line := b.progress("endpoints", 0)
		b.now = b.now.Add(time.Hour)
		line.add(1)
		if b.stderr.Len() > 0 {
			t.Errorf("%s: %q", name, b.stderr.String())
		}
	}
}

func TestPaths(t *testing.T) {
	for name, each := range map[string]struct {
		user      int
		flag      string
		variables map[string]string
		want      string
	}{
		"flag":          {1000, "/x", nil, "/x"},
		"root":          {0, "", map[string]string{"HOME": "/root"}, "/var/lib/backstay"},
		"XDG":           {1000, "", map[string]string{"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/backstay"},
		"home":          {1000, "", map[string]string{"HOME": "/h"}, "/h/.local/state/backstay"},
		"relative XDG":  {1000, "", map[string]string{"XDG_STATE_HOME": "s", "HOME": "/h"}, "/h/.local/state/backstay"},
		"nothing known": {1000, "", nil, ""},
	} {
		b := newBench()
		b.environment.User, b.settings.state = each.user, each.flag
		if each.variables != nil {
			b.variables = each.variables
		}
		got, err := b.statePath()
		if got != each.want || (err != nil) != (each.want == "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	b := newBench()
	b.variables["HOME"] = t.TempDir()
	b.settings.config = filepath.Join("some", "file.yaml")
	if got, err := b.configPath(); err != nil || got != "some/file.yaml" {
		t.Errorf("--config: %q, %v", got, err)
	}
}

// TestJob runs jobs that end in every way and reads the record they end with.
func TestJob(t *testing.T) {
	refused := &failure{What: "refused", Cause: "why", Next: "do", Exit: ExitUnreachable}
	for name, each := range map[string]struct {
		did     summary
		err     error
		signal  bool
		outcome string
		exit    int
	}{
		"done":               {summary{Counts: map[string]int{"n": 1}}, nil, false, outcomeDone, 0},
		"nothing":            {summary{Outcome: outcomeNothingToDo}, nil, false, outcomeNothingToDo, 0},
		"partly":             {summary{Outcome: outcomePartly}, nil, false, outcomePartly, 3},
		"partly, with error": {summary{Outcome: outcomePartly}, refused, false, outcomePartly, 6},
		"failed":             {summary{}, errors.New("no"), false, outcomeFailed, 1},
		"failed in silence":  {summary{Outcome: outcomeFailed}, nil, false, outcomeFailed, 1},
		"failure":            {summary{}, fmt.Errorf("wrapped: %w", refused), false, outcomeFailed, 6},
		"findings":           {summary{Exit: ExitFindings}, nil, false, outcomeDone, 5},
		"timeout":            {summary{}, context.DeadlineExceeded, false, outcomeFailed, 1},
		"interrupted":        {summary{}, context.Canceled, true, outcomeInterrupted, 130},
		"signal too late":    {summary{}, nil, true, outcomeDone, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench()
			b.settings.json = true
			ctx, interrupt := context.WithCancelCause(t.Context())
			defer interrupt(nil)
			command := &cobra.Command{Use: "test"}
			command.SetContext(ctx)
			err := b.job(func(context.Context, []string) (summary, error) {
				if each.signal {
					interrupt(ErrInterrupted)
				}
				return each.did, each.err
			})(command, nil)
			code := b.finish(ctx, err)
			if code != each.exit {
				t.Errorf("exit code %d, want %d", code, each.exit)
			}
			var last result
			if err := json.Unmarshal(b.stdout.Bytes(), &last); err != nil {
				t.Fatalf("%v in %q", err, b.stdout.String())
			}
			if last.Kind != "result" || last.Schema != 1 || last.Outcome != each.outcome || last.Exit != code || last.Counts == nil {
				t.Errorf("%+v", last)
			}
			if name == "failure" && (last.Error != "refused" || last.Cause != "why" || last.Next != "do" || !strings.Contains(b.stderr.String(), "backstay: refused\n  cause: why\n  next:  do\n")) {
				t.Errorf("%+v\n%s", last, b.stderr.String())
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	b := newBench()
	b.settings.timeout = time.Millisecond
	command := &cobra.Command{Use: "test"}
	command.SetContext(t.Context())
	err := b.run(func(ctx context.Context, _ []string) error {
		<-ctx.Done()
		return fmt.Errorf("asking: %w", ctx.Err())
	})(command, nil)
	if code := b.finish(t.Context(), err); code != ExitFailed || !strings.Contains(b.stderr.String(), "--timeout 1ms is over") {
		t.Errorf("%d %q", code, b.stderr.String())
	}
}

// TestMainPanics: a bug ends with code 1 and a trace, not with Go's 2, which
// means wrong usage.
func TestMainPanics(t *testing.T) {
	b := newBench("version")
	b.environment.Stdout = nil
	if code := Main(t.Context(), b.environment); code != ExitFailed || !strings.Contains(b.stderr.String(), "internal error") {
		t.Errorf("%d %q", code, b.stderr.String())
	}
}

func TestRoffLine(t *testing.T) {
	for text, want := range map[string]string{".TH": `\&.TH`, "'x": `\&'x`, `a\b`: `a\eb`, "--flag": `\-\-flag`} {
		if got := roffLine(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestEveryCommandIsDescribed: help, manual and completion come from these words.
func TestEveryCommandIsDescribed(t *testing.T) {
	seen := 0
	var walk func(command *cobra.Command)
	walk = func(command *cobra.Command) {
		seen++
		if command.Short == "" || command.RunE == nil || command.Run != nil {
			t.Errorf("%s: needs Short and RunE", command.CommandPath())
		}
		for _, each := range command.Commands() {
			walk(each)
		}
	}
	walk(newRoot(newBench().program))
	if seen < 6 {
		t.Errorf("%d commands seen", seen)
	}
}
