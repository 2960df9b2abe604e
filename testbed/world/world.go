// Package world joins the pieces of the testbed into one small world: a CA, a
// name server in which every name leads to loopback, a web server with a
// document folder, and a TLS server that reads its files at every handshake.
//
// Promise: everything is real (sockets, files, protocols), on loopback and on
// free ports; Close ends all of it.
//
// Limits: for tests, drills and the demo. Nothing in it is fit to serve anybody.
package world

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/backstay/backstay/testbed/authority"
	"github.com/backstay/backstay/testbed/nameserver"
)

// Zone is the zone whose names all lead to loopback.
const Zone = "example.com"

// Config of a world.
type Config struct {
	Folder    string           // an empty folder of its own
	Authority authority.Config // HTTPPort is filled in
}

// World is everything that runs.
type World struct {
	Folder    string
	Webroot   string
	HTTPPort  int // of the web server that serves Webroot
	Authority *authority.Authority
	Names     *nameserver.Server
	Server    *Server // serves Certificate and Key as they are at each handshake

	closers []io.Closer
}

// New builds a world in an empty folder.
func New(cfg Config) (world *World, err error) {
	world = &World{Folder: cfg.Folder, Webroot: filepath.Join(cfg.Folder, "www")}
	defer func() {
		if err != nil {
			world.Close()
		}
	}()
	if err := os.Mkdir(world.Webroot, 0o755); err != nil {
		return world, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return world, err
	}
	web := &http.Server{Handler: http.FileServer(http.Dir(world.Webroot)), ReadHeaderTimeout: 10 * time.Second}
	go web.Serve(listener)
	world.closers = append(world.closers, web)
	world.HTTPPort = listener.Addr().(*net.TCPAddr).Port
	if cfg.Authority.HTTPPort == 0 {
		cfg.Authority.HTTPPort = world.HTTPPort
	}
	world.Names, err = nameserver.Start(nameserver.Config{
		Zones: []nameserver.Zone{{Name: Zone, Default: netip.MustParseAddr("127.0.0.1")}},
		Keys:  []nameserver.Key{{Name: "backstay", Secret: TSIGSecret}},
	})
	if err != nil {
		return world, err
	}
	world.closers = append(world.closers, world.Names)
	if cfg.Authority.Network == nil {
		cfg.Authority.Network = world.Names
	}
	if world.Authority, err = authority.New(cfg.Authority); err != nil {
		return world, err
	}
	world.closers = append(world.closers, closer(func() error { world.Authority.Close(); return nil }))
	if world.Server, err = Serve(world.Path("tls.pem"), world.Path("tls.key")); err != nil {
		return world, err
	}
	world.closers = append(world.closers, world.Server)
	return world, errors.Join(
		world.Write("ca-roots.pem", world.Authority.Roots()),
		world.Write("ca-https.pem", world.Authority.HTTPSRoots()),
		world.Write("tsig.secret", []byte(TSIGSecret+"\n")),
	)
}

// TSIGSecret is the key "backstay" of the name server. It guards nothing.
const TSIGSecret = "YmFja3N0YXktdGVzdGJlZC10c2lnLXNlY3JldC0wMDE="

type closer func() error

func (close closer) Close() error { return close() }

// Path inside the world's folder.
func (world *World) Path(name string) string { return filepath.Join(world.Folder, name) }

// State is the state folder.
func (world *World) State() string { return world.Path("state") }

// Write a file into the world's folder.
func (world *World) Write(name string, text []byte) error {
	return os.WriteFile(world.Path(name), text, 0o644)
}

// Close ends everything.
func (world *World) Close() error {
	var err error
	for index := len(world.closers) - 1; index >= 0; index-- {
		err = errors.Join(err, world.closers[index].Close())
	}
	return err
}

// Certificate is one line of a configuration.
type Certificate struct {
	Name    string
	Domains []string
	Options string // further keys, such as "key: rsa-2048"; "" deploys the first certificate to the target "mail" and others nowhere
}

