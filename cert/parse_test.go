package cert_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/cert"
	. "github.com/backstay/backstay/cert/certtest"
)

func TestParsePEM(t *testing.T) {
	root := Root(t, "Root")
	leaf := root.Leaf(t, []string{"a.test"})
	text := bytes.Join([][]byte{
		[]byte("\ufeffsubject=CN = a.test\r\n"), bytes.ReplaceAll(PEM(leaf), []byte("\n"), []byte("\r\n")),
		leaf.KeyPEM(t), []byte("-----BEGIN DH PARAMETERS-----\nMAYCAQUCAQI=\n-----END DH PARAMETERS-----\n"),
		[]byte("-----BEGIN CERTIFICATE-----\n!!! not base64\n-----END CERTIFICATE-----\n"),
		[]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
		[]byte("-----BEGIN CERTIFICATE-----\nMAA=\n"), // never ended
		PEM(root),
		[]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n"),
		[]byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----"),
	}, nil)
	parsed, err := cert.ParsePEM(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed.Certificates) != 2 || !parsed.Certificates[0].Equal(leaf.Certificate) || !parsed.Certificates[1].Equal(root.Certificate) {
		t.Errorf("certificates: %d", len(parsed.Certificates))
	}
	if len(parsed.Keys) != 1 || !cert.KeyMatches(leaf.Certificate, parsed.Keys[0]) {
		t.Errorf("keys: %d", len(parsed.Keys))
	}
	if got := strings.Join(parsed.Others, ","); got != "DH PARAMETERS,ENCRYPTED PRIVATE KEY" {
		t.Errorf("others: %s", got)
	}
	if len(parsed.Unreadable) != 4 {
		t.Fatalf("unreadable: %v", parsed.Unreadable)
	}
	if parsed.Unreadable[1].SHA256 == "" || parsed.Unreadable[3].SHA256 != "" || parsed.Unreadable[3].Label != "PRIVATE KEY" || parsed.Unreadable[0].Line == 0 {
		t.Errorf("unreadable: %+v", parsed.Unreadable)
	}
}

