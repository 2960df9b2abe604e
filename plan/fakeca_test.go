package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/plan"
)

// fault is one failure of an effect. done says that the world did it all the
// same: only the answer was lost.
type fault struct {
	trouble plan.Trouble
	done    bool
}

// fakeCA is the least CA that obeys RFC 8555's state machine.
type fakeCA struct {
	names     []string
	reused    []string // authorizations that are valid from the start
	offers    []string // challenge types for names; wildcards get dns-01 only
	profiles  []string
	list      bool // keeps a list of the account's orders
	account   string
	processes int // polls until an accepted finalize is valid
	notReady  int // finalize requests refused with orderNotReady
	forgetful int // finalize requests that put the order and its first authorization back to pending
	refuses   func(replaces string) *plan.Trouble
	invalid   map[string]int // names whose validation fails so often
	checks    map[string]int // looks from our side that fail, by name
	life      time.Duration

	orders   []*fakeOrder
	faults   map[string][]*fault
	replaced []string // what each newOrder said
}

type fakeOrder struct {
	status, url    string
	authorizations []*fakeAuthorization
	finalizes      int
	polls          int
	heard          []string // one word a finalize or a poll: "finalize", "poll:ready"
}

type fakeAuthorization struct {
	name, status string
	offered      bool
}

// fail makes the effects with this label fail in turn; nil lets one through.
func (ca *fakeCA) fail(label string, faults ...*fault) *fakeCA {
	if ca.faults == nil {
		ca.faults = map[string][]*fault{}
	}
	ca.faults[label] = append(ca.faults[label], faults...)
	return ca
}

func (ca *fakeCA) act(row *plan.Certificate, effect plan.Effect, now time.Time) plan.Event {
	event := plan.Event{Effect: effect.Kind, Index: effect.Index, At: now, Took: 10 * time.Millisecond}
	var planned *fault
	if queue := ca.faults[label(effect)]; len(queue) > 0 {
		planned, ca.faults[label(effect)] = queue[0], queue[1:]
	}
	if planned != nil && !planned.done {
		trouble := planned.trouble
		event.Trouble = &trouble
		return event
	}
	ca.carryOut(row, effect, now, &event)
	if planned != nil {
		trouble := planned.trouble
		event = plan.Event{Effect: effect.Kind, Index: effect.Index, At: now, Trouble: &trouble}
	}
	return event
}

func (ca *fakeCA) carryOut(row *plan.Certificate, effect plan.Effect, now time.Time, event *plan.Event) {
	attempt := row.Attempt
	switch effect.Kind {
	case plan.AskAuthority:
		event.Resource = &plan.Resource{URL: ca.account, RenewalInfo: true, Profiles: ca.profiles}
	case plan.NewAccount:
		ca.account = "https://ca.test/account/1"
		event.Resource = &plan.Resource{URL: ca.account, Status: plan.StatusValid}
	case plan.MakeKey:
		event.Resource = &plan.Resource{Request: []byte(fmt.Sprintf("request %d", attempt.Generation))}
	case plan.NewOrder:
		ca.newOrder(attempt, event)
	case plan.FindOrder:
		event.Resource = &plan.Resource{}
		if last := len(ca.orders) - 1; ca.list && last >= 0 && (ca.orders[last].status == plan.StatusPending || ca.orders[last].status == plan.StatusReady) {
			event.Resource = ca.show(ca.orders[last])
		}
	case plan.GetAuth:
		event.Resource = ca.showAuthorization(ca.find(attempt.Order.URL).authorizations[effect.Index])
	case plan.SetChallenge:
	case plan.CheckChallenge:
		name := attempt.Authorizations[effect.Index].Identifier
		if ca.checks[name] > 0 {
			ca.checks[name]--
			event.Trouble = &plan.Trouble{Class: plan.SolverFault, Summary: "not seen yet"}
		}
	case plan.OfferChallenge:
		ca.offer(ca.find(attempt.Order.URL).authorizations[effect.Index])
		event.Resource = &plan.Resource{}
	case plan.Finalize:
		ca.finalize(ca.find(attempt.Order.URL), event)
	case plan.PollOrder:
		order := ca.find(attempt.Order.URL)
		ca.progress(order)
		order.heard = append(order.heard, "poll:"+order.status)
		event.Resource = ca.show(order)
	case plan.Collect:
		event.Issued = ca.issued(row, now)
	case plan.GetRenewalInfo:
		event.Renewal = &plan.RenewalInfo{Unsupported: true}
	case plan.Abandon, plan.PointLive:
	default:
		panic("fakeCA: unknown effect " + string(effect.Kind))
	}
}

func (ca *fakeCA) newOrder(attempt *plan.Attempt, event *plan.Event) {
	ca.replaced = append(ca.replaced, attempt.Replaces)
	if ca.refuses != nil {
		if event.Trouble = ca.refuses(attempt.Replaces); event.Trouble != nil {
			return
		}
	}
	order := &fakeOrder{status: plan.StatusPending, url: fmt.Sprintf("https://ca.test/order/%d", len(ca.orders)+1)}
	for _, name := range ca.names {
		authorization := &fakeAuthorization{name: name, status: plan.StatusPending}
		if slices.Contains(ca.reused, name) {
			authorization.status = plan.StatusValid
		}
		order.authorizations = append(order.authorizations, authorization)
	}
	ca.orders = append(ca.orders, order)
	ca.progress(order)
	event.Resource = ca.show(order)
}

