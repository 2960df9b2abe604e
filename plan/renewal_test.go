package plan_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/backstay/backstay/plan"
)

const day = 24 * time.Hour

// holding is a row that holds a certificate of the given life, issued at start.
func holding(life time.Duration) *plan.Certificate {
	return &plan.Certificate{
		Name: "shop", Want: want(web, "a.test"), Since: start, Live: 1, Generations: 1,
		Held: &plan.Held{Generation: 1, Domains: []string{"a.test"}, NotBefore: start, NotAfter: start.Add(life), IssuedAt: start, RenewalID: "id", Authority: "first"},
	}
}

func TestRenewAtWithoutTheCA(t *testing.T) {
	table := []struct {
		name  string
		life  time.Duration
		renew string
		share float64 // of the life that is left
	}{
		{"a third of 90 days", 90 * day, "", 1.0 / 3},
		{"a third of 45 days", 45 * day, "ari", 1.0 / 3},
		{"a third of ten days", 10 * day, "", 1.0 / 3},
		{"half of 160 hours", 160 * time.Hour, "", 1.0 / 2},
		{"half of nine days", 9 * day, "", 1.0 / 2},
		{"a fraction", 90 * day, "1/4", 1.0 / 4},
		{"a fraction with spaces", 90 * day, " 2 / 5 ", 2.0 / 5},
		{"a fraction of a short one", 6 * day, "1/4", 1.0 / 4},
		{"no fraction", 90 * day, "4/3", 1.0 / 3},
		{"no number", 90 * day, "x/3", 1.0 / 3},
		{"division by zero", 90 * day, "1/0", 1.0 / 3},
		{"not a number", 90 * day, "NaN/1", 1.0 / 3},
		{"infinite", 90 * day, "1/Inf", 1.0 / 3},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			row := holding(test.life)
			row.Want.Renew = test.renew
			backstop := row.Held.NotAfter.Add(-time.Duration(float64(test.life) * test.share))
			earliest := backstop.Add(-time.Duration(float64(test.life) * rules().Timing.Jitter))
			seen := map[time.Time]bool{}
			for generation := 1; generation <= 20; generation++ {
				row.Held.Generation = generation
				at, reason := rules().RenewAt(row)
				if reason != plan.ReasonLife || at.After(backstop) || at.Before(earliest) {
					t.Fatalf("generation %d: %s for %s, not within %s .. %s", generation, at, reason, earliest, backstop)
				}
				seen[at] = true
			}
			if len(seen) < 15 {
				t.Errorf("20 generations share %d instants: no jitter", len(seen))
			}
		})
	}
}

func TestRenewAtInTheWindow(t *testing.T) {
	window := &plan.RenewalInfo{Start: start.Add(20 * day), End: start.Add(22 * day)}
	table := []struct {
		name   string
		info   *plan.RenewalInfo
		renew  string
		reason string
		from   time.Time
		to     time.Time
	}{
		{"before the backstop", window, "", plan.ReasonWindow, window.Start, window.End},
		{"asked for by name", window, "ari", plan.ReasonWindow, window.Start, window.End},
		{"a fraction asks nobody", window, "1/3", plan.ReasonLife, start.Add(58 * day), start.Add(60 * day)},
		{"past the backstop", &plan.RenewalInfo{Start: start.Add(80 * day), End: start.Add(85 * day)}, "", plan.ReasonLife, start.Add(58 * day), start.Add(60 * day)},
		{"in the past", &plan.RenewalInfo{Start: start.Add(-2 * day), End: start.Add(-day)}, "", plan.ReasonWindow, start.Add(-2 * day), start.Add(-day)},
		{"not offered", &plan.RenewalInfo{Unsupported: true}, "", plan.ReasonLife, start.Add(58 * day), start.Add(60 * day)},
		{"turned round", &plan.RenewalInfo{Start: start.Add(20 * day), End: start.Add(10 * day)}, "", plan.ReasonWindow, start.Add(20 * day), start.Add(20 * day)},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			row := holding(90 * day)
			row.Renewal, row.Want.Renew = test.info, test.renew
			at, reason := rules().RenewAt(row)
			if reason != test.reason || at.Before(test.from) || at.After(test.to) {
				t.Fatalf("%s for %s, not within %s .. %s for %s", at, reason, test.from, test.to, test.reason)
			}
		})
	}
}

