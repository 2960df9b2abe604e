package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/plan"
)

var (
	web       = plan.Solver{Name: "web", Type: "http-01"}
	stateless = plan.Solver{Name: "nginx", Type: "http-01", Stateless: true}
	dns       = plan.Solver{Name: "dns", Type: "dns-01"}
)

func want(solver plan.Solver, domains ...string) plan.Want {
	return plan.Want{Domains: domains, Authorities: []string{"first"}, Solvers: []plan.Solver{solver}, Key: "ecdsa-p256"}
}

func withProfile(want plan.Want, profile string) plan.Want {
	want.Profile = profile
	return want
}

func TestAttemptStories(t *testing.T) {
	table := []struct {
		name  string
		want  plan.Want
		ca    *fakeCA
		story string
	}{
		{"one name by http-01", want(web, "a.test"), &fakeCA{offers: []string{"http-01", "dns-01"}},
			"directory account key order authorization#0 challenge-set#0 check#0 challenge#0 authorization#0 finalize poll collect live"},
		{"account known", want(web, "a.test"), &fakeCA{offers: []string{"http-01"}, account: "https://ca.test/account/9"},
			"directory key order authorization#0 challenge-set#0 check#0 challenge#0 authorization#0 finalize poll collect live"},
		{"three names and a wildcard by dns-01", want(dns, "a.test", "b.test", "*.c.test"), &fakeCA{offers: []string{"http-01", "dns-01"}},
			"directory account key order authorization#0 authorization#1 authorization#2 challenge-set#0 challenge-set#1 challenge-set#2 " +
				"check#0 check#1 check#2 challenge#0 challenge#1 challenge#2 authorization#0 authorization#1 authorization#2 finalize poll collect live"},
		{"dns answer seen late", want(dns, "a.test"), &fakeCA{offers: []string{"dns-01"}, checks: map[string]int{"a.test": 2}},
			"directory account key order authorization#0 challenge-set#0 check#0 check#0 check#0 challenge#0 authorization#0 finalize poll collect live"},
		{"http answer not seen from our side", want(web, "a.test"), &fakeCA{offers: []string{"http-01"}, checks: map[string]int{"a.test": 9}},
			"directory account key order authorization#0 challenge-set#0 check#0 challenge#0 authorization#0 finalize poll collect live"},
		{"all authorizations valid already", want(web, "a.test", "b.test"), &fakeCA{offers: []string{"http-01"}, reused: []string{"a.test", "b.test"}},
			"directory account key order finalize poll collect live"},
		{"one authorization valid already", want(web, "a.test", "b.test"), &fakeCA{offers: []string{"http-01"}, reused: []string{"a.test"}},
			"directory account key order authorization#0 authorization#1 challenge-set#1 check#1 challenge#1 authorization#1 finalize poll collect live"},
		{"stateless solver", want(stateless, "a.test"), &fakeCA{offers: []string{"http-01"}},
			"directory account key order authorization#0 check#0 challenge#0 authorization#0 finalize poll collect live"},
		{"profile offered", withProfile(want(web, "a.test"), "short"), &fakeCA{offers: []string{"http-01"}, profiles: []string{"long", "short"}},
			"directory account key order authorization#0 challenge-set#0 check#0 challenge#0 authorization#0 finalize poll collect live"},
		{"finalized too early", want(web, "a.test"), &fakeCA{offers: []string{"http-01"}, notReady: 1},
			"directory account key order authorization#0 challenge-set#0 check#0 challenge#0 authorization#0 finalize poll finalize poll collect live"},
		{"an order that goes back to pending", want(web, "a.test"), &fakeCA{offers: []string{"http-01"}, forgetful: 1},
			"directory account key order authorization#0 challenge-set#0 check#0 challenge#0 authorization#0 finalize poll authorization#0 finalize poll collect live"},
		{"slow CA", want(web, "a.test"), &fakeCA{offers: []string{"http-01"}, processes: 3},
			"directory account key order authorization#0 challenge-set#0 check#0 challenge#0 authorization#0 finalize poll poll poll collect live"},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			p := newPlayer(t, test.want, test.ca)
			decision := p.untilHeld()
			if story := p.story(); story != test.story {
				t.Errorf("story\n got  %s\n want %s", story, test.story)
			}
			test.ca.checkFinalizes(t)
			row := p.certificate()
			if row.Held.Generation != 1 || row.Live != 1 || row.History != (plan.History{}) {
				t.Errorf("held %d, live %d, history %+v", row.Held.Generation, row.Live, row.History)
			}
			if !decision.Next.After(p.now) || decision.Next.After(row.Held.NotAfter) {
				t.Errorf("to be woken at %s, which is not between now and the end", decision.Next)
			}
			if deadline := row.Held.NotAfter.Add(-9 * 24 * time.Hour); !decision.Deadline.Equal(deadline) {
				t.Errorf("deadline %s instead of %s", decision.Deadline, deadline)
			}
			p.checkWiped(t, test.want.Solvers[0])
		})
	}
}

