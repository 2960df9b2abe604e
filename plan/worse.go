package plan

import (
	"fmt"
	"time"
)

// Verdict is an answer that may be missing.
type Verdict string

const (
	Yes     Verdict = "yes"
	No      Verdict = "no"
	Unknown Verdict = "unknown" // not looked at, or cannot be known; also the zero value's meaning
)

// Pair is what is known of a key and a chain that a server could use.
type Pair struct {
	Present   bool      `json:"present,omitempty"`
	Loads     bool      `json:"loads,omitempty"`  // parses, and the key belongs to the leaf
	Covers    bool      `json:"covers,omitempty"` // every wanted name
	Missing   string    `json:"missing,omitempty"`
	Trusted   Verdict   `json:"trusted,omitempty"`
	WhyNot    string    `json:"why_not,omitempty"` // of Trusted
	Revoked   bool      `json:"revoked,omitempty"` // or in an incident
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	SHA256    string    `json:"sha256,omitempty"`
}

// usable reports whether clients accept the pair at the instant.
func (pair Pair) usable(at time.Time) bool {
	return pair.Present && pair.Loads && pair.Covers && pair.Trusted != No && !pair.Revoked && at.Before(pair.NotAfter)
}

// canWaitUntil reports whether the pair in force may stay until settled.
func (pair Pair) canWaitUntil(settled, deadline time.Time) bool {
	return pair.usable(settled) && (deadline.IsZero() || settled.Before(deadline))
}

// Judgement is the outcome of Worse.
type Judgement struct {
	Worse   string // why the candidate is worse; "" when it is not
	Unknown string // why that cannot be said for certain
}

// Worse judges whether candidate may replace inForce. It is an order, and the
// first difference decides: loads; covers all names; trusted (yes, unknown,
// no); not revoked and in no incident; not expired, with a margin. A later end
// alone never makes a pair better or worse: what the plan asked for is deployed.
func Worse(candidate, inForce Pair, now time.Time) Judgement {
	if !candidate.Present || !candidate.Loads {
		return Judgement{Worse: "it does not load"}
	}
	if !inForce.Present || !inForce.Loads {
		return Judgement{}
	}
	if candidate.Covers != inForce.Covers {
		if candidate.Covers {
			return Judgement{}
		}
		return Judgement{Worse: "it does not cover " + candidate.Missing}
	}
	if a, b := candidate.Trusted.rank(), inForce.Trusted.rank(); a != b {
		switch {
		case a > b:
			return Judgement{}
		case candidate.Trusted == No:
			return Judgement{Worse: "it is not trusted: " + candidate.WhyNot}
		default:
			return Judgement{Unknown: "its root is not in a store we know: " + candidate.WhyNot}
		}
	}
	if candidate.Revoked != inForce.Revoked {
		if candidate.Revoked {
			return Judgement{Worse: "it is revoked or part of an incident"}
		}
		return Judgement{}
	}
	if candidateEnds, inForceEnds := candidate.expiredWithMargin(now), inForce.expiredWithMargin(now); candidateEnds != inForceEnds && candidateEnds {
		return Judgement{Worse: fmt.Sprintf("it ends at %s", candidate.NotAfter.UTC().Format(time.RFC3339))}
	}
	return Judgement{}
}

// expiredWithMargin: within a tenth of its life of its end, it counts as over.
func (pair Pair) expiredWithMargin(now time.Time) bool {
	return !now.Before(pair.NotAfter.Add(-scale(pair.NotAfter.Sub(pair.NotBefore), 0.10)))
}

func (verdict Verdict) rank() int {
	switch verdict {
	case Yes:
		return 2
	case No:
		return 0
	}
	return 1
}
