// Package pki makes certificates of every kind, good and bad, for the small
// world of testbed.
//
// Promise: whatever a server on the Internet may show can be made here with a
// few fields: any dates, key types, a weak key, an old signature algorithm, a
// certificate without names, a chain of any length. Nothing is written to disk
// unless a method says so.
//
// Limits: for tests, drills and the demonstration only. Keys are not
// protected; nothing here may sign what a stranger will trust.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Options describe one certificate. The zero value of every field has a useful
// meaning; Modify reaches whatever has no field.
type Options struct {
	CommonName   string // "" for none; never copied into Names by itself
	Organization string
	Names        []string // DNS names of the subject alternative name extension; wildcards as they are
	IPs          []net.IP

	NotBefore time.Time // zero: one hour before now
	NotAfter  time.Time // zero: NotBefore + 90 days (leaf) or 10 years (issuer)

	KeyType string        // ecdsa-p256 (default) ecdsa-p384 ed25519 rsa-1024 rsa-2048 rsa-3072 rsa-4096
	Key     crypto.Signer // an existing key instead of a new one
	Serial  *big.Int      // nil: random, 120 bits

	SHA1       bool               // sign with SHA-1; the issuer's key must be RSA or ECDSA
	MustStaple bool               // RFC 7633
	Usages     []x509.ExtKeyUsage // nil: server authentication

	OCSP   string // responder URL
	Issuer string // URL of the issuer's certificate
	CRL    string // distribution point

	Modify func(template *x509.Certificate) // last word on the template
}

// Issuer is a root or an intermediate that can sign.
type Issuer struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
	Parent      *Issuer // nil for a root
}

// Root makes a self-signed issuer.
func Root(options Options) (*Issuer, error) {
	certificate, key, err := create(options, nil, true)
	if err != nil {
		return nil, err
	}
	return &Issuer{Certificate: certificate, Key: key}, nil
}

// Intermediate makes an issuer signed by this one.
func (issuer *Issuer) Intermediate(options Options) (*Issuer, error) {
	certificate, key, err := create(options, issuer, true)
	if err != nil {
		return nil, err
	}
	return &Issuer{Certificate: certificate, Key: key, Parent: issuer}, nil
}

// Leaf makes an end entity certificate. Its Chain holds the intermediates up
// to, and without, the root.
func (issuer *Issuer) Leaf(options Options) (*Pair, error) {
	certificate, key, err := create(options, issuer, false)
	if err != nil {
		return nil, err
	}
	return &Pair{Certificate: certificate, Key: key, Chain: issuer.Chain()}, nil
}

// Chain is this issuer and its parents, without the root.
func (issuer *Issuer) Chain() []*x509.Certificate {
	var chain []*x509.Certificate
	for at := issuer; at != nil && at.Parent != nil; at = at.Parent {
		chain = append(chain, at.Certificate)
	}
	return chain
}

// SelfSigned makes an end entity certificate signed by its own key.
func SelfSigned(options Options) (*Pair, error) {
	certificate, key, err := create(options, nil, false)
	if err != nil {
		return nil, err
	}
	return &Pair{Certificate: certificate, Key: key}, nil
}

// NewKey makes a private key; see Options.KeyType for the words.
func NewKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "", "ecdsa-p256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ecdsa-p384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "rsa-1024":
		return rsa.GenerateKey(rand.Reader, 1024)
	case "rsa-2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "rsa-3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "rsa-4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, fmt.Errorf("pki: key type %q is not known", kind)
}

// NewSerial is a random positive serial number of 120 bits.
func NewSerial() (*big.Int, error) {
	bytes := make([]byte, 15)
	if _, err := rand.Read(bytes); err != nil {
		return nil, err
	}
	bytes[0] = bytes[0]&0x7f | 0x40 // never zero, always the same length
	return new(big.Int).SetBytes(bytes), nil
}

func create(options Options, issuer *Issuer, authority bool) (*x509.Certificate, crypto.Signer, error) {
	key := options.Key
	if key == nil {
		var err error
		if key, err = NewKey(options.KeyType); err != nil {
			return nil, nil, err
		}
	}
	template, err := options.template(key.Public(), authority)
	if err != nil {
		return nil, nil, err
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.Certificate, issuer.Key
	}
	if options.SHA1 {
		if template.SignatureAlgorithm, err = withSHA1(signer); err != nil {
			return nil, nil, err
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, fmt.Errorf("pki: create %q: %w", options.CommonName, err)
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, key, err
}

func withSHA1(signer crypto.Signer) (x509.SignatureAlgorithm, error) {
	switch signer.(type) {
	case *rsa.PrivateKey:
		return x509.SHA1WithRSA, nil
	case *ecdsa.PrivateKey:
		return x509.ECDSAWithSHA1, nil
	}
	return 0, fmt.Errorf("pki: no SHA-1 signature with a %T", signer)
}

func (options Options) template(public crypto.PublicKey, authority bool) (*x509.Certificate, error) {
	serial := options.Serial
	if serial == nil {
		var err error
		if serial, err = NewSerial(); err != nil {
			return nil, err
		}
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: options.CommonName},
		DNSNames:     options.Names,
		IPAddresses:  options.IPs,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  options.Usages,
	}
	if options.Organization != "" {
		template.Subject.Organization = []string{options.Organization}
	}
	template.NotBefore, template.NotAfter = options.dates(authority)
	if authority {
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		identifier, err := keyIdentifier(public)
		if err != nil {
			return nil, err
		}
		template.SubjectKeyId = identifier
	} else {
		template.BasicConstraintsValid = true
		if template.ExtKeyUsage == nil {
			template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}
		if _, isRSA := public.(*rsa.PublicKey); isRSA {
			template.KeyUsage |= x509.KeyUsageKeyEncipherment
		}
	}
	options.addresses(template)
	if options.MustStaple {
		template.ExtraExtensions = append(template.ExtraExtensions, mustStaple)
	}
	if options.Modify != nil {
		options.Modify(template)
	}
	return template, nil
}

// mustStaple is the TLS feature extension with status_request (RFC 7633).
var mustStaple = pkix.Extension{
	Id:    asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24},
	Value: []byte{0x30, 0x03, 0x02, 0x01, 0x05},
}

func (options Options) addresses(template *x509.Certificate) {
	if options.OCSP != "" {
		template.OCSPServer = []string{options.OCSP}
	}
	if options.Issuer != "" {
		template.IssuingCertificateURL = []string{options.Issuer}
	}
	if options.CRL != "" {
		template.CRLDistributionPoints = []string{options.CRL}
	}
}

func (options Options) dates(authority bool) (notBefore, notAfter time.Time) {
	notBefore, notAfter = options.NotBefore, options.NotAfter
	if notBefore.IsZero() {
		notBefore = time.Now().Add(-time.Hour)
	}
	if notAfter.IsZero() && authority {
		notAfter = notBefore.AddDate(10, 0, 0)
	} else if notAfter.IsZero() {
		notAfter = notBefore.Add(90 * 24 * time.Hour)
	}
	return notBefore.UTC().Truncate(time.Second), notAfter.UTC().Truncate(time.Second)
}

// keyIdentifier is method 1 of RFC 5280 section 4.2.1.2: the SHA-1 of the key
// bits. It is a name, not a proof, so SHA-1 is fine here.
func keyIdentifier(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, err
	}
	sum := sha1.Sum(info.Key.Bytes)
	return sum[:], nil
}

// ForClients is a Modify for certificates that clients show.
func ForClients(template *x509.Certificate) {
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
}
