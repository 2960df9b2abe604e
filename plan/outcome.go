package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/finding"
)

// takeCertificate takes one event's facts into the row.
func (rules Rules) takeCertificate(row *Certificate, event Event, now time.Time, decision *Decision) {
	switch event.Effect {
	case GetRenewalInfo:
		rules.takeRenewalInfo(row, event, now)
		return
	case PointLive:
		if event.Trouble == nil {
			row.Live = row.Held.Generation
			row.Link.clear()
			return
		}
		row.Link.fail(rules, row.Name+"live", event.Trouble, row.life(), now)
		decision.Findings = append(decision.Findings, event.Trouble.finding("self-state", row.Name, row.Link.RetryAt))
		return
	}
	if row.Attempt == nil {
		return // an answer that came after its attempt had ended
	}
	if event.Effect == Abandon {
		rules.end(row, row.Attempt.GivenUp, now, decision)
		return
	}
	if event.Trouble != nil {
		rules.takeTrouble(row, event, now, decision)
		return
	}
	rules.takeProgress(row, event, now, decision)
}

// takeProgress takes the facts of an effect that succeeded.
func (rules Rules) takeProgress(row *Certificate, event Event, now time.Time, decision *Decision) {
	attempt, resource := row.Attempt, event.Resource
	switch event.Effect {
	case AskAuthority:
		attempt.Asked = true
		attempt.Account, attempt.OffersInfo = resource.URL, resource.RenewalInfo
		if attempt.Profile != "" && !slices.Contains(resource.Profiles, attempt.Profile) {
			rules.giveUp(row, &Trouble{
				Class:   Setup,
				Summary: fmt.Sprintf("%s offers no profile %q", attempt.Authority, attempt.Profile),
				Detail:  "offered: " + orNone(resource.Profiles),
				Next:    "choose one of the offered profiles in the configuration, or none",
			}, now, decision)
		}
	case NewAccount:
		attempt.Account = resource.URL
	case MakeKey:
		attempt.Request = resource.Request
	case FindOrder, NewOrder:
		if resource == nil || resource.URL == "" {
			attempt.Searched = true
			return
		}
		attempt.takeOrder(resource)
	case GetAuth:
		rules.takeAuthorization(row, event, now, decision)
	case SetChallenge:
		attempt.Authorizations[event.Index].Set = true
	case CheckChallenge:
		attempt.Authorizations[event.Index].Checked = true
		attempt.Authorizations[event.Index].CheckSaid = ""
	case OfferChallenge:
		authorization := &attempt.Authorizations[event.Index]
		authorization.Offered = true
		authorization.PollAt = rules.pollWait(authorization.Polls, event, now)
	case Finalize, PollOrder:
		rules.takeOrderStatus(row, event, now, decision)
	case Collect:
		rules.takeIssued(row, event.Issued, now, decision)
	}
}

// takeOrder takes what newOrder, or a look at the order, said of it.
func (attempt *Attempt) takeOrder(resource *Resource) {
	order := &attempt.Order
	if resource.URL != "" {
		order.URL = resource.URL
	}
	order.Status = resource.Status
	if !resource.Expires.IsZero() {
		order.Expires = resource.Expires
	}
	if resource.FinalizeURL != "" {
		order.FinalizeURL = resource.FinalizeURL
	}
	if resource.Certificate != "" {
		order.Certificate = resource.Certificate
	}
	if len(attempt.Authorizations) == 0 {
		for _, url := range resource.Authorizations {
			attempt.Authorizations = append(attempt.Authorizations, Authorization{URL: url})
		}
	}
}

// takeOrderStatus takes the answer to Finalize or PollOrder.
func (rules Rules) takeOrderStatus(row *Certificate, event Event, now time.Time, decision *Decision) {
	attempt := row.Attempt
	attempt.takeOrder(event.Resource)
	switch attempt.Order.Status {
	case StatusValid:
		if attempt.Order.Certificate != "" {
			return // to be collected, however long it took
		}
	case StatusInvalid:
		trouble := event.Resource.Error
		if trouble == nil {
			trouble = &Trouble{Class: Dead, Summary: "the order became invalid and the CA gave no reason"}
		}
		rules.giveUp(row, trouble, now, decision)
		return
	case StatusReady:
		// The CA has not seen our finalize: send the same stored request again.
		attempt.FinalizeSent = time.Time{}
	case StatusPending:
		attempt.FinalizeSent = time.Time{}
		// It said that an authorization is missing: read them all again.
		for index := range attempt.Authorizations {
			attempt.Authorizations[index].Status = ""
		}
	}
	attempt.PollAt = rules.pollWait(attempt.Polls, event, now)
	attempt.Polls++
	if rules.impatient(row, now) ||
		!attempt.Order.Expires.IsZero() && now.After(attempt.Order.Expires) {
		rules.giveUp(row, &Trouble{Class: Dead, Summary: "the CA did not finish the order in time"}, now, decision)
	}
}

