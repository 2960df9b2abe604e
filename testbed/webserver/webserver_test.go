package webserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/testbed/pki"
)

func root(t *testing.T) *pki.Issuer {
	t.Helper()
	made, err := pki.Root(pki.Options{CommonName: "Root"})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func leaf(t *testing.T, issuer *pki.Issuer, names ...string) *pki.Pair {
	t.Helper()
	made, err := issuer.Leaf(pki.Options{Names: names})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func run(t *testing.T, config Config) *Server {
	t.Helper()
	server, err := Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

// shake connects, verifies and returns the state.
func shake(t *testing.T, server *Server, config *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	dialer := &tls.Dialer{Config: config}
	connection, err := dialer.DialContext(ctx, "tcp", server.Address())
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer connection.Close()
	return connection.(*tls.Conn).ConnectionState(), nil
}

func TestShowsByName(t *testing.T) {
	issuer := root(t)
	main, star, exact := leaf(t, issuer, "main.example"), leaf(t, issuer, "*.star.example"), leaf(t, issuer, "a.star.example")
	server := run(t, Config{Pair: main, Names: map[string]*pki.Pair{"*.star.example": star, "A.star.example": exact}})
	for name, wanted := range map[string]*pki.Pair{"main.example": main, "b.star.example": star, "a.star.example": exact} {
		state, err := shake(t, server, &tls.Config{ServerName: name, RootCAs: pki.Pool(issuer.Certificate)})
		if err != nil || !state.PeerCertificates[0].Equal(wanted.Certificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	next := leaf(t, issuer, "main.example")
	server.Show(next)
	server.ShowFor("a.star.example", nil)
	state, err := shake(t, server, &tls.Config{ServerName: "main.example", RootCAs: pki.Pool(issuer.Certificate)})
	if err != nil || !state.PeerCertificates[0].Equal(next.Certificate) {
		t.Errorf("after the change: %v", err)
	}
	// In TLS 1.3 the client is done first; the server counts a moment later.
	for deadline := time.Now().Add(10 * time.Second); server.Handshakes() < 4 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if server.Handshakes() != 4 || server.Connections() != 4 {
		t.Errorf("%d handshakes on %d connections, want 4 on 4", server.Handshakes(), server.Connections())
	}
}

func TestServesHTTP(t *testing.T) {
	issuer := root(t)
	server := run(t, Config{Pair: leaf(t, issuer, "a.example")})
	transport := &http.Transport{TLSClientConfig: &tls.Config{ServerName: "a.example", RootCAs: pki.Pool(issuer.Certificate)}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("https://" + server.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "ok\n" {
		t.Errorf("%q %v", body, err)
	}
}

func TestBehaviours(t *testing.T) {
	issuer := root(t)
	pair := leaf(t, issuer, "a.example")
	contains := func(text string) func(error) bool {
		return func(err error) bool { return err != nil && strings.Contains(err.Error(), text) }
	}
	timeout := func(err error) bool {
		var network net.Error
		return errors.As(err, &network) && network.Timeout()
	}
	table := []struct {
		behaviour Behaviour
		check     func(error) bool
	}{
		{Behave, func(err error) bool { return err == nil }},
		{Drip, func(err error) bool { return err == nil }},
		{Hang, timeout},
		{HangAfterHello, timeout},
		{Reset, func(err error) bool {
			return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE)
		}},
		{ResetAfterHello, func(err error) bool { return errors.Is(err, syscall.ECONNRESET) }},
		{PlainHTTP, contains("first record does not look like a TLS handshake")},
		{Garbage, func(err error) bool { return err != nil && !timeout(err) }},
		{Alert, contains("unrecognized name")},
		{ForeignKey, contains("invalid signature")},
	}
	for _, row := range table {
		t.Run("behaviour "+string(row.behaviour), func(t *testing.T) {
			server := run(t, Config{Pair: pair, Behaviour: row.behaviour, Interval: time.Microsecond})
			patience := 10 * time.Second
			if row.behaviour == Hang || row.behaviour == HangAfterHello {
				patience = 100 * time.Millisecond // that long it must stay silent
			}
			dialer := &net.Dialer{Timeout: patience}
			connection, err := tls.DialWithDialer(dialer, "tcp", server.Address(), &tls.Config{ServerName: "a.example", RootCAs: pki.Pool(issuer.Certificate)})
			if err == nil {
				connection.Close()
			}
			if !row.check(err) {
				t.Errorf("%v", err)
			}
			server.Become(Behave)
			if _, err := shake(t, server, &tls.Config{ServerName: "a.example", RootCAs: pki.Pool(issuer.Certificate)}); err != nil {
				t.Errorf("after it became good: %v", err)
			}
		})
	}
}

func TestClientCertificates(t *testing.T) {
	issuer := root(t)
	server := run(t, Config{Pair: leaf(t, issuer, "a.example"), ClientCAs: pki.Pool(issuer.Certificate), MaxVersion: tls.VersionTLS12})
	config := &tls.Config{ServerName: "a.example", RootCAs: pki.Pool(issuer.Certificate)}
	if _, err := shake(t, server, config); err == nil {
		t.Error("without a client certificate it must refuse")
	}
	client, err := issuer.Leaf(pki.Options{CommonName: "client", Modify: pki.ForClients})
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{client.TLS()}
	if state, err := shake(t, server, config); err != nil || state.Version != tls.VersionTLS12 {
		t.Errorf("%x %v", state.Version, err)
	}
}

func TestUpgrades(t *testing.T) {
	issuer := root(t)
	pair := leaf(t, issuer, "mail.example")
	talks := map[string][][2]string{ // what we send, how the answer begins
		"smtp":     {{"", "220 "}, {"EHLO me\r\n", "250-"}, {"STARTTLS\r\n", "220 "}},
		"imap":     {{"", "* OK"}, {"a1 CAPABILITY\r\n", "* CAP"}, {"a2 STARTTLS\r\n", "a2 OK"}},
		"pop3":     {{"", "+OK"}, {"STLS\r\n", "+OK"}},
		"postgres": {{"\x00\x00\x00\x08\x04\xd2\x16\x2f", "S"}},
	}
	for protocol, talk := range talks {
		t.Run(protocol, func(t *testing.T) {
			server := run(t, Config{Pair: pair, Upgrade: protocol})
			connection, err := net.Dial("tcp", server.Address())
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			connection.SetDeadline(time.Now().Add(10 * time.Second))
			for _, step := range talk {
				if _, err := io.WriteString(connection, step[0]); err != nil {
					t.Fatal(err)
				}
				if err := expect(connection, step[1], protocol == "postgres"); err != nil {
					t.Fatal(err)
				}
			}
			client := tls.Client(connection, &tls.Config{ServerName: "mail.example", RootCAs: pki.Pool(issuer.Certificate)})
			if err := client.Handshake(); err != nil {
				t.Error(err)
			}
		})
	}
	if server, err := Start(Config{Upgrade: "gopher"}); err == nil {
		server.Close()
		t.Error("an unknown upgrade must be refused")
	}
}

// expect reads one answer: one byte, or lines up to the last one of an answer.
func expect(connection net.Conn, prefix string, oneByte bool) error {
	if oneByte {
		got := make([]byte, 1)
		if _, err := io.ReadFull(connection, got); err != nil || string(got) != prefix {
			return fmt.Errorf("got %q %v, want %q", got, err, prefix)
		}
		return nil
	}
	lines := bufio.NewReaderSize(onlyOne{connection}, 16)
	first := ""
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		if first == "" {
			first = line
		}
		if !strings.HasPrefix(line, "250-") && !strings.HasPrefix(line, "* CAP") {
			break
		}
	}
	if !strings.HasPrefix(first, prefix) {
		return fmt.Errorf("got %q, want %q", first, prefix)
	}
	return nil
}

func TestCloseEndsHangingConnections(t *testing.T) {
	server := run(t, Config{Behaviour: Hang})
	connection, err := net.Dial("tcp", server.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := errors.Join(server.Close(), server.Close()); err != nil {
		t.Error(err)
	}
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := connection.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the connection is still open: %v", err)
	}
}
