package plan

import (
	"slices"
	"time"
)

// Attempt is the way to one new generation: one order at one CA. Its facts say
// how far it got; the status of the order is the CA's word, not ours.
//
//	AskAuthority · NewAccount · MakeKey · NewOrder · for each authorization
//	(GetAuth · SetChallenge · CheckChallenge · OfferChallenge · GetAuth…) ·
//	Finalize · PollOrder… · Collect
//
// What may be repeated after a kill, and why that is harmless:
//
//	AskAuthority, GetAuth, PollOrder, CheckChallenge, FindOrder   looks
//	NewAccount      the same key finds the same account (RFC 8555 section 7.3.1)
//	MakeKey         a key that is on disk is kept
//	NewOrder        FindOrder comes first; else one pending orphan, counted in Orders
//	SetChallenge    the same value at the same place
//	OfferChallenge  only while the challenge is pending
//	Finalize        PollOrder comes first; the stored request, accepted once
//	Collect         a download; the same files
type Attempt struct {
	Number         int             `json:"number"`     // counts attempts of the certificate
	Generation     int             `json:"generation"` // to be
	Started        time.Time       `json:"started"`
	Reason         string          `json:"reason"`
	Authority      string          `json:"authority"`
	Because        string          `json:"because"` // why this authority
	Key            string          `json:"key"`
	Profile        string          `json:"profile,omitempty"`
	Domains        []string        `json:"domains"`
	Asked          bool            `json:"asked,omitempty"`     // directory read
	Account        string          `json:"account,omitempty"`   // URL
	OffersInfo     bool            `json:"offers,omitempty"`    // the directory offers ARI, so takes `replaces`
	Request        []byte          `json:"request,omitempty"`   // CSR, DER; its key is on disk
	Replaces       string          `json:"replaces,omitempty"`  // RFC 9773 section 5
	NoReplaces     bool            `json:"noreplace,omitempty"` // it was refused once
	OrderSent      time.Time       `json:"order_sent,omitzero"` // newOrder may have reached the CA
	Searched       bool            `json:"searched,omitempty"`  // and was not found there
	Order          Order           `json:"order,omitzero"`
	Authorizations []Authorization `json:"authorizations,omitempty"`
	FinalizeSent   time.Time       `json:"finalize_sent,omitzero"` // finalize may have reached the CA
	FinalizeSends  int             `json:"finalize_sends,omitempty"`
	Polls          int             `json:"polls,omitempty"`
	PollAt         time.Time       `json:"poll_at,omitzero"`
	GivenUp        *Trouble        `json:"given_up,omitempty"` // the attempt ends with this once Abandon was tried
	Restarted      bool            `json:"restarted,omitempty"`
	Outdated       bool            `json:"outdated,omitempty"` // the configuration wants something else now
	Resumed        time.Time       `json:"resumed,omitzero"`   // when a later process took the attempt up
}

// Order is what is known of the order at the CA (RFC 8555 section 7.1.3).
type Order struct {
	URL         string    `json:"url,omitempty"`
	Status      string    `json:"status,omitempty"`
	Expires     time.Time `json:"expires,omitzero"`
	FinalizeURL string    `json:"finalize,omitempty"`
	Certificate string    `json:"certificate,omitempty"`
}

// Authorization is one name of the order on its way to valid.
type Authorization struct {
	URL        string    `json:"url"`
	Status     string    `json:"status,omitempty"` // "" until read
	Identifier string    `json:"identifier,omitempty"`
	Wildcard   bool      `json:"wildcard,omitempty"`
	Solver     string    `json:"solver,omitempty"`
	Type       string    `json:"type,omitempty"`
	Challenge  string    `json:"challenge,omitempty"` // URL
	Token      string    `json:"token,omitempty"`
	Stateless  bool      `json:"stateless,omitempty"`
	Set        bool      `json:"set,omitempty"`
	Checking   time.Time `json:"checking,omitzero"` // first look from our side
	CheckAt    time.Time `json:"check_at,omitzero"`
	Checked    bool      `json:"checked,omitempty"`
	CheckSaid  string    `json:"check_said,omitempty"` // why our own look failed; explains a later refusal
	Offered    bool      `json:"offered,omitempty"`
	Polls      int       `json:"polls,omitempty"`
	PollAt     time.Time `json:"poll_at,omitzero"`
}

// The statuses of RFC 8555 section 7.1.6 that decisions are made on.
const (
	StatusPending    = "pending"
	StatusReady      = "ready"
	StatusProcessing = "processing"
	StatusValid      = "valid"
	StatusInvalid    = "invalid"
)

// nextAttempt derives the attempt's next effects from its facts.
func (rules Rules) nextAttempt(row *Certificate, now time.Time, decision *Decision) {
	attempt := row.Attempt
	one := func(kind EffectKind) { decision.Effects = []Effect{{Kind: kind}} }
	if why := row.outdated(); why != "" && attempt.GivenUp == nil && attempt.FinalizeSent.IsZero() {
		attempt.Outdated = true
		row.History.RetryAt = time.Time{}
		rules.giveUp(row, &Trouble{Class: Setup, Summary: why}, now, decision)
		if row.Attempt == nil {
			rules.nextCertificate(row, Event{}, now, decision)
			return
		}
	}
	switch {
	case row.History.waiting(now):
		decision.Next = row.History.RetryAt
	case attempt.GivenUp != nil:
		one(Abandon)
	case !attempt.Asked:
		one(AskAuthority)
	case attempt.Account == "":
		one(NewAccount)
	case len(attempt.Request) == 0:
		one(MakeKey)
	case attempt.Order.URL == "" && !attempt.OrderSent.IsZero() && !attempt.Searched:
		one(FindOrder)
	case attempt.Order.URL == "" && rules.ordersSpent(row, now):
		// Each lost answer may have left an order at the CA: the breaker counts
		// them within one attempt, too.
		rules.breaker(row, now, decision)
	case attempt.Order.URL == "":
		rules.sendOrder(row, now)
		one(NewOrder)
	case attempt.Order.Status == StatusValid && attempt.Order.Certificate != "":
		one(Collect)
	case attempt.Order.Status == StatusReady && attempt.FinalizeSent.IsZero(),
		attempt.Order.Status == StatusPending && attempt.FinalizeSent.IsZero() && attempt.allValid():
		// An order whose authorizations are all valid is ready (section 7.1.6);
		// a CA that is slow to notice says orderNotReady, and is polled then.
		attempt.FinalizeSent = now
		attempt.FinalizeSends++
		one(Finalize)
	case attempt.Order.Status == StatusPending && attempt.FinalizeSent.IsZero():
		rules.nextAuthorizations(attempt, now, decision)
	case now.Before(attempt.PollAt):
		decision.Next = attempt.PollAt
	default:
		one(PollOrder)
	}
}

