package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/finding"
	"github.com/backstay/backstay/journal"
	"github.com/backstay/backstay/store"
	"github.com/backstay/backstay/testbed/authority"
	"github.com/backstay/backstay/testbed/nameserver"
)

// world is a CA, a web server with a document folder, a name server in which
// every name is 127.0.0.1, and a TLS server that reads its files when told.
type world struct {
	t         *testing.T
	folder    string
	authority *authority.Authority
	names     *nameserver.Server
	webroot   string
	httpPort  int
	server    *fileServer
	extra     string // more of the configuration
	options   string // of the certificate
	findings  []finding.Finding
}

func newWorld(t *testing.T, change func(*authority.Config)) *world {
	t.Helper()
	world := &world{t: t, folder: t.TempDir()}
	world.webroot = filepath.Join(world.folder, "www")
	if err := os.Mkdir(world.webroot, 0o755); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: http.FileServer(http.Dir(world.webroot))}
	go web.Serve(listener)
	t.Cleanup(func() { web.Close() })
	world.httpPort = listener.Addr().(*net.TCPAddr).Port
	cfg := authority.Config{HTTPPort: world.httpPort}
	if change != nil {
		change(&cfg)
	}
	if world.authority, err = authority.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { world.authority.Close() })
	world.names, err = nameserver.Start(nameserver.Config{Zones: []nameserver.Zone{{Name: "example.com", Default: netip.MustParseAddr("127.0.0.1")}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { world.names.Close() })
	world.write("ca-roots.pem", world.authority.Roots())
	world.write("ca-https.pem", world.authority.HTTPSRoots())
	world.server = startFileServer(t, filepath.Join(world.folder, "tls.pem"), filepath.Join(world.folder, "tls.key"))
	return world
}

func (world *world) write(name string, text []byte) {
	world.t.Helper()
	if err := os.WriteFile(filepath.Join(world.folder, name), text, 0o644); err != nil {
		world.t.Fatal(err)
	}
}

func (world *world) state() string { return filepath.Join(world.folder, "state") }

// configuration writes the configuration for certificates, each "name: domain
// domain", and loads it.
func (world *world) configuration(certificates ...string) *config.Config {
	world.t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, `version: 1
contact: ops@example.com
resolvers: ["%s"]
authorities:
  test: {directory: "%s", directory_roots: ca-https.pem, roots: ca-roots.pem}
solvers:
  web: {type: http-01, webroot: %s, port: %d}
%s
targets:
  mail: {kind: files, cert: %s, key: %s, reload: none, reload_every: 100ms, verify: ["%s"]}
certificates:
`, world.names.Address(), world.authority.URL(), world.webroot, world.httpPort, world.extra,
		filepath.Join(world.folder, "tls.pem"), filepath.Join(world.folder, "tls.key"), world.server.address)
	for _, certificate := range certificates {
		name, domains, _ := strings.Cut(certificate, ": ")
		options := world.options
		if options == "" {
			options = "deploy: [mail]"
		}
		fmt.Fprintf(&text, "  - {name: %s, domains: [%s], %s}\n", name, strings.Join(strings.Fields(domains), ", "), options)
	}
	world.write("backstay.yaml", []byte(text.String()))
	loaded, problems, err := config.Load(filepath.Join(world.folder, "backstay.yaml"), config.Options{})
	if err != nil || loaded == nil {
		world.t.Fatalf("configuration: %v %v\n%s", problems, err, text.String())
	}
	return loaded
}

// run opens the state, runs what is due, and closes it.
func (world *world) run(configuration *config.Config, selection Selection) Report {
	world.t.Helper()
	report, err := world.tryRun(configuration, selection)
	if err != nil {
		world.t.Fatal(err)
	}
	return report
}

func (world *world) tryRun(configuration *config.Config, selection Selection) (report Report, err error) {
	lock, err := store.TryLock(world.state())
	if err != nil {
		return report, err
	}
	defer lock.Release()
	daemon, err := Open(context.Background(), Config{Folder: world.state(), Configuration: configuration, Now: time.Now})
	if err != nil {
		return report, err
	}
	world.findings = nil
	report, err = daemon.Run(context.Background(), selection, func(found finding.Finding) { world.findings = append(world.findings, found) }, nil, "test")
	if closing := daemon.Close(); err == nil {
		err = closing
	}
	return report, err
}

// verifyJournal checks the log after a run.
func (world *world) verifyJournal() {
	world.t.Helper()
	state, err := store.Open(context.Background(), store.Config{Folder: world.state(), ReadOnly: true})
	if err != nil {
		world.t.Fatal(err)
	}
	defer state.Close()
	verification, err := journal.Verify(context.Background(), world.state(), state, nil, time.Now())
	if err != nil || !verification.OK || verification.Acts == 0 || verification.Waiting != 0 {
		world.t.Fatalf("journal: %+v %v", verification, err)
	}
}

// fileServer serves the pair in two files as they are at each handshake.
type fileServer struct {
	address    string
	handshakes atomic.Int64
}

func startFileServer(t *testing.T, certificate, key string) *fileServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fileServer{address: listener.Addr().String()}
	secured := tls.NewListener(listener, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		server.handshakes.Add(1)
		pair, err := tls.LoadX509KeyPair(certificate, key)
		return &pair, err
	}})
	go func() {
		for {
			connection, err := secured.Accept()
			if err != nil {
				return
			}
			go func() {
				connection.(*tls.Conn).Handshake()
				connection.Close()
			}()
		}
	}()
	t.Cleanup(func() { listener.Close() })
	return server
}

func TestIssueDeployVerify(t *testing.T) {
	world := newWorld(t, nil)
	configuration := world.configuration("www: www.example.com example.com")
	started := time.Now()
	report := world.run(configuration, Selection{})
	if len(report.Issued) != 1 || len(report.Served) != 1 || report.Served[0].Step != "served" || len(report.Left) != 0 {
		t.Fatalf("report %+v\nfindings %+v", report, world.findings)
	}
	t.Logf("issued, deployed and verified in %s", time.Since(started))
	again := world.run(configuration, Selection{})
	if len(again.Issued)+len(again.Served)+len(again.Left) != 0 {
		t.Fatalf("a second run did something: %+v", again)
	}
	if issued := len(world.authority.Issued()); issued != 1 {
		t.Fatalf("%d certificates issued", issued)
	}
	world.verifyJournal()
	left, err := os.ReadDir(filepath.Join(world.webroot, ".well-known", "acme-challenge"))
	if err != nil || len(left) != 0 {
		t.Fatalf("challenge files left: %v %v", left, err)
	}
	target, err := os.Readlink(filepath.Join(world.state(), "live", "www"))
	if err != nil || !strings.HasSuffix(target, "certs/www/1") {
		t.Fatalf("live link: %q %v", target, err)
	}
}
