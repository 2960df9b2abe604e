package pki

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func chain(t *testing.T) (*Issuer, *Issuer) {
	t.Helper()
	root, err := Root(Options{CommonName: "Test Root"})
	if err != nil {
		t.Fatal(err)
	}
	intermediate, err := root.Intermediate(Options{CommonName: "Test Intermediate"})
	if err != nil {
		t.Fatal(err)
	}
	return root, intermediate
}

func TestChainVerifies(t *testing.T) {
	root, intermediate := chain(t)
	pair, err := intermediate.Leaf(Options{Names: []string{"a.example", "*.b.example"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.example", "x.b.example", "127.0.0.1"} {
		_, err := pair.Certificate.Verify(x509.VerifyOptions{DNSName: name, Roots: Pool(root.Certificate), Intermediates: Pool(pair.Chain...)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := pair.Certificate.Verify(x509.VerifyOptions{Roots: Pool(root.Certificate)}); err == nil {
		t.Error("a leaf without its intermediate must not verify")
	}
	if _, err := tls.X509KeyPair(pair.FullchainPEM(), pair.KeyPEM()); err != nil {
		t.Error(err)
	}
	if len(pair.TLS().Certificate) != 2 {
		t.Errorf("served chain has %d certificates, want 2", len(pair.TLS().Certificate))
	}
}

func TestBadOnesAreAsBadAsAsked(t *testing.T) {
	root, err := Root(Options{CommonName: "Old Root", KeyType: "rsa-2048"})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	table := []struct {
		name    string
		options Options
		check   func(*x509.Certificate) bool
	}{
		{"weak key", Options{KeyType: "rsa-1024"}, func(c *x509.Certificate) bool { return c.PublicKey.(*rsa.PublicKey).N.BitLen() == 1024 }},
		{"sha-1", Options{SHA1: true}, func(c *x509.Certificate) bool { return c.SignatureAlgorithm == x509.SHA1WithRSA }},
		{"expired", Options{NotBefore: at, NotAfter: at.Add(time.Hour)}, func(c *x509.Certificate) bool { return c.NotAfter.Equal(at.Add(time.Hour)) }},
		{"common name only", Options{CommonName: "cn.example"}, func(c *x509.Certificate) bool { return len(c.DNSNames) == 0 && c.Subject.CommonName == "cn.example" }},
		{"must staple", Options{MustStaple: true}, func(c *x509.Certificate) bool {
			for _, extension := range c.Extensions {
				if extension.Id.Equal(mustStaple.Id) {
					return true
				}
			}
			return false
		}},
		{"no basic constraints", Options{Modify: func(c *x509.Certificate) { c.BasicConstraintsValid = false }}, func(c *x509.Certificate) bool { return !c.BasicConstraintsValid }},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			pair, err := root.Leaf(row.options)
			if err != nil {
				t.Fatal(err)
			}
			if !row.check(pair.Certificate) {
				t.Errorf("not as asked: %+v", row.options)
			}
		})
	}
}

func TestOpenSSLAgrees(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	root, intermediate := chain(t)
	pair, err := intermediate.Leaf(Options{Names: []string{"a.example"}})
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := pair.WriteFiles(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "root.pem"), PEM(root.Certificate), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("openssl", "verify", "-x509_strict", "-CAfile", filepath.Join(folder, "root.pem"), "-untrusted",
		filepath.Join(folder, "chain.pem"), "-verify_hostname", "a.example", filepath.Join(folder, "cert.pem")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "OK") {
		t.Errorf("openssl verify: %v\n%s", err, out)
	}
	info, err := os.Stat(filepath.Join(folder, "privkey.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("privkey.pem: %v %v", info, err)
	}
}

func TestUnknownKeyType(t *testing.T) {
	if _, err := NewKey("dsa-512"); err == nil {
		t.Error("an unknown key type must be refused")
	}
}
