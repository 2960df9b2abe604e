package plan_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/plan"
)

// TestFreshCertificateIsNotRenewedAtOnce: a CA whose clock is months behind, or
// whose window lies in the past, must not be ordered from again and again.
func TestFreshCertificateIsNotRenewedAtOnce(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	rules := plan.Rules{Timing: plan.DefaultTiming(), Seed: []byte("seed")}
	day := 24 * time.Hour
	for _, one := range []struct {
		name    string
		held    plan.Held
		renewal *plan.RenewalInfo
		soonest time.Duration // after the issuance
		latest  time.Duration
	}{
		{"issued with a tenth of its life left", plan.Held{NotBefore: now.Add(-81 * day), NotAfter: now.Add(9 * day)}, nil, 90 * day / 20, 90 * day / 20},
		{"a window in the past", plan.Held{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * day), RenewalID: "id"},
			&plan.RenewalInfo{Start: now.Add(-2 * time.Hour), End: now.Add(-time.Hour)}, time.Hour, time.Hour},
		{"an ordinary one", plan.Held{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * day)}, nil, 55 * day, 61 * day},
	} {
		t.Run(one.name, func(t *testing.T) {
			held := one.held
			held.IssuedAt, held.Domains, held.Generation = now, []string{"a.example.com"}, 1
			row := &plan.Certificate{Name: "a", Since: now, Held: &held, Renewal: one.renewal, Live: 1,
				Want: plan.Want{Domains: held.Domains, Authorities: []string{"ca"}}}
			reason, at := rules.Due(row, now)
			if reason != "" {
				t.Fatalf("due at once: %s", reason)
			}
			if wait := at.Sub(now); wait < one.soonest || wait > one.latest {
				t.Fatalf("due after %s, want %s to %s", wait, one.soonest, one.latest)
			}
			if reason, _ := rules.Due(row, at); reason == "" {
				t.Fatal("not due when it said it would be")
			}
		})
	}
}

// TestReplacesThatBreaksTheAuthority: a CA that answers `replaces` with 5xx is
// asked without it from the second failure on.
func TestReplacesThatBreaksTheAuthority(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	rules := plan.Rules{Timing: plan.DefaultTiming(), Seed: []byte("seed")}
	held := &plan.Held{Generation: 1, NotBefore: now.Add(-80 * 24 * time.Hour), NotAfter: now.Add(10 * 24 * time.Hour),
		Domains: []string{"a.example.com"}, Authority: "ca", Account: "account", RenewalID: "id"}
	row := plan.Row{Certificate: &plan.Certificate{Name: "a", Held: held, Live: 1, Generations: 2,
		Want: plan.Want{Domains: held.Domains, Authorities: []string{"ca"}},
		Attempt: &plan.Attempt{Number: 2, Generation: 2, Started: now, Authority: "ca", Domains: held.Domains,
			Asked: true, Account: "account", OffersInfo: true, Request: []byte{1}}}}
	decision := rules.Decide(row, plan.Woken(now, plan.Around{}), now)
	for try := 1; try <= 3; try++ {
		if len(decision.Effects) != 1 || decision.Effects[0].Kind != plan.NewOrder {
			t.Fatalf("try %d: effects %+v", try, decision.Effects)
		}
		replaces := decision.Row.Certificate.Attempt.Replaces
		if (replaces != "") != (try <= 2) {
			t.Fatalf("try %d: replaces %q", try, replaces)
		}
		failed := plan.Event{Effect: plan.NewOrder, At: now, Trouble: &plan.Trouble{Class: plan.ServerError, Summary: "500", Reachable: true}}
		decision = rules.Decide(decision.Row, failed, now)
		now = decision.Next
		decision = rules.Decide(decision.Row, plan.Woken(now, plan.Around{}), now)
	}
}
