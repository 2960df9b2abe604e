package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/backstay/backstay/testbed/authority"
	"github.com/backstay/backstay/testbed/pki"
)

// domain is the one name. The authority finds every name at 127.0.0.1.
const domain = "kill.example.com"

// world is where a client lives: an authority, a web server, and folders.
//
//	folder/client    what the client owns; reset before each trial
//	folder/template  the same after the first issuance
//	folder/webroot   challenges
//	folder/nginx     configuration of the web server
type world struct {
	folder    string
	authority *authority.Authority
	age       atomic.Int64 // how far in the past the authority's clock is, in nanoseconds
	server    *server
	rootsFile string // of the authority's own HTTPS
	chainFile string // the root that its certificates chain to
}

// due is how long ago the first certificate was issued: of its 90 days 20 are
// left, so that every client finds it due and its successor not.
const due = 70 * 24 * time.Hour

func newWorld() (*world, error) {
	folder, err := os.MkdirTemp("", "backstay-kill-")
	if err != nil {
		return nil, err
	}
	w := &world{folder: folder, rootsFile: filepath.Join(folder, "https.pem"), chainFile: filepath.Join(folder, "root.pem")}
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
	w.server = &server{folder: filepath.Join(folder, "nginx"), webroot: filepath.Join(folder, "webroot"), httpPort: ports[0], tlsPort: ports[1]}
	w.authority, err = authority.New(authority.Config{
		HTTPPort: ports[0],
		Now:      func() time.Time { return time.Now().Add(-time.Duration(w.age.Load())) },
	})
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		os.WriteFile(w.rootsFile, w.authority.HTTPSRoots(), 0o644),
		os.WriteFile(w.chainFile, w.authority.Roots(), 0o644),
	)
	return w, err
}

func (w *world) close(keep bool) {
	w.server.stop()
	w.authority.Close()
	if !keep {
		os.RemoveAll(w.folder)
	}
}

// serials are the certificates that the authority has issued, oldest first.
func (w *world) serials() []string {
	var all []string
	for _, issued := range w.authority.Issued() {
		all = append(all, issued.Certificate.SerialNumber.Text(16))
	}
	return all
}

// placeholder writes a self-signed pair for clients that adopt files which are
// there, as they are on a host that is being moved over.
func placeholder(certificatePath, keyPath string) error {
	pair, err := pki.SelfSigned(pki.Options{Names: []string{domain}})
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
