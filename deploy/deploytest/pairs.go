// Package deploytest holds what the tests of all target kinds share.
//
// Promise: Suite is the contract of deploy.Target as a test, run by every kind;
// Kill ends a real process at each durable step of an act in turn; SmallDisk
// and ReadOnlyDisk are real file systems.
//
// Limits: imported by tests only. What the machine cannot do (no go tool, not
// root) is skipped by name, never silently passed.
package deploytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay/deploy"
)

// Issued is what one issuance leaves, PEM.
type Issued struct {
	Key, Leaf, Chain []byte
	Certificate      *x509.Certificate
}

// Full is the leaf and the chain above it.
func (issued Issued) Full() []byte {
	return append(append([]byte{}, issued.Leaf...), issued.Chain...)
}

// Authority is a throw-away CA with one intermediate.
type Authority struct {
	root, intermediate *x509.Certificate
	key                crypto.Signer
	serial             int64
}

// NewAuthority makes a CA.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	authority := &Authority{serial: 100}
	rootKey := newKey(t)
	authority.root = sign(t, template(1, "test root", true), nil, rootKey.Public(), rootKey)
	authority.key = newKey(t)
	authority.intermediate = sign(t, template(2, "test intermediate", true), authority.root, authority.key.Public(), rootKey)
	return authority
}

// Roots holds the CA's root.
func (authority *Authority) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(authority.root)
	return pool
}

// Issue makes a P-256 certificate for names.
func (authority *Authority) Issue(t testing.TB, names ...string) Issued {
	t.Helper()
	return authority.IssueFor(t, newKey(t), names...)
}

// IssueRSA makes a 2048-bit RSA certificate for names.
func (authority *Authority) IssueRSA(t testing.TB, names ...string) Issued {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return authority.IssueFor(t, key, names...)
}

// IssueFor makes a certificate for a key.
func (authority *Authority) IssueFor(t testing.TB, key crypto.Signer, names ...string) Issued {
	t.Helper()
	authority.serial++
	request := template(authority.serial, names[0], false)
	request.DNSNames = names
	leaf := sign(t, request, authority.intermediate, key.Public(), authority.key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return Issued{
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		Leaf:        pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}),
		Chain:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.intermediate.Raw}),
		Certificate: leaf,
	}
}

// Store writes a complete generation and returns its placement.
func Store(t testing.TB, state, name string, number int, issued Issued) deploy.Placement {
	t.Helper()
	if err := deploy.WriteKey(state, name, number, issued.Key); err != nil {
		t.Fatal(err)
	}
	if err := deploy.WriteChain(state, name, number, issued.Leaf, issued.Chain); err != nil {
		t.Fatal(err)
	}
	return deploy.Placement{
		Name: name, Domains: issued.Certificate.DNSNames, Generation: number,
		Folder: deploy.Folder(state, name, number),
	}
}

// State makes an empty state folder.
func State(t testing.TB) string {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, "state")
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func template(serial int64, name string, authority bool) *x509.Certificate {
	made := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if authority {
		made.IsCA, made.BasicConstraintsValid = true, true
		made.KeyUsage, made.ExtKeyUsage = x509.KeyUsageCertSign, nil
	}
	return made
}

// sign makes a certificate; without a parent it signs itself.
func sign(t testing.TB, request, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	if parent == nil {
		parent = request
	}
	der, err := x509.CreateCertificate(rand.Reader, request, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}