// TestRenewAtIsStableAndNeverPastTheBackstop for any window.
func TestRenewAtIsStableAndNeverPastTheBackstop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := time.Duration(rapid.Int64Range(int64(time.Hour), int64(400*day)).Draw(t, "life"))
		row := holding(life)
		row.Name = rapid.String().Draw(t, "name")
		without, _ := rules().RenewAt(row)
		row.Renewal = &plan.RenewalInfo{
			Start: start.Add(time.Duration(rapid.Int64Range(-int64(life), 2*int64(life)).Draw(t, "start"))),
			End:   start.Add(time.Duration(rapid.Int64Range(-int64(life), 2*int64(life)).Draw(t, "end"))),
		}
		at, reason := rules().RenewAt(row)
		if at.After(without) || !at.Before(row.Held.NotAfter) {
			t.Fatalf("%s is later than the backstop %s", at, without)
		}
		if reason == plan.ReasonWindow && (at.Before(row.Renewal.Start) || at.After(row.Renewal.End) && row.Renewal.End.After(row.Renewal.Start)) {
			t.Fatalf("%s is outside the window", at)
		}
		// The same window fetched again later, after other events: the same instant.
		again := *row
		again.Renewal = &plan.RenewalInfo{Start: row.Renewal.Start, End: row.Renewal.End, FetchedAt: start.Add(day), RetryAfter: start.Add(2 * day)}
		again.Orders, again.Generations = []time.Time{start}, 9
		if second, _ := rules().RenewAt(&again); !second.Equal(at) {
			t.Fatalf("%s, then %s", at, second)
		}
		// A window that moves takes the point along.
		moved := *row
		moved.Renewal = &plan.RenewalInfo{Start: row.Renewal.Start.Add(-day), End: row.Renewal.End.Add(-day)}
		if third, now := rules().RenewAt(&moved); reason == plan.ReasonWindow && now == plan.ReasonWindow && at.Sub(third) != day {
			t.Fatalf("the window moved by a day, the point by %s", at.Sub(third))
		}
	})
}

// TestRenewalInfoIsPolled: at a share of the life, at the CA's word, once a day
// where it is not offered, and ever less often while it fails.
func TestRenewalInfoIsPolled(t *testing.T) {
	table := []struct {
		name    string
		life    time.Duration
		answer  *plan.RenewalInfo
		trouble *plan.Trouble
		least   time.Duration // until the next look
		most    time.Duration
	}{
		{"90 days", 90 * day, &plan.RenewalInfo{Start: start.Add(50 * day), End: start.Add(51 * day)}, nil, 6 * time.Hour, 7 * time.Hour},
		{"160 hours", 160 * time.Hour, &plan.RenewalInfo{Start: start.Add(60 * time.Hour), End: start.Add(70 * time.Hour)}, nil, time.Hour, 67 * time.Minute},
		{"an hour", 24 * time.Hour, &plan.RenewalInfo{Start: start.Add(10 * time.Hour), End: start.Add(11 * time.Hour)}, nil, 10 * time.Minute, 12 * time.Minute},
		{"the CA's word, days later: a day", 90 * day, &plan.RenewalInfo{Start: start.Add(50 * day), End: start.Add(51 * day), RetryAfter: start.Add(3 * day)}, nil, 24 * time.Hour, 25 * time.Hour},
		{"the CA's word, sooner", 90 * day, &plan.RenewalInfo{Start: start.Add(50 * day), End: start.Add(51 * day), RetryAfter: start.Add(8 * time.Hour)}, nil, time.Minute, 3 * time.Hour},
		{"not offered", 90 * day, &plan.RenewalInfo{Unsupported: true}, nil, 24 * time.Hour, 25 * time.Hour},
		{"a failure", 90 * day, nil, &plan.Trouble{Class: plan.Transport}, time.Minute, time.Hour},
		{"a failure with a word", 90 * day, nil, &plan.Trouble{Class: plan.RateLimited, RetryAfter: start.Add(16 * time.Hour)}, 9 * time.Hour, 11 * time.Hour},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			row := plan.Row{Certificate: holding(test.life)}
			decision := decide(t, rules(), row, plan.Woken(start, plan.Around{}), start)
			first := decision.Next
			if len(decision.Effects) != 0 || !first.After(start) {
				t.Fatalf("at once after issuance: %v", decision.Effects)
			}
			decision = decide(t, rules(), decision.Row, plan.Woken(first, plan.Around{}), first)
			if len(decision.Effects) != 1 || decision.Effects[0].Kind != plan.GetRenewalInfo {
				t.Fatalf("at %s: %v", first, decision.Effects)
			}
			event := plan.Event{Effect: plan.GetRenewalInfo, At: first, Renewal: test.answer, Trouble: test.trouble}
			decision = decide(t, rules(), decision.Row, event, first)
			wait := decision.Next.Sub(first)
			if len(decision.Effects) != 0 || wait < test.least || wait > test.most {
				t.Errorf("next look after %s, not within %s .. %s (%v)", wait, test.least, test.most, decision.Effects)
			}
			if test.trouble != nil && (decision.Row.Certificate.History.Failures != 0 || len(decision.Findings) != 0) {
				t.Error("a failed look at ARI became a failure of the renewal")
			}
		})
	}
}

