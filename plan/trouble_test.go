package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/plan"
)

var classes = []plan.Class{
	plan.Transport, plan.ServerError, plan.RateLimited, plan.Refused, plan.Dead, plan.WrongCertificate,
	plan.Local, plan.Setup, plan.TargetFault, plan.SolverFault,
}

// ending are the classes that end an attempt; the others are tried again where
// it stands.
var ending = map[plan.Class]bool{plan.Refused: true, plan.Dead: true, plan.WrongCertificate: true, plan.Setup: true}

// TestEveryTroubleAtEveryEffect breaks each effect of an attempt by each class.
func TestEveryTroubleAtEveryEffect(t *testing.T) {
	table := []struct {
		effect string // label
		nth    int    // which of them, from 1
		ends   string // what follows trouble that ends the attempt: "" nothing, else a label
		again  string // what follows other trouble, not before RetryAt
	}{
		{"directory", 1, "", "directory"},
		{"account", 1, "", "account"},
		{"key", 1, "", "key"},
		{"order", 1, "", "order"},
		{"authorization#0", 1, "abandon", "authorization#0"},
		{"challenge-set#0", 1, "abandon", "challenge-set#0"},
		{"challenge#0", 1, "abandon", "challenge#0"},
		{"authorization#0", 2, "abandon", "authorization#0"},
		{"finalize", 1, "", "poll"},
		{"poll", 1, "", "poll"},
		{"collect", 1, "", "collect"},
	}
	for _, test := range table {
		for _, class := range classes {
			for _, after := range []time.Duration{0, 3 * time.Hour} {
				name := strings.Join([]string{test.effect, string(class), after.String()}, " ")
				t.Run(name, func(t *testing.T) {
					ca := &fakeCA{offers: []string{"http-01"}}
					broken := &fault{trouble: plan.Trouble{Class: class, Summary: "broken by the test"}}
					if after > 0 {
						broken.trouble.RetryAfter = start.Add(after)
					}
					ca.fail(test.effect, append(make([]*fault, test.nth-1), broken)...)
					p := newPlayer(t, want(web, "a.test"), ca)
					decision := p.playUntilTrouble()
					// Once finalize was sent the CA may have issued: a refusal of a look
					// or of the download never leads to a second order.
					issued := test.effect == "collect" || test.effect == "poll" || test.effect == "finalize"
					ends, follow := ending[class], test.again
					if issued && ends && class != plan.WrongCertificate {
						ends, follow = false, "poll"
					}
					if ends {
						follow = test.ends
					}
					p.checkTrouble(t, decision, follow, ends, broken)
					p.untilHeld()
					ca.checkFinalizes(t)
					if attempts := p.certificate().Generations; attempts != 1 && !ends || attempts != 2 && ends {
						t.Errorf("%d attempts", attempts)
					}
					if ca.accepted() > 1 && !(issued && ends) {
						t.Errorf("%d certificates for one need", ca.accepted())
					}
				})
			}
		}
	}
}

// playUntilTrouble plays until the first failure is recorded or the attempt is
// being given up.
func (p *player) playUntilTrouble() plan.Decision {
	decision := p.wake(false)
	for p.certificate().History.Failures == 0 && (p.certificate().Attempt == nil || p.certificate().Attempt.GivenUp == nil) {
		decision = p.step(decision)
	}
	return decision
}

func (p *player) checkTrouble(t *testing.T, decision plan.Decision, follow string, ends bool, broken *fault) {
	t.Helper()
	if ends && follow != "" {
		// Pending authorizations are handed back first, at once.
		if len(decision.Effects) != 1 || label(decision.Effects[0]) != follow {
			t.Fatalf("followed by %v instead of %s", decision.Effects, follow)
		}
		decision = p.step(decision)
	}
	row := p.certificate()
	if row.History.Failures != 1 || row.History.Last == nil || row.History.Last.Class != broken.trouble.Class || row.History.First.Summary != "broken by the test" {
		t.Fatalf("history %+v", row.History)
	}
	if ends != (row.Attempt == nil) {
		t.Fatalf("attempt %+v", row.Attempt)
	}
	if len(decision.Effects) != 0 || !decision.Next.After(p.now) || decision.Next.Before(broken.trouble.RetryAfter) {
		t.Fatalf("effects %v, next %s at %s", decision.Effects, decision.Next, p.now)
	}
	if len(p.findings) != 1 || p.findings[0].Affects[0] != "shop" || p.findings[0].Remedy == "" {
		t.Errorf("findings %+v", p.findings)
	}
	if ends {
		return
	}
	// A wake before the time changes nothing.
	early := decide(t, p.rules, p.row, plan.Woken(decision.Next.Add(-time.Millisecond), p.around(false)), decision.Next.Add(-time.Millisecond))
	if len(early.Effects) != 0 || !early.Next.Equal(decision.Next) {
		t.Errorf("woken early: effects %v, next %s", early.Effects, early.Next)
	}
	again := p.step(decision)
	if len(again.Effects) != 1 || label(again.Effects[0]) != follow {
		t.Errorf("followed by %v instead of %s", again.Effects, follow)
	}
}

