// Package tlsalpn01 answers tls-alpn-01 challenges (RFC 8737) at a listener of
// our own.
//
// Promise: a connection that offers only the protocol acme-tls/1 gets the
// answer's certificate; every other connection is refused.
//
// Limits: the port must be ours while a challenge is open; answers end with the
// process and are set again by the next.
package tlsalpn01

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/backstay/backstay/issue"
)

// protocol is the ALPN name of RFC 8737 section 6.2.
const protocol = "acme-tls/1"

// identifierExtension is id-pe-acmeIdentifier (RFC 8737 section 6.1).
var identifierExtension = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

// Listener answers at one port.
type Listener struct {
	Address string // ADDRESS:PORT

	mu       sync.Mutex
	answers  map[string]answered // by server name as the CA sends it
	listener net.Listener
}

// answered is the certificate that is shown, and whose answer it is.
type answered struct {
	token       string
	certificate *tls.Certificate
}

// Volatile marks answers that must be set again after a restart.
func (*Listener) Volatile() {}

// Set begins to answer for the identifier.
func (own *Listener) Set(_ context.Context, answer issue.Answer) error {
	certificate, err := certificateFor(answer)
	if err != nil {
		return err
	}
	own.mu.Lock()
	defer own.mu.Unlock()
	if own.listener == nil {
		listener, err := net.Listen("tcp", own.Address)
		if err != nil {
			return err
		}
		own.listener, own.answers = listener, map[string]answered{}
		go own.accept(listener)
	}
	own.answers[serverName(answer.Identifier)] = answered{answer.Token, certificate}
	return nil
}

// accept ends when the listener is closed.
func (own *Listener) accept(listener net.Listener) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{protocol},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			// RFC 8737 section 3: only acme-tls/1 is offered by a CA that validates.
			if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != protocol {
				return nil, errors.New("not a validation")
			}
			own.mu.Lock()
			defer own.mu.Unlock()
			shown, known := own.answers[strings.ToLower(hello.ServerName)]
			if !known {
				return nil, errors.New("unknown name")
			}
			return shown.certificate, nil
		},
	}
	for {
		raw, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer raw.Close()
			raw.SetDeadline(time.Now().Add(10 * time.Second))
			secured := tls.Server(raw, config)
			if secured.Handshake() == nil {
				secured.Close()
			}
		}()
	}
}

// Check connects to our own listener as a CA would.
func (own *Listener) Check(ctx context.Context, answer issue.Answer) error {
	own.mu.Lock()
	listener := own.listener
	own.mu.Unlock()
	if listener == nil {
		return errors.New("the listener is not open")
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 3 * time.Second}, Config: &tls.Config{
		ServerName: serverName(answer.Identifier), NextProtos: []string{protocol},
		InsecureSkipVerify: true, // the certificate is self-signed by the protocol's design
	}}
	connection, err := dialer.DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	defer connection.Close()
	if got := connection.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != protocol {
		return fmt.Errorf("protocol %q instead of %s", got, protocol)
	}
	return nil
}

// Clean stops answering for the identifier, closing the port with the last.
func (own *Listener) Clean(_ context.Context, answer issue.Answer) error {
	own.mu.Lock()
	defer own.mu.Unlock()
	// A newer attempt may have set an answer of its own for the same name.
	if own.answers[serverName(answer.Identifier)].token == answer.Token {
		delete(own.answers, serverName(answer.Identifier))
	}
	if own.listener != nil && len(own.answers) == 0 {
		err := own.listener.Close()
		own.listener = nil
		return err
	}
	return nil
}

// Close stops answering everything.
func (own *Listener) Close() error {
	own.mu.Lock()
	defer own.mu.Unlock()
	if own.listener == nil {
		return nil
	}
	err := own.listener.Close()
	own.listener = nil
	return err
}

// serverName is what the CA sends: the name, or for an IP address its reverse
// name (RFC 8738 section 6).
func serverName(identifier string) string {
	if _, err := netip.ParseAddr(identifier); err != nil {
		return strings.ToLower(identifier)
	}
	reverse, err := dns.ReverseAddr(identifier)
	if err != nil {
		return identifier
	}
	return strings.TrimSuffix(reverse, ".")
}

// certificateFor makes the self-signed certificate of RFC 8737 section 3.
func certificateFor(answer issue.Answer) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(answer.KeyAuthorization))
	value, err := asn1.Marshal(sum[:])
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:    big.NewInt(now.UnixNano()),
		Subject:         pkix.Name{CommonName: "ACME challenge"},
		NotBefore:       now.Add(-time.Hour),
		NotAfter:        now.Add(24 * time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: identifierExtension, Critical: true, Value: value}},
	}
	if address, err := netip.ParseAddr(answer.Identifier); err == nil {
		template.IPAddresses = []net.IP{address.AsSlice()}
	} else {
		template.DNSNames = []string{answer.Identifier}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
