// Package plan is the pure heart: one function, Decide, says what happens next.
//
// Promise: everything Backstay does to a certificate, an order, a deployment
// or a challenge is decided here, from a stored row, an event and a time, and
// from nothing else. The same row, event and time give the same decision,
// byte for byte, in production, in tests, in simulations and in forecasts.
// Rows hold facts; what is to be done is derived from them anew each time, so
// that starting, continuing and recovering after a kill are one path.
//
// How it is used: a driver loads a row, calls Decide with a wake event, stores
// the new row together with the intents of the effects, carries the effects
// out, and calls Decide with each outcome. Effects are values. They are
// idempotent, or the row says what was sent so that the next decision looks
// before it acts.
//
// Limits: no I/O, no goroutine, no clock, no chance. Times come in as values;
// what must look random (jitter, the point in a renewal window) is an HMAC of
// the seed in Rules. It knows nothing of HTTP, files or servers.
package plan

import (
	"fmt"
	"time"

	"github.com/backstay/backstay/finding"
)

// Rules are the constants of every decision.
type Rules struct {
	Timing Timing
	Seed   []byte // of the state folder; decides all jitter
}

// Row is one unit of work. Exactly one field is set.
type Row struct {
	Certificate *Certificate `json:"certificate,omitempty"`
	Deployment  *Deployment  `json:"deployment,omitempty"`
	Challenge   *Challenge   `json:"challenge,omitempty"`
}

// The kinds of row, as stored beside each row and used to claim work.
const (
	KindCertificate = "certificate"
	KindDeployment  = "deployment"
	KindChallenge   = "challenge"
)

// ID names the row for good.
func (row Row) ID() string {
	switch {
	case row.Certificate != nil:
		return KindCertificate + "/" + row.Certificate.Name
	case row.Deployment != nil:
		return row.Deployment.id()
	case row.Challenge != nil:
		return row.Challenge.id()
	}
	return ""
}

// Kind is one of the Kind constants.
func (row Row) Kind() string {
	switch {
	case row.Certificate != nil:
		return KindCertificate
	case row.Deployment != nil:
		return KindDeployment
	}
	return KindChallenge
}

// Lane is the bounded resource that work on the row uses: the authority of an
// attempt, the target of a deployment, the solver of a challenge. One slow lane
// delays no other.
func (row Row) Lane() string {
	switch {
	case row.Certificate != nil:
		return row.Certificate.lane()
	case row.Deployment != nil:
		return row.Deployment.Target
	case row.Challenge != nil:
		return row.Challenge.Solver
	}
	return ""
}

// Subject is the managed certificate that the row is about.
func (row Row) Subject() string {
	switch {
	case row.Certificate != nil:
		return row.Certificate.Name
	case row.Deployment != nil:
		return row.Deployment.Name
	case row.Challenge != nil:
		return row.Challenge.Name
	}
	return ""
}

// Clone copies the row deeply enough that Decide may change the copy.
func (row Row) Clone() Row {
	switch {
	case row.Certificate != nil:
		row.Certificate = row.Certificate.clone()
	case row.Deployment != nil:
		copied := *row.Deployment
		copied.Listeners = append([]Listener(nil), copied.Listeners...)
		row.Deployment = &copied
	case row.Challenge != nil:
		copied := *row.Challenge
		row.Challenge = &copied
	}
	return row
}

// Effect is one act or look at the outside world, as a value.
type Effect struct {
	Kind       EffectKind `json:"kind"`
	Index      int        `json:"index,omitempty"`      // which authorization of the attempt
	Generation int        `json:"generation,omitempty"` // which generation, for deployments
}

// EffectKind says what to do. Everything else about it is in the row.
type EffectKind string

// The effects at a CA, on a certificate row.
const (
	AskAuthority   EffectKind = "directory"      // what does the CA offer, and which account do we have there?
	NewAccount     EffectKind = "account"        // RFC 8555 section 7.3; the same key finds the same account
	MakeKey        EffectKind = "key"            // make and store key and request of the attempt's generation
	NewOrder       EffectKind = "order"          // RFC 8555 section 7.4
	FindOrder      EffectKind = "find-order"     // was the order made whose answer was lost? section 7.1.2.1
	GetAuth        EffectKind = "authorization"  // section 7.5
	SetChallenge   EffectKind = "challenge-set"  // put the answer where the CA will look
	CheckChallenge EffectKind = "check"          // look at it from our side
	OfferChallenge EffectKind = "challenge"      // tell the CA to look, section 7.5.1
	Finalize       EffectKind = "finalize"       // send the stored request
	PollOrder      EffectKind = "poll"           // section 7.1.3
	Collect        EffectKind = "collect"        // download, check against the request, store
	Abandon        EffectKind = "abandon"        // deactivate pending authorizations, section 7.5.2
	GetRenewalInfo EffectKind = "renewal-info"   // RFC 9773
	PointLive      EffectKind = "live"           // move live/NAME
	Clean          EffectKind = "challenge-wipe" // take a challenge's answer away
)

