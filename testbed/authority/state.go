package authority

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
	"time"
)

// Identifier is a name in an order (RFC 8555 section 9.7.7, RFC 8738).
type Identifier struct {
	Type  string `json:"type"` // dns or ip
	Value string `json:"value"`
}

// state is the authority's whole memory. Statuses are never stored: they follow
// from the facts and the time.
type state struct {
	nonces         map[string]bool
	accounts       map[string]*account
	orders         map[string]*order
	authorizations map[string]*authorization
	challenges     map[string]*challenge
	certificates   map[string]*certificate
	serials        map[string]*certificate // by decimal serial number
	renewals       map[string]*certificate // by ARI certificate id
	sequence       []*certificate          // in the order of issuance
	placed         []*order                // in the order of creation
	windows        map[string]window       // by ARI certificate id; "" for all
}

func newState() state {
	return state{
		nonces:         make(map[string]bool),
		accounts:       make(map[string]*account),
		orders:         make(map[string]*order),
		authorizations: make(map[string]*authorization),
		challenges:     make(map[string]*challenge),
		certificates:   make(map[string]*certificate),
		serials:        make(map[string]*certificate),
		renewals:       make(map[string]*certificate),
		windows:        make(map[string]window),
	}
}

type account struct {
	id          string
	key         crypto.PublicKey
	contacts    []string
	external    []byte // the binding as it was sent, nil for none
	deactivated bool
	created     time.Time
	orders      []*order

	// Indexes, so that ten thousand orders of one account stay cheap.
	replacing map[string][]*order        // by what they replace
	same      map[string][]*order        // by names and profile
	proofs    map[proof][]*authorization // by what they prove
}

// proof is what an authorization proves: a name, or all below it.
type proof struct {
	name     Identifier
	wildcard bool
}

type order struct {
	id             string
	account        *account
	names          []Identifier // sorted, each once
	profile        string
	replaces       string // ARI certificate id
	created        time.Time
	expires        time.Time
	authorizations []*authorization
	arrived        int // finalize requests that reached us
	accepted       int // finalize requests that were accepted: never above one
	problem        *problem
	stuck          bool // fault: processing for ever
	pollsLeft      int  // "processing" for so many polls more
	certificate    *certificate
}

type authorization struct {
	id          string
	account     *account
	name        Identifier // without the star
	wildcard    bool
	expires     time.Time
	challenges  []*challenge
	deactivated bool
}

type challenge struct {
	id            string
	kind          string // http-01, dns-01, tls-alpn-01
	token         string
	authorization *authorization
	initiated     bool
	validated     time.Time
	problem       *problem
}

type certificate struct {
	id      string
	order   *order
	leaf    *x509.Certificate
	at      time.Time
	revoked bool
	reason  int
	when    time.Time // of the revocation
}

func (order *order) status(now time.Time) string {
	switch {
	case order.problem != nil:
		return "invalid"
	case order.accepted > 0 && (order.stuck || order.certificate == nil || order.pollsLeft > 0):
		return "processing"
	case order.certificate != nil:
		return "valid"
	case !now.Before(order.expires):
		return "invalid"
	}
	status := "ready"
	for _, authorization := range order.authorizations {
		switch authorization.status(now) {
		case "pending":
			if status == "ready" {
				status = "pending"
			}
		case "valid":
		default: // invalid, deactivated, expired
			return "invalid"
		}
	}
	return status
}

func (authorization *authorization) status(now time.Time) string {
	if authorization.deactivated {
		return "deactivated"
	}
	for _, challenge := range authorization.challenges {
		if challenge.problem != nil {
			return "invalid"
		}
	}
	if !now.Before(authorization.expires) {
		return "expired"
	}
	for _, challenge := range authorization.challenges {
		if !challenge.validated.IsZero() {
			return "valid"
		}
	}
	return "pending"
}

func (challenge *challenge) status() string {
	switch {
	case challenge.problem != nil:
		return "invalid"
	case !challenge.validated.IsZero():
		return "valid"
	case challenge.initiated:
		return "processing"
	}
	return "pending"
}

// values are the names of an order as plain text.
func values(names []Identifier) []string {
	all := make([]string, len(names))
	for index, name := range names {
		all[index] = name.Value
	}
	return all
}

// signature is equal for orders that ask for the same.
func signature(names []Identifier, profile string) string {
	return profile + "\x00" + strings.Join(values(names), "\x00")
}

func sameNames(one, other []Identifier) bool { return slices.Equal(one, other) }

// random is an identifier or token of 128 bits, base64url (RFC 8555 section 8.1).
func random() string {
	bytes := make([]byte, 16)
	rand.Read(bytes) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(bytes)
}
