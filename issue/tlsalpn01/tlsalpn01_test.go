package tlsalpn01_test

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/issue"
	"github.com/backstay/backstay/issue/tlsalpn01"
	"github.com/backstay/backstay/testbed/authority"
)

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func answer(identifier, text string) issue.Answer {
	return issue.Answer{Identifier: identifier, Type: "tls-alpn-01", Token: text, KeyAuthorization: text + ".thumbprint"}
}

// order is one order at an authority, with a client of its own.
type order struct {
	t       *testing.T
	client  *acme.Client
	account acme.Account
	acme.Order
}

func newOrder(t *testing.T, ca *authority.Authority, identifiers ...acme.Identifier) *order {
	t.Helper()
	key, err := cert.GenerateKey("ecdsa-p256", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &order{t: t, client: &acme.Client{Directory: ca.URL(), HTTPClient: ca.Client(), PollInterval: time.Millisecond, PollTimeout: 5 * time.Second}}
	if made.account, err = made.client.NewAccount(t.Context(), acme.Account{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	if made.Order, err = made.client.NewOrder(t.Context(), made.account, acme.Order{Identifiers: identifiers}); err != nil {
		t.Fatal(err)
	}
	return made
}

// challenge is the tls-alpn-01 challenge of an authorization.
func (order *order) challenge(index int) acme.Challenge {
	order.t.Helper()
	authorization, err := order.client.GetAuthorization(order.t.Context(), order.account, order.Authorizations[index])
	if err != nil {
		order.t.Fatal(err)
	}
	for _, one := range authorization.Challenges {
		if one.Type == "tls-alpn-01" {
			return one
		}
	}
	order.t.Fatal("tls-alpn-01 is not offered")
	return acme.Challenge{}
}

// offered tells the CA to look and returns what it says.
func (order *order) offered(index int, challenge acme.Challenge) string {
	order.t.Helper()
	if _, err := order.client.InitiateChallenge(order.t.Context(), order.account, challenge); err != nil {
		order.t.Fatal(err)
	}
	authorization, err := order.client.GetAuthorization(order.t.Context(), order.account, order.Authorizations[index])
	if err != nil {
		order.t.Fatal(err)
	}
	return authorization.Status
}

// TestValidatedByACA: names and addresses, and another's answer is refused.
func TestValidatedByACA(t *testing.T) {
	address := freeAddress(t)
	port, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := authority.New(authority.Config{TLSPort: port.Port})
	if err != nil {
		t.Fatal(err)
	}
	defer ca.Close()
	own := &tlsalpn01.Listener{Address: address}
	defer own.Close()
	order := newOrder(t, ca, acme.Identifier{Type: "dns", Value: "a.example.org"}, acme.Identifier{Type: "ip", Value: "127.0.0.1"}, acme.Identifier{Type: "dns", Value: "wrong.example.org"})
	for index := range order.Authorizations {
		challenge := order.challenge(index)
		authorization, err := order.client.GetAuthorization(t.Context(), order.account, order.Authorizations[index])
		if err != nil {
			t.Fatal(err)
		}
		name, want := authorization.Identifier.Value, "valid"
		given := issue.Answer{Identifier: name, Type: "tls-alpn-01", Token: challenge.Token, KeyAuthorization: challenge.KeyAuthorization}
		if name == "wrong.example.org" {
			given.KeyAuthorization, want = challenge.Token+".another-account", "invalid"
		}
		if err := own.Set(t.Context(), given); err != nil {
			t.Fatal(err)
		}
		if err := own.Check(t.Context(), given); err != nil {
			t.Errorf("%s: our own look: %v", name, err)
		}
		if got := order.offered(index, challenge); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestOpensAndCloses with the first answer and the last; a repetition changes
// nothing.
func TestOpensAndCloses(t *testing.T) {
	address := freeAddress(t)
	own := &tlsalpn01.Listener{Address: address}
	var _ issue.Volatile = own
	open := func() bool {
		connection, err := net.Dial("tcp", address)
		if err == nil {
			connection.Close()
		}
		return err == nil
	}
	if open() {
		t.Fatal("open before the first answer")
	}
	if err := own.Check(t.Context(), answer("a.example.org", "x")); err == nil {
		t.Error("seen before it was set")
	}
	for range 2 {
		for _, name := range []string{"a.example.org", "a.example.org", "b.example.org"} {
			if err := own.Set(t.Context(), answer(name, "x")); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"a.example.org", "b.example.org"} {
			if !open() {
				t.Errorf("closed before %s was cleaned", name)
			}
			if err := own.Clean(t.Context(), answer(name, "x")); err != nil {
				t.Error(err)
			}
		}
		if open() {
			t.Error("open after the last answer")
		}
		if err := own.Clean(t.Context(), answer("a.example.org", "x")); err != nil {
			t.Errorf("cleaned twice: %v", err)
		}
	}
	if err := own.Set(t.Context(), answer("a.example.org", "x")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(own.Close(), own.Close()); err != nil || open() {
		t.Errorf("%v, open %t", err, open())
	}
}

// TestOthersAreRefused: browsers, other protocols, other names and noise.
func TestOthersAreRefused(t *testing.T) {
	own := &tlsalpn01.Listener{Address: freeAddress(t)}
	defer own.Close()
	if err := own.Set(t.Context(), answer("a.example.org", "x")); err != nil {
		t.Fatal(err)
	}
	table := []struct {
		name      string
		server    string
		protocols []string
		good      bool
	}{
		{"a validation", "a.example.org", []string{"acme-tls/1"}, true},
		{"in capitals", "A.Example.ORG", []string{"acme-tls/1"}, true},
		{"a browser", "a.example.org", []string{"h2", "http/1.1"}, false},
		{"no protocol", "a.example.org", nil, false},
		{"one protocol too many", "a.example.org", []string{"acme-tls/1", "http/1.1"}, false},
		{"another name", "b.example.org", []string{"acme-tls/1"}, false},
		{"no name", "", []string{"acme-tls/1"}, false},
	}
	for _, test := range table {
		connection, err := tls.Dial("tcp", own.Address, &tls.Config{ServerName: test.server, NextProtos: test.protocols, InsecureSkipVerify: true})
		if err == nil {
			connection.Close()
		}
		if (err == nil) != test.good {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	raw, err := net.Dial("tcp", own.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(5 * time.Second))
	io.WriteString(raw, "GET / HTTP/1.1\r\n\r\n")
	if text, _ := io.ReadAll(raw); strings.Contains(string(text), "HTTP/1.1 200") {
		t.Errorf("noise was answered: %q", text)
	}
	if err := own.Check(t.Context(), answer("a.example.org", "x")); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	own := &tlsalpn01.Listener{Address: taken.Addr().String()}
	if err := own.Set(t.Context(), answer("a.example.org", "x")); err == nil {
		t.Error("the port is somebody else's")
	}
}
