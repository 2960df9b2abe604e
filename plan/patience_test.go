package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/plan"
)

// TestBreakerHoldsWithinAnAttempt: an order whose answer is lost again and again
// may be there each time.
func TestBreakerHoldsWithinAnAttempt(t *testing.T) {
	ca := &fakeCA{offers: []string{"http-01"}}
	for range 12 {
		ca.fail("order", &fault{trouble: plan.Trouble{Class: plan.Transport, Summary: "reset", MaybeDone: true}, done: true})
	}
	p := newPlayer(t, want(web, "a.test"), ca)
	p.untilHeld()
	if most := mostInADay(p.sent); most > p.rules.Timing.OrdersPerDay {
		t.Errorf("%d orders in a day", most)
	}
}

// TestOutageDoesNotSpendTheBreaker: an order that the CA certainly did not make
// is none: after an outage the next attempt may begin.
func TestOutageDoesNotSpendTheBreaker(t *testing.T) {
	ca := &fakeCA{offers: []string{"http-01"}}
	for range 5 {
		ca.fail("order", &fault{trouble: plan.Trouble{Class: plan.ServerError, Summary: "503"}})
	}
	ca.invalid = map[string]int{"a.test": 1}
	p := newPlayer(t, want(web, "a.test"), ca)
	p.until(start.Add(3 * time.Hour))
	if counted := len(p.certificate().Orders); counted != 1 || len(ca.orders) != 1 {
		t.Errorf("%d orders counted, %d made", counted, len(ca.orders))
	}
}

// TestOutageDuringAnAttemptIssuesOnce: a CA that is away for a day between the
// order and its end costs no second certificate.
func TestOutageDuringAnAttemptIssuesOnce(t *testing.T) {
	for _, effect := range []string{"challenge-set#0", "challenge#0", "finalize", "poll", "collect"} {
		t.Run(effect, func(t *testing.T) {
			ca := (&fakeCA{offers: []string{"http-01"}}).fail(effect, &fault{trouble: plan.Trouble{Class: plan.RateLimited, Summary: "away", RetryAfter: start.Add(10 * time.Hour)}})
			p := newPlayer(t, want(web, "a.test"), ca)
			p.untilHeld()
			if ca.accepted() != 1 {
				t.Errorf("%d certificates for one need: %s", ca.accepted(), p.story())
			}
		})
	}
}

// TestLiveLinkIsNotForced: a live link that cannot be moved is tried again
// later, not at once.
func TestLiveLinkIsNotForced(t *testing.T) {
	ca := (&fakeCA{offers: []string{"http-01"}}).fail("live", &fault{trouble: plan.Trouble{Class: plan.Local, Summary: "no space"}}, &fault{trouble: plan.Trouble{Class: plan.Local, Summary: "no space"}})
	p := newPlayer(t, want(web, "a.test"), ca)
	p.untilHeld()
	if lives := strings.Count(p.story(), "live"); lives != 3 {
		t.Fatalf("%d tries", lives)
	}
	if took := p.now.Sub(start); took < 8*time.Second {
		t.Errorf("three tries within %s", took)
	}
	if p.certificate().History.Failures != 0 {
		t.Errorf("the failures are remembered after the success: %+v", p.certificate().History)
	}
}

// TestPatienceBeginsWithTheQuestion: the patience with the CA is counted from when it was asked.
func TestPatienceBeginsWithTheQuestion(t *testing.T) {
	ca := (&fakeCA{offers: []string{"http-01"}, processes: 3}).fail("challenge-set#0", &fault{trouble: plan.Trouble{Class: plan.SolverFault, Summary: "folder away", RetryAfter: start.Add(7 * time.Hour)}})
	p := newPlayer(t, want(web, "a.test"), ca)
	p.untilHeld()
	if len(ca.orders) != 1 {
		t.Errorf("%d orders: %s", len(ca.orders), p.story())
	}
}

// TestLongDowntimeIssuesOnce: our own absence is not the CA's slowness.
func TestLongDowntimeIssuesOnce(t *testing.T) {
	for at := 5; at <= 11; at++ {
		ca := &fakeCA{offers: []string{"http-01"}, processes: 2}
		p := newPlayer(t, want(web, "a.test"), ca)
		decision := p.wake(false)
		for p.effects < at {
			decision = p.step(decision)
		}
		p.now = p.now.Add(20 * time.Hour)
		p.wake(true)
		p.untilHeld()
		if ca.accepted() != 1 || len(ca.orders) != 1 {
			t.Errorf("after effect %d: %d certificates, %d orders: %s", at, ca.accepted(), len(ca.orders), p.story())
		}
	}
}

// TestLiveLinkDelaysNoRenewal: a link that can never be moved does not cost the
// next certificate.
func TestLiveLinkDelaysNoRenewal(t *testing.T) {
	ca := &fakeCA{offers: []string{"http-01"}}
	for range 500 {
		ca.fail("live", &fault{trouble: plan.Trouble{Class: plan.Local, Summary: "read only"}})
	}
	p := newPlayer(t, want(web, "a.test"), ca)
	p.until(start.Add(70 * 24 * time.Hour))
	if row := p.certificate(); row.Held == nil || row.Held.Generation != 2 {
		t.Errorf("held %+v", row.Held)
	}
}