// The effects at a target, on a deployment row.
const (
	Look     EffectKind = "look"
	Stage    EffectKind = "stage"
	Check    EffectKind = "test"
	Swap     EffectKind = "swap"
	SwapBack EffectKind = "swap-back"
	Reload   EffectKind = "reload"
	Verify   EffectKind = "verify"
)

// IsAct reports whether the effect changes the outside world and so belongs
// into the journal, its intent before it. The rest are looks whose repetition
// nobody notices; what a verification has proven is recorded when it is.
func (kind EffectKind) IsAct() bool {
	switch kind {
	case NewAccount, MakeKey, NewOrder, SetChallenge, OfferChallenge, Finalize, Collect, Abandon, PointLive, Clean,
		Stage, Swap, SwapBack, Reload:
		return true
	}
	return false
}

// Event is what happened: nothing (Woken), or the outcome of an effect.
type Event struct {
	Effect   EffectKind    `json:"effect,omitempty"` // "" for Woken
	Index    int           `json:"index,omitempty"`
	At       time.Time     `json:"at"`                // when the effect ended
	Took     time.Duration `json:"took,omitempty"`    // how long it took
	Trouble  *Trouble      `json:"trouble,omitempty"` // why it did not succeed
	Resource *Resource     `json:"resource,omitempty"`
	Issued   *Held         `json:"issued,omitempty"`  // outcome of Collect
	Renewal  *RenewalInfo  `json:"renewal,omitempty"` // outcome of GetRenewalInfo
	Seen     *Seen         `json:"seen,omitempty"`    // outcome of Look
	Verified []Sight       `json:"verified,omitempty"`
	Wanted   string        `json:"wanted,omitempty"` // of Verify: SHA-256 of the leaf that should be served
	Around   Around        `json:"around,omitzero"`
}

// Around is what a decision must know about other rows, as facts.
type Around struct {
	Served      int           `json:"served,omitempty"`       // for a certificate: the generation that all its deployments have verified; 0 for none
	LastReload  time.Time     `json:"last_reload,omitzero"`   // for a deployment: of its target
	ReloadEvery time.Duration `json:"reload_every,omitempty"` // for a deployment: at most one reload of its target in this time
	OthersDue   bool          `json:"others_due,omitempty"`   // for a deployment: certificates for the same target are being issued now
	Restarted   bool          `json:"restarted,omitempty"`    // this process has not worked on the row before: an earlier one may have died over it
}

// Woken is the event of a row whose time has come.
func Woken(at time.Time, around Around) Event { return Event{At: at, Around: around} }

// Resource is what the CA said of an account, order, authorization or challenge.
type Resource struct {
	URL            string      `json:"url,omitempty"`
	Status         string      `json:"status,omitempty"`
	Expires        time.Time   `json:"expires,omitzero"`
	Authorizations []string    `json:"authorizations,omitempty"`
	FinalizeURL    string      `json:"finalize,omitempty"`
	Certificate    string      `json:"certificate,omitempty"`
	Identifier     string      `json:"identifier,omitempty"` // of an authorization; a wildcard with its star
	Challenges     []Challenge `json:"challenges,omitempty"` // of an authorization: the offered ones (Type, URL, Token, Status)
	RetryAfter     time.Time   `json:"retry_after,omitzero"`
	RenewalInfo    bool        `json:"renewal_info,omitempty"` // the directory offers RFC 9773
	Profiles       []string    `json:"profiles,omitempty"`     // the directory's, sorted
	Request        []byte      `json:"request,omitempty"`      // of MakeKey: the CSR, DER
	Error          *Trouble    `json:"error,omitempty"`        // why an authorization or order is invalid
}

// Decision is what follows from a row, an event and a time.
type Decision struct {
	Row      Row               `json:"row"`
	Effects  []Effect          `json:"effects,omitempty"` // carry out now, any order, then tell Decide
	Next     time.Time         `json:"next,omitzero"`     // wake the row then, when there are no effects; zero: never by itself
	Deadline time.Time         `json:"deadline,omitzero"` // by then the work must be done; earliest goes first
	Spawn    []Row             `json:"spawn,omitempty"`   // rows to store in the same transaction, due at once
	Poke     []string          `json:"poke,omitempty"`    // IDs of rows to wake at once
	Gone     bool              `json:"gone,omitempty"`    // the row has done its work: delete it
	Findings []finding.Finding `json:"findings,omitempty"`
}

// Decide is the heart. It never changes row; Decision.Row is a new value. Every
// call first takes the event's facts into the row, then derives from the row
// alone what is to be done. A driver that carries out several effects applies
// their events one after the other and uses the last decision's effects, after
// storing every Spawn, Poke and Finding.
func (rules Rules) Decide(row Row, event Event, now time.Time) Decision {
	row = row.Clone()
	switch {
	case row.Certificate != nil:
		return rules.decideCertificate(row.Certificate, event, now)
	case row.Deployment != nil:
		return rules.decideDeployment(row.Deployment, event, now)
	case row.Challenge != nil:
		return rules.decideChallenge(row.Challenge, event, now)
	}
	panic(fmt.Sprintf("plan: empty row with event %q", event.Effect))
}
