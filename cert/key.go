package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
)

// ErrEncryptedKey is returned for a key that needs a passphrase.
var ErrEncryptedKey = errors.New("private key is encrypted")

// KeyKinds lists what GenerateKey can make, as the configuration writes it.
var KeyKinds = []string{"ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-4096"}

// GenerateKey makes a private key of one of the KeyKinds.
func GenerateKey(kind string, random io.Reader) (crypto.Signer, error) {
	switch kind {
	case "ecdsa-p256":
		return ecdsa.GenerateKey(elliptic.P256(), random)
	case "ecdsa-p384":
		return ecdsa.GenerateKey(elliptic.P384(), random)
	case "rsa-2048":
		return rsa.GenerateKey(random, 2048)
	case "rsa-3072":
		return rsa.GenerateKey(random, 3072)
	case "rsa-4096":
		return rsa.GenerateKey(random, 4096)
	}
	return nil, fmt.Errorf("key type %q is none of %v", kind, KeyKinds)
}

// MarshalKey writes a private key as PKCS#8 in PEM, which every server reads.
func MarshalKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads the one private key of a PEM file: PKCS#8, SEC 1 (EC) or
// PKCS#1 (RSA). Other blocks, such as EC PARAMETERS or certificates, are
// skipped. Error: ErrNotPEM, ErrEncryptedKey, ErrTooLarge (wrapped), or what is
// wrong with the key; the key's bytes are never part of an error.
func ParseKey(data []byte) (crypto.Signer, error) {
	parsed, err := ParsePEM(data)
	if err != nil {
		return nil, err
	}
	for _, unreadable := range parsed.Unreadable {
		if keyLabel(unreadable.Label) {
			return nil, unreadable
		}
	}
	if len(parsed.Keys) > 1 {
		return nil, errors.New("more than one private key")
	}
	if len(parsed.Keys) == 1 {
		return parsed.Keys[0], nil
	}
	for _, label := range parsed.Others {
		if label == "ENCRYPTED PRIVATE KEY" {
			return nil, ErrEncryptedKey
		}
	}
	return nil, errors.New("no private key")
}

func parseKeyBlock(block *pem.Block) (crypto.Signer, error) {
	if block.Headers["DEK-Info"] != "" { // RFC 1421, as old OpenSSL encrypts
		return nil, ErrEncryptedKey
	}
	return parseKeyDER(block.Bytes)
}

// parseKeyDER tries the three encodings; they exclude each other. What Go says
// about a key that is none of them may quote it, so it is not passed on.
func parseKeyDER(der []byte) (key crypto.Signer, err error) {
	defer func() {
		if recover() != nil {
			key, err = nil, errors.New("not a private key that can be read")
		}
	}()
	if len(der) > MaxKeyBytes {
		return nil, fmt.Errorf("private key of %d bytes: %w", len(der), ErrTooLarge)
	}
	if any8, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if signer, ok := any8.(crypto.Signer); ok {
			return signer, nil
		}
		return nil, errors.New("a key that cannot sign")
	}
	if ec, err := x509.ParseECPrivateKey(der); err == nil {
		return ec, nil
	}
	if rsaKey, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return rsaKey, nil
	}
	return nil, errors.New("not a private key that can be read")
}

// KeyMatches reports whether key (a crypto.Signer or a public key) is the
// certificate's.
func KeyMatches(leaf *x509.Certificate, key any) bool {
	if signer, ok := key.(crypto.Signer); ok {
		key = signer.Public()
	}
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key != nil && public.Equal(key)
}