func TestParseDER(t *testing.T) {
	root := Root(t, "Root")
	leaf := root.Leaf(t, []string{"a.test"})
	two := append(append([]byte{}, leaf.Certificate.Raw...), root.Certificate.Raw...)
	if parsed, err := cert.ParseDER(two); err != nil || len(parsed.Certificates) != 2 {
		t.Errorf("two certificates: %d, %v", len(parsed.Certificates), err)
	}
	key, err := x509.MarshalECPrivateKey(leaf.Key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err := cert.ParseDER(key); err != nil || len(parsed.Keys) != 1 {
		t.Errorf("a key: %d, %v", len(parsed.Keys), err)
	}
	for name, data := range map[string][]byte{"empty": nil, "text": []byte("hello"), "cut": leaf.Certificate.Raw[:50], "a tail": append(two, 1)} {
		if _, err := cert.ParseDER(data); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestParseChainRefusesStrayBlocks(t *testing.T) {
	root := Root(t, "Root")
	leaf := root.Leaf(t, []string{"a.test"})
	chain, err := cert.ParseChain(PEM(leaf, root))
	if err != nil || len(chain) != 2 {
		t.Fatal(len(chain), err)
	}
	if back, err := cert.ParseChain(cert.EncodeChain(chain)); err != nil || !back[0].Equal(leaf.Certificate) {
		t.Error("EncodeChain is not read back")
	}
	for name, text := range map[string][]byte{
		"a key": append(PEM(leaf), root.KeyPEM(t)...), "other": append(PEM(leaf), "-----BEGIN X-----\n-----END X-----\n"...),
		"nothing": nil, "damaged": append(PEM(leaf), "-----BEGIN CERTIFICATE-----\n"...),
	} {
		if _, err := cert.ParseChain(text); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestParseKeyFindsTheOne(t *testing.T) {
	leaf := Root(t, "Root").Leaf(t, []string{"a.test"})
	if key, err := cert.ParseKey(append(PEM(leaf), leaf.KeyPEM(t)...)); err != nil || !cert.KeyMatches(leaf.Certificate, key) {
		t.Error(err)
	}
	if _, err := cert.ParseKey(append(leaf.KeyPEM(t), leaf.KeyPEM(t)...)); err == nil {
		t.Error("two keys were accepted")
	}
	encrypted := "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMAA=\n-----END RSA PRIVATE KEY-----\n"
	if _, err := cert.ParseKey([]byte(encrypted)); !errors.Is(err, cert.ErrEncryptedKey) {
		t.Error(err)
	}
	if _, err := cert.ParseKey(PEM(leaf)); err == nil {
		t.Error("a file without key was accepted")
	}
}

// T1: text that made PEM parsers quadratic. A megabyte may take 50 ms; the test
// allows ten times that, because the machine is shared.
func TestT1PEMIsLinear(t *testing.T) {
	const size = 1 << 20
	for name, unit := range map[string]string{
		"begins": "-----BEGIN ", "begin lines": "-----BEGIN CERTIFICATE-----\n", "begin and dashes": "-----BEGIN CERTIFICATE-----",
		"ends": "-----END CERTIFICATE-----\n", "pairs": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "dashes": "-",
		"newlines": "\n", "headers": "a: b\n", "base64": "AAAA\n", "mismatch": "-----BEGIN A-----\n-----END B-----\n",
	} {
		text := []byte("-----BEGIN CERTIFICATE-----\n" + strings.Repeat(unit, size/len(unit)))
		start := time.Now()
		_, err := cert.ParsePEM(text)
		if spent := time.Since(start); spent > 500*time.Millisecond {
			t.Errorf("%s: %v (%v)", name, spent, err)
		}
	}
	if _, err := cert.ParsePEM(make([]byte, cert.MaxFileBytes+1)); !errors.Is(err, cert.ErrTooLarge) {
		t.Error(err)
	}
	many := strings.Repeat("-----BEGIN X-----\n-----END X-----\n", cert.MaxBlocks+1)
	if _, err := cert.ParsePEM([]byte(many)); !errors.Is(err, cert.ErrTooLarge) {
		t.Error(err)
	}
}

func TestT2ManyNamesAreRefused(t *testing.T) {
	root := Root(t, "Root")
	names := make([]string, cert.MaxNames+1)
	for i := range names {
		names[i] = fmt.Sprintf("%d.test", i)
	}
	huge := root.Leaf(t, names)
	if _, err := cert.ParseCertificate(huge.Certificate.Raw); !errors.Is(err, cert.ErrTooLarge) {
		t.Error(err)
	}
	if _, err := cert.ParseCertificate(make([]byte, cert.MaxCertificateBytes+1)); !errors.Is(err, cert.ErrTooLarge) {
		t.Error(err)
	}
	// Ten thousand constraints against a thousand names.
	fenced := root.Authority(t, "Fenced", func(c *x509.Certificate, _ *crypto.Signer) {
		for i := range 10_000 {
			c.PermittedDNSDomains = append(c.PermittedDNSDomains, fmt.Sprintf("%d.test", i))
		}
	})
	leaf := fenced.Leaf(t, names[:1000])
	start := time.Now()
	NewStore(t, root).Evaluate(Chain(leaf, fenced), nil, Now)
	if spent := time.Since(start); spent > time.Second {
		t.Errorf("constraints took %v", spent)
	}
}

func FuzzParsePEM(f *testing.F) {
	root := Root(f, "Root")
	f.Add(append(PEM(root), root.KeyPEM(f)...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n-----END CERTIFICATE-----"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := cert.ParsePEM(data)
		if err == nil && len(parsed.Certificates)+len(parsed.Keys)+len(parsed.Others)+len(parsed.Unreadable) == 0 {
			t.Fatal("a block is gone")
		}
		for _, certificate := range parsed.Certificates {
			cert.Describe(certificate)
		}
	})
}

func FuzzParseDER(f *testing.F) {
	root := Root(f, "Root")
	leaf := root.Leaf(f, []string{"a.test", "*.b.test", "192.0.2.1"})
	f.Add(root.Certificate.Raw)
	f.Add(leaf.Certificate.Raw)
	store := cert.NewTrust("x", Chain(root))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := cert.ParseDER(data)
		if err != nil {
			return
		}
		for _, certificate := range parsed.Certificates {
			if record := cert.Describe(certificate); len(record.SHA256) != 64 || record.DNSNames == nil {
				t.Fatalf("%+v", record)
			}
			cert.MatchesName(certificate, "a.test")
			store.Evaluate(Chain(Pair{Certificate: certificate}, root), nil, Now)
		}
	})
}