// TestCheckTroubleNeverEndsAnAttempt: our own look explains, it does not prove.
func TestCheckTroubleNeverEndsAnAttempt(t *testing.T) {
	for _, class := range classes {
		for _, solver := range []plan.Solver{web, dns} {
			t.Run(string(class)+" "+solver.Type, func(t *testing.T) {
				ca := (&fakeCA{offers: []string{solver.Type}}).fail("check#0", &fault{trouble: plan.Trouble{Class: class, Summary: "not seen"}})
				p := newPlayer(t, want(solver, "a.test"), ca)
				p.untilHeld()
				if p.certificate().Generations != 1 || len(p.findings) != 0 {
					t.Errorf("%d attempts, findings %s", p.certificate().Generations, p.codes())
				}
				if looks := strings.Count(p.story(), "check#0"); solver == dns && looks != 2 || solver == web && looks != 1 {
					t.Errorf("%d looks", looks)
				}
			})
		}
	}
}

// TestOwnLookExplainsARefusal: what we saw is told together with what the CA saw.
func TestOwnLookExplainsARefusal(t *testing.T) {
	ca := &fakeCA{offers: []string{"http-01"}, checks: map[string]int{"a.test": 1}, invalid: map[string]int{"a.test": 1}}
	p := newPlayer(t, want(web, "a.test"), ca)
	p.until(start.Add(time.Minute))
	if p.codes() != "renew-dead-name" || !strings.Contains(p.findings[0].Evidence["said"], "our own look had failed: not seen yet") {
		t.Errorf("findings %+v", p.findings)
	}
}

// TestLostNewOrder: after a newOrder that may have been done, the order is looked
// for before another one is made.
func TestLostNewOrder(t *testing.T) {
	lost := plan.Trouble{Class: plan.Transport, Summary: "connection reset", MaybeDone: true}
	table := []struct {
		name   string
		done   bool
		list   bool
		find   []*fault
		story  string
		orders int
	}{
		{"done, and the CA keeps a list", true, true, nil, "order find-order authorization#0", 1},
		{"not done", false, true, nil, "order find-order order authorization#0", 1},
		{"done, and the CA keeps no list", true, false, nil, "order find-order order authorization#0", 2},
		{"done, and the CA refuses the list", true, true, []*fault{{trouble: plan.Trouble{Class: plan.Refused}}}, "order find-order order authorization#0", 2},
		{"done, and the list fails for a while", true, true, []*fault{{trouble: plan.Trouble{Class: plan.ServerError}}, {trouble: plan.Trouble{Class: plan.Transport}}},
			"order find-order find-order find-order authorization#0", 1},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			ca := (&fakeCA{offers: []string{"http-01"}, list: test.list}).fail("order", &fault{trouble: lost, done: test.done}).fail("find-order", test.find...)
			p := newPlayer(t, want(web, "a.test"), ca)
			p.untilHeld()
			if !strings.HasPrefix(p.story(), "directory account key "+test.story) {
				t.Errorf("story %s", p.story())
			}
			if len(ca.orders) != test.orders || ca.accepted() != 1 {
				t.Errorf("%d orders, %d certificates", len(ca.orders), ca.accepted())
			}
			if len(p.certificate().Orders) != len(p.sent) {
				t.Errorf("%d orders sent, %d counted", len(p.sent), len(p.certificate().Orders))
			}
		})
	}
}

// TestLostFinalize: the order says whether it was accepted; the stored request is
// sent again only when it was not.
func TestLostFinalize(t *testing.T) {
	for _, done := range []bool{true, false} {
		ca := (&fakeCA{offers: []string{"http-01"}}).fail("finalize", &fault{trouble: plan.Trouble{Class: plan.Transport, MaybeDone: true}, done: done})
		p := newPlayer(t, want(web, "a.test"), ca)
		p.untilHeld()
		ca.checkFinalizes(t)
		if ca.accepted() != 1 || p.certificate().Generations != 1 {
			t.Errorf("done %t: %d certificates, %d attempts", done, ca.accepted(), p.certificate().Generations)
		}
		story := "finalize poll poll collect live"
		if !done {
			story = "finalize poll finalize poll collect live"
		}
		if !strings.HasSuffix(p.story(), story) && !strings.HasSuffix(p.story(), "finalize poll collect live") {
			t.Errorf("done %t: %s", done, p.story())
		}
	}
}