// Configuration is what varies in a configuration. The authority is named
// "test", the solvers "web" (the document folder), "own" (a listener of our own
// at port OwnPort), "zone" (dynamic updates); the target "mail" is the pair that
// Server serves.
type Configuration struct {
	Certificates []Certificate
	Targets      string // further lines under targets, indented by two blanks
	Solver       string // the solver of all certificates; "" is web
	OwnPort      int    // of the solver "own"; 0 leaves it out
	AuthorityKey string // further keys of the authority, such as "profile: shortlived"
}

// Configure writes backstay.yaml and returns its path.
func (world *World) Configure(cfg Configuration) (string, error) {
	if cfg.Solver == "" {
		cfg.Solver = "web"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "version: 1\ncontact: ops@example.com\nresolvers: [\"%s\"]\n", world.Names.Address())
	authorityKeys := ""
	if cfg.AuthorityKey != "" {
		authorityKeys = ", " + cfg.AuthorityKey
	}
	fmt.Fprintf(&text, "authorities:\n  test: {directory: \"%s\", directory_roots: ca-https.pem, roots: ca-roots.pem%s}\n", world.Authority.URL(), authorityKeys)
	fmt.Fprintf(&text, "solvers:\n  web: {type: http-01, webroot: %s, port: %d}\n", world.Webroot, world.HTTPPort)
	if cfg.OwnPort != 0 {
		fmt.Fprintf(&text, "  own: {type: http-01, listen: \"127.0.0.1:%d\", port: %d}\n", cfg.OwnPort, cfg.OwnPort)
		fmt.Fprintf(&text, "  alpn: {type: tls-alpn-01, listen: \"127.0.0.1:%d\", port: %d}\n", cfg.OwnPort, cfg.OwnPort)
	}
	fmt.Fprintf(&text, "  zone: {type: dns-01, provider: rfc2136, server: \"%s\", check_at: [\"%s\"], tsig: {name: backstay, secret: {file: tsig.secret}}}\n", world.Names.Address(), world.Names.Address())
	fmt.Fprintf(&text, "targets:\n  mail: {kind: files, cert: %s, key: %s, reload: none, reload_every: 50ms, verify: [\"%s\"]}\n%s",
		world.Path("tls.pem"), world.Path("tls.key"), world.Server.Address, cfg.Targets)
	fmt.Fprintf(&text, "defaults: {solvers: [%s]}\ncertificates:\n", cfg.Solver)
	for index, certificate := range cfg.Certificates {
		options := certificate.Options
		switch {
		case options == "" && index == 0:
			options = "deploy: [mail]"
		case options == "":
			options = "deploy: []" // the target holds one pair
		}
		var domains []string
		for _, domain := range certificate.Domains {
			domains = append(domains, fmt.Sprintf("%q", domain))
		}
		fmt.Fprintf(&text, "  - {name: %s, domains: [%s], %s}\n", certificate.Name, strings.Join(domains, ", "), options)
	}
	return world.Path("backstay.yaml"), world.Write("backstay.yaml", []byte(text.String()))
}

// ChallengeFiles lists answers that are left in the document folder.
func (world *World) ChallengeFiles() []string {
	entries, err := os.ReadDir(filepath.Join(world.Webroot, ".well-known", "acme-challenge"))
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// Server is a TLS server that reads its pair at every handshake, as a mail
// server does that forks for each connection.
type Server struct {
	Address    string
	Handshakes atomic.Int64
	listener   net.Listener
	held       atomic.Pointer[tls.Certificate]
}

// Hold makes the server go on serving pair whatever its files say, as old
// workers do; nil lets go.
func (server *Server) Hold(pair *tls.Certificate) { server.held.Store(pair) }

// Serve starts a server on a free loopback port.
func Serve(certificate, key string) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &Server{Address: listener.Addr().String(), listener: listener}
	secured := tls.NewListener(listener, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		server.Handshakes.Add(1)
		if held := server.held.Load(); held != nil {
			return held, nil
		}
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
				connection.SetDeadline(time.Now().Add(10 * time.Second))
				connection.(*tls.Conn).Handshake()
				connection.Close()
			}()
		}
	}()
	return server, nil
}

// Close stops the server.
func (server *Server) Close() error { return server.listener.Close() }