// takeAuthorization takes the state of one authorization; on the first look it
// also picks the challenge.
func (rules Rules) takeAuthorization(row *Certificate, event Event, now time.Time, decision *Decision) {
	attempt, resource := row.Attempt, event.Resource
	authorization := &attempt.Authorizations[event.Index]
	authorization.Status = resource.Status
	authorization.Identifier, authorization.Wildcard = strings.CutPrefix(resource.Identifier, "*.")
	switch authorization.Status {
	case StatusValid:
		return
	case StatusPending:
	default:
		trouble := resource.Error
		if trouble == nil {
			trouble = &Trouble{Class: Dead, Summary: fmt.Sprintf("the authorization is %s", authorization.Status)}
		}
		copied := *trouble
		copied.Identifier = resource.Identifier
		if copied.Detail == "" && authorization.CheckSaid != "" {
			copied.Detail = "our own look had failed: " + authorization.CheckSaid
		}
		rules.giveUp(row, &copied, now, decision)
		return
	}
	if authorization.Solver == "" {
		rules.pickChallenge(row, authorization, resource, now, decision)
		return
	}
	for _, challenge := range resource.Challenges {
		// A CA that has taken the challenge up must not be offered it again.
		if challenge.URL == authorization.Challenge && challenge.Status != StatusPending {
			authorization.Offered = true
		}
	}
	authorization.PollAt = rules.pollWait(authorization.Polls, event, now)
	authorization.Polls++
	if rules.impatient(row, now) {
		rules.giveUp(row, &Trouble{Class: Dead, Identifier: resource.Identifier,
			Summary: "the CA did not finish validating " + resource.Identifier + " in time"}, now, decision)
	}
}

// pickChallenge takes the first configured solver whose challenge is offered,
// and remembers the answer to be set as a row of its own before it is set.
func (rules Rules) pickChallenge(row *Certificate, authorization *Authorization, resource *Resource, now time.Time, decision *Decision) {
	var offered []string
	for _, solver := range row.Want.Solvers {
		for _, challenge := range resource.Challenges {
			if challenge.Type != solver.Type {
				continue
			}
			authorization.Solver, authorization.Type = solver.Name, solver.Type
			authorization.Challenge, authorization.Token = challenge.URL, challenge.Token
			if solver.Stateless {
				authorization.Stateless, authorization.Set = true, true
				return
			}
			decision.Spawn = append(decision.Spawn, Row{Challenge: row.Attempt.challenge(row.Name, authorization, now)})
			return
		}
	}
	for _, challenge := range resource.Challenges {
		offered = append(offered, challenge.Type)
	}
	slices.Sort(offered)
	rules.giveUp(row, &Trouble{
		Class:      Setup,
		Identifier: resource.Identifier,
		Summary:    fmt.Sprintf("no configured solver can prove %s", resource.Identifier),
		Detail:     "the CA offers: " + orNone(offered),
		Next:       "add a solver of one of these types to the certificate",
	}, now, decision)
}

// challenge is the row that remembers the authorization's answer.
func (attempt *Attempt) challenge(name string, authorization *Authorization, now time.Time) *Challenge {
	return &Challenge{
		Name:       name,
		Attempt:    attempt.Number,
		Authority:  attempt.Authority,
		Solver:     authorization.Solver,
		Identifier: authorization.Identifier,
		Type:       authorization.Type,
		URL:        authorization.Challenge,
		Token:      authorization.Token,
		Open:       true,
		Since:      now,
	}
}

