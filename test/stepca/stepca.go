// Package stepca runs Smallstep's step-ca in this process.
//
// Promise: Start returns a step-ca with one ACME provisioner on a loopback port,
// made from two fresh certificates and a handful of settings, without the step
// command.
//
// Limits: step-ca keeps the validation ports and the resolver in package
// variables, so one process has one validation world; Start sets them. It
// listens on a port that was free a moment before. No external accounts: their
// keys need the administration database. It lives in a module of its
// own because its dependencies are many.
package stepca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/smallstep/certificates/acme"
	"github.com/smallstep/certificates/authority/config"
	"github.com/smallstep/certificates/ca"

	"github.com/backstay/backstay/testbed/pki"
)

// Config is what a step-ca is made from.
type Config struct {
	Folder   string // for certificates and database; must exist
	HTTPPort int    // where http-01 looks
	TLSPort  int    // where tls-alpn-01 looks
	DNS      string // resolver, over UDP and TCP
}

// Server is a running step-ca.
type Server struct {
	authority *ca.CA
	address   string
	roots     []byte
	done      chan error
}

// Start runs a step-ca and returns when it answers. The caller must Close it.
func Start(ctx context.Context, wanted Config) (*Server, error) {
	acme.InsecurePortHTTP01, acme.InsecurePortTLSALPN01 = wanted.HTTPPort, wanted.TLSPort
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, wanted.DNS)
	}}
	log.SetOutput(io.Discard) // it logs every start and request
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	server := &Server{address: address, done: make(chan error, 1)}
	settings, err := server.settings(wanted)
	if err != nil {
		return nil, err
	}
	if server.authority, err = ca.New(settings, ca.WithQuiet(true)); err != nil {
		return nil, err
	}
	go func() { server.done <- server.authority.Run() }()
	if err := server.wait(ctx); err != nil {
		server.Close()
		return nil, err
	}
	return server, nil
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// settings writes the certificates and returns what ca.json would hold.
func (server *Server) settings(wanted Config) (*config.Config, error) {
	root, err := pki.Root(pki.Options{CommonName: "step-ca root"})
	if err != nil {
		return nil, err
	}
	intermediate, err := root.Intermediate(pki.Options{CommonName: "step-ca intermediate"})
	if err != nil {
		return nil, err
	}
	server.roots = pki.PEM(root.Certificate)
	path := func(name string) string { return filepath.Join(wanted.Folder, name) }
	pair := &pki.Pair{Certificate: intermediate.Certificate, Key: intermediate.Key}
	for name, content := range map[string][]byte{
		"root.pem": server.roots, "intermediate.pem": pair.CertificatePEM(), "intermediate.key": pair.KeyPEM(),
	} {
		if err := os.WriteFile(path(name), content, 0o600); err != nil {
			return nil, err
		}
	}
	document := map[string]any{
		"root": path("root.pem"), "crt": path("intermediate.pem"), "key": path("intermediate.key"),
		"address": server.address, "dnsNames": []string{"127.0.0.1"},
		"db":        map[string]string{"type": "bbolt", "dataSource": path("database")},
		"authority": map[string]any{"provisioners": []any{map[string]string{"type": "ACME", "name": "acme"}}},
	}
	encoded, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	settings := new(config.Config)
	if err := json.Unmarshal(encoded, settings); err != nil {
		return nil, err
	}
	settings.Init()
	return settings, nil
}

func (server *Server) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL(), nil)
		if err != nil {
			return err
		}
		response, err := server.Client().Do(request)
		if err == nil {
			response.Body.Close()
			return nil
		}
		select {
		case ended := <-server.done:
			server.done <- ended
			return fmt.Errorf("step-ca ended: %w", ended)
		case <-ctx.Done():
			return fmt.Errorf("step-ca does not answer: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// URL is the directory's URL.
func (server *Server) URL() string { return "https://" + server.address + "/acme/acme/directory" }

// Roots is the PEM its certificates, and its own HTTPS, chain to.
func (server *Server) Roots() []byte { return server.roots }

// Client is an HTTP client that trusts it.
func (server *Server) Client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(server.roots)
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

// Close ends it and waits.
func (server *Server) Close() error {
	err := server.authority.Stop()
	<-server.done
	return err
}
