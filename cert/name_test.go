package cert_test

import (
	"crypto/x509"
	"net"
	"strings"
	"testing"

	"github.com/backstay/backstay/cert"
)

func TestMatchesName(t *testing.T) {
	for _, c := range []struct {
		entries string // DNS names and IP addresses of the certificate
		name    string
		want    bool
	}{
		{"example.com", "example.com", true},
		{"example.com", "EXAMPLE.com", true},
		{"EXAMPLE.COM", "example.com", true},
		{"example.com", "example.com.", true}, // a final dot only says: from the root
		{"example.com", "www.example.com", false},
		{"www.example.com", "example.com", false},
		{"*.example.com", "www.example.com", true},
		{"*.Example.com", "WWW.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", "a.b.example.com", false},
		{"*.example.com", ".example.com", false},
		{"*.example.com", "*.example.com", false}, // a star is no host
		{"w*.example.com", "www.example.com", false},
		{"*w.example.com", "www.example.com", false},
		{"www.*.com", "www.example.com", false},
		{"*.*.com", "www.example.com", false},
		{"*", "example", false},
		{"*", "example.com", false},
		{"*.", "example.", false},
		{"xn--bcher-kva.example", "bücher.example", true},
		{"*.example.com", "xn--bcher-kva.example.com", true},
		{"example.com\x00.evil.test", "example.com", false},
		{"example.com\x00.evil.test", "example.com\x00.evil.test", false},
		{"example.com", "example.com\x00", false},
		{"example.com ", "example.com", false},
		{"exa_mple.com", "exa_mple.com", true},
		{"example.com.", "example.com", false}, // RFC 5280 section 4.2.1.6 has no final dot
		{"", "", false},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:DB8:0::1", true},
		{"2001:db8::1", "[2001:db8::1]", true},
		{"2001:db8::1", "2001:db8::1%eth0", false},
		{"dns:192.0.2.1", "192.0.2.1", false}, // an address written as a DNS name
		{"*.0.2.1", "192.0.2.1", false},
		{"192.0.2.1", "1.2.0.192.in-addr.arpa", false},
		{"example.com,other.test", "other.test", true},
	} {
		leaf := &x509.Certificate{}
		leaf.Subject.CommonName = strings.TrimSuffix(c.name, ".") // never a reason to match
		for _, entry := range strings.Split(c.entries, ",") {
			if address := net.ParseIP(entry); address != nil {
				leaf.IPAddresses = append(leaf.IPAddresses, address)
			} else {
				leaf.DNSNames = append(leaf.DNSNames, strings.TrimPrefix(entry, "dns:"))
			}
		}
		if got := cert.MatchesName(leaf, c.name); got != c.want {
			t.Errorf("%q for %q: %v", c.entries, c.name, got)
		}
	}
	if cert.MatchesName(&x509.Certificate{}, "example.com") {
		t.Error("a certificate without names matches")
	}
}

// FuzzMatchesName compares with crypto/x509 wherever both have an opinion:
// whatever we accept, Go's clients accept.
func FuzzMatchesName(f *testing.F) {
	f.Add("*.example.com", "www.example.com")
	f.Add("example.com\x00", "example.com")
	f.Add("192.0.2.1", "192.0.2.1")
	f.Fuzz(func(t *testing.T, entry, name string) {
		leaf := &x509.Certificate{DNSNames: []string{entry}, Raw: []byte{1}}
		if !cert.MatchesName(leaf, name) {
			return
		}
		host, err := cert.HostName(name)
		if err != nil {
			t.Fatalf("%q matches %q and is no host name", entry, name)
		}
		if err := leaf.VerifyHostname(host); err != nil {
			t.Fatalf("we match %q with %q, Go does not: %v", entry, name, err)
		}
	})
}