// outdated says why the attempt is not what the configuration wants any more; ""
// when it is. An order that was finalized is finished all the same.
func (row *Certificate) outdated() string {
	attempt := row.Attempt
	switch {
	case row.Retired:
		return "the certificate left the configuration"
	case !slices.Contains(row.Want.Authorities, attempt.Authority):
		return "the authority left the certificate's list"
	case row.Want.Authorities[0] != attempt.Authority && attempt.Order.URL == "":
		return "another authority comes first now"
	case !sameNames(attempt.Domains, row.Want.Domains):
		return "other names are wanted"
	case attempt.Profile != row.Want.Profile:
		return "another profile is wanted"
	}
	for _, authorization := range attempt.Authorizations {
		known := authorization.Solver == ""
		for _, solver := range row.Want.Solvers {
			known = known || solver.Name == authorization.Solver && solver.Type == authorization.Type
		}
		if !known {
			return "the solver left the certificate's list"
		}
	}
	return ""
}

// impatient reports whether the CA had its time. What passed while it was away,
// or while no process was there to ask, does not count: an order that was
// finalized must not be left for a second one.
func (rules Rules) impatient(row *Certificate, now time.Time) bool {
	attempt := row.Attempt
	return now.Sub(latest(attempt.Started, attempt.Resumed, row.History.RetryAt)) > rules.Timing.OrderPatience
}

// ordersSpent drops what is older than a day and reports whether the breaker is open.
func (rules Rules) ordersSpent(row *Certificate, now time.Time) bool {
	row.Orders = slices.DeleteFunc(row.Orders, func(ordered time.Time) bool {
		return now.Sub(ordered) >= 24*time.Hour || ordered.After(now) // our clock was ahead then
	})
	return len(row.Orders) >= rules.Timing.OrdersPerDay
}

// uncountOrder: the CA certainly did not make the order that was sent last.
func (row *Certificate) uncountOrder() {
	if last := len(row.Orders) - 1; last >= 0 {
		row.Orders = row.Orders[:last]
	}
}

// sendOrder notes that newOrder is about to be sent, and what it will say.
func (rules Rules) sendOrder(row *Certificate, now time.Time) {
	attempt := row.Attempt
	attempt.OrderSent, attempt.Searched = now, false
	attempt.Replaces = ""
	// Only this CA and account's own last certificate may be named: a
	// certificate of another CA is refused, and the order with it.
	if held := row.Held; held != nil && attempt.OffersInfo && !attempt.NoReplaces && !held.Revoked &&
		held.Authority == attempt.Authority && held.Account == attempt.Account {
		attempt.Replaces = held.RenewalID
	}
	row.Orders = append(row.Orders, now)
}

func (attempt *Attempt) allValid() bool {
	for _, authorization := range attempt.Authorizations {
		if authorization.Status != StatusValid {
			return false
		}
	}
	return len(attempt.Authorizations) > 0
}

// nextAuthorizations asks for whatever each authorization needs next; they do
// not wait for each other.
func (rules Rules) nextAuthorizations(attempt *Attempt, now time.Time, decision *Decision) {
	for index := range attempt.Authorizations {
		authorization := &attempt.Authorizations[index]
		ask := func(kind EffectKind, notBefore time.Time) {
			if now.Before(notBefore) {
				decision.Next = earliest(decision.Next, notBefore)
				return
			}
			decision.Effects = append(decision.Effects, Effect{Kind: kind, Index: index})
		}
		switch {
		case authorization.Status == StatusValid:
		case authorization.Status == "":
			ask(GetAuth, time.Time{})
		case !authorization.Set:
			ask(SetChallenge, time.Time{})
		case !authorization.Checked:
			ask(CheckChallenge, authorization.CheckAt)
		case !authorization.Offered:
			ask(OfferChallenge, time.Time{})
		default:
			ask(GetAuth, authorization.PollAt)
		}
	}
	switch {
	case len(decision.Effects) > 0:
		decision.Next = time.Time{}
	case decision.Next.IsZero():
		// A pending order that names no authorization: only the CA can move it.
		if now.Before(attempt.PollAt) {
			decision.Next = attempt.PollAt
			return
		}
		decision.Effects = []Effect{{Kind: PollOrder}}
	}
}

// pollWait is how long to wait before looking again at what the CA works on:
// its own word, else ever longer, and never shorter than one of its answers
// takes, so that a distant CA is not asked faster than it can speak.
func (rules Rules) pollWait(polls int, event Event, now time.Time) time.Time {
	wait := max(at(rules.Timing.Poll, polls), min(event.Took, time.Second))
	next := now.Add(wait)
	if event.Resource != nil {
		next = latest(next, event.Resource.RetryAfter)
	}
	return next
}
