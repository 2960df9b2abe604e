// Package config is the one configuration: its types, its defaults and its
// strict loader.
//
// Promise: Load reports every mistake of a configuration in one pass, each as
// file:line:column with an excerpt and, where a name was misspelt, the name
// that was probably meant. A configuration that loads has no dangling
// reference and no unknown key. Secrets are references (Secret); their values
// never enter these types.
//
// Limits: the types are plain words that any stage may read; Load is called by
// the daemon and the command line only.
package config

import (
	"net/netip"
	"time"
)

// Config is a whole configuration, defaults filled in.
type Config struct {
	Version      int
	Contact      string
	Authorities  []Authority // in the order written: the order is preference
	Solvers      map[string]Solver
	Targets      map[string]Target
	Defaults     Defaults
	Resolvers    []netip.AddrPort // empty: the system's
	Fetch        Fetch
	Proxy        string
	Certificates []Certificate // sorted by Name

	// Files are the files that were read, with the SHA-256 of each: the main
	// file first, then conf.d in name order.
	Files []File
}

// File is one configuration file as it was read.
type File struct {
	Path   string
	SHA256 string // lower-case hex
}

// Position is where something was written.
type Position struct {
	File   string
	Line   int
	Column int
}

// Authority is one CA that speaks ACME.
type Authority struct {
	Name           string
	Directory      string // URL; filled from shipped data for the known names
	DirectoryRoots string // PEM file trusted for the CA's own HTTPS; "" for the system's
	Roots          string // PEM file its certificates must chain to; "" for the public stores
	EAB            *EAB
	Profile        string // default profile of its orders
	InsecureTestCA bool   // allows http, loopback only
	Position       Position
}

// EAB is an external account binding (RFC 8555 section 7.3.4).
type EAB struct {
	KeyID Secret
	HMAC  Secret // base64url
}

// Solver answers challenges.
type Solver struct {
	Name      string
	Type      string // http-01, tls-alpn-01, dns-01
	Webroot   string // http-01: folder whose .well-known/acme-challenge is served
	Listen    string // http-01, tls-alpn-01: ADDRESS:PORT of our own listener
	Stateless bool   // http-01: the web server answers TOKEN.THUMBPRINT by itself
	Port      int    // http-01, tls-alpn-01: where a test CA looks; 0 for the standard port
	Provider  string // dns-01: rfc2136
	Server    string // rfc2136: ADDRESS:PORT
	Zone      string // rfc2136: "" to find it by SOA
	TSIG      *TSIG
	CheckAt   []string // dns-01: servers to ask instead of walking NS records
	Position  Position
}

// TSIG signs DNS updates (RFC 8945).
type TSIG struct {
	Name      string
	Algorithm string // hmac-sha256 by default
	Secret    Secret // base64
}

// Target is a server that serves certificates.
type Target struct {
	Name string
	Kind string // nginx, files

	// nginx
	Config string // main configuration file; "" for the binary's own default
	Prefix string // -p; "" for the binary's own default
	Binary string // "" for nginx in PATH
	PID    string // pid file; "" to take it from the configuration
	Socket string // reserved for other kinds

	// files
	Cert  string
	Key   string
	Mode  string // of the key file, octal; "" keeps what is there, else 0600
	Owner string // user[:group] of both files; "" keeps what is there

	Reload      Reload
	ReloadEvery time.Duration // at most one reload in this time; default 30 s
	Verify      []string      // endpoints, as scan targets; "" takes nginx's own listeners
	Position    Position
}

// Reload says how a server is told to read its files again. The zero value
// means: by the target kind's own way (nginx: signal), or none (files).
type Reload struct {
	Unit string   // a systemd unit, from "unit:NAME"
	Argv []string // a command, run without a shell
	None bool     // "none": the server notices by itself
}

// Defaults apply to every certificate that does not say otherwise.
type Defaults struct {
	Authorities []string
	Solvers     []string
	Deploy      []string
	Key         string
	Renew       string // ari, or a fraction of the life left such as "1/3"
	Profile     string
	OnDeadName  string // hold, split
}

// Certificate is what the configuration wants to exist and be served.
type Certificate struct {
	Name        string
	Domains     []string // A-labels in lower case, wildcards and IP addresses allowed; first is the common name
	Authorities []string // resolved: never empty
	Solvers     []string // resolved: never empty
	Deploy      []string
	Key         string // rsa-2048 rsa-3072 rsa-4096 ecdsa-p256 ecdsa-p384
	Renew       string
	Profile     string
	OnDeadName  string
	Owner       string
	Tier        int
	Hooks       Hooks
	Position    Position
}

// Hooks are commands around a renewal, with certbot's variables in their environment.
type Hooks struct {
	Deploy []string // argv; run once all targets serve the new certificate
}

// Fetch widens what we may fetch from addresses found in certificates and CA answers.
type Fetch struct {
	Allow []netip.Prefix
}

// Secret is a reference to a secret, never its value. Exactly one field is set.
type Secret struct {
	File       string   // path; relative ones start at the configuration file's folder
	Credential string   // systemd credential name
	Exec       []string // argv whose standard output is the secret
	Env        string   // environment variable (a warning is given)
	Position   Position
}
