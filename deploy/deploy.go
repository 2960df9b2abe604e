// Package deploy puts certificates where servers read them and makes the
// servers serve them.
//
// Promise: a server that is started at any instant of a deployment starts; a
// pair that works is never replaced by one that the server's own test refuses;
// files of two generations are never mixed where we own the text (the include
// form); keys have their final mode from their first byte. Every function that
// changes something is idempotent: called again after a kill at any
// instruction, it ends in the same state.
//
// Limits: it executes, it does not decide. Which generation goes where, when
// to reload, and whether to roll back is decided by package plan. It never
// restarts a server. Where a server opens two plain paths (the link form), the
// two opens are not atomic for a server that starts in between; Standing.Form
// says so.
package deploy

import (
	"context"
	"crypto/x509"
)

// Placement is one generation of one managed certificate at one target.
type Placement struct {
	Name       string   // the managed certificate
	Domains    []string // the names it must be served for
	Generation int      // counts from 1; 0 is the pair that was there before us
	Folder     string   // absolute STATE/certs/NAME/GENERATION with privkey.pem, cert.pem, chain.pem, fullchain.pem
}

// The forms in which a server can be made to use our files.
const (
	FormInclude = "include" // the server includes STATE/targets/TARGET/NAME.conf: one file, one rename, atomic
	FormLink    = "link"    // the server's own paths are links through one link: one rename, two opens
	FormNone    = "none"    // no server block uses a certificate for these names yet
)

// Standing is what a target holds for one managed certificate now.
type Standing struct {
	Form        string              // one of the Form constants
	Generation  int                 // in force, for FormNone: waiting to be included; 0 when a pair that is not ours is in force, -1 when there is none
	Chain       []*x509.Certificate // of the pair in force, leaf first; nil when there is none
	KeyMatches  bool                // the key file belongs to the leaf
	Certificate string              // path the server opens
	Key         string              // path the server opens
	Listeners   []Listener          // where it is, or will be, served
	DropIn      string              // for FormNone: text of a server block that would serve it
	DropInPath  string              // for FormNone: where that text may be written; "" when no place was found
}

// Listener is one place to look after a deployment.
type Listener struct {
	Address    string // ADDRESS:PORT to dial; wildcard addresses already turned into loopback
	ServerName string // SNI to send; a wildcard name has its star replaced by a label
	Transport  string // tcp, or the upgrade protocol such as smtp
}

// Target is a server that serves certificates. Methods are called one at a time
// for one target; all are idempotent and durable on return; none retries by
// itself. An error whose chain holds a *Refused says that the server itself
// refused and nothing was changed.
type Target interface {
	// Look reports what the target uses for the certificate now. It changes nothing.
	Look(ctx context.Context, placement Placement) (Standing, error)
	// Stage writes what Swap will need, beside what is in force. The server
	// does not read it yet. After it the only step left is one rename.
	Stage(ctx context.Context, placement Placement) error
	// Check runs the server's own test: on the configuration as it stands, and
	// on the staged placements where the server can be asked that without
	// touching what is in force.
	Check(ctx context.Context, placements []Placement) error
	// Swap puts a staged placement in force by one rename. It refuses a
	// generation lower than the one in force with ErrOlderGeneration unless
	// back is true (a roll-back).
	Swap(ctx context.Context, placement Placement, back bool) error
	// Reload makes the server read its files again, never restarting it. A nil
	// error says the request was delivered, not that the new certificate is served.
	Reload(ctx context.Context) error
}

// Refused is the server's own word that a configuration or pair does not load.
type Refused struct {
	Command string // what was run
	Output  string // what it said, raw outside text
}

func (refused *Refused) Error() string { return refused.Command + " refused" }

// ErrOlderGeneration is returned by Swap when a newer generation is in force.
var ErrOlderGeneration = errOlder{}

type errOlder struct{}

func (errOlder) Error() string { return "a newer generation is in force" }

// ErrNotRunning is in the chain of Reload's error when there is no server to
// tell: it will read what is in force when it starts.
var ErrNotRunning error = errNotRunning{}

type errNotRunning struct{}

func (errNotRunning) Error() string { return "the server is not running" }