// takeTrouble decides what an effect's failure means for the attempt.
func (rules Rules) takeTrouble(row *Certificate, event Event, now time.Time, decision *Decision) {
	attempt, trouble := row.Attempt, event.Trouble
	switch {
	case event.Effect == FindOrder && trouble.lasting():
		// The CA offers no list, or refuses to show it.
		attempt.Searched = true
		return
	case event.Effect == NewOrder && trouble.Class == Refused && attempt.Replaces != "":
		// RFC 9773 section 5 lets a CA refuse `replaces` in many ways (409
		// alreadyReplaced, unauthorized, malformed): whatever it says, the order
		// is asked for once more without it, at once.
		attempt.NoReplaces, attempt.OrderSent = true, time.Time{}
		row.uncountOrder()
		return
	case event.Effect == CheckChallenge:
		rules.takeCheckFailure(row, event, now, decision)
		return
	case event.Effect == Finalize && trouble.Type == "orderNotReady":
		// Too early, or finalized already: the order's status tells which.
		attempt.Order.Status = ""
		return
	}
	if event.Effect == NewOrder && !trouble.MaybeDone {
		attempt.OrderSent = time.Time{}
		row.uncountOrder()
	}
	if trouble.lasting() && attempt.mayBeIssued(event.Effect, trouble) && !rules.impatient(row, now) {
		// The order was finalized: a refusal of a look or of the download (a proxy, a
		// replica that lags) says nothing about it. Ending the attempt here would
		// cost a second certificate; the order's own status decides.
		attempt.Order.Status = ""
		row.History.fail(rules, row.Name, trouble, row.life(), now)
		decision.Findings = append(decision.Findings, rules.failing(row, trouble))
		return
	}
	if trouble.lasting() {
		rules.giveUp(row, trouble, now, decision)
		return
	}
	if event.Effect == NewOrder && trouble.Class == ServerError && attempt.Replaces != "" && row.History.Failures > 0 {
		// Some CAs fall over a certificate that they cannot find, and say 5xx: from
		// the second time on the order goes without it.
		attempt.NoReplaces = true
	}
	row.History.fail(rules, row.Name, trouble, row.life(), now)
	decision.Findings = append(decision.Findings, rules.failing(row, trouble))
}

// mayBeIssued: the CA has taken, or may have taken, our finalize.
func (attempt *Attempt) mayBeIssued(effect EffectKind, trouble *Trouble) bool {
	return !attempt.FinalizeSent.IsZero() && trouble.Class != WrongCertificate &&
		(effect == Finalize || effect == PollOrder || effect == Collect)
}

// takeCheckFailure: our own look did not find the answer yet. For dns-01 that
// is waited for, since the CA asks the same servers; for the others the look
// only explains (we may stand behind another firewall than the CA), so it is
// noted and the CA is asked.
func (rules Rules) takeCheckFailure(row *Certificate, event Event, now time.Time, decision *Decision) {
	authorization := &row.Attempt.Authorizations[event.Index]
	authorization.CheckSaid = event.Trouble.Summary
	if authorization.Type != "dns-01" {
		authorization.Checked = true
		return
	}
	if authorization.Checking.IsZero() {
		authorization.Checking = now
	}
	if now.Sub(authorization.Checking) < rules.Timing.CheckPatience {
		authorization.CheckAt = now.Add(rules.Timing.CheckEvery)
		return
	}
	trouble := *event.Trouble
	trouble.Class, trouble.Identifier = SolverFault, authorization.Identifier
	rules.giveUp(row, &trouble, now, decision)
}

// giveUp ends the attempt; authorizations that are still pending at the CA are
// deactivated first, since they count against its limits.
func (rules Rules) giveUp(row *Certificate, trouble *Trouble, now time.Time, decision *Decision) {
	attempt := row.Attempt
	if attempt.GivenUp != nil {
		return
	}
	for _, authorization := range attempt.Authorizations {
		if authorization.Status == StatusPending || authorization.Status == "" {
			attempt.GivenUp = trouble
			return
		}
	}
	rules.end(row, trouble, now, decision)
}