func (ca *fakeCA) find(url string) *fakeOrder {
	for _, order := range ca.orders {
		if order.url == url {
			return order
		}
	}
	panic("fakeCA: no order " + url)
}

// progress moves an order as far as its authorizations allow.
func (ca *fakeCA) progress(order *fakeOrder) {
	switch order.status {
	case plan.StatusPending:
		for _, authorization := range order.authorizations {
			if authorization.status != plan.StatusValid {
				return
			}
		}
		order.status = plan.StatusReady
	case plan.StatusProcessing:
		if order.polls++; order.polls >= ca.processes {
			order.status = plan.StatusValid
		}
	}
}

func (ca *fakeCA) show(order *fakeOrder) *plan.Resource {
	resource := &plan.Resource{URL: order.url, Status: order.status, FinalizeURL: order.url + "/finalize"}
	for index := range order.authorizations {
		resource.Authorizations = append(resource.Authorizations, fmt.Sprintf("%s/authorization/%d", order.url, index))
	}
	if order.status == plan.StatusValid {
		resource.Certificate = order.url + "/certificate"
	}
	return resource
}

func (ca *fakeCA) showAuthorization(authorization *fakeAuthorization) *plan.Resource {
	if authorization.offered && authorization.status == plan.StatusPending {
		authorization.status = plan.StatusValid
		if ca.invalid[authorization.name] > 0 {
			ca.invalid[authorization.name]--
			authorization.status = plan.StatusInvalid
		}
	}
	resource := &plan.Resource{Status: authorization.status, Identifier: authorization.name}
	if authorization.status == plan.StatusInvalid {
		resource.Error = &plan.Trouble{Class: plan.Dead, Summary: "validation failed", Identifier: authorization.name}
	}
	types := ca.offers
	if strings.HasPrefix(authorization.name, "*.") {
		types = []string{"dns-01"}
	}
	for _, kind := range types {
		resource.Challenges = append(resource.Challenges, plan.Challenge{
			Type: kind, URL: "https://ca.test/challenge/" + kind + "/" + authorization.name, Token: "token-" + kind + "-" + authorization.name, Status: plan.StatusPending,
		})
	}
	return resource
}

func (ca *fakeCA) offer(authorization *fakeAuthorization) {
	authorization.offered = true
}

// finalize counts: a CA accepts it once.
func (ca *fakeCA) finalize(order *fakeOrder, event *plan.Event) {
	order.heard = append(order.heard, "finalize")
	ca.progress(order)
	if ca.notReady > 0 {
		ca.notReady--
		event.Trouble = &plan.Trouble{Class: plan.Refused, Type: "orderNotReady", Summary: "too early"}
		return
	}
	if ca.forgetful > 0 {
		ca.forgetful--
		order.status = plan.StatusPending
		order.authorizations[0].status = plan.StatusPending // offered: the next look says valid
		event.Trouble = &plan.Trouble{Class: plan.Refused, Type: "orderNotReady", Summary: "an authorization is missing"}
		return
	}
	if order.status != plan.StatusReady {
		event.Trouble = &plan.Trouble{Class: plan.Refused, Type: "orderNotReady", Summary: "the order is " + order.status}
		return
	}
	order.finalizes++
	order.status = plan.StatusProcessing
	event.Resource = ca.show(order)
}

func (ca *fakeCA) issued(row *plan.Certificate, now time.Time) *plan.Held {
	life := ca.life
	if life == 0 {
		life = 90 * 24 * time.Hour
	}
	attempt := row.Attempt
	notBefore := now.Add(-time.Hour).Truncate(time.Second)
	return &plan.Held{
		Generation: attempt.Generation, SHA256: fmt.Sprintf("sha-%d", attempt.Generation), Domains: attempt.Domains,
		NotBefore: notBefore, NotAfter: notBefore.Add(life), Authority: attempt.Authority, Account: attempt.Account,
		RenewalID: fmt.Sprintf("renewal-%d", attempt.Generation), Key: attempt.Key, Order: attempt.Order.URL,
	}
}

// accepted is how many finalize requests were accepted over all orders.
func (ca *fakeCA) accepted() (total int) {
	for _, order := range ca.orders {
		total += order.finalizes
	}
	return total
}

// checkFinalizes: between two finalize requests lies a look that said that the
// CA has not taken the first.
func (ca *fakeCA) checkFinalizes(t failer) {
	t.Helper()
	for _, order := range ca.orders {
		open := false
		for _, word := range order.heard {
			switch word {
			case "finalize":
				if open {
					t.Fatalf("finalize sent twice without looking between: %v", order.heard)
				}
				open = true
			case "poll:ready", "poll:pending":
				open = false
			}
		}
		if order.finalizes > 1 {
			t.Fatalf("order %s was finalized %d times", order.url, order.finalizes)
		}
	}
}
