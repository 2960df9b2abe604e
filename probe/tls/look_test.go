package tlsprobe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/cert/certtest"
)

type observed struct{ cert.Observation }

func goServer(t *testing.T, config *tls.Config) netip.AddrPort {
	return serve(t, func(connection net.Conn) {
		server := tls.Server(connection, config)
		if server.Handshake() == nil {
			io.Copy(io.Discard, server)
		}
	})
}

func pair(t *testing.T, names ...string) (certtest.Pair, tls.Certificate) {
	root := certtest.Root(t, "Root")
	leaf := root.Leaf(t, names)
	return leaf, tls.Certificate{Certificate: [][]byte{leaf.Certificate.Raw, root.Certificate.Raw}, PrivateKey: leaf.Key}
}

func TestLookSeesWhatIsServed(t *testing.T) {
	leaf, served := pair(t, "good.test")
	for _, c := range []struct {
		name                  string
		config                *tls.Config
		protocol, group, view string
		asksForClient         bool
		suite, alpn           string
	}{
		{"modern", &tls.Config{NextProtos: []string{"h2"}}, "TLS1.3", "X25519MLKEM768", viewModern, false, "", "h2"},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, CurvePreferences: []tls.CurveID{tls.CurveP256}}, "TLS1.2", "secp256r1", viewModern, false, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", ""},
		{"TLS 1.0", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, "TLS1.0", "x25519", viewCompatible, false, "", ""},
		{"no common application protocol", &tls.Config{NextProtos: []string{"imap"}}, "TLS1.3", "X25519MLKEM768", viewCompatible, false, "", ""},
		{"client certificate wanted", &tls.Config{ClientAuth: tls.RequestClientCert}, "TLS1.3", "X25519MLKEM768", viewModern, true, "", ""},
		{"client certificate required, TLS 1.3", &tls.Config{ClientAuth: tls.RequireAnyClientCert}, "TLS1.3", "X25519MLKEM768", viewModern, true, "", ""},
		{"client certificate required, TLS 1.2", &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}, "TLS1.2", "", viewModern, true, "", ""},
	} {
		c.config.Certificates = []tls.Certificate{served}
		seen := lookAt(t, goServer(t, c.config), "good.test")
		if seen.Status != cert.StatusOK || seen.Error != "" {
			t.Errorf("%s: %s %s", c.name, seen.Status, seen.Error)
			continue
		}
		if len(seen.Chain) != 2 || !seen.Chain[0].Equal(leaf.Certificate) || seen.Possession != cert.PossessionProven {
			t.Errorf("%s: chain of %d, possession %s", c.name, len(seen.Chain), seen.Possession)
		}
		if seen.Protocol != c.protocol || seen.Group != c.group && c.group != "" || seen.View != c.view || seen.ALPN != c.alpn ||
			seen.ClientCertificateRequested != c.asksForClient || c.suite != "" && seen.CipherSuite != c.suite || seen.CipherSuite == "" {
			t.Errorf("%s: %s %s %s %s %q", c.name, seen.Protocol, seen.Group, seen.View, seen.CipherSuite, seen.ALPN)
		}
	}
}

func TestStatuses(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := netip.MustParseAddrPort(closed.Addr().String())
	closed.Close()
	_, served := pair(t, "good.test")
	for _, c := range []struct {
		name    string
		address netip.AddrPort
		want    string
	}{
		{"refused", refusing, cert.StatusRefused},
		{"no route", netip.MustParseAddrPort("255.255.255.255:443"), cert.StatusUnreachable},
		{"silent", serve(t, func(c net.Conn) { io.Copy(io.Discard, c) }), cert.StatusTimeout},
		{"hangs up", serve(t, func(c net.Conn) {}), cert.StatusReset},
		{"hangs up after the hello", serve(t, func(c net.Conn) { c.Read(make([]byte, 4096)) }), cert.StatusReset},
		{"resets", serve(t, func(c net.Conn) { c.Read(make([]byte, 10)); c.(*net.TCPConn).SetLinger(0) }), cert.StatusReset},
		{"web server without TLS", serve(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); io.Copy(io.Discard, c) }), cert.StatusNotTLS},
		{"mail server's greeting", serve(t, func(c net.Conn) { io.WriteString(c, "220 mx.test ESMTP\r\n"); io.Copy(io.Discard, c) }), cert.StatusNotTLS},
		{"no certificate for this name", goServer(t, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }}), cert.StatusHandshakeFailed},
		{"alert", serve(t, func(c net.Conn) {
			c.Read(make([]byte, 4096))
			c.Write([]byte{21, 3, 3, 0, 2, 2, 112})
			io.Copy(io.Discard, c)
		}), cert.StatusHandshakeFailed},
		{"half a record", serve(t, func(c net.Conn) {
			c.Write([]byte{22, 3, 3, 0, 100, 2})
			c.Read(make([]byte, 4096))
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		}), cert.StatusReset},
		{"ok", goServer(t, &tls.Config{Certificates: []tls.Certificate{served}}), cert.StatusOK},
	} {
		timeout := 5 * time.Second
		if c.want == cert.StatusTimeout {
			timeout = 100 * time.Millisecond
		}
		seen := Look(context.Background(), Target{Target: c.name, Address: c.address}, Options{ConnectTimeout: timeout})
		if seen.Status != c.want || (seen.Error == "") != (c.want == cert.StatusOK) {
			t.Errorf("%s: %s (%s), want %s", c.name, seen.Status, seen.Error, c.want)
		}
	}
}