// end closes a failed attempt: its challenges are taken away, its failure is
// recorded, and the next attempt waits its turn.
func (rules Rules) end(row *Certificate, trouble *Trouble, now time.Time, decision *Decision) {
	attempt := row.Attempt
	attempt.wipe(row.Name, now, decision)
	row.Attempt = nil
	if attempt.Outdated {
		// Not a failure: what is wanted now is begun at once.
		row.History.clear()
		return
	}
	row.History.fail(rules, row.Name, trouble, row.life(), now)
	switch {
	case attempt.Restarted && trouble.Class == Dead:
		// A validation that fell into our own death (the listener was gone when
		// the CA looked) says nothing about the name: a new order at once.
		row.History.RetryAt = now
		return
	case trouble.Class == Dead && trouble.Identifier != "":
		row.History.RetryAt = latest(row.History.RetryAt, now.Add(rules.Timing.NameRetry))
	case trouble.Class == Dead:
		// Every try costs an order: not within the minute.
		row.History.RetryAt = latest(row.History.RetryAt, now.Add(time.Minute))
	case trouble.Class == WrongCertificate, trouble.Class == Setup, trouble.Class == Refused:
		// Nothing changes by itself within minutes.
		row.History.RetryAt = latest(row.History.RetryAt, now.Add(min(time.Hour, scale(row.life(), rules.Timing.RetryShare))))
	}
	decision.Findings = append(decision.Findings, rules.failing(row, trouble))
}

// wipe hands every answer that was set over to its own row, due at once.
func (attempt *Attempt) wipe(name string, now time.Time, decision *Decision) {
	for index := range attempt.Authorizations {
		authorization := &attempt.Authorizations[index]
		if authorization.Token == "" || authorization.Solver == "" || authorization.Stateless {
			continue
		}
		challenge := attempt.challenge(name, authorization, now)
		challenge.Open = false
		decision.Spawn = append(decision.Spawn, Row{Challenge: challenge})
	}
}

// takeIssued: the generation is on disk. The row now holds it, its deployments
// become due, and the attempt is over.
func (rules Rules) takeIssued(row *Certificate, issued *Held, now time.Time, decision *Decision) {
	attempt := row.Attempt
	attempt.wipe(row.Name, now, decision)
	held := *issued
	held.IssuedAt = now
	deadline := rules.Deadline(row) // of the one in force until now
	asked := attempt.Reason == ReasonAsked
	row.Previous, row.Held = row.Held, &held
	row.Renewal, row.Polled = nil, PollState{}
	row.Attempt, row.Asked = nil, false
	row.History.clear()
	row.Link.clear()
	for _, target := range row.Want.Deploy {
		decision.Spawn = append(decision.Spawn, Row{Deployment: &Deployment{
			Name: row.Name, Target: target, Domains: held.Domains, Wanted: held.Generation, Asked: asked, DueSince: now, Deadline: deadline,
		}})
	}
}

// failing words a failure for a person.
func (rules Rules) failing(row *Certificate, trouble *Trouble) finding.Finding {
	code := finding.Code("renew-failing")
	switch trouble.Class {
	case Transport, ServerError:
		code = "authority-unreachable"
	case RateLimited:
		code = "authority-rate-limited"
	case Refused, Setup:
		code = "authority-refused"
	case WrongCertificate:
		code = "authority-wrong-certificate"
	case SolverFault:
		code = "solver-failed"
	case Local:
		code = "self-state"
	case Dead:
		if trouble.Identifier != "" {
			code = "renew-dead-name"
		}
	}
	if trouble.Code != "" {
		code = finding.Code(trouble.Code)
	}
	return trouble.finding(code, row.Name, row.History.RetryAt)
}

// finding words trouble under a code.
func (trouble *Trouble) finding(code finding.Code, name string, retryAt time.Time) finding.Finding {
	evidence := []string{}
	add := func(key, value string) {
		if value != "" {
			evidence = append(evidence, key, value)
		}
	}
	add("said", finding.Text(trouble.Detail))
	add("type", finding.Text(trouble.Type))
	add("identifier", finding.Text(trouble.Identifier))
	if trouble.Status != 0 {
		add("http_status", fmt.Sprint(trouble.Status))
	}
	if !retryAt.IsZero() {
		add("next_try", retryAt.UTC().Format(time.RFC3339))
	}
	told := finding.New(code, name+": "+finding.Text(trouble.Summary), evidence...)
	told.Affects = []string{name}
	if trouble.Next != "" {
		told.Remedy = trouble.Next
	}
	return told
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