// checkWiped: each answer that was set is remembered as a row that takes it away.
func (p *player) checkWiped(t *testing.T, solver plan.Solver) {
	t.Helper()
	if solver.Stateless && len(p.challenges) != 0 {
		t.Errorf("a stateless solver has %d answers to take away", len(p.challenges))
	}
	if sets := strings.Count(p.story(), "challenge-set"); !solver.Stateless && len(p.challenges) != sets {
		t.Errorf("%d answers set, %d remembered", sets, len(p.challenges))
	}
	for id, row := range p.challenges {
		if row.Challenge.Open {
			t.Errorf("%s is never taken away", id)
		}
		decision := decide(t, p.rules, row, plan.Woken(p.now, plan.Around{}), p.now)
		if len(decision.Effects) != 1 || decision.Effects[0].Kind != plan.Clean {
			t.Errorf("%s: %v instead of taking it away", id, decision.Effects)
		}
	}
}

// TestAttemptCannotBegin: what the configuration and the CA rule out is said at
// once and not tried every minute.
func TestAttemptCannotBegin(t *testing.T) {
	table := []struct {
		name    string
		want    plan.Want
		ca      *fakeCA
		story   string
		summary string
	}{
		{"unknown profile", withProfile(want(web, "a.test"), "short"), &fakeCA{offers: []string{"http-01"}, profiles: []string{"long"}},
			"directory", `offers no profile "short"`},
		{"no profiles at all", withProfile(want(web, "a.test"), "short"), &fakeCA{offers: []string{"http-01"}},
			"directory", `offers no profile "short"`},
		{"no solver for a wildcard", want(web, "*.a.test"), &fakeCA{offers: []string{"http-01"}},
			"directory account key order authorization#0 abandon", "no configured solver can prove *.a.test"},
		{"no solver is offered", want(dns, "a.test"), &fakeCA{offers: []string{"http-01"}},
			"directory account key order authorization#0 abandon", "no configured solver can prove a.test"},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			p := newPlayer(t, test.want, test.ca)
			decision := p.until(start.Add(30 * time.Minute))
			if story := p.story(); story != test.story {
				t.Errorf("story\n got  %s\n want %s", story, test.story)
			}
			row := p.certificate()
			if row.Attempt != nil || row.History.Failures != 1 || decision.Next.Before(start.Add(time.Hour)) {
				t.Errorf("attempt %v, %d failures, next %s", row.Attempt, row.History.Failures, decision.Next)
			}
			if len(p.findings) != 1 || p.findings[0].Code != "authority-refused" || !strings.Contains(p.findings[0].Summary, test.summary) {
				t.Errorf("findings %+v", p.findings)
			}
		})
	}
}

func TestDNSAnswerNeverSeen(t *testing.T) {
	p := newPlayer(t, want(dns, "a.test"), &fakeCA{offers: []string{"dns-01"}, checks: map[string]int{"a.test": 1 << 20}})
	p.until(start.Add(11 * time.Minute))
	first, _, _ := strings.Cut(p.story(), " abandon")
	if strings.Contains(p.story(), " challenge#0") || first == p.story() {
		t.Errorf("a challenge was offered, or the attempt not given up: %.200s", p.story())
	}
	if looks := strings.Count(first, "check#0"); looks < 290 || looks > 302 {
		t.Errorf("%d looks in ten minutes", looks)
	}
	if row := p.certificate(); row.History.First == nil || row.History.First.Class != plan.SolverFault || row.History.First.Identifier != "a.test" {
		t.Errorf("history %+v", row.History)
	}
	if p.codes() != "solver-failed" {
		t.Errorf("findings %s", p.codes())
	}
}

// TestDeploymentsAreBorn: issuing makes the deployments due, with the deadline of
// the certificate that they replace, and the live link waits for all of them.
func TestDeploymentsAreBorn(t *testing.T) {
	wanted := want(web, "a.test")
	wanted.Deploy = []string{"nginx", "mail"}
	ca := &fakeCA{offers: []string{"http-01"}}
	p := newPlayer(t, wanted, ca)
	p.until(start.Add(time.Minute))
	if p.certificate().Held == nil || p.certificate().Live != 0 || strings.Contains(p.story(), "live") {
		t.Fatalf("live moved before anything was served: %s", p.story())
	}
	if len(p.spawned) != 2 || p.spawned[0].Deployment.Target != "nginx" || p.spawned[1].Deployment.Wanted != 1 || p.spawned[1].Deployment.Domains[0] != "a.test" {
		t.Fatalf("spawned %+v", p.spawned)
	}
	p.served = 1
	decision := p.wake(false)
	if len(decision.Effects) != 1 || decision.Effects[0] != (plan.Effect{Kind: plan.PointLive, Generation: 1}) {
		t.Fatalf("effects %v", decision.Effects)
	}
	p.step(decision)

	first := *p.certificate().Held
	p.row.Certificate.Asked = true
	p.spawned = nil
	p.until(p.now.Add(time.Minute))
	if row := p.certificate(); row.Held.Generation != 2 || row.Previous.Generation != 1 || row.Asked || row.Live != 1 {
		t.Fatalf("after the renewal: %+v", row)
	}
	if len(p.spawned) != 2 || !p.spawned[0].Deployment.Deadline.Equal(first.NotAfter.Add(-9*24*time.Hour)) || !p.spawned[0].Deployment.Asked {
		t.Errorf("spawned %+v", p.spawned[0].Deployment)
	}
}

