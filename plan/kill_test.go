package plan_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/backstay/backstay/plan"
)

// TestKillAtEveryStep: the process dies over each effect of an attempt, before
// the world did it and after; what comes up next knows the stored row only.
// There is one certificate in the end, finalize was never repeated blindly, and
// an order whose URL is stored is never replaced (the player checks that).
func TestKillAtEveryStep(t *testing.T) {
	wanted := want(dns, "a.test", "b.test", "*.c.test")
	world := func(list bool) *fakeCA {
		return &fakeCA{offers: []string{"dns-01"}, list: list, processes: 2}
	}
	whole := newPlayer(t, wanted, world(true))
	whole.untilHeld()
	if whole.effects < 20 {
		t.Fatalf("the story has only %d effects: %s", whole.effects, whole.story())
	}
	for at := 1; at <= whole.effects; at++ {
		for _, after := range []bool{false, true} {
			for _, list := range []bool{true, false} {
				t.Run(fmt.Sprintf("%d %s after=%t list=%t", at, whole.trace[at-1], after, list), func(t *testing.T) {
					ca := world(list)
					p := newPlayer(t, wanted, ca)
					p.killAt, p.killAfter = at, after
					p.untilHeld()
					if !p.killed {
						t.Fatal("nobody was killed")
					}
					ca.checkFinalizes(t)
					if ca.accepted() != 1 || p.certificate().Generations != 1 {
						t.Errorf("%d certificates, %d attempts: %s", ca.accepted(), p.certificate().Generations, p.story())
					}
					most := 1
					if whole.trace[at-1] == "order" && after && !list {
						most = 2 // the one orphan that cannot be found again
					}
					if len(ca.orders) != most {
						t.Errorf("%d orders at the CA, want %d: %s", len(ca.orders), most, p.story())
					}
					if row := p.certificate(); row.History.Failures != 0 || len(p.findings) != 0 {
						t.Errorf("a kill is no failure of the CA: %+v", row.History)
					}
					for id, row := range p.challenges {
						if row.Challenge.Open {
							t.Errorf("%s is never taken away", id)
						}
					}
				})
			}
		}
	}
}

// randomFault draws whether and how an effect fails.
func randomFault(t *rapid.T, label string) *fault {
	if rapid.IntRange(0, 2).Draw(t, label+" fails") > 0 {
		return nil
	}
	one := &fault{
		trouble: plan.Trouble{Class: rapid.SampledFrom(classes).Draw(t, "class"), Summary: "drawn", Identifier: rapid.SampledFrom([]string{"", "a.test"}).Draw(t, "identifier")},
		done:    rapid.Bool().Draw(t, "done"),
	}
	one.trouble.MaybeDone = one.done || rapid.Bool().Draw(t, "maybe done")
	if one.done {
		one.trouble.Class = plan.Transport
	}
	if rapid.Bool().Draw(t, "says when") {
		one.trouble.RetryAfter = start.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "minutes")) * time.Minute)
	}
	return one
}

// randomPlayer draws a world full of failures and a kill.
func randomPlayer(t *rapid.T) *player {
	ca := &fakeCA{offers: []string{"http-01"}, list: rapid.Bool().Draw(t, "list"), processes: rapid.IntRange(0, 2).Draw(t, "processes")}
	for _, effect := range []string{"directory", "account", "key", "order", "find-order", "authorization#0", "challenge-set#0", "check#0", "challenge#0", "finalize", "poll", "collect", "abandon"} {
		var faults []*fault
		for range rapid.IntRange(0, 8).Draw(t, effect+" times") {
			faults = append(faults, randomFault(t, effect))
		}
		ca.fail(effect, faults...)
	}
	p := newPlayer(t, want(web, "a.test"), ca)
	p.killAt, p.killAfter = rapid.IntRange(0, 40).Draw(t, "killed at"), rapid.Bool().Draw(t, "after")
	return p
}

// TestRandomFailuresConverge: whatever fails in whatever order, a certificate is
// held once failures end, and no order was ever finalized twice.
func TestRandomFailuresConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := randomPlayer(t)
		p.untilHeld()
		p.ca.checkFinalizes(t)
		for id, row := range p.challenges {
			if row.Challenge.Open {
				t.Fatalf("%s is never taken away", id)
			}
		}
	})
}
