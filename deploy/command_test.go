package deploy_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/deploy/deploytest"
)

func TestCommandsGetNoShellAndNoSecrets(t *testing.T) {
	t.Setenv("BACKSTAY_SECRET", "hunter2")
	t.Setenv("NGINX", "7;")
	out, _, err := deploy.Run(context.Background(), deploy.Command{Argv: []string{"env"}, Environment: []string{"A=B C"}})
	if err != nil || !strings.Contains(string(out), "\nA=B C\n") || strings.Contains(string(out), "hunter2") || strings.Contains(string(out), "NGINX") {
		t.Errorf("environment: %q, %v", out, err)
	}
	out, _, err = deploy.Run(context.Background(), deploy.Command{Argv: []string{"echo", "$(id); `id` > /x"}})
	if err != nil || string(out) != "$(id); `id` > /x\n" {
		t.Errorf("a shell was used: %q, %v", out, err)
	}
}

func TestCommandsEnd(t *testing.T) {
	started := time.Now()
	_, _, err := deploy.Run(context.Background(), deploy.Command{Argv: []string{"sh", "-c", "echo begun; sleep 600 & sleep 600"}, Limit: 100 * time.Millisecond})
	var failed *deploy.CommandError
	if !errors.As(err, &failed) || !errors.Is(err, context.DeadlineExceeded) || failed.Output != "begun" {
		t.Errorf("a command without end: %v", err)
	}
	if time.Since(started) > 20*time.Second {
		t.Error("it was not stopped")
	}
	out, _, err := deploy.Run(context.Background(), deploy.Command{Argv: []string{"sh", "-c", "yes | head -c 300000; exit 0"}, Output: 1000})
	if err != nil || len(out) != 1000 {
		t.Errorf("a chatty command: %d bytes, %v", len(out), err)
	}
	_, _, err = deploy.Run(context.Background(), deploy.Command{Argv: []string{"sh", "-c", "printf 'a\nno \\033[31mway' >&2; exit 3"}})
	if err == nil || !strings.HasSuffix(err.Error(), `exit status 3: no \x1b[31mway`) {
		t.Errorf("what a failing command said: %v", err)
	}
	if _, _, err := deploy.Run(context.Background(), deploy.Command{Argv: []string{"/no/such/program"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such program: %v", err)
	}
	if _, _, err := deploy.Run(context.Background(), deploy.Command{}); err == nil {
		t.Error("no command at all was run")
	}
}

// fakeSystemctl puts a systemctl of our own first in PATH, which writes down
// its arguments.
func fakeSystemctl(t *testing.T, script string) (said string) {
	t.Helper()
	folder := t.TempDir()
	said = filepath.Join(folder, "said")
	text := "#!/bin/sh\necho \"$@\" >> '" + said + "'\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(folder, "systemctl"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	return said
}

func TestReloadOfAUnit(t *testing.T) {
	said := fakeSystemctl(t, "")
	handled, err := deploy.RunReload(context.Background(), config.Reload{Unit: "postfix@-.service"}, deploy.Renewed{})
	if text, _ := os.ReadFile(said); !handled || err != nil || string(text) != "reload postfix@-.service\n" {
		t.Errorf("%v, %v, %q", handled, err, text)
	}
	for _, unit := range []string{"--version", "-H", "a b", "a;b", "a/b", "a\n"} {
		if _, err := deploy.RunReload(context.Background(), config.Reload{Unit: unit}, deploy.Renewed{}); err == nil {
			t.Errorf("unit %q was accepted", unit)
		}
	}
	if text, _ := os.ReadFile(said); strings.Count(string(text), "\n") != 1 {
		t.Errorf("systemctl was told more: %q", text)
	}
	fakeSystemctl(t, "echo postfix.service is not active, cannot reload. >&2; exit 1")
	_, err = deploy.RunReload(context.Background(), config.Reload{Unit: "postfix"}, deploy.Renewed{})
	if !errors.Is(err, deploy.ErrNotRunning) {
		t.Errorf("a stopped unit: %v", err)
	}
}

func TestReloadByCommand(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	argv := []string{"sh", "-c", `echo "$RENEWED_LINEAGE|$RENEWED_DOMAINS" > "$0"`, out}
	renewed := deploy.Renewed{Lineage: "/state/targets/mail/www", Domains: []string{"a.example", "*.b.example"}}
	handled, err := deploy.RunReload(context.Background(), config.Reload{Argv: argv}, renewed)
	text, _ := os.ReadFile(out)
	if !handled || err != nil || string(text) != "/state/targets/mail/www|a.example *.b.example\n" {
		t.Errorf("%v, %v, %q", handled, err, text)
	}
	if handled, err := deploy.RunReload(context.Background(), config.Reload{}, renewed); handled || err != nil {
		t.Errorf("nothing configured: %v, %v", handled, err)
	}
	if handled, err := deploy.RunReload(context.Background(), config.Reload{None: true}, renewed); !handled || err != nil {
		t.Errorf("none: %v, %v", handled, err)
	}
}

func TestParseListener(t *testing.T) {
	domains := []string{"192.0.2.7", "*.example.com", "example.com"}
	for _, row := range []struct{ text, address, name, transport string }{
		{"mail.example.com", "mail.example.com:443", "mail.example.com", "tcp"},
		{"mail.example.com:8443", "mail.example.com:8443", "mail.example.com", "tcp"},
		{"127.0.0.1:8443", "127.0.0.1:8443", "backstay-check.example.com", "tcp"},
		{"[::1]:8443", "[::1]:8443", "backstay-check.example.com", "tcp"},
		{"::1", "[::1]:443", "backstay-check.example.com", "tcp"},
		{"smtp://127.0.0.1:25", "127.0.0.1:25", "backstay-check.example.com", "smtp"},
		{"smtp://mail.example.com", "mail.example.com:25", "mail.example.com", "smtp"},
		{"imaps://mail.example.com/", "mail.example.com:993", "mail.example.com", "tcp"},
		{"www.example.com@192.0.2.1:443", "192.0.2.1:443", "www.example.com", "tcp"},
		{"www.example.com@[2001:db8::1]", "[2001:db8::1]:443", "www.example.com", "tcp"},
		{"smtp://a.example@127.0.0.1:2525", "127.0.0.1:2525", "a.example", "smtp"},
	} {
		got, err := deploy.ParseListener(row.text, domains)
		if want := (deploy.Listener{Address: row.address, ServerName: row.name, Transport: row.transport}); err != nil || got != want {
			t.Errorf("%s: %+v, %v", row.text, got, err)
		}
	}
	for _, text := range []string{"", "gopher://x", "a b", "a:0", "a:65536", "a:b", "x@", "@127.0.0.1", "a/b", "http://x", "-oProxy:1", "a\n", "a:1:2"} {
		if got, err := deploy.ParseListener(text, domains); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
	if got := deploy.FirstServerName([]string{"192.0.2.1", "2001:db8::1"}); got != "" {
		t.Errorf("addresses only: %q", got)
	}
}

func FuzzParseListener(f *testing.F) {
	f.Add("smtp://a@[::1]:25")
	f.Add("mail.example.com:443")
	f.Fuzz(func(t *testing.T, text string) {
		listener, err := deploy.ParseListener(text, []string{"example.com"})
		if err == nil && (listener.Address == "" || strings.ContainsAny(listener.Address+listener.ServerName, " \n\x00/")) {
			t.Errorf("%q gave %+v", text, listener)
		}
	})
}

func FuzzParseCertificates(f *testing.F) {
	issued := deploytest.NewAuthority(f).Issue(f, "www.example.com")
	f.Add(issued.Full())
	f.Add(slices.Concat(issued.Key, issued.Full()))
	f.Fuzz(func(t *testing.T, text []byte) {
		chain, err := deploy.ParseCertificates(text)
		if err == nil && (len(chain) == 0 || chain[0] == nil) {
			t.Error("no error and no certificate")
		}
	})
}

func TestLockAndRecord(t *testing.T) {
	state := deploytest.State(t)
	release, err := deploy.Lock(state, "edge")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deploy.Lock(state, "edge"); !errors.Is(err, deploy.ErrBusy) {
		t.Errorf("locked twice: %v", err)
	}
	release()
	if release, err = deploy.Lock(state, "edge"); err != nil {
		t.Fatal(err)
	}
	release()
	for _, target := range []string{"", "..", "a/b", ".x", "a\nb"} {
		if _, err := deploy.Lock(state, target); err == nil || errors.Is(err, deploy.ErrBusy) {
			t.Errorf("target %q: %v", target, err)
		}
	}
	for _, name := range []string{"b", "a"} {
		if err := deploy.Record(state, "edge", name, 3); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := deploy.RecordedNames(state, "edge"); err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("names: %v, %v", names, err)
	}
	if err := deploy.Record(state, "edge", "a", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := deploy.Recorded(state, "edge", "a"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
}
