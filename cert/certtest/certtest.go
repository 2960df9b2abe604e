// Package certtest makes authorities and certificates for tests.
//
// Promise: what it makes is sound unless the caller's edit breaks it, so that a
// test shows the one thing it is about. Dates hang on Now, never on the clock.
//
// Limits: for tests only. Keys are P-256; an edit can bring its own.
package certtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// Now is the instant around which everything is valid.
var Now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// Day is 24 hours.
const Day = 24 * time.Hour

// Pair is a certificate with its key and, for issuing, the right to sign.
type Pair struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// Edit changes a template before it is signed. The key, by default a new P-256
// key, may be replaced.
type Edit func(template *x509.Certificate, key *crypto.Signer)

// Root makes a self-signed authority, valid for 20 years around Now.
func Root(t testing.TB, name string, edits ...Edit) Pair {
	t.Helper()
	return issue(t, nil, authority(name, 10*365*Day), edits)
}

// Authority makes an intermediate, valid for six years around Now.
func (p Pair) Authority(t testing.TB, name string, edits ...Edit) Pair {
	t.Helper()
	return issue(t, &p, authority(name, 3*365*Day), edits)
}

// Leaf makes a 90-day server certificate for the names (IP addresses allowed),
// 30 days old at Now.
func (p Pair) Leaf(t testing.TB, names []string, edits ...Edit) Pair {
	t.Helper()
	return issue(t, &p, server(names), edits)
}

// SelfSigned makes a server certificate that is its own issuer.
func SelfSigned(t testing.TB, names []string, edits ...Edit) Pair {
	t.Helper()
	return issue(t, nil, server(names), edits)
}

// Dates is the edit that sets both dates, counted from Now. As real authorities
// do, it leaves out the last second.
func Dates(from, to time.Duration) Edit {
	return func(template *x509.Certificate, _ *crypto.Signer) {
		template.NotBefore, template.NotAfter = Now.Add(from), Now.Add(to-time.Second)
	}
}

// WithKey is the edit that uses a given key.
func WithKey(key crypto.Signer) Edit {
	return func(_ *x509.Certificate, slot *crypto.Signer) { *slot = key }
}

// PEM is the certificates of the pairs, in order.
func PEM(pairs ...Pair) []byte {
	var out []byte
	for _, pair := range pairs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate.Raw})...)
	}
	return out
}

// KeyPEM is the pair's key as PKCS#8.
func (p Pair) KeyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Chain is the certificates of the pairs, in order.
func Chain(pairs ...Pair) []*x509.Certificate {
	var chain []*x509.Certificate
	for _, pair := range pairs {
		chain = append(chain, pair.Certificate)
	}
	return chain
}

func authority(name string, half time.Duration) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: Now.Add(-half), NotAfter: Now.Add(half),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: -1, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func server(names []string) *x509.Certificate {
	template := &x509.Certificate{
		NotBefore: Now.Add(-30 * Day), NotAfter: Now.Add(60*Day - time.Second),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if address := net.ParseIP(name); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
			continue
		}
		template.DNSNames = append(template.DNSNames, name)
	}
	if len(names) > 0 {
		template.Subject.CommonName = names[0]
	}
	return template
}

func issue(t testing.TB, issuer *Pair, template *x509.Certificate, edits []Edit) Pair {
	t.Helper()
	var key crypto.Signer
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		edit(template, &key)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.Certificate, issuer.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{certificate, key}
}
