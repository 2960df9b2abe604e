// Package pebble runs Pebble, Let's Encrypt's ACME server for tests, in this
// process.
//
// Promise: what Start returns is a Pebble assembled from its own packages as
// its main does it, on a free loopback port with HTTPS, with validation that
// does not sleep. Two servers in one process do not disturb each other.
//
// Limits: Pebble reads its switches from the environment while it is
// constructed, so Start sets them for that moment, under a lock of its own:
// other code that reads PEBBLE_ variables at the same time may see them.
// Pebble's validation goroutine has no way to stop and outlives Close; it is
// idle. Keep at most eight orders in flight: its queues can deadlock at 64.
// Only tests, benchmarks and cmd/pebble-server may import this package.
package pebble

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"github.com/backstay/backstay/testbed/pki"
)

// Config is what a Pebble is made from.
type Config struct {
	Listen   string // 127.0.0.1:0 when empty
	HTTPPort int    // where http-01 looks; 80 when 0
	TLSPort  int    // where tls-alpn-01 looks; 443 when 0
	DNS      string // address of the DNS server it asks, over TCP; "" for the system's

	NonceRejectPercent int // of good nonces, 0 to 99
	AuthzReusePercent  int // of valid authorizations, 0 to 100
	AlwaysValid        bool
	Strict             bool
	OrdersPerPage      int // 3 when 0

	ExternalAccounts        map[string]string // key id -> base64url HMAC key
	ExternalAccountRequired bool
	CAAIdentities           []string

	Profiles       map[string]Profile // nil: one called "default"
	Validity       time.Duration      // of the default profile; 90 days when 0
	AlternateRoots int
	ChainLength    int           // intermediates; 1 when 0
	KeyAlgorithm   string        // of the issuers: ecdsa (default) or rsa
	RetryAfter     time.Duration // of authorizations and orders, whole seconds; none when 0

	Log io.Writer // nil: nowhere
}

// Profile is a kind of certificate that orders may ask for.
type Profile struct {
	Description string
	Validity    time.Duration // 90 days when 0
}

// Server is a running Pebble.
type Server struct {
	http       *http.Server
	listener   net.Listener
	management http.Handler
	https      []byte
	roots      [][]byte
	done       chan struct{}
}

// environment makes the moment in which Pebble reads its switches exclusive.
var environment sync.Mutex

// Start runs a Pebble. The caller must Close it.
func Start(config Config) (*Server, error) {
	config.fill()
	front, authority, err := assemble(config)
	if err != nil {
		return nil, fmt.Errorf("pebble: %w", err)
	}
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return nil, fmt.Errorf("pebble: %w", err)
	}
	host, _, _ := net.SplitHostPort(listener.Addr().String())
	pair, root, err := pki.Loopback(host)
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("pebble: %w", err)
	}
	server := &Server{
		http: &http.Server{
			Handler:           front.Handler(),
			TLSConfig:         &tls.Config{Certificates: []tls.Certificate{pair.TLS()}},
			ReadHeaderTimeout: 30 * time.Second,
			ErrorLog:          log.New(io.Discard, "", 0),
		},
		listener:   listener,
		management: front.ManagementHandler(),
		https:      pki.PEM(root),
		done:       make(chan struct{}),
	}
	for index := range authority.GetNumberOfRootCerts() {
		server.roots = append(server.roots, authority.GetRootCert(index).PEM())
	}
	go func() {
		defer close(server.done)
		server.http.ServeTLS(listener, "", "")
	}()
	return server, nil
}

func (config *Config) fill() {
	if config.Listen == "" {
		config.Listen = "127.0.0.1:0"
	}
	if config.HTTPPort == 0 {
		config.HTTPPort = 80
	}
	if config.TLSPort == 0 {
		config.TLSPort = 443
	}
	if config.ChainLength == 0 {
		config.ChainLength = 1
	}
	if config.KeyAlgorithm == "" {
		config.KeyAlgorithm = "ecdsa"
	}
	if config.Profiles == nil {
		config.Profiles = map[string]Profile{"default": {Description: "The default profile", Validity: config.Validity}}
	}
	if len(config.CAAIdentities) == 0 {
		config.CAAIdentities = []string{"pebble.letsencrypt.org"}
	}
	if config.Log == nil {
		config.Log = nowhere{}
	}
}

// nowhere is io.Discard without its shortcut: log.Logger then takes its lock,
// which puts Pebble's goroutines in an order. Without it Pebble 2.10.1 has a data
// race between a finalized replacement and the next order that replaces the
// same certificate, and tests under the race detector would fail for it.
type nowhere struct{}