// A connection that is never answered, as behind a firewall that drops: without
// a network that does so, the dialer stands in for it.
func TestDialTimeout(t *testing.T) {
	hang := func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	seen := Look(context.Background(), Target{Address: netip.MustParseAddrPort("192.0.2.1:443")}, Options{ConnectTimeout: 10 * time.Millisecond, Dial: hang})
	if seen.Status != cert.StatusTimeout {
		t.Errorf("%s (%s)", seen.Status, seen.Error)
	}
	explode := func(context.Context, string, string) (net.Conn, error) { panic("boom") }
	if seen := Look(context.Background(), Target{}, Options{Dial: explode}); seen.Status != cert.StatusError || !strings.Contains(seen.Error, "boom") {
		t.Errorf("T3: %+v", seen)
	}
	if seen := Look(context.Background(), Target{Transport: "gopher"}, Options{}); seen.Status != cert.StatusError || !strings.Contains(seen.Error, `"gopher" is not supported`) {
		t.Errorf("%+v", seen)
	}
}

// T5: servers that drip a byte now and then, or never stop talking.
func TestT5Tarpits(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	drip := serve(t, func(c net.Conn) {
		for _, b := range []byte{22, 3, 3, 64, 0, 2} {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
		}
		<-release
	})
	flood := serve(t, func(c net.Conn) {
		record := append([]byte{22, 3, 3, 0x40, 0}, make([]byte, 0x4000)...)
		for {
			if _, err := c.Write(record); err != nil {
				return
			}
		}
	})
	chat := serve(t, func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, "220-more\r\n"); err != nil {
				return
			}
		}
	})
	start := time.Now()
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			if seen := Look(context.Background(), Target{Address: drip}, Options{ConnectTimeout: 200 * time.Millisecond}); seen.Status != cert.StatusTimeout {
				t.Errorf("drip: %s (%s)", seen.Status, seen.Error)
			}
		})
	}
	group.Wait()
	for name, target := range map[string]Target{"flood": {Address: flood}, "chat": {Address: chat, Transport: "smtp"}} {
		if seen := Look(context.Background(), target, Options{ConnectTimeout: time.Second}); seen.Status == cert.StatusOK {
			t.Errorf("%s: ok", name)
		}
	}
	if spent := time.Since(start); spent > 5*time.Second {
		t.Errorf("took %v", spent)
	}
}

// A certificate that crypto/x509 refuses is a fact about the server, with its fingerprint.
func TestUnparseableCertificate(t *testing.T) {
	leaf, served := pair(t, "good.test")
	broken := append([]byte{}, leaf.Certificate.Raw...)
	// The version, [0] { INTEGER 2 }, becomes 9, which no parser knows.
	at := strings.Index(string(broken), "\xa0\x03\x02\x01\x02")
	if at < 0 {
		t.Fatal("no version in the certificate")
	}
	broken[at+4] = 9
	if _, err := x509.ParseCertificate(broken); err == nil {
		t.Fatal("Go parses the certificate after all")
	}
	served.Certificate = [][]byte{broken}
	served.Leaf = leaf.Certificate
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		seen := lookAt(t, goServer(t, &tls.Config{Certificates: []tls.Certificate{served}, MaxVersion: version}), "good.test")
		if seen.Status != cert.StatusError || seen.Unreadable != cert.Fingerprint(broken) || !strings.Contains(seen.Error, "parse certificate") {
			t.Errorf("%x: %s %q %s", version, seen.Status, seen.Unreadable, seen.Error)
		}
	}
}

func TestHandshakeProvesPossession(t *testing.T) {
	leaf, served := pair(t, "good.test")
	chain, err := Handshake(context.Background(), goServer(t, &tls.Config{Certificates: []tls.Certificate{served}}).String(), "good.test")
	if err != nil || len(chain) != 2 || !chain[0].Equal(leaf.Certificate) {
		t.Fatal(len(chain), err)
	}
	// The right certificate with another key: the signature of the handshake is
	// what tells.
	_, other := pair(t, "good.test")
	liar := tls.Certificate{Certificate: served.Certificate, PrivateKey: other.PrivateKey}
	address := goServer(t, &tls.Config{Certificates: []tls.Certificate{liar}})
	if chain, err := Handshake(context.Background(), address.String(), "good.test"); err == nil {
		t.Errorf("a server without the key passes: %d", len(chain))
	}
	seen := lookAt(t, address, "good.test")
	if seen.Status == cert.StatusOK || seen.Possession == cert.PossessionProven {
		t.Errorf("%s %s", seen.Status, seen.Possession)
	}
	var failed *Failed
	if _, err := Handshake(context.Background(), "127.0.0.1:1", ""); !errors.As(err, &failed) || failed.Status != cert.StatusRefused {
		t.Error(err)
	}
}

