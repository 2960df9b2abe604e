package cert

import (
	"crypto/dsa" //lint:ignore SA1019 old certificates still hold such keys, and they must be named //nolint:staticcheck // old certificates must be described, not trusted
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"time"
)

// Describe is the record of a parsed certificate.
func Describe(certificate *x509.Certificate) Certificate {
	kind, bits := keyKind(certificate)
	record := Certificate{
		SHA256:             Fingerprint(certificate.Raw),
		SPKISHA256:         Fingerprint(certificate.RawSubjectPublicKeyInfo),
		Serial:             serial(certificate),
		Subject:            distinguishedName(certificate.RawSubject),
		Issuer:             distinguishedName(certificate.RawIssuer),
		NotBefore:          certificate.NotBefore.UTC(),
		NotAfter:           certificate.NotAfter.UTC(),
		DNSNames:           append([]string{}, certificate.DNSNames...),
		IPAddresses:        []string{},
		KeyType:            kind,
		KeyBits:            bits,
		SignatureAlgorithm: signatureAlgorithm(certificate),
		CA:                 certificate.BasicConstraintsValid && certificate.IsCA,
		SelfIssued:         SelfIssued(certificate),
		MustStaple:         mustStaple(certificate),
		OCSPURLs:           append([]string{}, certificate.OCSPServer...),
		CRLURLs:            append([]string{}, certificate.CRLDistributionPoints...),
	}
	for _, address := range certificate.IPAddresses {
		record.IPAddresses = append(record.IPAddresses, address.String())
	}
	return record
}

// DescribeChain is Describe for each certificate, in the same order.
func DescribeChain(chain []*x509.Certificate) []Certificate {
	records := make([]Certificate, 0, len(chain))
	for _, certificate := range chain {
		records = append(records, Describe(certificate))
	}
	return records
}

// Fingerprint is the lower-case hex SHA-256 of some DER.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// SelfIssued reports whether subject and issuer are the same name (RFC 5280
// section 3.2). It says nothing about the signature; see SelfSigned.
func SelfIssued(certificate *x509.Certificate) bool {
	return slices.Equal(certificate.RawSubject, certificate.RawIssuer)
}

// SelfSigned reports whether the certificate is self-issued and carries a
// signature by its own key.
func SelfSigned(certificate *x509.Certificate) bool {
	return SelfIssued(certificate) && signedBy(certificate, certificate) != linkBroken
}

// Lifetime is how long a certificate is valid, both ends included: RFC 5280
// section 4.1.2.5 counts the last second, hence the one that is added.
func Lifetime(certificate *x509.Certificate) time.Duration {
	return certificate.NotAfter.Sub(certificate.NotBefore) + time.Second
}

func serial(certificate *x509.Certificate) string {
	if certificate.SerialNumber == nil {
		return ""
	}
	if certificate.SerialNumber.Sign() == 0 {
		return "00"
	}
	return hex.EncodeToString(certificate.SerialNumber.Bytes())
}

// Key types that Go does not parse and a reader wants named all the same.
var foreignKeys = map[string]string{
	"1.3.101.113":             "ed448",
	"1.3.101.110":             "x25519",
	"1.3.101.111":             "x448",
	"1.2.840.113549.1.1.10":   "rsa-pss",
	"2.16.840.1.101.3.4.3.17": "ml-dsa-44",
	"2.16.840.1.101.3.4.3.18": "ml-dsa-65",
	"2.16.840.1.101.3.4.3.19": "ml-dsa-87",
}

// keyKind names the key as records do. bits is 0 when it is not known.
func keyKind(certificate *x509.Certificate) (kind string, bits int) {
	switch key := certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		return "rsa", key.N.BitLen()
	case *ecdsa.PublicKey:
		bits = key.Curve.Params().BitSize
		switch bits {
		case 224:
			return "ecdsa-p224", bits
		case 256:
			return "ecdsa-p256", bits
		case 384:
			return "ecdsa-p384", bits
		case 521:
			return "ecdsa-p521", bits
		}
		return "ecdsa", bits
	case ed25519.PublicKey:
		return "ed25519", 256
	case *dsa.PublicKey:
		return "dsa", key.P.BitLen()
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(certificate.RawSubjectPublicKeyInfo, &info); err != nil {
		return "", 0
	}
	identifier := info.Algorithm.Algorithm.String()
	if name := foreignKeys[identifier]; name != "" {
		return name, 0
	}
	return identifier, 0
}

// signatureAlgorithm is Go's name, or the dotted identifier where Go has none.
func signatureAlgorithm(certificate *x509.Certificate) string {
	if certificate.SignatureAlgorithm != x509.UnknownSignatureAlgorithm {
		return certificate.SignatureAlgorithm.String()
	}
	var outer struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(certificate.Raw, &outer); err != nil {
		return ""
	}
	return outer.Algorithm.Algorithm.String()
}

// tlsFeature is the extension of RFC 7633; feature 5 is status_request.
var tlsFeature = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

func mustStaple(certificate *x509.Certificate) bool {
	for _, extension := range certificate.Extensions {
		if !extension.Id.Equal(tlsFeature) {
			continue
		}
		var features []int
		if _, err := asn1.Unmarshal(extension.Value, &features); err == nil && slices.Contains(features, 5) {
			return true
		}
	}
	return false
}