// TestRenewalInfoFailingNeverCostsTheCertificate: with ARI away for ever, the
// backstop renews.
func TestRenewalInfoFailingNeverCostsTheCertificate(t *testing.T) {
	row := plan.Row{Certificate: holding(90 * day)}
	now, looks := start, 0
	for {
		decision := decide(t, rules(), row, plan.Woken(now, plan.Around{}), now)
		row = decision.Row
		if len(decision.Effects) == 1 && decision.Effects[0].Kind == plan.GetRenewalInfo {
			looks++
			decision = decide(t, rules(), row, plan.Event{Effect: plan.GetRenewalInfo, At: now, Trouble: &plan.Trouble{Class: plan.Transport}}, now)
			row = decision.Row
		}
		if len(decision.Effects) > 0 {
			if decision.Effects[0].Kind != plan.AskAuthority || row.Certificate.Attempt.Reason != plan.ReasonLife {
				t.Fatalf("%v", decision.Effects)
			}
			break
		}
		now = decision.Next
	}
	if now.After(start.Add(60*day)) || now.Before(start.Add(58*day)) || looks < 100 {
		t.Errorf("renewed at %s after %d looks", now, looks)
	}
}

func TestDue(t *testing.T) {
	revoked := holding(90 * day)
	revoked.Held.Revoked = true
	asked := holding(90 * day)
	asked.Asked = true
	names := holding(90 * day)
	names.Want.Domains = []string{"a.test", "b.test"}
	order := holding(90 * day)
	order.Held.Domains, order.Want.Domains = []string{"a.test", "b.test"}, []string{"b.test", "a.test"}
	retired := holding(90 * day)
	retired.Retired, retired.Asked = true, true
	table := []struct {
		name   string
		row    *plan.Certificate
		now    time.Time
		reason string
	}{
		{"nothing held", &plan.Certificate{Name: "shop", Want: want(web, "a.test"), Since: start}, start, plan.ReasonNew},
		{"fresh", holding(90 * day), start, ""},
		{"a third left", holding(90 * day), start.Add(60 * day), plan.ReasonLife},
		{"expired", holding(90 * day), start.Add(100 * day), plan.ReasonLife},
		{"revoked", revoked, start, plan.ReasonRevoked},
		{"asked", asked, start, plan.ReasonAsked},
		{"other names", names, start, plan.ReasonNames},
		{"the same names in another order", order, start, ""},
		{"retired", retired, start.Add(100 * day), ""},
	}
	for _, test := range table {
		if reason, _ := rules().Due(test.row, test.now); reason != test.reason {
			t.Errorf("%s: %q, want %q", test.name, reason, test.reason)
		}
	}
}

// TestJitterSpreads: a thousand certificates issued together do not come back
// together.
func TestJitterSpreads(t *testing.T) {
	first, last := time.Time{}, time.Time{}
	for number := range 1000 {
		row := holding(90 * day)
		row.Name = fmt.Sprintf("shop-%d", number)
		at, _ := rules().RenewAt(row)
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	if spread := last.Sub(first); spread < 40*time.Hour || spread > 44*time.Hour {
		t.Errorf("a thousand renewals within %s", spread)
	}
}