// Handshake must not resume: a reloaded server would go on showing the old
// certificate to a client that does.
func TestHandshakeIsNeverResumed(t *testing.T) {
	_, served := pair(t, "good.test")
	states := make(chan tls.ConnectionState, 10)
	address := goServer(t, &tls.Config{Certificates: []tls.Certificate{served}, VerifyConnection: func(state tls.ConnectionState) error {
		states <- state
		return nil
	}})
	for range 3 {
		if _, err := Handshake(context.Background(), address.String(), "good.test"); err != nil {
			t.Fatal(err)
		}
		if state := <-states; state.DidResume {
			t.Error("a session was resumed")
		}
	}
}

func TestUpgrades(t *testing.T) {
	leaf, served := pair(t, "mail.test")
	for _, c := range []struct{ transport, script string }{
		{"smtp", "S 220-mx.test\nS 220 ready\nC EHLO\nS 250-mx.test\nS 250-STARTTLS\nS 250 SIZE\nC STARTTLS\nS 220 go"},
		{"lmtp", "S 220 ready\nC LHLO\nS 250 STARTTLS\nC STARTTLS\nS 220 go"},
		{"imap", "S * OK hello\nC a STARTTLS\nS * CAPABILITY\nS a OK begin"},
		{"pop3", "S +OK hello\nC STLS\nS +OK begin"},
		{"ftp", "S 220 ready\nC AUTH TLS\nS 234 go"},
	} {
		address := serve(t, func(connection net.Conn) {
			if err := play(connection, c.script); err != nil {
				t.Errorf("%s: %v", c.transport, err)
				return
			}
			server := tls.Server(connection, &tls.Config{Certificates: []tls.Certificate{served}})
			if server.Handshake() == nil {
				io.Copy(io.Discard, server)
			}
		})
		chain, err := HandshakeOver(context.Background(), c.transport, address.String(), "mail.test")
		if err != nil || !chain[0].Equal(leaf.Certificate) {
			t.Errorf("%s: %v", c.transport, err)
		}
	}
	refusing := serve(t, func(connection net.Conn) { play(connection, "S 220 ready\nC EHLO\nS 250 SIZE") })
	var failed *Failed
	if _, err := HandshakeOver(context.Background(), "smtp", refusing.String(), ""); !errors.As(err, &failed) || failed.Status != cert.StatusHandshakeFailed {
		t.Error(err)
	}
}

// play speaks a script: S lines are sent, C lines are the beginning of what must come.
func play(connection net.Conn, script string) error {
	for _, line := range strings.Split(script, "\n") {
		if text, ok := strings.CutPrefix(line, "S "); ok {
			if _, err := io.WriteString(connection, text+"\r\n"); err != nil {
				return err
			}
			continue
		}
		got, err := readLine(connection)
		if err != nil || !strings.HasPrefix(got, line[2:]) {
			return fmt.Errorf("got %q, want %q (%v)", got, line[2:], err)
		}
	}
	return nil
}

func FuzzLeafOnWire(f *testing.F) {
	f.Add([]byte{22, 3, 3, 0, 13, 11, 0, 0, 9, 0, 0, 6, 0, 0, 3, 1, 2, 3})
	f.Fuzz(func(t *testing.T, stream []byte) {
		if found := leafOnWire(stream); found != "" && len(found) != 64 {
			t.Fatal(found)
		}
	})
}

func FuzzUpgrades(f *testing.F) {
	f.Add("220 ready\r\n250-STARTTLS\r\n250 x\r\n220 go\r\n")
	f.Add("* OK\r\na OK\r\n")
	f.Fuzz(func(t *testing.T, said string) {
		for _, transport := range []string{"smtp", "imap", "pop3", "ftp", "postgres"} {
			upgrade(struct {
				io.Reader
				io.Writer
			}{strings.NewReader(said), io.Discard}, transport)
		}
	})
}

func TestLeafOnWire(t *testing.T) {
	want := cert.Fingerprint([]byte{1, 2, 3})
	whole := []byte{22, 3, 3, 0, 13, 11, 0, 0, 9, 0, 0, 6, 0, 0, 3, 1, 2, 3}
	split := []byte{22, 3, 3, 0, 4, 2, 0, 0, 0, 22, 3, 3, 0, 5, 11, 0, 0, 9, 0, 22, 3, 3, 0, 8, 0, 6, 0, 0, 3, 1, 2, 3}
	if leafOnWire(whole) != want || leafOnWire(split) != want {
		t.Error("not found")
	}
	for i := range whole {
		if leafOnWire(whole[:i]) != "" {
			t.Errorf("found in the first %d bytes", i)
		}
	}
}
