package plan

import (
	"fmt"
	"slices"
	"time"
)

// Want is what the configuration asks of one managed certificate.
type Want struct {
	Domains     []string `json:"domains"`     // lower-case A-labels, wildcards, IP addresses
	Authorities []string `json:"authorities"` // in order of preference, never empty
	Solvers     []Solver `json:"solvers"`     // in order of preference, never empty
	Deploy      []string `json:"deploy,omitempty"`
	Key         string   `json:"key"`
	Renew       string   `json:"renew,omitempty"` // "ari" or a fraction of the life, such as "1/3"
	Profile     string   `json:"profile,omitempty"`
	Owner       string   `json:"owner,omitempty"`
	Tier        int      `json:"tier,omitempty"`
}

// Solver is what a decision must know of a configured solver.
type Solver struct {
	Name      string `json:"name"`
	Type      string `json:"type"`                // http-01, tls-alpn-01, dns-01
	Stateless bool   `json:"stateless,omitempty"` // nothing to set, nothing to take away
}

// Held is one stored generation: what was issued, by whom.
type Held struct {
	Generation int       `json:"generation"`
	SHA256     string    `json:"sha256"`
	SPKI       string    `json:"spki"`
	Serial     string    `json:"serial"`
	NotBefore  time.Time `json:"not_before"`
	NotAfter   time.Time `json:"not_after"`
	Domains    []string  `json:"domains"`
	Authority  string    `json:"authority"`
	Account    string    `json:"account"`            // account URL
	RenewalID  string    `json:"renewal,omitempty"`  // RFC 9773 section 4.1
	Key        string    `json:"key"`                // key type asked for
	Profile    string    `json:"profile,omitempty"`  //
	IssuedAt   time.Time `json:"issued_at,omitzero"` // when it was stored
	Order      string    `json:"order,omitempty"`    // order URL
	Revoked    bool      `json:"revoked,omitempty"`  // by us
}

// life is the whole lifetime.
func (held *Held) life() time.Duration { return held.NotAfter.Sub(held.NotBefore) }

// Certificate is the row of one managed certificate: what is wanted, what is
// held, and the attempt that is under way to get the next.
type Certificate struct {
	Name        string       `json:"name"`
	Want        Want         `json:"want"`
	Since       time.Time    `json:"since"` // when it was first wanted
	Held        *Held        `json:"held,omitempty"`
	Previous    *Held        `json:"previous,omitempty"`
	Generations int          `json:"generations,omitempty"` // the highest number ever given
	Live        int          `json:"live,omitempty"`        // where live/NAME points
	Link        History      `json:"link,omitzero"`         // of moving live/NAME; its failures delay no renewal
	Renewal     *RenewalInfo `json:"renewal,omitempty"`     // ARI of Held
	Polled      PollState    `json:"polled,omitzero"`       // of ARI
	Attempt     *Attempt     `json:"attempt,omitempty"`
	History     History      `json:"history,omitzero"`
	Orders      []time.Time  `json:"orders,omitempty"`  // new orders in the last 24 h, for the breaker
	Asked       bool         `json:"asked,omitempty"`   // a person asked for a renewal now
	Retired     bool         `json:"retired,omitempty"` // no longer in the configuration: kept, not renewed
}

func (row *Certificate) clone() *Certificate {
	copied := *row
	copied.Orders = slices.Clone(row.Orders)
	if row.Attempt != nil {
		attempt := *row.Attempt
		attempt.Authorizations = slices.Clone(attempt.Authorizations)
		copied.Attempt = &attempt
	}
	return &copied
}

func (row *Certificate) lane() string {
	if row.Attempt != nil {
		return row.Attempt.Authority
	}
	if len(row.Want.Authorities) > 0 {
		return row.Want.Authorities[0]
	}
	return ""
}

// life is what scales this certificate's timers: of the one held, or of a
// common one when there is none yet.
func (row *Certificate) life() time.Duration {
	if row.Held != nil {
		return row.Held.life()
	}
	return 90 * 24 * time.Hour
}

// The reasons for an attempt.
const (
	ReasonNew     = "new"     // nothing is held
	ReasonNames   = "names"   // the configured names changed
	ReasonAsked   = "asked"   // a person asked
	ReasonWindow  = "window"  // the CA's renewal window says so
	ReasonLife    = "life"    // the backstop: a share of the life is left
	ReasonRevoked = "revoked" // what is held was revoked
)

