package plan_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/backstay/backstay/plan"
)

// mostInADay is the largest number of times within any 24 h.
func mostInADay(times []time.Time) (most int) {
	for first := range times {
		count := 0
		for _, at := range times[first:] {
			if at.Sub(times[first]) < 24*time.Hour {
				count++
			}
		}
		most = max(most, count)
	}
	return most
}

// TestBreakerOverDeadNames: a certificate whose validation always fails costs at
// most OrdersPerDay orders a day, for days.
func TestBreakerOverDeadNames(t *testing.T) {
	ca := &fakeCA{offers: []string{"http-01"}, invalid: map[string]int{"a.test": 1000}}
	p := newPlayer(t, want(web, "a.test"), ca)
	p.until(start.Add(7 * 24 * time.Hour))
	if len(p.sent) < 7 {
		t.Fatalf("only %d orders in a week", len(p.sent))
	}
	if most := mostInADay(p.sent); most > p.rules.Timing.OrdersPerDay {
		t.Errorf("%d orders in a day", most)
	}
}

// TestBreakerSays: the breaker is told to a person and lets go by itself.
func TestBreakerSays(t *testing.T) {
	row := plan.Row{Certificate: &plan.Certificate{Name: "shop", Want: want(web, "a.test"), Since: start}}
	for hour := range 5 {
		row.Certificate.Orders = append(row.Certificate.Orders, start.Add(time.Duration(hour)*time.Hour))
	}
	now := start.Add(6 * time.Hour)
	decision := decide(t, rules(), row, plan.Woken(now, plan.Around{}), now)
	if len(decision.Effects) != 0 || !decision.Next.Equal(start.Add(24*time.Hour)) || len(decision.Findings) != 1 || decision.Findings[0].Code != "renew-failing" {
		t.Fatalf("decision %s", encode(t, decision))
	}
	now = decision.Next
	decision = decide(t, rules(), decision.Row, plan.Woken(now, plan.Around{}), now)
	if len(decision.Effects) != 1 || decision.Effects[0].Kind != plan.AskAuthority || len(decision.Row.Certificate.Orders) != 4 {
		t.Errorf("after a day: %s", encode(t, decision))
	}
}

// TestBreakerHolds: at most OrdersPerDay orders are sent in any 24 h, whatever
// fails in whatever order.
func TestBreakerHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := randomPlayer(t)
		p.untilHeld()
		if most := mostInADay(p.sent); most > p.rules.Timing.OrdersPerDay {
			t.Fatalf("%d orders in a day: %s", most, p.story())
		}
	})
}
