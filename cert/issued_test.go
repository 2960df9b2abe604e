package cert_test

import (
	"crypto"
	"crypto/x509"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/backstay/backstay/cert"
	. "github.com/backstay/backstay/cert/certtest"
)

func TestT12CheckIssued(t *testing.T) {
	root := Root(t, "Root")
	middle := root.Authority(t, "Middle")
	names := []string{"example.com", "*.example.com", "192.0.2.1"}
	good := middle.Leaf(t, names)
	edit := func(change func(*x509.Certificate)) Pair {
		return middle.Leaf(t, names, WithKey(good.Key), func(c *x509.Certificate, _ *crypto.Signer) { change(c) })
	}
	stranger := Root(t, "Middle")
	oldMiddle := root.Authority(t, "Middle", WithKey(middle.Key), Dates(-900*Day, -1*Day))
	for _, c := range []struct {
		name  string
		chain []*x509.Certificate
		want  string // part of the error; "" for none
	}{
		{"as asked", Chain(good, middle), ""},
		{"leaf only", Chain(good), ""},
		{"with the root", Chain(good, middle, root), ""},
		{"nothing", nil, "no certificate"},
		{"another key", Chain(middle.Leaf(t, names), middle), "another key"},
		{"a name less", Chain(middle.Leaf(t, names[:2], WithKey(good.Key)), middle), "lacks the name 192.0.2.1"},
		{"a name more", Chain(middle.Leaf(t, append(names, "extra.test"), WithKey(good.Key)), middle), "has the name extra.test"},
		{"another wildcard", Chain(middle.Leaf(t, []string{"example.com", "*.example.org", "192.0.2.1"}, WithKey(good.Key)), middle), "*.example.org"},
		{"case of names is folded", Chain(edit(func(c *x509.Certificate) { c.DNSNames[0] = "EXAMPLE.com" }), middle), ""},
		{"foreign common name", Chain(edit(func(c *x509.Certificate) { c.Subject.CommonName = "evil.test" }), middle), "common name is evil.test"},
		{"no common name", Chain(edit(func(c *x509.Certificate) { c.Subject.CommonName = "" }), middle), ""},
		{"an e-mail name", Chain(edit(func(c *x509.Certificate) { c.EmailAddresses = []string{"a@b.test"} }), middle), "names of other kinds"},
		{"a URI name", Chain(edit(func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "x"}} }), middle), "names of other kinds"},
		{"expired", Chain(edit(func(c *x509.Certificate) { c.NotAfter = Now.Add(-1) }), middle), "it expired"},
		{"begins in 59 minutes", Chain(edit(func(c *x509.Certificate) { c.NotBefore = Now.Add(startSlackTest) }), middle), ""},
		{"begins in 61 minutes", Chain(edit(func(c *x509.Certificate) { c.NotBefore = Now.Add(startSlackTest + 2*minute) }), middle), "not valid before"},
		{"for clients only", Chain(edit(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), middle), "serverAuth"},
		{"no extended key usage", Chain(edit(func(c *x509.Certificate) { c.ExtKeyUsage = nil }), middle), "serverAuth"},
		{"for both", Chain(edit(func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) }), middle), ""},
		{"an authority", Chain(edit(func(c *x509.Certificate) { c.IsCA, c.MaxPathLen = true, -1 }), middle), "certificate authority"},
		{"self-signed", Chain(SelfSigned(t, names, WithKey(good.Key))), "self-signed"},
		{"out of order", Chain(good, root, middle), "not the issuer"},
		{"a foreign extra", Chain(good, middle, stranger), "not the issuer"},
		{"issuer of the same name, another key", Chain(good, stranger), "did not sign"},
		{"a leaf as issuer", Chain(good.Leaf(t, names, WithKey(good.Key), func(c *x509.Certificate, _ *crypto.Signer) { c.Subject.CommonName = "" }), good), "did not sign"},
		{"expired intermediate", Chain(good, oldMiddle), "certificate 2 of the chain expired"},
		{"endless chain", append(Chain(good), make([]*x509.Certificate, 20)...), "21 certificates"},
	} {
		err := cert.CheckIssued(c.chain, cert.IssuedWant{PublicKey: good.Key.Public(), Domains: []string{"Example.com", "*.example.com", "192.0.2.1"}, Now: Now})
		var wrong *cert.WrongCertificate
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

const (
	minute         = 60 * 1_000_000_000
	startSlackTest = 59 * minute
)

func TestKeyMatches(t *testing.T) {
	root := Root(t, "Root")
	leaf, other := root.Leaf(t, []string{"a.test"}), root.Leaf(t, []string{"a.test"})
	if !cert.KeyMatches(leaf.Certificate, leaf.Key) || !cert.KeyMatches(leaf.Certificate, leaf.Key.Public()) {
		t.Error("own key does not match")
	}
	if cert.KeyMatches(leaf.Certificate, other.Key) || cert.KeyMatches(leaf.Certificate, nil) || cert.KeyMatches(&x509.Certificate{}, leaf.Key) {
		t.Error("a foreign key matches")
	}
}