// Due says why a new attempt should start at now, or "" and when to look again.
func (rules Rules) Due(row *Certificate, now time.Time) (reason string, at time.Time) {
	switch {
	case row.Retired:
		return "", time.Time{}
	case row.Held == nil:
		return ReasonNew, row.Since
	case row.Asked:
		return ReasonAsked, now
	case row.Held.Revoked:
		return ReasonRevoked, now
	case !sameNames(row.Held.Domains, row.Want.Domains):
		return ReasonNames, now
	}
	at, reason = rules.RenewAt(row)
	// A certificate that is due the moment it was issued (a CA whose clock is
	// behind, a window in the past) would be ordered again and again.
	spacing := time.Hour
	if reason == ReasonLife {
		spacing = max(spacing, scale(row.Held.life(), rules.Timing.RenewSpacing))
	}
	if soonest := row.Held.IssuedAt.Add(spacing); at.Before(soonest) {
		at = soonest
	}
	if now.Before(at) {
		return "", at
	}
	return reason, at
}

// Deadline is the instant by which the next certificate must be served.
func (rules Rules) Deadline(row *Certificate) time.Time {
	if row.Held == nil {
		return row.Since
	}
	return row.Held.NotAfter.Add(-scale(row.Held.life(), rules.Timing.SafetyShare))
}

func (rules Rules) decideCertificate(row *Certificate, event Event, now time.Time) Decision {
	decision := Decision{Deadline: rules.Deadline(row)}
	if event.Effect == "" {
		if row.Attempt != nil && event.Around.Restarted {
			row.Attempt.Restarted, row.Attempt.Resumed = true, now
		}
	} else {
		rules.takeCertificate(row, event, now, &decision)
		decision.Deadline = rules.Deadline(row)
	}
	rules.nextCertificate(row, event, now, &decision)
	decision.Row = Row{Certificate: row}
	return decision
}

// nextCertificate derives what is to be done from the row alone (and, for the
// live link, from what the deployments have verified).
func (rules Rules) nextCertificate(row *Certificate, event Event, now time.Time, decision *Decision) {
	if row.Attempt != nil {
		rules.nextAttempt(row, now, decision)
		return
	}
	var linkAt time.Time
	if held := row.Held; held != nil && row.Live < held.Generation &&
		(len(row.Want.Deploy) == 0 || event.Around.Served == held.Generation) && !row.Retired {
		if !now.Before(row.Link.RetryAt) {
			decision.Effects = []Effect{{Kind: PointLive, Generation: held.Generation}}
			return
		}
		linkAt = row.Link.RetryAt
	}
	reason, dueAt := rules.Due(row, now)
	pollAt := rules.pollAt(row)
	switch {
	case row.Retired:
		return
	case reason == "":
		if !pollAt.IsZero() && !now.Before(pollAt) {
			decision.Effects = []Effect{{Kind: GetRenewalInfo}}
			return
		}
		decision.Next = earliest(dueAt, pollAt, linkAt)
	case row.History.waiting(now):
		decision.Next = earliest(row.History.RetryAt, linkAt)
	default:
		rules.begin(row, reason, now, decision)
	}
}

// begin starts an attempt, or says why the breaker forbids it.
func (rules Rules) begin(row *Certificate, reason string, now time.Time, decision *Decision) {
	if rules.ordersSpent(row, now) {
		rules.breaker(row, now, decision)
		return
	}
	authority, why := rules.chooseAuthority(row, now)
	row.Generations++
	row.Attempt = &Attempt{
		Number:     row.Generations,
		Generation: row.Generations,
		Started:    now,
		Reason:     reason,
		Authority:  authority,
		Because:    why,
		Key:        row.Want.Key,
		Profile:    row.Want.Profile,
		Domains:    slices.Clone(row.Want.Domains),
	}
	rules.nextAttempt(row, now, decision)
}

// breaker: the day's orders are spent. Waiting is a failure like any other, and
// is told as one.
func (rules Rules) breaker(row *Certificate, now time.Time, decision *Decision) {
	again := row.Orders[0].Add(24 * time.Hour)
	trouble := &Trouble{Class: Setup, Code: "renew-failing", RetryAfter: again,
		Summary: fmt.Sprintf("%d orders in 24 h: no more before %s, to spare the CA's limits", len(row.Orders), again.UTC().Format("2006-01-02 15:04 MST")),
		Next:    "find out why it needed so many: backstay log tail " + row.Name,
	}
	row.History.fail(rules, row.Name, trouble, row.life(), now)
	decision.Next = row.History.RetryAt
	decision.Findings = append(decision.Findings, rules.failing(row, trouble))
}

// chooseAuthority picks from the ordered list of the certificate's authorities.
// The reason goes into the journal.
func (rules Rules) chooseAuthority(row *Certificate, _ time.Time) (authority, why string) {
	return row.Want.Authorities[0], "first in the order of preference"
}

// sameNames compares two sets of names, order apart.
func sameNames(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
