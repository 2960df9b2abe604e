package authority

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/backstay/backstay/testbed/clock"
	"github.com/backstay/backstay/testbed/pipenet"
	"github.com/backstay/backstay/testbed/pki"
)

var _ Network = (*pipenet.Network)(nil)

// sockets counts the sockets this process has open.
func sockets(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	count := 0
	for _, entry := range entries {
		if target, err := os.Readlink(filepath.Join("/proc/self/fd", entry.Name())); err == nil && strings.HasPrefix(target, "socket:") {
			count++
		}
	}
	return count
}

// pipeWorld is an authority, a web server and a client with no socket at all.
type pipeWorld struct {
	*Authority
	test    *testing.T
	network *pipenet.Network
	client  *acme.Client
	account acme.Account
	answers map[string]string
	web     *http.Server
}

func newPipeWorld(t *testing.T, now func() time.Time) *pipeWorld {
	t.Helper()
	made := &pipeWorld{test: t, network: pipenet.New(), answers: map[string]string{}}
	made.network.SetStandard(netip.MustParseAddr("192.0.2.7"))
	listener, err := made.network.Listen("ca.test:443")
	if err != nil {
		t.Fatal(err)
	}
	if made.Authority, err = New(Config{Listener: listener, Host: "ca.test", Network: made.network, Now: now, PollsUntilIssued: 1}); err != nil {
		t.Fatal(err)
	}
	front, err := made.network.Listen("192.0.2.7:80")
	if err != nil {
		t.Fatal(err)
	}
	made.web = &http.Server{Handler: http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		writer.Write([]byte(made.answers[request.URL.Path]))
	})}
	go made.web.Serve(front)
	made.client = &acme.Client{Directory: made.URL(), HTTPClient: made.network.Client(made.HTTPSRoots()), PollInterval: time.Millisecond}
	key := newKey(t)
	if made.account, err = made.client.NewAccount(t.Context(), acme.Account{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	return made
}

func (world *pipeWorld) stop() {
	world.client.HTTPClient.CloseIdleConnections()
	world.web.Close()
	world.Close()
}

// issue issues for one name by one kind of challenge.
func (world *pipeWorld) issue(name, kind string) (*x509.Certificate, error) {
	ctx := world.test.Context()
	order, err := world.client.NewOrder(ctx, world.account, acme.Order{Identifiers: identifiers(name)})
	if err != nil {
		return nil, err
	}
	authorization, err := world.client.GetAuthorization(ctx, world.account, order.Authorizations[0])
	if err != nil {
		return nil, err
	}
	for _, challenge := range authorization.Challenges {
		if challenge.Type != kind {
			continue
		}
		undo := world.prepare(challenge)
		defer undo()
		if _, err := world.client.InitiateChallenge(ctx, world.account, challenge); err != nil {
			return nil, err
		}
	}
	if _, err := world.client.PollAuthorization(ctx, world.account, authorization); err != nil {
		return nil, err
	}
	order, err = world.client.FinalizeOrder(ctx, world.account, order, csr(world.test, newKey(world.test), name))
	if err != nil {
		return nil, err
	}
	chains, err := world.client.GetCertificateChain(ctx, world.account, order.Certificate)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(chains[0].ChainPEM)
	return x509.ParseCertificate(block.Bytes)
}

func (world *pipeWorld) prepare(challenge acme.Challenge) (undo func()) {
	switch challenge.Type {
	case "dns-01":
		name := challenge.DNS01TXTRecordName()
		world.network.SetTXT(name, "of somebody else", challenge.DNS01KeyAuthorization())
		return func() { world.network.SetTXT(name) }
	case "tls-alpn-01":
		listener, err := world.network.Listen("192.0.2.7:443")
		if err != nil {
			world.test.Fatal(err)
		}
		secured := tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{challengePair(world.test, challenge)}, NextProtos: []string{"acme-tls/1"}})
		go func() {
			for {
				connection, err := secured.Accept()
				if err != nil {
					return
				}
				connection.(*tls.Conn).Handshake()
				connection.Close()
			}
		}()
		return func() { listener.Close() }
	}
	world.answers[challenge.HTTP01ResourcePath()] = challenge.KeyAuthorization + "\n"
	return func() { delete(world.answers, challenge.HTTP01ResourcePath()) }
}

// challengePair is RFC 8737 section 3.
func challengePair(t *testing.T, challenge acme.Challenge) tls.Certificate {
	t.Helper()
	digest, err := base64.RawURLEncoding.DecodeString(challenge.DNS01KeyAuthorization()) // the same SHA-256
	if err != nil {
		t.Fatal(err)
	}
	value, err := asn1.Marshal(digest)
	if err != nil {
		t.Fatal(err)
	}
	options := pki.Options{Modify: func(template *x509.Certificate) {
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: acmeIdentifier, Critical: true, Value: value})
	}}
	if ip := net.ParseIP(challenge.Identifier.Value); ip != nil {
		options.IPs = []net.IP{ip}
	} else {
		options.Names = []string{challenge.Identifier.Value}
	}
	pair, err := pki.SelfSigned(options)
	if err != nil {
		t.Fatal(err)
	}
	return pair.TLS()
}

