package pki

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
)

// Pair is a certificate, its private key and the intermediates a server should
// send with it.
type Pair struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
	Chain       []*x509.Certificate
}

// TLS is the pair as crypto/tls wants it, chain included.
func (pair *Pair) TLS() tls.Certificate {
	served := tls.Certificate{PrivateKey: pair.Key, Leaf: pair.Certificate, Certificate: [][]byte{pair.Certificate.Raw}}
	for _, certificate := range pair.Chain {
		served.Certificate = append(served.Certificate, certificate.Raw)
	}
	return served
}

// WithChain is the same pair with another chain: none for a server that forgot
// its intermediates, a wrong order, a stranger's.
func (pair *Pair) WithChain(chain ...*x509.Certificate) *Pair {
	return &Pair{Certificate: pair.Certificate, Key: pair.Key, Chain: chain}
}

// CertificatePEM is the leaf alone.
func (pair *Pair) CertificatePEM() []byte { return PEM(pair.Certificate) }

// ChainPEM is the intermediates alone.
func (pair *Pair) ChainPEM() []byte { return PEM(pair.Chain...) }

// FullchainPEM is the leaf and the intermediates.
func (pair *Pair) FullchainPEM() []byte {
	return append(pair.CertificatePEM(), pair.ChainPEM()...)
}

// KeyPEM is the private key in PKCS #8.
func (pair *Pair) KeyPEM() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(pair.Key)
	if err != nil {
		// Every key this package makes can be marshalled; a foreign signer
		// given in Options.Key is the caller's mistake.
		panic("pki: " + err.Error())
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// WriteFiles writes privkey.pem (0600), cert.pem, chain.pem and fullchain.pem
// into folder, which must exist.
func (pair *Pair) WriteFiles(folder string) error {
	if err := os.WriteFile(filepath.Join(folder, "privkey.pem"), pair.KeyPEM(), 0o600); err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"cert.pem": pair.CertificatePEM(), "chain.pem": pair.ChainPEM(), "fullchain.pem": pair.FullchainPEM(),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// PEM encodes certificates one after the other.
func PEM(certificates ...*x509.Certificate) []byte {
	var buffer bytes.Buffer
	for _, certificate := range certificates {
		// Writing to a bytes.Buffer cannot fail.
		pem.Encode(&buffer, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	}
	return buffer.Bytes()
}

// Pool makes a certificate pool of issuers' certificates.
func Pool(certificates ...*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, certificate := range certificates {
		pool.AddCert(certificate)
	}
	return pool
}
