package world

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay/testbed/authority"
)

// newTestWorld is a world with our own authority; nginx is wanted.
func newTestWorld(t *testing.T) *World {
	t.Helper()
	if _, err := exec.LookPath("nginx"); err != nil {
		t.Skip("nginx is not installed")
	}
	w, err := New(func(httpPort int, resolver string) (Authority, error) {
		return authority.New(authority.Config{HTTPPort: httpPort})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(false) })
	return w
}

// TestServer sees a pair served, a broken pair noticed, and a new one served
// after a start.
func TestServer(t *testing.T) {
	w := newTestWorld(t)
	certificate, key := filepath.Join(w.Home(), "fullchain.pem"), filepath.Join(w.Home(), "privkey.pem")
	other := filepath.Join(w.Home(), "other.pem")
	for _, pair := range [][2]string{{certificate, key}, {other, other + ".key"}} {
		if err := placeholder(pair[0], pair[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Server.Configure(certificate, key); err != nil {
		t.Fatal(err)
	}
	if err := w.Server.Start(); err != nil {
		t.Fatal(err)
	}
	first, err := w.Server.Served()
	if err != nil {
		t.Fatal(err)
	}
	if !w.Server.PairMatches() || !w.Server.WouldStart() {
		t.Error("a good pair was refused")
	}
	if err := os.Rename(other, certificate); err != nil {
		t.Fatal(err)
	}
	if w.Server.PairMatches() || w.Server.WouldStart() {
		t.Error("a certificate beside another's key was not noticed")
	}
	if !w.Server.Serves(first, time.Second) {
		t.Error("what is on disk reached the server without a reload")
	}
	if err := os.Rename(other+".key", key); err != nil {
		t.Fatal(err)
	}
	if err := w.Server.Start(); err != nil {
		t.Fatal(err)
	}
	if second, err := w.Server.Served(); err != nil || second == first {
		t.Errorf("serves %s, %v after a start", second, err)
	}
}

// TestClientsAreSetUp makes every client's folder without running one.
func TestClientsAreSetUp(t *testing.T) {
	w := newTestWorld(t)
	for _, name := range Clients {
		client, err := NewClient(name, w, "backstay")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if client.Name != name || client.Certificate == "" || client.Key == "" || len(client.Issue) == 0 || len(client.Renew) == 0 || len(client.Force) == 0 {
			t.Errorf("%s is not set up: %+v", name, client)
		}
	}
	if _, err := NewClient("nobody", w, ""); err == nil {
		t.Error("an unknown client was set up")
	}
}
