package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/bench/world"
)

func TestHarmless(t *testing.T) {
	good := trial{Converged: true, Handshakes: 10}
	cases := []struct {
		name string
		bad  trial
	}{
		{"not converged", trial{}},
		{"failed", trial{Converged: true, RerunError: "exit status 1"}},
		{"silent", trial{Silent: true}},
		{"one certificate too many", trial{Converged: true, Extra: 1}},
		{"mismatched", trial{Converged: true, Mismatched: true}},
		{"would not start", trial{Converged: true, WouldNotRun: true}},
		{"left over", trial{Converged: true, LeftOver: []string{"client/lock"}}},
		{"a visitor turned away", trial{Converged: true, FailedProbes: 1}},
	}
	var clean row
	clean.add(good)
	if !clean.harmless() {
		t.Error("a healed kill was called harmful")
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var r row
			r.add(good)
			r.add(c.bad)
			if r.harmless() {
				t.Error("called harmless")
			}
		})
	}
}

func TestTable(t *testing.T) {
	r := row{client: "someone", window: "issued"}
	r.add(trial{Converged: true, Extra: 2, LeftOver: []string{"client/lock", "client/lock"}, Handshakes: 5})
	r.add(trial{Silent: true, Handshakes: 7, FailedProbes: 1})
	var out bytes.Buffer
	printTable(&out, []row{r, {client: "nobody", window: "run"}})
	for _, want := range []string{
		"| someone | issuance to exit | 2 | 1 | 0 | 1 | 2 | 0 | 0 | 1 | 1 of 12 |",
		"- someone, issuance to exit: 2 x client/lock",
		"- nobody, the whole run: none",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
}

func TestTrialsComeBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "raw")
	text := `{"Client":"a","Window":"run","Converged":true,"Handshakes":3}
{"Client":"b","Window":"run","Silent":true}
{"Client":"a","Window":"run","Extra":1}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rows, err := readTrials(file)
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if a, b := rows[0], rows[1]; a.kills != 2 || a.converged != 1 || a.extra != 1 || a.handshakes != 3 || b.silent != 1 {
		t.Errorf("got %+v", rows)
	}
}

// TestFiles sees files of two runs as the same when only numbers and tokens
// differ, and does not see logs.
func TestFiles(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{
		"client/archive/cert1.pem", "client/archive/cert12.pem", "client/lock", "client/log/letsencrypt.log",
		"webroot/.well-known/acme-challenge/Zx-9_q", "webroot/.well-known/acme-challenge/other",
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := &campaign{
		world:  &world.World{Folder: folder, Server: &world.Server{Webroot: filepath.Join(folder, "webroot")}},
		client: world.Client{Logs: []string{"log"}},
	}
	got := c.files()
	want := map[string]int{"client/archive/cert#.pem": 2, "client/lock": 1, "webroot/.well-known/acme-challenge/TOKEN": 2}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for pattern, count := range want {
		if got[pattern] != count {
			t.Errorf("%s: got %d, want %d", pattern, got[pattern], count)
		}
	}
}

// TestKillReachesTheGroup kills a client whose child holds on to its output.
func TestKillReachesTheGroup(t *testing.T) {
	folder := t.TempDir()
	alive := filepath.Join(folder, "alive")
	running, err := world.Begin([]string{"sh", "-c", "(touch " + alive + "; exec sleep 60) & wait"}, nil, folder)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(alive); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the child did not come")
		}
	}
	if !running.Kill() {
		t.Error("a running client was not killed")
	}
	if running.Took > 10*time.Second {
		t.Errorf("the end was noticed after %v: the child was left alone", running.Took)
	}
	if running.Kill() {
		t.Error("an ended client was killed again")
	}
}

func TestAnEndedRunIsNotKilled(t *testing.T) {
	running, err := world.Begin([]string{"true"}, nil, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := running.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	if running.Kill() {
		t.Error("an ended client counts as killed")
	}
	if _, err := world.Begin([]string{"/nonexistent/client"}, nil, t.TempDir()); err == nil {
		t.Error("a client that is not there was begun")
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