// TestDeadName: a failed validation waits NameRetry, unless our own death may
// have caused it.
func TestDeadName(t *testing.T) {
	table := []struct {
		name      string
		restarted bool
		least     time.Duration
		most      time.Duration
	}{
		{"refused by the CA", false, 20 * time.Minute, 21 * time.Minute},
		{"refused after a restart", true, 0, 10 * time.Second},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			ca := &fakeCA{offers: []string{"http-01"}, invalid: map[string]int{"a.test": 1}}
			p := newPlayer(t, want(web, "a.test"), ca)
			if test.restarted {
				p.killAt = 7 // over check#0: the answer is set, the CA not told yet
			}
			decision := p.wake(false)
			for len(p.sent) < 2 {
				decision = p.step(decision)
			}
			if test.restarted != p.killed {
				t.Fatalf("killed: %t", p.killed)
			}
			if between := p.sent[1].Sub(p.sent[0]); between < test.least || between > test.most {
				t.Errorf("the second order came after %s", between)
			}
			if orders := len(p.certificate().Orders); orders != 2 {
				t.Errorf("%d orders counted", orders)
			}
			p.untilHeld()
			if ca.accepted() != 1 {
				t.Errorf("%d certificates", ca.accepted())
			}
		})
	}
}

// TestDeadAfterARestartOnlyOnce: a name that is really dead does not become a
// loop of new orders by a single restart.
func TestDeadAfterARestartOnlyOnce(t *testing.T) {
	ca := &fakeCA{offers: []string{"http-01"}, invalid: map[string]int{"a.test": 1000}}
	p := newPlayer(t, want(web, "a.test"), ca)
	p.killAt = 7
	p.until(start.Add(19 * time.Minute))
	if len(p.sent) != 2 {
		t.Errorf("%d orders within 19 minutes", len(p.sent))
	}
}

// TestSlowOrderIsGivenUp: an order that never becomes final ends the attempt.
func TestSlowOrderIsGivenUp(t *testing.T) {
	ca := &fakeCA{offers: []string{"http-01"}, processes: 1 << 30}
	p := newPlayer(t, want(web, "a.test"), ca)
	decision := p.wake(false)
	for p.certificate().History.Failures == 0 {
		decision = p.step(decision)
	}
	if took := p.now.Sub(start); took < 6*time.Hour || took > 6*time.Hour+time.Minute {
		t.Errorf("given up after %s", took)
	}
	if first := p.certificate().History.First; first.Class != plan.Dead {
		t.Errorf("history %+v", first)
	}
	if decision.Next.Before(p.now) {
		t.Errorf("next %s", decision.Next)
	}
	if polls := strings.Count(p.story(), "poll"); polls > 1500 {
		t.Errorf("%d polls in six hours", polls)
	}
}

// TestPollsObeyRetryAfter: the CA's word on when to look again wins.
func TestPollsObeyRetryAfter(t *testing.T) {
	attempt := &plan.Attempt{Number: 1, Generation: 1, Started: start, Authority: "first", Asked: true, Account: "a", Request: []byte("r"),
		Order: plan.Order{URL: "o", Status: plan.StatusReady, FinalizeURL: "f"}}
	row := plan.Row{Certificate: &plan.Certificate{Name: "shop", Want: want(web, "a.test"), Since: start, Attempt: attempt}}
	for _, test := range []struct {
		name      string
		effect    plan.EffectKind
		status    string
		retry     time.Duration
		took      time.Duration
		low, high time.Duration
	}{
		{"no word", plan.Finalize, plan.StatusProcessing, 0, 0, time.Millisecond, 10 * time.Millisecond},
		{"a distant CA", plan.Finalize, plan.StatusProcessing, 0, 300 * time.Millisecond, 300 * time.Millisecond, 300 * time.Millisecond},
		{"a minute", plan.Finalize, plan.StatusProcessing, time.Minute, 0, time.Minute, time.Minute},
		{"in the past", plan.PollOrder, plan.StatusProcessing, -time.Minute, 0, time.Millisecond, 10 * time.Millisecond},
		{"an hour", plan.PollOrder, plan.StatusProcessing, time.Hour, 0, time.Hour, time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			prepared := reloaded(t, row)
			prepared.Certificate.Attempt.FinalizeSent = start
			resource := &plan.Resource{Status: test.status, RetryAfter: start.Add(test.retry)}
			if test.retry == 0 {
				resource.RetryAfter = time.Time{}
			}
			decision := decide(t, rules(), prepared, plan.Event{Effect: test.effect, At: start, Took: test.took, Resource: resource}, start)
			if wait := decision.Next.Sub(start); len(decision.Effects) != 0 || wait < test.low || wait > test.high {
				t.Errorf("effects %v, wait %s", decision.Effects, wait)
			}
		})
	}
}

// TestStrayAnswers: an answer that comes after its attempt has ended changes
// nothing and panics nowhere.
func TestStrayAnswers(t *testing.T) {
	ca := &fakeCA{offers: []string{"http-01"}}
	p := newPlayer(t, want(web, "a.test"), ca)
	p.untilHeld()
	for _, kind := range []plan.EffectKind{plan.AskAuthority, plan.NewOrder, plan.GetAuth, plan.OfferChallenge, plan.Finalize, plan.PollOrder, plan.Collect, plan.Abandon} {
		decision := decide(t, p.rules, p.row, plan.Event{Effect: kind, At: p.now, Index: 7, Trouble: &plan.Trouble{Class: plan.Dead}, Around: p.around(false)}, p.now)
		if encode(t, decision.Row) != encode(t, p.row) {
			t.Errorf("%s changed the row", kind)
		}
	}
}
