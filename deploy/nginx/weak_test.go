package nginx_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"os/exec"
)

// weakKey is an RSA key of 1024 bits: a sound pair that OpenSSL's default
// security level refuses.
func weakKey(t *testing.T) crypto.Signer {
	t.Helper()
	text, err := exec.Command("openssl", "genrsa", "-traditional", "1024").Output()
	if err != nil {
		t.Skipf("openssl cannot make a weak key: %v", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("openssl made no key")
	}
	var key *rsa.PrivateKey
	if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
		t.Skipf("this Go refuses weak keys altogether: %v", err)
	}
	return key
}
