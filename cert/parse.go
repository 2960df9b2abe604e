package cert

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Caps on what is parsed. A real certificate has some 2 kB, the largest public
// root bundles some 300 kB, and the most names seen on one certificate are
// about two thousand.
const (
	MaxFileBytes        = 8 << 20   // of PEM text or DER handed to one call
	MaxCertificateBytes = 256 << 10 // of one certificate, as in crypto/tls
	MaxKeyBytes         = 64 << 10  // of one private key
	MaxNames            = 10_000    // subject alternative names of one certificate
	MaxBlocks           = 10_000    // PEM blocks of one file
)

// ErrNotPEM is returned for bytes that hold no PEM block at all.
var ErrNotPEM = errors.New("no PEM block")

// ErrTooLarge is wrapped by the errors that a cap causes.
var ErrTooLarge = errors.New("too large")

// Parsed is what was found in a file.
type Parsed struct {
	Certificates []*x509.Certificate // in the order of the file
	Keys         []crypto.Signer     // unencrypted private keys, in the order of the file
	Others       []string            // labels of blocks that are neither, such as "CERTIFICATE REQUEST"; raw outside text
	Unreadable   []*Unreadable       // blocks that claim to be a certificate or key and cannot be read
}

// Unreadable is one item that could not be parsed. The rest of the file was.
type Unreadable struct {
	Label  string // of the PEM block; "CERTIFICATE" for DER
	Line   int    // of the PEM block's first line, counted from 1; 0 for DER
	SHA256 string // of its bytes; "" where there are none, or where they may be a private key
	Err    error
}

func (u *Unreadable) Error() string {
	if u.Line > 0 {
		return fmt.Sprintf("line %d: %s: %v", u.Line, u.Label, u.Err)
	}
	return fmt.Sprintf("%s: %v", u.Label, u.Err)
}

func (u *Unreadable) Unwrap() error { return u.Err }

// ParseCertificate parses one DER certificate under the caps. A panic of the
// parser is an error of this certificate (T3), never the end of the program.
func ParseCertificate(der []byte) (certificate *x509.Certificate, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			certificate, err = nil, fmt.Errorf("parser failed: %v", cause)
		}
	}()
	if len(der) > MaxCertificateBytes {
		return nil, fmt.Errorf("certificate of %d bytes: %w", len(der), ErrTooLarge)
	}
	certificate, err = x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	names := len(certificate.DNSNames) + len(certificate.IPAddresses) + len(certificate.EmailAddresses) + len(certificate.URIs)
	if names > MaxNames {
		return nil, fmt.Errorf("certificate with %d names: %w", names, ErrTooLarge)
	}
	return certificate, nil
}

// ParsePEM reads every PEM block of data; text between blocks is skipped, as
// all servers do. An item that cannot be read is in Unreadable and spoils no
// other. Error: ErrNotPEM, or one that wraps ErrTooLarge.
func ParsePEM(data []byte) (Parsed, error) {
	var parsed Parsed
	if len(data) > MaxFileBytes {
		return parsed, fmt.Errorf("%d bytes: %w", len(data), ErrTooLarge)
	}
	count := 0
	for block := range pemBlocks(data) {
		if count++; count > MaxBlocks {
			return parsed, fmt.Errorf("more than %d PEM blocks: %w", MaxBlocks, ErrTooLarge)
		}
		parsed.add(block)
	}
	if count == 0 {
		return parsed, ErrNotPEM
	}
	return parsed, nil
}

func (p *Parsed) add(block pemBlock) {
	unreadable := &Unreadable{Label: block.label, Line: block.line}
	decoded, _ := pem.Decode(block.text)
	switch {
	case !certificateLabel(block.label) && !keyLabel(block.label):
		p.Others = append(p.Others, block.label)
		return
	case decoded == nil:
		unreadable.Err = errors.New("damaged PEM block")
	case keyLabel(block.label):
		key, err := parseKeyBlock(decoded)
		if err == nil {
			p.Keys = append(p.Keys, key)
			return
		}
		if errors.Is(err, ErrEncryptedKey) {
			p.Others = append(p.Others, "ENCRYPTED PRIVATE KEY")
			return
		}
		unreadable.Err = err
	default:
		der := decoded.Bytes
		if block.label == trustedLabel {
			der = firstElement(der)
		}
		certificate, err := ParseCertificate(der)
		if err == nil {
			p.Certificates = append(p.Certificates, certificate)
			return
		}
		unreadable.SHA256, unreadable.Err = Fingerprint(der), err
	}
	p.Unreadable = append(p.Unreadable, unreadable)
}

// trustedLabel is OpenSSL's form: a certificate followed by its own notes.
const trustedLabel = "TRUSTED CERTIFICATE"

func certificateLabel(label string) bool {
	return label == "CERTIFICATE" || label == "X509 CERTIFICATE" || label == trustedLabel
}

func keyLabel(label string) bool {
	return strings.HasSuffix(label, "PRIVATE KEY") && label != "ENCRYPTED PRIVATE KEY" && label != "OPENSSH PRIVATE KEY"
}

func firstElement(der []byte) []byte {
	var element asn1.RawValue
	if _, err := asn1.Unmarshal(der, &element); err != nil {
		return der
	}
	return element.FullBytes
}

// ParseDER reads one DER certificate, several concatenated ones, or a DER
// private key. Error: one that wraps ErrTooLarge, or *Unreadable.
func ParseDER(data []byte) (Parsed, error) {
	var parsed Parsed
	if len(data) > MaxFileBytes {
		return parsed, fmt.Errorf("%d bytes: %w", len(data), ErrTooLarge)
	}
	if key, err := parseKeyDER(data); err == nil {
		parsed.Keys = append(parsed.Keys, key)
		return parsed, nil
	}
	for rest := data; len(rest) > 0; {
		var element asn1.RawValue
		next, err := asn1.Unmarshal(rest, &element)
		if err != nil || !element.IsCompound || element.Tag != asn1.TagSequence {
			return parsed, &Unreadable{Label: "CERTIFICATE", Err: errors.New("not DER")}
		}
		if len(parsed.Certificates) >= MaxBlocks {
			return parsed, fmt.Errorf("more than %d certificates: %w", MaxBlocks, ErrTooLarge)
		}
		certificate, err := ParseCertificate(element.FullBytes)
		if err != nil {
			return parsed, &Unreadable{Label: "CERTIFICATE", SHA256: Fingerprint(element.FullBytes), Err: err}
		}
		parsed.Certificates = append(parsed.Certificates, certificate)
		rest = next
	}
	if len(parsed.Certificates) == 0 {
		return parsed, &Unreadable{Label: "CERTIFICATE", Err: errors.New("empty")}
	}
	return parsed, nil
}

// ParseChain reads what an ACME server sent as a certificate: certificates and
// nothing else, leaf first. RFC 8555 section 9.1 allows no other block, and a
// key among them is an attack on whoever stores the file. Order and signatures
// are not checked here; see CheckIssued.
func ParseChain(data []byte) ([]*x509.Certificate, error) {
	parsed, err := ParsePEM(data)
	switch {
	case err != nil:
		return nil, err
	case len(parsed.Unreadable) > 0:
		return nil, parsed.Unreadable[0]
	case len(parsed.Keys) > 0 || len(parsed.Others) > 0:
		return nil, errors.New("a block that is no certificate stands among the certificates")
	}
	return parsed.Certificates, nil
}

// EncodeChain writes certificates as PEM, in the order given.
func EncodeChain(chain []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, certificate := range chain {
		// Writing to memory cannot fail, and the block has no headers to refuse.
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	}
	return out.Bytes()
}
