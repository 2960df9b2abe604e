package files_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/deploy/deploytest"
	"github.com/backstay/backstay/deploy/files"
)

var _ deploy.Target = (*files.Target)(nil)

func open(t *testing.T, state string, target config.Target) *files.Target {
	t.Helper()
	target.Name, target.Kind = "mail", "files"
	opened, err := files.New(files.Config{Target: target, State: state})
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return text
}

func TestSuite(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	names := []string{"mail.example.com"}
	old := authority.Issue(t, names...)
	for _, row := range []struct {
		name     string
		before   *deploytest.Issued
		combined bool
	}{
		{"over a pair in force", &old, false},
		{"over nothing", nil, false},
		{"one file, over a pair in force", &old, true},
		{"one file, over nothing", nil, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			deploytest.Suite(t, authority, names, func(t *testing.T) deploytest.World {
				state := deploytest.State(t)
				folder := t.TempDir()
				target := config.Target{Cert: filepath.Join(folder, "cert.pem"), Key: filepath.Join(folder, "key.pem")}
				if row.combined {
					target.Key = ""
				}
				if row.before != nil {
					full, key := row.before.Full(), row.before.Key
					if row.combined {
						full = slices.Concat(key, full)
					} else if err := os.WriteFile(target.Key, key, 0o640); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(target.Cert, full, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				return deploytest.World{
					State: state, Name: "mail", Form: deploy.FormLink, Before: row.before,
					Open: func(t *testing.T) deploy.Target { return open(t, state, target) },
					Opened: func(t *testing.T) ([]byte, []byte) {
						full := read(t, target.Cert)
						if row.combined {
							return full, full
						}
						return full, read(t, target.Key)
					},
				}
			})
		})
	}
}

func TestReloadTellsWhatIsInForce(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	state, folder := deploytest.State(t), t.TempDir()
	out := filepath.Join(folder, "out")
	target := config.Target{
		Cert: filepath.Join(folder, "cert.pem"), Key: filepath.Join(folder, "key.pem"),
		Reload: config.Reload{Argv: []string{"sh", "-c", `cat "$RENEWED_LINEAGE/fullchain.pem" > "$0"; echo "$RENEWED_LINEAGE|$RENEWED_DOMAINS" >> "$0"`, out}},
	}
	issued := authority.Issue(t, "mail.example.com", "*.example.com")
	placement := deploytest.Store(t, state, "mail", 1, issued)
	first := open(t, state, target)
	if err := first.Stage(context.Background(), placement); err != nil {
		t.Fatal(err)
	}
	if err := first.Swap(context.Background(), placement, false); err != nil {
		t.Fatal(err)
	}
	// as a kill between the switch and the note would leave it
	if err := os.Remove(deploy.LinkPath(state, "mail", "mail")); err != nil {
		t.Fatal(err)
	}
	if err := open(t, state, target).Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := string(issued.Full()) + filepath.Join(state, "targets", "mail", "mail") + "|mail.example.com *.example.com\n"
	if got := string(read(t, out)); got != want {
		t.Errorf("the command was told %q", got)
	}
	target.Reload = config.Reload{Argv: []string{"false"}}
	var failed *deploy.CommandError
	if err := open(t, state, target).Reload(context.Background()); !errors.As(err, &failed) {
		t.Errorf("a failing command: %v", err)
	}
}

func TestListeners(t *testing.T) {
	folder := t.TempDir()
	target := open(t, deploytest.State(t), config.Target{Cert: filepath.Join(folder, "cert.pem"), Verify: []string{"smtp://127.0.0.1:25", "mail.example.com:465"}})
	standing, err := target.Look(context.Background(), deploy.Placement{Name: "mail", Domains: []string{"mx.example.com"}, Generation: 1})
	want := []deploy.Listener{
		{Address: "127.0.0.1:25", ServerName: "mx.example.com", Transport: "smtp"},
		{Address: "mail.example.com:465", ServerName: "mail.example.com", Transport: "tcp"},
	}
	if err != nil || !slices.Equal(standing.Listeners, want) || standing.Generation != -1 {
		t.Errorf("%+v, %v", standing, err)
	}
}

func TestNewRefuses(t *testing.T) {
	sound := config.Target{Name: "mail", Cert: "/etc/x/cert.pem", Key: "/etc/x/key.pem"}
	for _, row := range []struct {
		want   string
		change func(target *config.Target)
	}{
		{"Name is required", func(target *config.Target) { target.Name = "" }},
		{"cert is required", func(target *config.Target) { target.Cert = "" }},
		{"absolute", func(target *config.Target) { target.Key = "key.pem" }},
		{`mode "0644"`, func(target *config.Target) { target.Mode = "0644" }},
		{`mode "rw"`, func(target *config.Target) { target.Mode = "rw" }},
		{`mode "04600"`, func(target *config.Target) { target.Mode = "04600" }},
		{`mode "0040"`, func(target *config.Target) { target.Mode = "0040" }},
		{"no such user", func(target *config.Target) { target.Owner = "no-such-user-here" }},
		{"no such group", func(target *config.Target) { target.Owner = "root:no-such-group-here" }},
		{"no such group", func(target *config.Target) { target.Owner = "0:" }},
		{"verify", func(target *config.Target) { target.Verify = []string{"gopher://x"} }},
	} {
		target := sound
		row.change(&target)
		if _, err := files.New(files.Config{Target: target, State: "/var/lib/backstay"}); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", row.want, err)
		}
	}
	sound.Mode, sound.Owner = "0640", "root:root"
	if _, err := files.New(files.Config{Target: sound, State: "/var/lib/backstay"}); err != nil {
		t.Error(err)
	}
	if _, err := files.New(files.Config{Target: sound, State: "state"}); err == nil {
		t.Error("a relative state folder was accepted")
	}
}
