package cert_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/cert"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func describe(t *testing.T, name string) cert.Certificate {
	t.Helper()
	parsed, err := cert.ParsePEM(fixture(t, name))
	if err != nil || len(parsed.Certificates) != 1 {
		t.Fatalf("%s: %d certificates, %v, %v", name, len(parsed.Certificates), err, parsed.Unreadable)
	}
	return cert.Describe(parsed.Certificates[0])
}

// The expected values are OpenSSL's own words about the same file, but for the
// spelling of names, which is that of RFC 4514.
func TestDescribeAgreesWithOpenSSL(t *testing.T) {
	got := describe(t, "plain.pem")
	got.NotBefore, got.NotAfter = got.NotBefore.Truncate(0), got.NotAfter.Truncate(0)
	if life := got.NotAfter.Sub(got.NotBefore); life != 30*24*time.Hour {
		t.Errorf("life %v", life)
	}
	name := `CN=\#plain\;\<x\>,1.3.6.1.4.1.311.60.2.1.3=#13024445,SERIALNUMBER=42,emailAddress=ops@example.com,DC=com,DC=example,OU=trail\ ,OU=\ lead,O=Test\, Inc. \"quoted\"\+more,L=München,ST=Bayern,C=DE`
	for field, pair := range map[string][2]string{
		"sha256":    {got.SHA256, strings.TrimSpace(string(fixture(t, "plain.sha256")))},
		"spki":      {got.SPKISHA256, strings.TrimSpace(string(fixture(t, "plain.spki.sha256")))},
		"serial":    {got.Serial, "ff01"},
		"subject":   {got.Subject, name},
		"issuer":    {got.Issuer, name},
		"dns":       {strings.Join(got.DNSNames, " "), "example.com *.example.com"},
		"ip":        {strings.Join(got.IPAddresses, " "), "192.0.2.1 2001:db8::1"},
		"key":       {got.KeyType, "rsa"},
		"signature": {got.SignatureAlgorithm, "SHA256-RSA"},
		"ocsp":      {strings.Join(got.OCSPURLs, " "), "http://ocsp.test/"},
		"crl":       {strings.Join(got.CRLURLs, " "), "http://crl.test/a.crl"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %q, want %q", field, pair[0], pair[1])
		}
	}
	if got.KeyBits != 2048 || !got.MustStaple || !got.CA || !got.SelfIssued {
		t.Errorf("%+v", got)
	}
	if !strings.HasSuffix(got.NotAfter.Format(time.RFC3339), "Z") {
		t.Error("not UTC")
	}
}

func TestDescribeKinds(t *testing.T) {
	for _, c := range []struct {
		file, key, signature, subject, serial string
		bits                                  int
	}{
		{"ec.pem", "ecdsa-p384", "ECDSA-SHA384", "OU=multi+UID=u,CN=ec", "00", 384},
		{"ed25519.pem", "ed25519", "Ed25519", "CN=ed", "", 256},
		{"ed448.pem", "ed448", "1.3.101.113", "CN=ed", "", 0},
		{"md5.pem", "rsa", "MD5-RSA", "CN=md5", "", 2048},
		{"sha1.pem", "rsa", "SHA1-RSA", "CN=sha1", "", 2048},
		{"pss.pem", "rsa", "SHA256-RSAPSS", "CN=pss", "", 2048},
		{"empty-name.pem", "rsa", "SHA256-RSA", "", "", 2048},
		{"trusted.pem", "rsa", "SHA256-RSA", describe(t, "plain.pem").Subject, "ff01", 2048},
	} {
		got := describe(t, c.file)
		if got.KeyType != c.key || got.KeyBits != c.bits || got.SignatureAlgorithm != c.signature || got.Subject != c.subject ||
			c.serial != "" && got.Serial != c.serial {
			t.Errorf("%s: %+v", c.file, got)
		}
		text, err := json.Marshal(got)
		if err != nil || strings.Contains(string(text), "null") {
			t.Errorf("%s: %s, %v", c.file, text, err)
		}
	}
}

func TestSelfSignedKnowsBrokenHashes(t *testing.T) {
	for _, name := range []string{"plain.pem", "ec.pem", "ed25519.pem", "md5.pem", "sha1.pem", "pss.pem"} {
		parsed, err := cert.ParsePEM(fixture(t, name))
		if err != nil {
			t.Fatal(err)
		}
		certificate := parsed.Certificates[0]
		if !cert.SelfSigned(certificate) {
			t.Errorf("%s is not seen as self-signed", name)
		}
		certificate.Signature[len(certificate.Signature)-1] ^= 1
		if cert.SelfSigned(certificate) {
			t.Errorf("%s with a broken signature is seen as self-signed", name)
		}
		if weak := cert.WeakHash(certificate) != 0; weak != (name == "md5.pem" || name == "sha1.pem") {
			t.Errorf("%s: weak hash %v", name, weak)
		}
	}
}

func TestParseKeyReadsEveryEncoding(t *testing.T) {
	plain := describeKey(t, "rsa-pkcs1.key")
	for _, name := range []string{"rsa-pkcs8.key", "rsa-pkcs1.key"} {
		if got := describeKey(t, name); got != plain {
			t.Errorf("%s is another key", name)
		}
	}
	describeKey(t, "ec-sec1.key") // begins with a block of EC PARAMETERS
	describeKey(t, "ed25519.key")
	for _, name := range []string{"rsa-encrypted.key", "rsa-old-encrypted.key"} {
		if _, err := cert.ParseKey(fixture(t, name)); !errors.Is(err, cert.ErrEncryptedKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := cert.ParseKey(fixture(t, "ed448.key")); err == nil {
		t.Error("a key that Go cannot use was accepted")
	}
}

func describeKey(t *testing.T, name string) string {
	t.Helper()
	key, err := cert.ParseKey(fixture(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	text, err := cert.MarshalKey(key)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(text)
}
