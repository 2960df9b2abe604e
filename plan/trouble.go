package plan

import (
	"time"
)

// Class sorts what can go wrong by what must be done about it, not by where it
// came from.
type Class string

const (
	// Transport: no answer, or a broken one. What was sent may have arrived.
	Transport Class = "transport"
	// ServerError: a 5xx. What was sent was probably not done.
	ServerError Class = "server-error"
	// RateLimited: a 429, or a 503 with Retry-After. It was not done.
	RateLimited Class = "rate-limited"
	// Refused: the CA understood and said no for good (4xx).
	Refused Class = "refused"
	// Dead: the order, authorization or challenge can never succeed any more,
	// or is no longer known. A new order is needed.
	Dead Class = "dead"
	// WrongCertificate: the CA gave something else than was asked for.
	WrongCertificate Class = "wrong-certificate"
	// Local: our own machine said no (disk full, folder not writable, port taken).
	Local Class = "local"
	// Setup: the configuration or the CA's directory rules it out; a person must act.
	Setup Class = "setup"
	// TargetFault: the server refused, or could not be asked.
	TargetFault Class = "target"
	// SolverFault: the challenge's answer could not be put where the CA looks.
	SolverFault Class = "solver"
)

// Trouble says why an effect did not succeed. Text in it may come from outside
// and is raw; it is rendered by finding.Text where it is shown.
type Trouble struct {
	Class      Class             `json:"class"`
	Summary    string            `json:"summary"`               // what happened, our words
	Detail     string            `json:"detail,omitempty"`      // the other side's words, raw
	Type       string            `json:"type,omitempty"`        // the ACME problem type without its prefix, such as rateLimited
	Status     int               `json:"status,omitempty"`      // HTTP status
	RetryAfter time.Time         `json:"retry_after,omitzero"`  // not before, by the other side's word
	Names      map[string]string `json:"names,omitempty"`       // what was said of single identifiers (RFC 8555 section 6.7.1)
	Next       string            `json:"next,omitempty"`        // a command or act that helps
	Code       string            `json:"code,omitempty"`        // finding code when the executor knows it better
	Clock      time.Duration     `json:"clock,omitempty"`       // their clock minus ours, when known to matter
	MaybeDone  bool              `json:"maybe_done,omitempty"`  // it may have been done although no answer came
	Permission bool              `json:"permission,omitempty"`  // the operating system said: not permitted
	Reachable  bool              `json:"reachable,omitempty"`   // the other side answered
	Identifier string            `json:"identifier,omitempty"`  // the name that failed
	FirstCause *Trouble          `json:"first_cause,omitempty"` // the failure that began this chain of failures
}

// lasting reports whether the attempt can go on where it stands: the same
// effect is tried again later.
func (trouble *Trouble) lasting() bool {
	switch trouble.Class {
	case Refused, Dead, WrongCertificate, Setup:
		return true
	}
	return false
}

// History is what went wrong since the last success.
type History struct {
	Failures int       `json:"failures,omitempty"` // in a row
	Since    time.Time `json:"since,omitzero"`     // of the first
	First    *Trouble  `json:"first,omitempty"`    // the cause of the chain: kept, the later ones often only follow from it
	Last     *Trouble  `json:"last,omitempty"`
	LastAt   time.Time `json:"last_at,omitzero"`
	RetryAt  time.Time `json:"retry_at,omitzero"` // nothing is tried before
}

// fail records trouble and says when the next try may be.
func (history *History) fail(rules Rules, name string, trouble *Trouble, life time.Duration, now time.Time) {
	if history.Failures == 0 {
		history.Since, history.First = now, trouble
	}
	wait := at(rules.Timing.Retry, history.Failures)
	if most := scale(life, rules.Timing.RetryShare); life > 0 && wait > most {
		wait = most
	}
	// A fifth of it by chance, so that a thousand certificates that failed
	// together do not come back together.
	wait = wait - wait/5 + scale(wait/5, rules.chance(name, "retry", history.Failures))
	history.Failures++
	history.Last, history.LastAt = trouble, now
	history.RetryAt = latest(now.Add(wait), trouble.RetryAfter)
}

// beliefLimit is how far ahead a time to wait for is believed. What is later was
// written under a clock that was wrong.
const beliefLimit = 8 * 24 * time.Hour

// waiting reports whether nothing may be tried yet.
func (history *History) waiting(now time.Time) bool {
	return now.Before(history.RetryAt) && history.RetryAt.Before(now.Add(beliefLimit))
}

// clear forgets all failures after a success.
func (history *History) clear() { *history = History{} }