// TestReplaces names the last certificate of this CA and account, never another's.
func TestReplaces(t *testing.T) {
	table := []struct {
		name string
		held func(*plan.Held)
		want string
	}{
		{"own certificate", func(*plan.Held) {}, "renewal-1"},
		{"another CA's", func(held *plan.Held) { held.Authority = "second" }, ""},
		{"another account's", func(held *plan.Held) { held.Account = "https://ca.test/account/2" }, ""},
		{"revoked", func(held *plan.Held) { held.Revoked = true }, ""},
		{"without an identifier", func(held *plan.Held) { held.RenewalID = "" }, ""},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			ca := &fakeCA{offers: []string{"http-01"}}
			p := newPlayer(t, want(web, "a.test"), ca)
			p.untilHeld()
			test.held(p.row.Certificate.Held)
			p.row.Certificate.Asked = true
			p.untilHeld()
			if len(ca.replaced) != 2 || ca.replaced[1] != test.want {
				t.Errorf("replaces %q, want %q", ca.replaced, test.want)
			}
		})
	}
}

// TestReplacesRefused: whatever a CA says to `replaces`, the order is asked for
// once more without it, at once, and no order is searched for between.
func TestReplacesRefused(t *testing.T) {
	for _, kind := range []string{"alreadyReplaced", "unauthorized", "malformed", "serverInternalNot"} {
		t.Run(kind, func(t *testing.T) {
			ca := &fakeCA{offers: []string{"http-01"}}
			ca.refuses = func(replaces string) *plan.Trouble {
				if replaces == "" {
					return nil
				}
				return &plan.Trouble{Class: plan.Refused, Type: kind, Summary: "no"}
			}
			p := newPlayer(t, want(web, "a.test"), ca)
			p.untilHeld()
			before := p.now
			p.trace, p.row.Certificate.Asked = nil, true
			p.untilHeld()
			if story := p.story(); !strings.HasPrefix(story, "directory key order order authorization#0") {
				t.Errorf("story %s", story)
			}
			if took := p.now.Sub(before); took > 2*time.Second {
				t.Errorf("it took %s", took)
			}
			if p.certificate().Attempt != nil || len(p.findings) != 0 {
				t.Errorf("findings %s", p.codes())
			}
		})
	}
	t.Run("without it as well", func(t *testing.T) {
		ca := &fakeCA{offers: []string{"http-01"}}
		p := newPlayer(t, want(web, "a.test"), ca)
		p.untilHeld()
		ca.refuses = func(string) *plan.Trouble { return &plan.Trouble{Class: plan.Refused, Summary: "never"} }
		p.trace, p.row.Certificate.Asked = nil, true
		p.until(p.now.Add(30 * time.Minute))
		if story := p.story(); story != "directory key order order" {
			t.Errorf("story %s", story)
		}
	})
}

// TestRetiredRowsAreNotTouched: what left the configuration is kept as it is.
func TestRetiredRowsAreNotTouched(t *testing.T) {
	ca := &fakeCA{offers: []string{"http-01"}}
	p := newPlayer(t, want(web, "a.test"), ca)
	p.untilHeld()
	p.row.Certificate.Retired = true
	for name, change := range map[string]func(*plan.Certificate){
		"as it is":      func(*plan.Certificate) {},
		"expired":       func(row *plan.Certificate) { p.now = row.Held.NotAfter.Add(time.Hour) },
		"asked":         func(row *plan.Certificate) { row.Asked = true },
		"revoked":       func(row *plan.Certificate) { row.Held.Revoked = true },
		"other domains": func(row *plan.Certificate) { row.Want.Domains = []string{"b.test"} },
		"not live":      func(row *plan.Certificate) { row.Live = 0 },
		"nothing held":  func(row *plan.Certificate) { row.Held = nil },
	} {
		t.Run(name, func(t *testing.T) {
			row := reloaded(t, p.row)
			change(row.Certificate)
			decision := decide(t, p.rules, row, plan.Woken(p.now, plan.Around{Served: 1}), p.now)
			if len(decision.Effects) != 0 || !decision.Next.IsZero() || len(decision.Spawn) != 0 || encode(t, decision.Row) != encode(t, row) {
				t.Errorf("decision %s", encode(t, decision))
			}
		})
	}
}
