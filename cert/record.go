package cert

import (
	"time"

	"github.com/backstay/backstay/finding"
)

// Certificate is the record of one X.509 certificate: the object, apart from
// every place where it was seen. Field names are stable; other programs read them.
type Certificate struct {
	SHA256             string    `json:"sha256"`      // lower-case hex of the DER's SHA-256
	SPKISHA256         string    `json:"spki_sha256"` // the same of the SubjectPublicKeyInfo
	Serial             string    `json:"serial"`      // lower-case hex, two digits a byte
	Subject            string    `json:"subject"`     // RFC 4514
	Issuer             string    `json:"issuer"`      // RFC 4514
	NotBefore          time.Time `json:"not_before"`
	NotAfter           time.Time `json:"not_after"`
	DNSNames           []string  `json:"dns_names"`
	IPAddresses        []string  `json:"ip_addresses"`
	KeyType            string    `json:"key_type,omitempty"` // rsa ecdsa-p256 ecdsa-p384 ecdsa-p521 ed25519 …
	KeyBits            int       `json:"key_bits,omitempty"`
	SignatureAlgorithm string    `json:"signature_algorithm"` // Go's x509 names
	CA                 bool      `json:"ca"`
	SelfIssued         bool      `json:"self_issued"`
	MustStaple         bool      `json:"must_staple"`
	OCSPURLs           []string  `json:"ocsp_urls"`
	CRLURLs            []string  `json:"crl_urls"`
}

// The values of Endpoint.Status.
const (
	StatusOK              = "ok"
	StatusRefused         = "refused"
	StatusUnreachable     = "unreachable"
	StatusTimeout         = "timeout"
	StatusReset           = "reset"
	StatusNotTLS          = "not_tls"
	StatusHandshakeFailed = "handshake_failed"
	StatusResolveFailed   = "resolve_failed"
	StatusError           = "error"
)

// Endpoint is one look at one (name, address, port, SNI). What is not known is
// left out or null, never 0 or "".
type Endpoint struct {
	Kind                       string            `json:"kind"` // "endpoint"
	Schema                     int               `json:"schema"`
	Target                     string            `json:"target"`
	ServerName                 string            `json:"server_name,omitempty"`
	Address                    string            `json:"address,omitempty"`
	Port                       int               `json:"port,omitempty"`
	Transport                  string            `json:"transport,omitempty"` // tcp, smtp, …
	Status                     string            `json:"status"`
	Error                      string            `json:"error,omitempty"`
	ObservedAt                 time.Time         `json:"observed_at"`
	View                       string            `json:"view,omitempty"`
	Possession                 string            `json:"possession,omitempty"` // proven, not_checked
	Protocol                   string            `json:"protocol,omitempty"`
	CipherSuite                string            `json:"cipher_suite,omitempty"`
	Group                      string            `json:"group,omitempty"`
	ALPN                       string            `json:"alpn,omitempty"`
	ClientCertificateRequested bool              `json:"client_certificate_requested,omitempty"`
	Trusted                    *bool             `json:"trusted,omitempty"`
	TrustError                 string            `json:"trust_error,omitempty"`
	Stores                     map[string]bool   `json:"stores,omitempty"`
	Chain                      []Certificate     `json:"chain,omitempty"`
	Certificate                *Certificate      `json:"certificate,omitempty"`
	Findings                   []finding.Finding `json:"findings"`
}

// File is a certificate found in a file.
type File struct {
	Kind        string            `json:"kind"` // "file"
	Schema      int               `json:"schema"`
	Path        string            `json:"path"`
	Format      string            `json:"format"` // pem, der, pkcs12, jks, pkcs7
	Certificate *Certificate      `json:"certificate,omitempty"`
	KeyPresent  bool              `json:"key_present"`
	KeyMatches  *bool             `json:"key_matches,omitempty"`
	UsedBy      []string          `json:"used_by,omitempty"`
	Findings    []finding.Finding `json:"findings"`
}

// Declaration is a certificate that a server's configuration names; one record
// for each (listen, name, certificate).
type Declaration struct {
	Kind             string `json:"kind"` // "declaration"
	Schema           int    `json:"schema"`
	Server           string `json:"server"` // nginx, apache, …
	File             string `json:"file"`
	Line             int    `json:"line"`
	Listen           string `json:"listen"` // ADDRESS:PORT as dialled; wildcard addresses stay 0.0.0.0 and [::]
	Name             string `json:"name"`   // "" for the default server
	Certificate      string `json:"certificate,omitempty"`
	Key              string `json:"key,omitempty"`
	Chain            string `json:"chain,omitempty"`
	DecidedAtRunTime bool   `json:"decided_at_run_time,omitempty"` // the path holds a variable
}

// State is one line of `ls`: a managed certificate, or one that was only found.
type State struct {
	Kind      string     `json:"kind"` // "certificate_state"
	Schema    int        `json:"schema"`
	Name      string     `json:"name"`
	State     string     `json:"state"` // ok due renewing failing overdue expired not_served unverified pending found
	NotAfter  *time.Time `json:"not_after,omitempty"`
	RenewAt   *time.Time `json:"renew_at,omitempty"`
	Authority string     `json:"authority,omitempty"`
	Spare     string     `json:"spare,omitempty"`
	Served    []string   `json:"served,omitempty"`
	Owner     string     `json:"owner,omitempty"`
	Tier      int        `json:"tier,omitempty"`
	LastError string     `json:"last_error,omitempty"`
	NextStep  string     `json:"next_step,omitempty"`
}
