// Package authority is a small certification authority that speaks ACME (RFC
// 8555, with RFC 8737, 8738 and 9773), for tests, drills and the
// demonstration.
//
// Promise: a client that works here has met the rules as they are written:
// every JWS is verified with its nonce, URL and key; an order is finalized
// once; names, keys and CSRs are checked; challenges are really looked at
// through a Network. All dates come from Config.Now, so a year passes when the
// caller says so. Faults can be switched on and off while it runs, and the
// books say afterwards what was asked and what was issued.
//
// Limits: everything is in memory and ends with Close. It knows nothing of
// rate limits (a fault rule answers 429), of revocation by OCSP or CRL, and of
// SCTs. CAA is checked when a challenge is validated and not again. It must
// never be reachable from outside the machine.
package authority

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/backstay/backstay/testbed/pki"
)

// Config is what an authority is made from. The zero value is a usable
// authority on a free loopback port whose every name is 127.0.0.1.
type Config struct {
	Name    string           // in the names of its certificates; "Backstay Test CA" when empty
	Now     func() time.Time // nil: time.Now
	Network Network          // nil: Loopback

	Listener  net.Listener // nil: 127.0.0.1 on a free port
	Host      string       // host[:port] in its URLs; "": the listener's address. Needed with a Listener that has no IP address
	PlainHTTP bool         // no TLS

	HTTPPort int // where http-01 looks; 80 when 0
	TLSPort  int // where tls-alpn-01 looks; 443 when 0

	Profiles       map[string]Profile // nil: no profiles, Validity and Backdate decide
	DefaultProfile string             // for orders that name none; "": Validity and Backdate
	Validity       time.Duration      // 90 days when 0
	Backdate       time.Duration      // how far notBefore lies in the past; 1 h when 0, none when negative
	AlternateRoots int                // further roots, offered as alternate chains

	ExternalAccounts        map[string][]byte // key id -> HMAC key
	ExternalAccountRequired bool

	Website       string
	Terms         string
	CAAIdentities []string

	OrdersList           bool // accounts have an orders list (RFC 8555 section 7.1.2.1)
	OrdersPerPage        int  // 10 when 0
	ReuseAuthorizations  bool // valid authorizations serve new orders
	ReuseOrders          bool // an identical open order is returned instead of a new one, as Boulder does
	NoRenewalInfo        bool
	OrderLifetime        time.Duration // 24 h when 0
	AuthorizationLife    time.Duration // of a valid authorization; 30 days when 0
	RetryAfter           time.Duration // Retry-After of orders and authorizations that are not final; none when 0
	RenewalInfoPoll      time.Duration // Retry-After of renewal information; 6 h when 0
	PollsUntilIssued     int           // an accepted finalize stays "processing" for so many polls
	ValidateInBackground bool          // answer the challenge request before looking
	ValidationTimeout    time.Duration // of real time, for one look; 5 s when 0
}

// Profile is a kind of certificate that an order may ask for.
type Profile struct {
	Description string
	Validity    time.Duration // 90 days when 0
	Backdate    time.Duration // 1 h when 0, none when negative
}

// Authority is a running authority.
type Authority struct {
	config   Config
	now      func() time.Time
	base     *url.URL // scheme, host and the instance's own path prefix
	faults   Faults
	issuer   *issuer
	server   *http.Server
	listener net.Listener
	owned    bool // we made the listener and can make it again
	roots    []byte
	https    *tls.Config

	lifetime context.Context // ends with Close
	end      context.CancelFunc
	work     sync.WaitGroup // background validations

	mutex sync.Mutex // guards what follows
	state state
}

// New starts an authority. The caller must Close it.
func New(config Config) (*Authority, error) {
	config.fill()
	authority := &Authority{config: config, now: config.Now, state: newState()}
	authority.lifetime, authority.end = context.WithCancel(context.Background())
	var err error
	if authority.issuer, err = newIssuer(config); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	authority.listener = config.Listener
	if authority.listener == nil {
		authority.owned = true
		if authority.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("authority: %w", err)
		}
	}
	if err := authority.address(); err != nil {
		authority.listener.Close()
		return nil, fmt.Errorf("authority: %w", err)
	}
	authority.serve()
	return authority, nil
}

