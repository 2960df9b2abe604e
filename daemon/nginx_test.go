package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/journal"
	"github.com/backstay/backstay/store"
	"github.com/backstay/backstay/testbed/nginx"
	"github.com/backstay/backstay/testbed/pki"
	"github.com/backstay/backstay/testbed/world"
)

// startNginx starts a real nginx with one server block for each name, in plain
// paths, and makes it the target "edge" of all certificates.
func (rig *rig) startNginx(names ...string) *nginx.Server {
	rig.t.Helper()
	for _, name := range names {
		pair, err := pki.SelfSigned(pki.Options{Names: []string{name + ".example.com"}})
		if err != nil {
			rig.t.Fatal(err)
		}
		if err := errors.Join(rig.Write(name+".pem", pair.FullchainPEM()), os.WriteFile(rig.Path(name+".key"), pair.KeyPEM(), 0o600)); err != nil {
			rig.t.Fatal(err)
		}
	}
	server, err := nginx.Start(context.Background(), nginx.Config{Folder: rig.Folder, Ports: 1, Daemon: true, Servers: func(server *nginx.Server) string {
		var text strings.Builder
		for _, name := range names {
			fmt.Fprintf(&text, "server { listen 127.0.0.1:%d ssl; server_name %s.example.com; ssl_certificate %s; ssl_certificate_key %s; }\n",
				server.Port(0), name, rig.Path(name+".pem"), rig.Path(name+".key"))
		}
		if more, err := os.ReadFile(rig.Path("more.conf")); err == nil {
			text.Write(more)
		}
		return text.String()
	}})
	if errors.Is(err, nginx.ErrNotInstalled) {
		rig.t.Skip("nginx is not installed")
	}
	if err != nil {
		rig.t.Fatal(err)
	}
	rig.t.Cleanup(func() { server.Stop() })
	rig.cfg.Targets = fmt.Sprintf("  edge: {kind: nginx, config: %s, binary: %s}\n", server.ConfigPath(), server.Binary())
	for _, name := range names {
		rig.cfg.Certificates = append(rig.cfg.Certificates, world.Certificate{Name: name, Domains: []string{name + ".example.com"}, Options: "deploy: [edge]"})
	}
	return server
}

// acts counts what the journal says was done.
func (rig *rig) acts(what string) (count int) {
	rig.t.Helper()
	state, err := store.Open(context.Background(), store.Config{Folder: rig.State(), ReadOnly: true})
	if err != nil {
		rig.t.Fatal(err)
	}
	defer state.Close()
	acts, err := journal.Tail(context.Background(), state, "", 10000)
	if err != nil {
		rig.t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, act := range acts {
		// One reload is an act of each deployment that it serves, at one instant.
		if act.What == what && !seen[act.FinishedAt.String()] {
			seen[act.FinishedAt.String()] = true
			count++
		}
	}
	return count
}

// TestOneReloadForMany: certificates that come together are tested, swapped and
// reloaded together.
func TestOneReloadForMany(t *testing.T) {
	rig := newRig(t, nil)
	names := []string{"a", "b", "c", "d", "e", "f"}
	server := rig.startNginx(names...)
	report := rig.run(rig.load(), Selection{})
	if len(report.Served) != len(names) || len(report.Left) != 0 {
		t.Fatalf("report %+v\n%+v", report, rig.findings)
	}
	if reloads := rig.acts("reload"); reloads != 1 {
		t.Fatalf("%d reloads for %d certificates", reloads, len(names))
	}
	for _, name := range names {
		leaf, err := nginx.Served(context.Background(), server.Address(0), name+".example.com")
		if err != nil || leaf.Subject.CommonName == name || leaf.CheckSignatureFrom(leaf) == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNginxRefusesForAnotherReason: the configuration is broken by somebody
// else. Nothing is deployed, the old pair stays served, and once it is mended
// the deployment goes on without a new order.
func TestNginxRefusesForAnotherReason(t *testing.T) {
	rig := newRig(t, nil)
	server := rig.startNginx("www")
	before, err := nginx.Served(context.Background(), server.Address(0), "www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(rig.Write("more.conf", []byte("server { listen 127.0.0.1:1; no_such_directive on; }\n")), server.Configure()); err != nil {
		t.Fatal(err)
	}
	configuration := rig.load()
	report := rig.run(configuration, Selection{Patience: time.Millisecond})
	if len(report.Served) != 0 || len(report.Issued) != 1 || !rig.found("target-check-failed") {
		t.Fatalf("report %+v findings %+v", report, rig.findings)
	}
	if served, err := nginx.Served(context.Background(), server.Address(0), "www.example.com"); err != nil || !served.Equal(before) {
		t.Fatalf("the old certificate is not served any more: %v", err)
	}
	if err := errors.Join(os.Remove(rig.Path("more.conf")), server.Configure()); err != nil {
		t.Fatal(err)
	}
	daemon, closing := rig.open(configuration)
	defer closing()
	if err := daemon.Ask(context.Background(), []string{"www"}, false); err != nil {
		t.Fatal(err)
	}
	report, err = daemon.Run(context.Background(), Selection{}, nil, nil, "test")
	if err != nil || len(report.Served) != 1 || len(report.Issued) != 0 {
		t.Fatalf("report %+v %v", report, err)
	}
	if orders := len(rig.Authority.Orders()); orders != 1 {
		t.Fatalf("%d orders", orders)
	}
}
