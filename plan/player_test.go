package plan_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/finding"
	"github.com/backstay/backstay/plan"
)

// start is when every test's story begins.
var start = time.Date(2031, 3, 1, 12, 0, 0, 0, time.UTC)

func rules() plan.Rules {
	return plan.Rules{Timing: plan.DefaultTiming(), Seed: []byte("a seed for tests")}
}

// failer is what the drivers need of a test; *rapid.T is one, too.
type failer interface {
	Helper()
	Fatalf(format string, arguments ...any)
}

// player plays one certificate row: it is the driver of production without a
// store. Every decision is made twice, once over the row as it would come back
// from the store, and both must agree to the byte.
type player struct {
	t          failer
	rules      plan.Rules
	row        plan.Row
	now        time.Time
	ca         *fakeCA
	served     int // what the deployments have verified
	trace      []string
	sent       []time.Time // when newOrder was sent
	challenges map[string]plan.Row
	spawned    []plan.Row // deployments
	findings   []finding.Finding
	effects    int
	steps      int

	// killAt is the effect (counted from 1) over which the process dies; after
	// says whether the world had already done it.
	killAt    int
	killAfter bool
	killed    bool
}

func newPlayer(t failer, want plan.Want, ca *fakeCA) *player {
	row := plan.Row{Certificate: &plan.Certificate{Name: "shop", Want: want, Since: start}}
	ca.names = want.Domains
	return &player{t: t, rules: rules(), row: row, now: start, ca: ca, challenges: map[string]plan.Row{}}
}

func encode(t failer, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatalf("encoding: %v", err)
	}
	return string(text)
}

// reloaded is the row as it comes back from the store.
func reloaded(t failer, row plan.Row) plan.Row {
	t.Helper()
	var again plan.Row
	if err := json.Unmarshal([]byte(encode(t, row)), &again); err != nil {
		t.Fatalf("decoding: %v", err)
	}
	return again
}

// decide calls Decide and checks its promises: the row given is not changed, and
// the decision depends on nothing but the stored row, the event and the time.
func decide(t failer, rules plan.Rules, row plan.Row, event plan.Event, now time.Time) plan.Decision {
	t.Helper()
	stored := reloaded(t, row)
	before := encode(t, row)
	decision := rules.Decide(row, event, now)
	if after := encode(t, row); after != before {
		t.Fatalf("Decide changed its input\n from %s\n to   %s", before, after)
	}
	if again := rules.Decide(stored, event, now); encode(t, again) != encode(t, decision) {
		t.Fatalf("the stored row gives another decision\n row  %s\n live %s\n back %s", before, encode(t, decision), encode(t, again))
	}
	return decision
}

func (p *player) certificate() *plan.Certificate { return p.row.Certificate }

func (p *player) around(restarted bool) plan.Around {
	return plan.Around{Served: p.served, Restarted: restarted}
}

// take applies a decision as the store would.
func (p *player) take(decision plan.Decision) plan.Decision {
	p.row = decision.Row
	for _, row := range decision.Spawn {
		if row.Challenge != nil {
			if stored, exists := p.challenges[row.ID()]; exists {
				row = plan.Merge(stored, row)
			}
			p.challenges[row.ID()] = row
			continue
		}
		p.spawned = append(p.spawned, row)
	}
	p.findings = append(p.findings, decision.Findings...)
	return decision
}

// step carries out the decision's effects or waits until it is to be woken, and
// returns the next decision.
func (p *player) step(decision plan.Decision) plan.Decision {
	if p.steps++; p.steps > 5000 {
		p.t.Fatalf("no end after %d steps; the last: %s", p.steps, p.last(20))
	}
	if len(decision.Effects) == 0 {
		if decision.Next.Before(p.now) {
			p.t.Fatalf("asked to be woken at %s, which is before now %s", decision.Next, p.now)
		}
		p.now = decision.Next
		return p.wake(false)
	}
	row := p.row
	var events []plan.Event
	for _, effect := range decision.Effects {
		p.trace = append(p.trace, label(effect))
		p.effects++
		dies := p.effects == p.killAt
		if dies && !p.killAfter {
			return p.die()
		}
		if effect.Kind == plan.NewOrder {
			p.sent = append(p.sent, p.now)
			if row.Certificate.Attempt.Order.URL != "" {
				p.t.Fatalf("newOrder although the order %s is stored: %s", row.Certificate.Attempt.Order.URL, p.last(20))
			}
		}
		events = append(events, p.ca.act(row.Certificate, effect, p.now))
		if dies {
			return p.die()
		}
	}
	for _, event := range events {
		event.Around = p.around(false)
		decision = p.take(decide(p.t, p.rules, p.row, event, p.now))
	}
	return decision
}

// die: the process ends; another one comes up a second later and knows the row
// only.
func (p *player) die() plan.Decision {
	p.killed = true
	p.trace = append(p.trace, "†")
	p.row = reloaded(p.t, p.row)
	p.now = p.now.Add(time.Second)
	return p.wake(true)
}

func (p *player) wake(restarted bool) plan.Decision {
	return p.take(decide(p.t, p.rules, p.row, plan.Woken(p.now, p.around(restarted)), p.now))
}

// untilHeld plays until a generation is held and live, and returns the last
// decision.
func (p *player) untilHeld() plan.Decision {
	generation := p.certificate().Live
	decision := p.wake(false)
	for {
		row := p.certificate()
		if row.Attempt == nil && row.Held != nil && row.Live > generation && len(decision.Effects) == 0 {
			return decision
		}
		decision = p.step(decision)
	}
}

// until plays until the time, or until nothing is to be done any more.
func (p *player) until(end time.Time) plan.Decision {
	decision := p.wake(false)
	for p.now.Before(end) {
		if len(decision.Effects) == 0 && (decision.Next.IsZero() || !decision.Next.Before(end)) {
			return decision
		}
		decision = p.step(decision)
	}
	return decision
}

func (p *player) last(most int) string {
	return strings.Join(p.trace[max(0, len(p.trace)-most):], " ")
}

func (p *player) story() string { return strings.Join(p.trace, " ") }

func (p *player) codes() string {
	var codes []string
	for _, one := range p.findings {
		codes = append(codes, string(one.Code))
	}
	return strings.Join(codes, " ")
}

// label is an effect as a word: "order", "authorization#2".
func label(effect plan.Effect) string {
	switch effect.Kind {
	case plan.GetAuth, plan.SetChallenge, plan.CheckChallenge, plan.OfferChallenge:
		return fmt.Sprintf("%s#%d", effect.Kind, effect.Index)
	}
	return string(effect.Kind)
}
