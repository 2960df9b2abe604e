// Package world is where the clients of the benchmarks live: an authority, a
// name server, a web server, and a client set up as its own documentation says.
//
// Promise: every client gets the same authority, the same nginx and the same
// folders; what differs between clients stands in clients.go and nowhere else.
//
// Limits: one name, http-01 by webroot, loopback.
package world

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/backstay/backstay/testbed/nameserver"
	"github.com/backstay/backstay/testbed/pki"
)

// Domain is the one name. Every name is found at 127.0.0.1.
const Domain = "bench.example.com"

// Authority is what the clients need to know of an authority.
type Authority interface {
	URL() string        // of its directory
	HTTPSRoots() []byte // PEM: trusted for its own HTTPS
	Roots() []byte      // PEM: what its certificates chain to
	Close() error
}

// World is one client's surroundings.
//
//	Folder/client    what the client owns
//	Folder/webroot   challenges
//	Folder/nginx     configuration of the web server
type World struct {
	Folder     string
	Authority  Authority
	Server     *Server
	Resolver   string // ADDRESS:PORT of the name server
	HTTPSRoots string // file
	Roots      string // file
	names      *nameserver.Server
}

// New makes a world. start is given the port where http-01 looks and the name
// server to ask.
func New(start func(httpPort int, resolver string) (Authority, error)) (*World, error) {
	folder, err := os.MkdirTemp("", "backstay-bench-")
	if err != nil {
		return nil, err
	}
	w := &World{Folder: folder, HTTPSRoots: filepath.Join(folder, "https.pem"), Roots: filepath.Join(folder, "root.pem")}
	for _, name := range []string{"client", "webroot/.well-known/acme-challenge", "nginx"} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(folder, 0o755); err != nil { // nginx's workers may be another user
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	w.Server = &Server{Folder: filepath.Join(folder, "nginx"), Webroot: filepath.Join(folder, "webroot"), HTTPPort: ports[0], TLSPort: ports[1]}
	everywhere := nameserver.Zone{Name: ".", Default: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	if w.names, err = nameserver.Start(nameserver.Config{Zones: []nameserver.Zone{everywhere}}); err != nil {
		return nil, err
	}
	w.Resolver = w.names.Address().String()
	if w.Authority, err = start(ports[0], w.Resolver); err != nil {
		return nil, err
	}
	err = errors.Join(
		os.WriteFile(w.HTTPSRoots, w.Authority.HTTPSRoots(), 0o644),
		os.WriteFile(w.Roots, w.Authority.Roots(), 0o644),
	)
	return w, err
}

// Close ends everything; keep leaves the folder.
func (w *World) Close(keep bool) {
	w.Server.Stop()
	w.Authority.Close()
	w.names.Close()
	if !keep {
		os.RemoveAll(w.Folder)
	}
}

// Home is the client's folder.
func (w *World) Home() string { return filepath.Join(w.Folder, "client") }

// Empty clears the client's folder and the challenges.
func (w *World) Empty() error {
	challenges := filepath.Join(w.Server.Webroot, ".well-known/acme-challenge")
	return errors.Join(os.RemoveAll(w.Home()), os.RemoveAll(challenges),
		os.MkdirAll(w.Home(), 0o755), os.MkdirAll(challenges, 0o755))
}

// placeholder writes a self-signed pair for clients that adopt files which are
// there, as they are on a host that is being moved over.
func placeholder(certificatePath, keyPath string) error {
	pair, err := pki.SelfSigned(pki.Options{Names: []string{Domain}})
	if err != nil {
		return err
	}
	return errors.Join(
		os.MkdirAll(filepath.Dir(certificatePath), 0o755),
		os.WriteFile(certificatePath, pair.FullchainPEM(), 0o644),
		os.WriteFile(keyPath, pair.KeyPEM(), 0o600),
	)
}

// freePorts finds loopback ports that are free now.
func freePorts(count int) ([]int, error) {
	var ports []int
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("no free port: %w", err)
		}
		defer listener.Close() // only at the end, so that no port comes twice
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
