package plan_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/finding"
	"github.com/backstay/backstay/plan"
)

// fakeTarget is a server with a place for one pair: what is in force on disk and
// what the server has loaded are two things, as they are in life.
type fakeTarget struct {
	form      string
	pairs     map[int]plan.Pair
	inForce   int // on disk
	loaded    int // by the server
	listeners []string
	answers   func(listener string, loaded int) plan.Sight // nil: all is well
	around    plan.Around
	faults    map[string][]*fault
	reloads   []time.Time
}

// deployer plays one deployment row.
type deployer struct {
	t        failer
	rules    plan.Rules
	row      plan.Row
	now      time.Time
	target   *fakeTarget
	trace    []string
	findings []finding.Finding
	pokes    []string
	killAt   int
	killed   bool
	effects  int
}

func newDeployer(t failer, target *fakeTarget) *deployer {
	if target.form == "" {
		target.form = "conf"
	}
	if target.pairs == nil {
		target.pairs = map[int]plan.Pair{1: pair(earlier), 2: pair()}
	}
	return &deployer{t: t, rules: rules(), now: start, target: target, row: plan.Row{Deployment: &plan.Deployment{
		Name: "shop", Target: "nginx", Domains: []string{"a.test"}, Wanted: 2, DueSince: start, Deadline: start.Add(20 * day),
	}}}
}

func leafOf(generation int) string { return fmt.Sprintf("leaf-%d", generation) }

func (target *fakeTarget) sight(listener string) plan.Sight {
	if target.answers != nil {
		return target.answers(listener, target.loaded)
	}
	return plan.Sight{Address: listener, Answered: true, SHA256: leafOf(target.loaded)}
}

func (target *fakeTarget) act(effect plan.Effect, now time.Time) plan.Event {
	event := plan.Event{Effect: effect.Kind, At: now, Around: target.around}
	if queue := target.faults[string(effect.Kind)]; len(queue) > 0 {
		planned := queue[0]
		target.faults[string(effect.Kind)] = queue[1:]
		if planned != nil {
			trouble := planned.trouble
			event.Trouble = &trouble
			return event
		}
	}
	switch effect.Kind {
	case plan.Look:
		seen := &plan.Seen{Form: target.form, Generation: target.inForce, New: target.pairs[effect.Generation], Old: target.pairs[target.inForce]}
		for _, listener := range target.listeners {
			sight := target.sight(listener)
			seen.Listeners = append(seen.Listeners, plan.Listener{Address: listener, Answered: sight.Answered, SHA256: sight.SHA256})
		}
		event.Seen = seen
	case plan.Swap, plan.SwapBack:
		target.inForce = effect.Generation
	case plan.Reload:
		target.loaded = target.inForce
		target.reloads = append(target.reloads, now)
	case plan.Verify:
		event.Wanted = leafOf(effect.Generation)
		for _, listener := range target.listeners {
			event.Verified = append(event.Verified, target.sight(listener))
		}
	}
	return event
}

func (target *fakeTarget) fail(kind plan.EffectKind, troubles ...*plan.Trouble) *fakeTarget {
	if target.faults == nil {
		target.faults = map[string][]*fault{}
	}
	for _, trouble := range troubles {
		var planned *fault
		if trouble != nil {
			planned = &fault{trouble: *trouble}
		}
		target.faults[string(kind)] = append(target.faults[string(kind)], planned)
	}
	return target
}

func (d *deployer) deployment() *plan.Deployment { return d.row.Deployment }

func (d *deployer) take(decision plan.Decision) plan.Decision {
	d.row = decision.Row
	d.findings = append(d.findings, decision.Findings...)
	d.pokes = append(d.pokes, decision.Poke...)
	return decision
}

func (d *deployer) wake() plan.Decision {
	return d.take(decide(d.t, d.rules, d.row, plan.Woken(d.now, d.target.around), d.now))
}

func (d *deployer) step(decision plan.Decision) plan.Decision {
	d.t.Helper()
	if len(d.trace) > 3000 {
		d.t.Fatalf("no end: %s", strings.Join(d.trace[len(d.trace)-30:], " "))
	}
	if len(decision.Effects) == 0 {
		if !decision.Next.After(d.now) {
			d.t.Fatalf("nothing to do, and to be woken at %s, now %s: %s", decision.Next, d.now, d.story())
		}
		d.now = decision.Next
		return d.wake()
	}
	effect := decision.Effects[0]
	if len(decision.Effects) != 1 {
		d.t.Fatalf("%d effects at once", len(decision.Effects))
	}
	d.trace = append(d.trace, fmt.Sprintf("%s %d", effect.Kind, effect.Generation))
	d.effects++
	event := d.target.act(effect, d.now)
	if d.effects == d.killAt {
		d.killed, d.row, d.now = true, reloaded(d.t, d.row), d.now.Add(time.Second)
		return d.wake()
	}
	return d.take(decide(d.t, d.rules, d.row, event, d.now))
}

// run plays until the time, or until nothing is to be done any more.
func (d *deployer) run(end time.Time) plan.Decision {
	d.t.Helper()
	decision := d.wake()
	for len(decision.Effects) > 0 || !decision.Next.IsZero() && decision.Next.Before(end) {
		decision = d.step(decision)
	}
	return decision
}

func (d *deployer) story() string { return strings.Join(d.trace, " ") }

func (d *deployer) codes() string {
	var codes []string
	for _, one := range d.findings {
		codes = append(codes, string(one.Code))
	}
	return strings.Join(codes, " ")
}
