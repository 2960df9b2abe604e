package cert

import (
	"crypto/x509"
	"net/netip"
	"time"
)

// The values of Observation.Possession.
const (
	PossessionProven     = "proven"      // the server signed the handshake with the certificate's key
	PossessionNotChecked = "not_checked" // it showed the certificate only
)

// Place is where to look: one address, with the name to ask for there.
type Place struct {
	Target     string         // as the user wrote it, or as a range was expanded
	Named      bool           // the user named this target; false for a member of a range
	Name       string         // host name or IP address that the certificate should be for; "" when nobody asked for one
	ServerName string         // the SNI to send; "" for none
	Address    netip.AddrPort // where to connect
	Transport  string         // tcp ("" too), or the protocol whose upgrade is asked for
}

// Observation is what one look at one place showed: facts, not judged yet.
// Package audit turns it into an Endpoint record.
type Observation struct {
	Target     string         // as the user wrote it, or as a range was expanded
	Named      bool           // the user named this target; false for a member of a range
	Name       string         // host name or IP address that the certificate should be for; "" when nobody asked for one
	ServerName string         // the SNI that was sent; "" for none
	Address    netip.AddrPort // where; the zero value when there is none, as when a name did not resolve
	Transport  string         // tcp, smtp, …

	Status     string // one of the Status constants
	Error      string // why Status is not ok; raw outside text
	ObservedAt time.Time
	View       string // names the ClientHello
	Possession string // one of the Possession constants; "" without a certificate

	Protocol                   string // TLS1.3, …
	CipherSuite                string // IANA name
	Group                      string // IANA name
	ALPN                       string
	ClientCertificateRequested bool

	Chain      []*x509.Certificate // as sent, leaf first
	Unreadable string              // SHA-256 of a leaf that was sent and cannot be parsed, in hex
}

// FileObservation is one certificate in a file, or a file that could not be read.
type FileObservation struct {
	Path        string
	Format      string              // pem, der; "" when the file could not be read
	Certificate *x509.Certificate   // nil when there is none or it cannot be parsed
	Beside      []*x509.Certificate // the other certificates of the file
	KeyPresent  bool                // a private key is in the file or beside it
	KeyMatches  *bool               // nil without a key, or where the key cannot be read
	KeyPath     string              // the file of the key
	KeyReadable bool                // every user of the machine may read the key's file
	Error       string              // what could not be read; raw outside text
	Unreadable  string              // SHA-256 of a certificate that cannot be parsed, in hex
}