func (nowhere) Write(line []byte) (int, error) { return len(line), nil }

// assemble does what Pebble's main does, with the environment it needs.
func assemble(config Config) (front *wfe.WebFrontEndImpl, authority *ca.CAImpl, err error) {
	defer func() {
		if why := recover(); why != nil { // Pebble panics on bad settings
			err = fmt.Errorf("%v", why)
		}
	}()
	environment.Lock()
	defer environment.Unlock()
	defer setEnvironment(config)()

	logger := log.New(config.Log, "pebble ", log.LstdFlags)
	store := db.NewMemoryStore()
	for id, key := range config.ExternalAccounts {
		if err := store.AddExternalAccountKeyByID(id, key); err != nil {
			return nil, nil, err
		}
	}
	profiles := map[string]ca.Profile{}
	for name, profile := range config.Profiles {
		profiles[name] = ca.Profile{Description: profile.Description, ValidityPeriod: uint64(profile.Validity / time.Second)}
	}
	authority = ca.New(logger, store, "", config.KeyAlgorithm, config.AlternateRoots, config.ChainLength, profiles)
	validation := va.New(logger, config.HTTPPort, config.TLSPort, config.Strict, config.DNS, store)
	retry := int(config.RetryAfter / time.Second)
	made := wfe.New(logger, store, validation, authority, config.CAAIdentities, config.Strict, config.ExternalAccountRequired, retry, retry)
	return &made, authority, nil
}

// setEnvironment sets Pebble's switches and returns the function that puts the
// old values back.
func setEnvironment(config Config) (restore func()) {
	wanted := map[string]string{
		"PEBBLE_VA_NOSLEEP":          "1",
		"PEBBLE_VA_SLEEPTIME":        "",
		"PEBBLE_VA_ALWAYS_VALID":     "",
		"PEBBLE_WFE_NONCEREJECT":     strconv.Itoa(config.NonceRejectPercent),
		"PEBBLE_AUTHZREUSE":          strconv.Itoa(config.AuthzReusePercent),
		"PEBBLE_WFE_ORDERS_PER_PAGE": strconv.Itoa(config.OrdersPerPage),
	}
	if config.AlwaysValid {
		wanted["PEBBLE_VA_ALWAYS_VALID"] = "1"
	}
	var undo []func()
	for name, value := range wanted {
		old, was := os.LookupEnv(name)
		os.Setenv(name, value)
		undo = append(undo, func() {
			if was {
				os.Setenv(name, old)
			} else {
				os.Unsetenv(name)
			}
		})
	}
	return func() {
		for _, one := range undo {
			one()
		}
	}
}

// URL is the directory's URL.
func (server *Server) URL() string {
	return "https://" + server.listener.Addr().String() + wfe.DirectoryPath
}

// HTTPSRoots is the PEM of the root of its own HTTPS.
func (server *Server) HTTPSRoots() []byte { return server.https }

// Roots is the PEM of the root its certificates chain to by default.
func (server *Server) Roots() []byte { return server.roots[0] }

// AlternateRoots is the PEM of the further roots.
func (server *Server) AlternateRoots() []byte {
	var all []byte
	for _, root := range server.roots[1:] {
		all = append(all, root...)
	}
	return all
}

// Management is Pebble's management interface; it is not on any port.
func (server *Server) Management() http.Handler { return server.management }

// SetRenewalWindow sets the renewal window of a certificate.
func (server *Server) SetRenewalWindow(leaf *x509.Certificate, start, end time.Time, explanation string) error {
	information := map[string]any{"suggestedWindow": map[string]string{"start": start.UTC().Format(time.RFC3339), "end": end.UTC().Format(time.RFC3339)}}
	if explanation != "" {
		information["explanationURL"] = explanation
	}
	answer, err := json.Marshal(information)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{
		"certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})),
		"ariResponse": string(answer),
	})
	if err != nil {
		return err
	}
	return server.manage("/set-renewal-info/", body)
}

// Client is an HTTP client that trusts the server's HTTPS.
func (server *Server) Client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(server.https)
	return &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true},
	}
}

// Close closes the port and every connection.
func (server *Server) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := server.http.Shutdown(ctx) // marks it closed even before Serve began
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	if closing := server.http.Close(); err == nil {
		err = closing
	}
	server.listener.Close()
	<-server.done
	return err
}
