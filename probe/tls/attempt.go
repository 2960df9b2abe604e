package tlsprobe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"time"

	"github.com/backstay/backstay/cert"
)

// hello says what one attempt offers.
type hello struct {
	view    string
	alpn    bool
	below13 bool
}

// outcome is what one attempt saw.
type outcome struct {
	status, view  string
	err           error
	chain         []*x509.Certificate
	version       uint16
	suite         uint16
	group         tls.CurveID
	alpn          string
	asksForClient bool
	proven        bool
	unparsed      bool   // the server's certificate could not be parsed
	raw           string // its SHA-256, where it was seen
}

// attempt makes one connection and one handshake.
func attempt(ctx context.Context, target Target, options Options, offer hello) (result outcome) {
	result = outcome{view: offer.view}
	connection, err := dial(ctx, target.Address.String(), options.Dial)
	if err != nil {
		result.status, result.err = dialStatus(err), err
		return result
	}
	defer connection.Close()
	bounded := bound(ctx, connection)
	if err := upgrade(bounded, target.Transport); err != nil {
		result.status, result.err = upgradeStatus(err), err
		return result
	}
	bounded.record()
	result.handshake(ctx, bounded, target.ServerName, offer)
	return result
}

// dial opens the connection; the context carries the deadline.
func dial(ctx context.Context, address string, with DialFunc) (net.Conn, error) {
	if with != nil {
		return with(ctx, "tcp", address)
	}
	// No keep-alive and no second address: one look, one connection.
	dialer := net.Dialer{KeepAlive: -1}
	return dialer.DialContext(ctx, "tcp", address)
}

func (result *outcome) handshake(ctx context.Context, connection *boundedConn, serverName string, offer hello) {
	config := offer.config(serverName)
	config.VerifyConnection = func(state tls.ConnectionState) error {
		// Reached as soon as the certificate is read, so that a handshake that
		// fails later has shown it all the same.
		result.take(state)
		return nil
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		result.asksForClient = true
		// The server's key exchange is signed and checked by now, but for RSA key
		// exchange, which proves the key only at the very end.
		result.proven = !rsaKeyExchange(result.suite)
		return &tls.Certificate{}, nil
	}
	client := tls.Client(connection, config)
	err := client.HandshakeContext(ctx)
	if err == nil {
		result.take(client.ConnectionState())
		result.status, result.proven = cert.StatusOK, true
		return
	}
	result.err = err
	switch {
	case result.asksForClient && len(result.chain) > 0:
		// It wants a certificate of ours and hung up because we have none.
		result.status = cert.StatusOK
	case strings.Contains(err.Error(), "failed to parse certificate"):
		result.status, result.unparsed = cert.StatusError, true
		result.raw = leafOnWire(connection.recorded())
	default:
		result.status = handshakeStatus(err)
	}
}

func (result *outcome) take(state tls.ConnectionState) {
	result.chain, result.version, result.suite = state.PeerCertificates, state.Version, state.CipherSuite
	result.group, result.alpn = state.CurveID, state.NegotiatedProtocol
}

func (offer hello) config(serverName string) *tls.Config {
	config := &tls.Config{
		ServerName: serverName,
		// What is served is the question, not whether it is good; package cert
		// judges it afterwards.
		InsecureSkipVerify:     true,
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true, // with no cache either: never a resumed session
	}
	if offer.alpn {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	if offer.view == viewCompatible {
		config.MinVersion = tls.VersionTLS10
		for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			config.CipherSuites = append(config.CipherSuites, suite.ID)
		}
	}
	if offer.below13 {
		config.MaxVersion = tls.VersionTLS12
	}
	return config
}

// boundedConn is a connection with one deadline for all it does, a cap on what
// it reads (T5), and a recording of the beginning.
type boundedConn struct {
	net.Conn
	left    int
	keeping bool
	kept    []byte
}

const (
	maxInbound  = 1 << 20   // a handshake with the largest chain that crypto/tls takes needs some 300 kB
	maxRecorded = 320 << 10 // of the handshake, to find a certificate that does not parse
)

func bound(ctx context.Context, connection net.Conn) *boundedConn {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(DefaultTimeout)
	}
	// A connection that takes no deadline is stopped by HandshakeContext.
	_ = connection.SetDeadline(deadline)
	return &boundedConn{Conn: connection, left: maxInbound}
}

func (c *boundedConn) Read(buffer []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooMuch
	}
	n, err := c.Conn.Read(buffer[:min(len(buffer), c.left)])
	c.left -= n
	if c.keeping && len(c.kept) < maxRecorded {
		c.kept = append(c.kept, buffer[:min(n, maxRecorded-len(c.kept))]...)
	}
	return n, err
}

func (c *boundedConn) record()          { c.keeping = true }
func (c *boundedConn) recorded() []byte { return c.kept }
