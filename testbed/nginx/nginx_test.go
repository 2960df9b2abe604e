package nginx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/testbed/pki"
)

func pair(t *testing.T, issuer *pki.Issuer, folder string) *pki.Pair {
	t.Helper()
	made, err := issuer.Leaf(pki.Options{Names: []string{"a.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := made.WriteFiles(folder); err != nil {
		t.Fatal(err)
	}
	return made
}

func startWith(t *testing.T, daemon bool) (*Server, *pki.Issuer, *pki.Pair) {
	t.Helper()
	if _, err := Find(); errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	}
	root, err := pki.Root(pki.Options{CommonName: "Root"})
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	first := pair(t, root, folder)
	server, err := Start(t.Context(), Config{Folder: folder, Ports: 2, Daemon: daemon, Servers: func(server *Server) string {
		return fmt.Sprintf(`
  server { listen %s ssl; server_name a.example; ssl_certificate %s; ssl_certificate_key %s; }
  server { listen %s; location / { return 200 "hello\n"; } }`,
			server.Address(0), server.Path("fullchain.pem"), server.Path("privkey.pem"), server.Address(1))
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	return server, root, first
}

func TestStartReloadStop(t *testing.T) {
	for _, daemon := range []bool{false, true} {
		t.Run(fmt.Sprintf("daemon %v", daemon), func(t *testing.T) {
			server, root, first := startWith(t, daemon)
			if err := WaitServed(t.Context(), server.Address(0), "a.example", first.Certificate); err != nil {
				t.Fatal(err)
			}
			response, err := http.Get("http://" + server.Address(1) + "/")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || string(body) != "hello\n" {
				t.Errorf("%q %v", body, err)
			}
			pid := server.PID()
			second := pair(t, root, filepath.Dir(server.ConfigPath()))
			if shown, err := Served(t.Context(), server.Address(0), "a.example"); err != nil || !shown.Equal(first.Certificate) {
				t.Errorf("before the reload the old certificate must be served: %v", err)
			}
			if err := server.Reload(); err != nil {
				t.Fatal(err)
			}
			if err := WaitServed(t.Context(), server.Address(0), "a.example", second.Certificate); err != nil {
				t.Fatal(err)
			}
			if server.PID() != pid || len(server.Workers()) == 0 {
				t.Errorf("pid %d, was %d; workers %v", server.PID(), pid, server.Workers())
			}
			if err := errors.Join(server.Stop(), server.Stop()); err != nil {
				t.Error(err)
			}
			if alive(pid) {
				t.Error("the master is still alive")
			}
			if _, err := Served(t.Context(), server.Address(0), "a.example"); err == nil {
				t.Error("the port still answers")
			}
			if err := server.Run(t.Context()); err != nil {
				t.Errorf("it must start again: %v", err)
			}
		})
	}
}

func TestConfigurationErrorsAreTold(t *testing.T) {
	server, _, _ := startWith(t, false)
	if err := server.Test(t.Context()); err != nil {
		t.Error(err)
	}
	if err := os.Remove(server.Path("privkey.pem")); err != nil {
		t.Fatal(err)
	}
	if err := server.Test(t.Context()); err == nil || !strings.Contains(err.Error(), "privkey.pem") {
		t.Errorf("nginx -t without its key: %v", err)
	}
	broken, err := Start(t.Context(), Config{Folder: t.TempDir(), Servers: func(*Server) string { return "nonsense on;" }})
	if err == nil {
		broken.Stop()
	}
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a broken configuration: %v", err)
	}
}

func TestNotInstalled(t *testing.T) {
	_, err := Start(context.Background(), Config{Folder: t.TempDir(), Binary: "/nonexistent/nginx"})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestPortsDiffer(t *testing.T) {
	ports, err := freePorts(5)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ports)
	if len(slices.Compact(ports)) != 5 {
		t.Errorf("%v", ports)
	}
}
