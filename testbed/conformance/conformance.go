// Package conformance runs one list of ACME behaviours against any CA.
//
// Promise: each behaviour is run over the wire with an independent client
// (acmez), what is seen is held against what RFC 8555, 8737, 8738 and 9773 say,
// and a CA may differ only where the table Differences says so, with a reason. A
// difference that is no longer seen fails too, so the table cannot rot. That
// keeps our own test authority honest beside Pebble and step-ca.
//
// Limits: what acmez cannot send (a bad signature, an orders list) is tested
// beside the authority itself. The names used are below conformance.test and
// loopback addresses.
package conformance

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// Wish is a property that a CA is to have for some behaviours. A CA that cannot
// have it is not opened for them.
type Wish struct {
	ExternalAccountID  string // binding is required when not ""
	ExternalAccountKey string // base64url
	Profile            string // offered besides the default one, with ProfileLife
	ProfileLife        time.Duration
	Reuse              bool // valid authorizations serve new orders
}

// Peer is a CA under test.
type Peer struct {
	Directory string
	Client    *http.Client // trusts its HTTPS
	Roots     []byte       // PEM its certificates chain to
}

// Opener starts a CA that validates in this world. It ends it with t.Cleanup.
// nil means that the CA cannot grant the wish.
type Opener func(t *testing.T, world *World, wish Wish) *Peer

// Run runs every behaviour against the CA called name in Differences.
func Run(t *testing.T, name string, open Opener) {
	world := newWorld(t)
	book := newBook(name)
	for _, group := range groups {
		peer := open(t, world, group.wish)
		for _, behaviour := range group.behaviours {
			if peer == nil {
				book.observe(t, behaviour.name+": offered", "no")
				continue
			}
			t.Run(behaviour.name, func(t *testing.T) {
				behaviour.run(&run{T: t, world: world, peer: peer, wish: group.wish, book: book, wire: newWire(peer.Client)})
			})
		}
	}
	book.finish(t)
}

type behaviour struct {
	name string
	run  func(*run)
}

// groups are the behaviours by the wish they need.
var groups = []struct {
	wish       Wish
	behaviours []behaviour
}{
	{Wish{}, []behaviour{
		{"directory", directory},
		{"account", accounts},
		{"key change", keyChange},
		{"account deactivation", accountDeactivation},
		{"http-01", byHTTP},
		{"tls-alpn-01", byTLS},
		{"dns-01", byDNS},
		{"wildcard", wildcard},
		{"address", address},
		{"several names", severalNames},
		{"wrong answer", wrongAnswer},
		{"deactivated authorization", deactivatedAuthorization},
		{"finalize", finalizing},
		{"revocation", revocation},
		{"renewal information", renewalInformation},
		{"another's order", anothersOrder},
		{"bad nonce", badNonce},
		{"lost reply", lostReply},
	}},
	{Wish{Reuse: true}, []behaviour{{"reuse", reuse}}},
	{Wish{Profile: "shortlived", ProfileLife: 160 * time.Hour}, []behaviour{{"profile", profile}}},
	{Wish{ExternalAccountID: "kid-1", ExternalAccountKey: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}, []behaviour{{"external account", externalAccount}}},
}

// run is one behaviour being run.
type run struct {
	*testing.T
	world *World
	peer  *Peer
	wish  Wish
	book  *book
	wire  *wire
	acme  *acme.Client
}

// client is the ACME client of this run, made at first use.
func (run *run) client() *acme.Client {
	if run.acme == nil {
		run.acme = &acme.Client{
			Directory: run.peer.Directory, HTTPClient: run.wire.client(), PollInterval: 20 * time.Millisecond, PollTimeout: 20 * time.Second,
		}
	}
	return run.acme
}

// see holds an observation against the table.
func (run *run) see(what, got string) {
	run.Helper()
	run.book.observe(run.T, what, got)
}

// must ends the behaviour when something that is no observation went wrong.
func (run *run) must(err error) {
	run.Helper()
	if err != nil {
		run.Fatal(err)
	}
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (run *run) register() acme.Account {
	run.Helper()
	account, err := run.client().NewAccount(run.Context(), acme.Account{
		Contact: []string{"mailto:operator@conformance.test"}, TermsOfServiceAgreed: true, PrivateKey: newKey(run.T),
	})
	run.must(err)
	return account
}
