package deploy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Caps on what is read from files that others may have written.
const (
	largestFile  = 1 << 20 // bytes of one PEM file
	longestChain = 64      // certificates in one file
)

// ParseCertificates reads every CERTIFICATE block of text, in order, and skips
// blocks of other types (a combined file holds a key too).
// Error: a block is no certificate, there is none, or there are too many.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for len(text) > 0 {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if len(chain) == longestChain {
			return nil, fmt.Errorf("more than %d certificates", longestChain)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(chain)+1, err)
		}
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		return nil, errors.New("no certificate")
	}
	return chain, nil
}

// onlyCertificates is ParseCertificates for what a CA sent: any other block is
// refused, so that a stray private key never lands in a file that all may read.
func onlyCertificates(text []byte) ([]*x509.Certificate, error) {
	rest := text
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("holds a PEM block that is no certificate")
		}
	}
	return ParseCertificates(text)
}

// parseKey reads the first private key of text: PKCS #8, PKCS #1 or SEC 1.
// Errors never quote what they could not read.
func parseKey(text []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errors.New("no private key")
		}
		if strings.HasPrefix(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "" {
			return nil, errors.New("the private key is encrypted")
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue // "EC PARAMETERS" and certificates may come first
		}
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if signer, ok := key.(crypto.Signer); ok {
				return signer, nil
			}
		}
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		return nil, errors.New("the private key cannot be read")
	}
}

// belongs reports whether key is the private half of the certificate's key.
func belongs(key crypto.Signer, certificate *x509.Certificate) bool {
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		return public.Equal(certificate.PublicKey)
	case *ecdsa.PublicKey:
		return public.Equal(certificate.PublicKey)
	case ed25519.PublicKey:
		return public.Equal(certificate.PublicKey)
	}
	return false
}

// checkPair parses a chain and a key and says why they are no pair.
func checkPair(chainText, keyText []byte) ([]*x509.Certificate, error) {
	chain, err := ParseCertificates(chainText)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyText)
	if err != nil {
		return chain, err
	}
	if !belongs(key, chain[0]) {
		return chain, errors.New("the key does not belong to the certificate")
	}
	return chain, nil
}

// ReadPair reads the pair that a server would open at the two paths. The chain
// is nil when there is no readable certificate; matches is false when the key
// is absent, unreadable (also: encrypted) or another one.
func ReadPair(certificate, key string) (chain []*x509.Certificate, matches bool, err error) {
	chainText, err := readCapped(certificate)
	if err != nil {
		return nil, false, err
	}
	if chain, err = ParseCertificates(chainText); err != nil {
		return nil, false, fmt.Errorf("%s: %w", certificate, err)
	}
	keyText, err := readCapped(key)
	if err != nil {
		return chain, false, nil
	}
	_, err = checkPair(chainText, keyText)
	return chain, err == nil, nil
}

// readCapped reads a regular file of at most largestFile bytes, links followed.
// Opening without blocking keeps a named pipe from holding us for ever.
func readCapped(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, largestFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > largestFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, largestFile)
	}
	return text, nil
}

// encode writes certificates as PEM, so that whatever else the CA put between
// the blocks is dropped.
func encode(chain []*x509.Certificate) []byte {
	var text bytes.Buffer
	for _, certificate := range chain {
		pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}) // a Buffer does not fail
	}
	return text.Bytes()
}
