// Package tlsprobe takes one look at one TLS server.
//
// Promise: a look ends within its timeout, reads at most maxInbound bytes, and
// returns facts, never a judgement and never a panic: whatever the other side
// does becomes one of the statuses of package cert, with an error in words. It
// sends an ordinary client's hello and no request. A full handshake is made, so
// that a look that ends well has proved that the server holds the key.
//
// Limits: nothing is verified here; package cert does that, offline. What
// crypto/tls cannot speak (SSL 2 and 3, DHE, GOST) is seen as a failed
// handshake. Of the upgrades, smtp, lmtp, imap, pop3, ftp and postgres are
// spoken; others are refused with an error. A certificate that Go cannot parse
// is fingerprinted only where the server also speaks TLS 1.2.
package tlsprobe

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/backstay/backstay/cert"
)

// DefaultTimeout bounds one look from dial to handshake.
const DefaultTimeout = 10 * time.Second

// Target is where to look.
type Target = cert.Place

// Options of a look. The zero value is usable.
type Options struct {
	Now            func() time.Time // for ObservedAt; nil for time.Now
	ConnectTimeout time.Duration    // of the whole look; 0 for DefaultTimeout
	Dial           DialFunc         // nil for the network
}

// DialFunc opens a connection. It may be called from several goroutines, does
// not retry, and must honour the context.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Views name the hellos.
const (
	viewModern     = "modern"     // TLS 1.2 and 1.3, the suites of Go's default
	viewCompatible = "compatible" // TLS 1.0 to 1.3 and every suite that Go still knows, no ALPN
)

// Look never fails: what goes wrong is in Status and Error.
func Look(ctx context.Context, target Target, options Options) (seen cert.Observation) {
	now := options.Now
	if now == nil {
		now = time.Now
	}
	if options.ConnectTimeout <= 0 {
		options.ConnectTimeout = DefaultTimeout
	}
	if target.Transport == "" {
		target.Transport = "tcp"
	}
	seen = cert.Observation{
		Target: target.Target, Named: target.Named, Name: target.Name, ServerName: target.ServerName,
		Address: target.Address, Transport: target.Transport, Status: cert.StatusError, ObservedAt: now(),
	}
	defer func() {
		// A hostile server that makes a parser panic spoils this look only (T3).
		if cause := recover(); cause != nil {
			seen.Status, seen.Error = cert.StatusError, fmt.Sprintf("the look failed: %v", cause)
		}
	}()
	if !knownTransport(target.Transport) {
		seen.Error = fmt.Sprintf("the upgrade %q is not supported", target.Transport)
		return seen
	}
	ctx, cancel := context.WithTimeout(ctx, options.ConnectTimeout)
	defer cancel()
	look(ctx, target, options, &seen)
	return seen
}

// look tries the modern hello, and others where the server's refusal may come
// from what that hello offered.
func look(ctx context.Context, target Target, options Options, seen *cert.Observation) {
	result := attempt(ctx, target, options, hello{view: viewModern, alpn: target.Transport == "tcp"})
	switch {
	case result.unparsed && result.raw == "":
		// In TLS 1.3 the certificate is encrypted; in 1.2 it can be seen on the wire.
		if plain := attempt(ctx, target, options, hello{view: viewCompatible, below13: true}); plain.raw != "" {
			result.raw = plain.raw
		}
	case (result.status == cert.StatusHandshakeFailed || result.status == cert.StatusReset) && len(result.chain) == 0:
		// Old servers answer a hello they do not like with an alert, or hang up.
		if older := attempt(ctx, target, options, hello{view: viewCompatible}); older.status == cert.StatusOK || len(older.chain) > 0 || older.unparsed {
			result = older
		}
	}
	seen.Status, seen.View = result.status, result.view
	if result.err != nil && result.status != cert.StatusOK {
		seen.Error = result.err.Error()
	}
	seen.Chain, seen.Unreadable = result.chain, result.raw
	seen.Protocol, seen.CipherSuite = protocolName(result.version), suiteName(result.suite)
	seen.Group, seen.ALPN = groupName(result.group), result.alpn
	seen.ClientCertificateRequested = result.asksForClient
	if len(result.chain) > 0 {
		seen.Possession = cert.PossessionNotChecked
		if result.proven {
			seen.Possession = cert.PossessionProven
		}
	}
}