// Every kind of challenge, for names, a wildcard and an address, with no socket
// and on a clock of its own.
func TestIssueWithoutSockets(t *testing.T) {
	before := sockets(t)
	at := clock.New(time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC))
	world := newPipeWorld(t, at.Now)
	defer world.stop()
	for _, row := range [][2]string{
		{"a.example", "http-01"}, {"a.example", "dns-01"}, {"*.a.example", "dns-01"}, {"a.example", "tls-alpn-01"},
		{"192.0.2.7", "http-01"}, {"192.0.2.7", "tls-alpn-01"},
	} {
		leaf, err := world.issue(row[0], row[1])
		if err != nil {
			t.Errorf("%s by %s: %v", row[0], row[1], err)
			continue
		}
		if !leaf.NotBefore.Equal(at.Now().Add(-time.Hour)) {
			t.Errorf("%s by %s: notBefore %s at %s", row[0], row[1], leaf.NotBefore, at.Now())
		}
		// Fewer is fine: those of earlier tests may still be closing.
		now := sockets(t)
		if now > before {
			t.Errorf("%d sockets were open before, %d now", before, now)
		}
		before = now
		at.Advance(60 * 24 * time.Hour)
	}
	for _, row := range [][2]string{{"*.a.example", "http-01"}, {"192.0.2.7", "dns-01"}} {
		order, err := world.client.NewOrder(t.Context(), world.account, acme.Order{Identifiers: identifiers(row[0])})
		if err != nil {
			t.Fatal(err)
		}
		authorization, err := world.client.GetAuthorization(t.Context(), world.account, order.Authorizations[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, challenge := range authorization.Challenges {
			if challenge.Type == row[1] {
				t.Errorf("%s is offered for %s", row[1], row[0])
			}
		}
	}
}

// The whole world inside a bubble: hours of polling pass in no time, and when it
// ends nothing is left running (synctest would report a deadlock).
func TestIssueInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		world := newPipeWorld(t, time.Now)
		defer world.stop()
		world.client.PollInterval = time.Hour
		world.client.PollTimeout = 24 * time.Hour
		leaf, err := world.issue("a.example", "http-01")
		if err != nil {
			t.Fatal(err)
		}
		if passed := time.Since(begin); passed < time.Hour {
			t.Errorf("only %s passed: the order was to be polled", passed)
		}
		if leaf.NotBefore.After(begin) {
			t.Errorf("notBefore %s, the bubble began at %s", leaf.NotBefore, begin)
		}
	})
}

func TestWrongAnswersAreRefused(t *testing.T) {
	world := newPipeWorld(t, nil)
	defer world.stop()
	stranger := newKey(t)
	table := []struct {
		name string
		kind string
		lie  func(challenge *acme.Challenge)
	}{
		{"http-01 with another key", "http-01", func(challenge *acme.Challenge) { challenge.KeyAuthorization = otherKey(challenge.Token, stranger) }},
		{"dns-01 with another key", "dns-01", func(challenge *acme.Challenge) { challenge.KeyAuthorization = otherKey(challenge.Token, stranger) }},
		{"tls-alpn-01 with another key", "tls-alpn-01", func(challenge *acme.Challenge) { challenge.KeyAuthorization = otherKey(challenge.Token, stranger) }},
		{"tls-alpn-01 for another name", "tls-alpn-01", func(challenge *acme.Challenge) { challenge.Identifier.Value = "b.example" }},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			ctx := t.Context()
			order, err := world.client.NewOrder(ctx, world.account, acme.Order{Identifiers: identifiers("a.example")})
			if err != nil {
				t.Fatal(err)
			}
			authorization, err := world.client.GetAuthorization(ctx, world.account, order.Authorizations[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, challenge := range authorization.Challenges {
				if challenge.Type == row.kind {
					lie := challenge
					row.lie(&lie)
					path := challenge.HTTP01ResourcePath()
					undo := world.prepare(lie)
					if row.kind == "http-01" {
						world.answers[path] = lie.KeyAuthorization
					}
					if _, err := world.client.InitiateChallenge(ctx, world.account, challenge); err != nil {
						t.Fatal(err)
					}
					undo()
				}
			}
			authorization, err = world.client.GetAuthorization(ctx, world.account, order.Authorizations[0])
			if err != nil || authorization.Status != "invalid" || len(authorization.Challenges) != 1 || authorization.Challenges[0].Error == nil {
				t.Errorf("status %s, %v", authorization.Status, err)
			}
		})
	}
}

func otherKey(token string, key crypto.Signer) string { return token + "." + thumbprint(key.Public()) }

// A CAA record set decides for the names below it.
func TestCAA(t *testing.T) {
	rules := caaNetwork{Network: pipenet.New(), records: map[string][]string{
		"allowed.example": {"issue ca.test"}, "forbidden.example": {"issue other.test"}, "wild.example": {"issue ca.test", "issuewild ;"},
		"nobody.example": {"issue ;"}, "iodef.example": {"iodef mailto:a@example.org"},
	}}
	authority, err := New(Config{Network: rules, CAAIdentities: []string{"ca.test"}})
	if err != nil {
		t.Fatal(err)
	}
	defer authority.Close()
	for name, allowed := range map[string]bool{
		"allowed.example": true, "deep.below.allowed.example": true, "forbidden.example": false, "x.forbidden.example": false,
		"nobody.example": false, "free.example": true, "iodef.example": true, "wild.example": true, "*.wild.example": false, "*.allowed.example": true,
	} {
		bare, wildcard := strings.CutPrefix(name, "*.")
		refusal := authority.checkCAA(t.Context(), look{name: Identifier{Type: "dns", Value: bare}, wildcard: wildcard})
		if (refusal == nil) != allowed {
			t.Errorf("%s: %+v, want allowed %v", name, refusal, allowed)
		}
	}
}

type caaNetwork struct {
	*pipenet.Network
	records map[string][]string
}

func (network caaNetwork) LookupCAA(_ context.Context, name string) ([]string, error) {
	return network.records[name], nil
}