func (config *Config) fill() {
	setDefault(&config.Name, "Backstay Test CA")
	setDefault(&config.HTTPPort, 80)
	setDefault(&config.TLSPort, 443)
	setDefault(&config.Validity, 90*24*time.Hour)
	setDefault(&config.OrdersPerPage, 10)
	setDefault(&config.OrderLifetime, 24*time.Hour)
	setDefault(&config.AuthorizationLife, 30*24*time.Hour)
	setDefault(&config.RenewalInfoPoll, 6*time.Hour)
	setDefault(&config.ValidationTimeout, 5*time.Second)
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Network == nil {
		config.Network = Loopback{}
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// address decides the URLs and makes the HTTPS certificate. The random path
// prefix keeps clients that cache directories by URL for the whole process
// (acmez does) from mixing up two authorities on one port.
func (authority *Authority) address() error {
	host := authority.config.Host
	if host == "" {
		host = authority.listener.Addr().String()
	}
	instance := make([]byte, 4)
	if _, err := rand.Read(instance); err != nil {
		return err
	}
	authority.base = &url.URL{Scheme: "https", Host: host, Path: "/" + hex.EncodeToString(instance)}
	if authority.config.PlainHTTP {
		authority.base.Scheme = "http"
		return nil
	}
	pair, root, err := pki.Loopback(authority.base.Hostname())
	if err != nil {
		return err
	}
	authority.roots = pki.PEM(root)
	authority.https = &tls.Config{Certificates: []tls.Certificate{pair.TLS()}}
	return nil
}

func (authority *Authority) serve() {
	// HTTP/1.1 only: there a reset is a torn connection, as the fault says, and
	// not the end of one stream.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	server := &http.Server{
		Protocols:         &protocols,
		Handler:           authority.Handler(),
		ReadHeaderTimeout: 30 * time.Second,
		TLSConfig:         authority.https.Clone(),
		ErrorLog:          log.New(io.Discard, "", 0), // handshakes that fail are what we are here for
	}
	listener := authority.listener
	authority.server = server
	authority.work.Add(1)
	go func() {
		defer authority.work.Done()
		if authority.config.PlainHTTP {
			server.Serve(listener)
		} else {
			server.ServeTLS(listener, "", "")
		}
	}()
}

// URL is the directory's URL.
func (authority *Authority) URL() string { return authority.link("directory") }

// Roots is the PEM of the root its certificates chain to by default.
func (authority *Authority) Roots() []byte { return pki.PEM(authority.issuer.roots[0].Certificate) }

// AlternateRoots is the PEM of the further roots, in the order of their chains.
func (authority *Authority) AlternateRoots() []byte {
	var all []byte
	for _, root := range authority.issuer.roots[1:] {
		all = append(all, pki.PEM(root.Certificate)...)
	}
	return all
}

// Issuer is the intermediate that signs, for whoever needs to sign more (OCSP
// answers, a CRL).
func (authority *Authority) Issuer() *pki.Issuer { return authority.issuer.intermediates[0] }

// HTTPSRoots is the PEM of the root of its own HTTPS; nil with PlainHTTP.
func (authority *Authority) HTTPSRoots() []byte { return authority.roots }

// Faults is the table of misbehaviour.
func (authority *Authority) Faults() *Faults { return &authority.faults }

// Client is an HTTP client that trusts the authority's HTTPS. Each call makes a
// new one with connections of its own.
func (authority *Authority) Client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority.roots)
	return &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
	}
}

// Down closes the port and every connection, as a machine that is switched off;
// Up brings it back with all its memory, at the same address.
func (authority *Authority) Down() error { return authority.server.Close() }

// Up undoes Down. It fails when somebody took the port meanwhile, or when the
// listener was the caller's.
func (authority *Authority) Up() error {
	if !authority.owned {
		return errors.New("authority: a listener that was given cannot be opened again")
	}
	listener, err := net.Listen("tcp", authority.listener.Addr().String())
	if err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	authority.listener = listener
	authority.serve()
	return nil
}

// Close ends everything and waits for it. Calling it twice is harmless.
func (authority *Authority) Close() error {
	authority.end()
	err := authority.server.Close()
	authority.work.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
