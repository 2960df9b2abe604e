package plan

import (
	"strconv"
	"strings"
	"time"
)

// RenewalInfo is what the issuing CA says of when to renew (RFC 9773).
type RenewalInfo struct {
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
	Explanation string    `json:"explanation,omitempty"` // URL, outside text
	RetryAfter  time.Time `json:"retry_after,omitzero"`  // do not ask before
	FetchedAt   time.Time `json:"fetched_at"`
	Unsupported bool      `json:"unsupported,omitempty"` // the directory does not offer it
}

// PollState is when ARI was asked for, and with what luck.
type PollState struct {
	At       time.Time `json:"at,omitzero"`
	Failures int       `json:"failures,omitempty"`
	RetryAt  time.Time `json:"retry_at,omitzero"`
}

// RenewAt is when the certificate held should be renewed, and why then. ARI
// may bring it forward from the backstop, never past it: a CA that forgets its
// window must not cost the certificate.
func (rules Rules) RenewAt(row *Certificate) (at time.Time, reason string) {
	held := row.Held
	backstop := rules.backstop(row)
	if renewal := row.Renewal; renewal != nil && !renewal.Unsupported && usesRenewalInfo(row.Want.Renew) {
		window := renewal.End.Sub(renewal.Start)
		if window < 0 {
			window = 0
		}
		// RFC 9773 section 4.2: a uniform random time within the window. The
		// point is a fixed share of the window, so that a window that moves takes
		// the point along and a repeated poll does not draw again.
		chosen := renewal.Start.Add(scale(window, rules.chance(row.Name, "window", held.Generation)))
		if chosen.Before(backstop) {
			return chosen, ReasonWindow
		}
	}
	return backstop, ReasonLife
}

// backstop is the time of renewal that needs no CA's word: a third of the life
// left, half of it under ten days, brought forward a little by jitter.
func (rules Rules) backstop(row *Certificate) time.Time {
	held := row.Held
	life := held.life()
	left := 1.0 / 3
	if life < 10*24*time.Hour {
		left = 1.0 / 2
	}
	if share, ok := fraction(row.Want.Renew); ok {
		left = share
	}
	early := rules.Timing.Jitter * rules.chance(row.Name, "jitter", held.Generation)
	return held.NotAfter.Add(-scale(life, left+early))
}

// usesRenewalInfo reports whether the configured way of renewing asks the CA.
func usesRenewalInfo(renew string) bool { return renew == "" || renew == "ari" }

// fraction reads "1/3"; ok is false for anything else, or for a value not in (0, 1).
func fraction(text string) (share float64, ok bool) {
	above, below, found := strings.Cut(text, "/")
	if !found {
		return 0, false
	}
	numerator, err := strconv.ParseFloat(strings.TrimSpace(above), 64)
	if err != nil {
		return 0, false
	}
	denominator, err := strconv.ParseFloat(strings.TrimSpace(below), 64)
	if err != nil || denominator <= 0 {
		return 0, false
	}
	share = numerator / denominator
	return share, share > 0 && share < 1
}

// pollAt is when ARI should be asked next; zero for never.
func (rules Rules) pollAt(row *Certificate) time.Time {
	held := row.Held
	if held == nil || held.RenewalID == "" || row.Retired || !usesRenewalInfo(row.Want.Renew) {
		return time.Time{}
	}
	every := min(max(scale(held.life(), rules.Timing.RenewalInfoShare), rules.Timing.RenewalInfoLeast), rules.Timing.RenewalInfoMost)
	last := latest(row.Polled.At, held.IssuedAt)
	next := last.Add(every)
	if renewal := row.Renewal; renewal != nil {
		if renewal.Unsupported {
			// The directory may learn it later; once a day is enough to find out.
			next = last.Add(24 * time.Hour)
		}
		if !renewal.RetryAfter.IsZero() {
			// The CA's word wins, within reason (RFC 9773 section 4.3.2): a time in the
			// past (its clock is behind ours) must not be a loop, and one over a day
			// counts as a day.
			next = latest(renewal.RetryAfter, last.Add(rules.Timing.RenewalInfoLeast))
			if furthest := last.Add(24 * time.Hour); next.After(furthest) {
				next = furthest
			}
		}
	}
	if row.Polled.Failures > 0 {
		next = latest(row.Polled.RetryAt, last.Add(min(every, time.Minute<<min(row.Polled.Failures, 10))))
	}
	// A share of the interval by chance, so that a set issued together is not
	// asked for together. Later only: Retry-After is a "not before".
	return next.Add(scale(every/10, rules.chance(row.Name, "poll", held.Generation)))
}

// takeRenewalInfo records an answer about ARI. A failed look never fails a
// renewal: the backstop stands.
func (rules Rules) takeRenewalInfo(row *Certificate, event Event, now time.Time) {
	row.Polled.At = now
	if event.Trouble != nil {
		row.Polled.Failures++
		row.Polled.RetryAt = event.Trouble.RetryAfter
		return
	}
	row.Polled.Failures, row.Polled.RetryAt = 0, time.Time{}
	if event.Renewal != nil {
		renewal := *event.Renewal
		renewal.FetchedAt = now
		row.Renewal = &renewal
	}
}
