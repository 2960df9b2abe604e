package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/plan"
)

const proven = "look 2 stage 2 test 2 swap 2 reload 2 verify 2 verify 2 verify 2"

func trouble(class plan.Class, code string) *plan.Trouble {
	return &plan.Trouble{Class: class, Code: code, Summary: "broken by the test"}
}

var two = []string{"192.0.2.1:443", "[2001:db8::1]:443"}

func TestDeploymentStories(t *testing.T) {
	later := func(generation int, sight plan.Sight) func(string, int) plan.Sight {
		return func(listener string, loaded int) plan.Sight {
			if loaded != generation {
				return plan.Sight{Address: listener, Answered: true, SHA256: leafOf(loaded)}
			}
			sight.Address = listener
			return sight
		}
	}
	table := []struct {
		name    string
		target  *fakeTarget
		until   time.Duration
		story   string
		served  int
		inForce int
		codes   string
	}{
		{"first certificate", &fakeTarget{inForce: -1, listeners: two}, time.Minute, proven, 2, 2, ""},
		{"renewal", &fakeTarget{inForce: 1, loaded: 1, listeners: two}, time.Minute, proven, 2, 2, ""},
		{"a pair that is not ours", &fakeTarget{inForce: 0, listeners: two, pairs: map[int]plan.Pair{0: pair(earlier), 2: pair()}}, time.Minute, proven, 2, 2, ""},
		{"plain paths", &fakeTarget{form: plan.FormLink, inForce: 1, loaded: 1, listeners: two}, time.Minute, proven, 2, 2, "target-not-atomic"},
		{"nobody told where to look", &fakeTarget{inForce: 1, loaded: 1}, time.Minute, "look 2 stage 2 test 2 swap 2 reload 2 verify 2", 2, 2, ""},
		{"already in force", &fakeTarget{inForce: 2, loaded: 1, listeners: two}, time.Minute, "look 2 reload 2 verify 2 verify 2 verify 2", 2, 2, ""},
		{"no server block uses it", &fakeTarget{form: plan.FormNone, inForce: 1, listeners: two}, 30 * time.Second,
			"look 2 stage 2 test 2 swap 2", 0, 2, "target-not-configured"},
		{"another certificate after the swap", &fakeTarget{inForce: 1, loaded: 1, listeners: two, answers: later(2, plan.Sight{Answered: true, SHA256: "foreign"})}, time.Minute,
			"look 2 stage 2 test 2 swap 2 reload 2 verify 2* swap-back 1 reload 2 verify 2 verify 2 verify 2", 0, 1, "target-rolled-back"},
		{"no answer after the swap", &fakeTarget{inForce: 1, loaded: 1, listeners: two, answers: later(2, plan.Sight{Error: "refused"})}, time.Minute,
			"look 2 stage 2 test 2 swap 2 reload 2 verify 2* swap-back 1 reload 2 verify 2 verify 2 verify 2", 0, 1, "target-rolled-back"},
		{"no answer, and what was there is worse", &fakeTarget{inForce: 1, loaded: 1, listeners: two, pairs: map[int]plan.Pair{1: pair(expired), 2: pair()}, answers: later(2, plan.Sight{Error: "refused"})}, 30 * time.Second,
			"look 2 stage 2 test 2 swap 2 reload 2 verify 2*", 0, 2, "target-not-verified"},
		{"no answer, and nothing was there", &fakeTarget{inForce: -1, listeners: two, answers: later(2, plan.Sight{Error: "refused"})}, 30 * time.Second,
			"look 2 stage 2 test 2 swap 2 reload 2 verify 2*", 0, 2, "target-not-verified"},
		{"never answered, before or after", &fakeTarget{inForce: 1, loaded: 1, listeners: two, answers: func(listener string, _ int) plan.Sight { return plan.Sight{Address: listener, Error: "down"} }}, 30 * time.Second,
			"look 2 stage 2 test 2 swap 2 reload 2 verify 2*", 0, 2, "target-not-verified"},
		{"reload refused", (&fakeTarget{inForce: 1, loaded: 1, listeners: two}).fail(plan.Reload, trouble(plan.TargetFault, "")), time.Minute,
			"look 2 stage 2 test 2 swap 2 reload 2 swap-back 1 reload 2 verify 2 verify 2 verify 2", 0, 1, "target-reload-failed target-rolled-back"},
		{"reload refused, nothing to go back to", (&fakeTarget{inForce: -1, listeners: two}).fail(plan.Reload, trouble(plan.TargetFault, "")), time.Minute,
			"look 2 stage 2 test 2 swap 2 reload 2 reload 2 verify 2 verify 2 verify 2", 2, 2, "target-reload-failed"},
		{"not running", (&fakeTarget{inForce: 1, loaded: 1, listeners: two}).fail(plan.Reload, trouble(plan.TargetFault, "target-not-running")), 30 * time.Second,
			"look 2 stage 2 test 2 swap 2 reload 2", 0, 2, "target-not-verified"},
		{"not running, then it runs", (&fakeTarget{inForce: 1, loaded: 1, listeners: two}).fail(plan.Reload, trouble(plan.TargetFault, "target-not-running")), time.Hour,
			"look 2 stage 2 test 2 swap 2 reload 2 look 2 reload 2 verify 2 verify 2 verify 2", 2, 2, "target-not-verified"},
		{"the server's own test says no once", (&fakeTarget{inForce: 1, loaded: 1, listeners: two}).fail(plan.Check, trouble(plan.TargetFault, "")), time.Minute,
			"look 2 stage 2 test 2 " + proven, 2, 2, "target-check-failed"},
		{"cannot look", (&fakeTarget{inForce: 1, loaded: 1, listeners: two}).fail(plan.Look, trouble(plan.Local, "")), time.Minute,
			"look 2 " + proven, 2, 2, "target-check-failed"},
		{"cannot stage", (&fakeTarget{inForce: 1, loaded: 1, listeners: two}).fail(plan.Stage, trouble(plan.Local, "")), time.Minute,
			"look 2 stage 2 " + proven, 2, 2, "target-check-failed"},
		{"cannot swap once", (&fakeTarget{inForce: 1, loaded: 1, listeners: two}).fail(plan.Swap, trouble(plan.Local, "")), time.Minute,
			"look 2 stage 2 test 2 swap 2 swap 2 reload 2 verify 2 verify 2 verify 2", 2, 2, "target-check-failed"},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			d := newDeployer(t, test.target)
			decision := d.run(start.Add(test.until))
			if !sameStory(d.story(), test.story) {
				t.Errorf("story\n got  %.600s\n want %s", d.story(), test.story)
			}
			row := d.deployment()
			if row.Served != test.served || test.target.inForce != test.inForce || d.codes() != test.codes {
				t.Errorf("served %d, in force %d, findings %q; want %d, %d, %q", row.Served, test.target.inForce, d.codes(), test.served, test.inForce, test.codes)
			}
			if test.served == 2 && (!decision.Next.IsZero() || !slices.Equal(d.pokes, []string{"certificate/shop"}) || row.History != (plan.History{})) {
				t.Errorf("next %s, pokes %v, history %+v", decision.Next, d.pokes, row.History)
			}
			if test.served == 0 && (decision.Next.IsZero() || len(d.pokes) != 0) {
				t.Errorf("next %s, pokes %v: it must be tried again, and not called served", decision.Next, d.pokes)
			}
		})
	}
}

// sameStory compares words; "verify 2*" stands for one or more of them.
func sameStory(got, want string) bool {
	for _, before := range []string{"verify 2"} {
		marker := before + "*"
		if index := strings.Index(want, marker); index >= 0 {
			if !strings.HasPrefix(got, want[:index]+before) {
				return false
			}
			rest := strings.TrimLeft(got[index:], " ")
			for strings.HasPrefix(rest, before) {
				rest = strings.TrimLeft(strings.TrimPrefix(rest, before), " ")
			}
			return rest == strings.TrimLeft(want[index+len(marker):], " ")
		}
	}
	return got == want
}

// TestRollBackWithoutAListener: where nobody can look, a reload that was refused
// is undone all the same, and the generation that was taken back is not served.
func TestRollBackWithoutAListener(t *testing.T) {
	d := newDeployer(t, (&fakeTarget{inForce: 1, loaded: 1}).fail(plan.Reload, trouble(plan.TargetFault, "")))
	d.run(start.Add(time.Minute))
	if row := d.deployment(); row.Served != 0 || row.Rolling || d.target.inForce != 1 || !strings.Contains(d.codes(), "target-rolled-back") || len(d.pokes) != 0 {
		t.Errorf("served %d, rolling %t, in force %d, findings %s, pokes %v", row.Served, row.Rolling, d.target.inForce, d.codes(), d.pokes)
	}
}

// TestServedIsKeptThroughARollBack: what was proven before stays what is served,
// and the generation is tried again later, after at least ten minutes.
func TestServedIsKeptThroughARollBack(t *testing.T) {
	bad := true
	target := &fakeTarget{inForce: 1, loaded: 1, listeners: two}
	target.answers = func(listener string, loaded int) plan.Sight {
		if loaded == 2 && bad {
			return plan.Sight{Address: listener, Error: "alert"}
		}
		return plan.Sight{Address: listener, Answered: true, SHA256: leafOf(loaded)}
	}
	d := newDeployer(t, target)
	d.row.Deployment.Served = 1
	decision := d.run(start.Add(time.Minute))
	if row := d.deployment(); row.Served != 1 || row.Held != 2 || decision.Next.Before(start.Add(10*time.Minute)) {
		t.Fatalf("served %d, held %d, next %s", row.Served, row.Held, decision.Next)
	}
	bad = false
	d.run(start.Add(day))
	if row := d.deployment(); row.Served != 2 || row.Held != 0 {
		t.Errorf("served %d, held %d: %s", row.Served, row.Held, d.story())
	}
}

// TestReloadsAreShared: at most one reload of a target in ReloadEvery; a way back
// does not wait.
func TestReloadsAreShared(t *testing.T) {
	target := &fakeTarget{inForce: 1, loaded: 1, listeners: two}
	target.around = plan.Around{LastReload: start.Add(-10 * time.Second), ReloadEvery: 30 * time.Second}
	d := newDeployer(t, target)
	d.run(start.Add(time.Minute))
	if len(target.reloads) != 1 || !target.reloads[0].Equal(start.Add(20*time.Second)) {
		t.Errorf("reloads at %v", target.reloads)
	}

	target = (&fakeTarget{inForce: 1, loaded: 1, listeners: two}).fail(plan.Reload, trouble(plan.TargetFault, ""))
	target.around = plan.Around{LastReload: start, ReloadEvery: time.Hour}
	d = newDeployer(t, target)
	d.run(start.Add(2 * time.Hour))
	if len(target.reloads) == 0 || !target.reloads[0].Equal(start.Add(time.Hour)) {
		t.Errorf("the way back waited: reloads at %v: %s", target.reloads, d.story())
	}

	target = &fakeTarget{inForce: 1, loaded: 1, listeners: two}
	target.around = plan.Around{ReloadEvery: time.Hour}
	d = newDeployer(t, target)
	d.run(start.Add(time.Minute))
	if len(target.reloads) != 1 || !target.reloads[0].Equal(start) {
		t.Errorf("never reloaded before: reloads at %v", target.reloads)
	}
}

// TestOthersAreWaitedFor: not longer than ReloadHold.
func TestOthersAreWaitedFor(t *testing.T) {
	target := &fakeTarget{inForce: 1, loaded: 1, listeners: two, around: plan.Around{OthersDue: true}}
	d := newDeployer(t, target)
	d.run(start.Add(time.Minute))
	if len(target.reloads) != 1 || !target.reloads[0].Equal(start.Add(30*time.Second)) {
		t.Errorf("reloads at %v", target.reloads)
	}

	target = &fakeTarget{inForce: 1, loaded: 1, listeners: two, around: plan.Around{OthersDue: true}}
	d = newDeployer(t, target)
	decision := d.wake()
	for d.now.Before(start.Add(5 * time.Second)) {
		decision = d.step(decision)
	}
	target.around.OthersDue = false
	for len(target.reloads) == 0 {
		decision = d.step(decision)
	}
	if target.reloads[0].After(start.Add(6 * time.Second)) {
		t.Errorf("reload at %s although nobody was on the way any more", target.reloads[0])
	}
}

// TestSettleAfter: clients whose clocks are slow would refuse a certificate that
// is an hour old; the old one stays meanwhile, unless it cannot.
func TestSettleAfter(t *testing.T) {
	fresh := func(one *plan.Pair) { one.NotBefore = start.Add(-10 * time.Minute) }
	soon := func(one *plan.Pair) { one.NotAfter = start.Add(20 * time.Minute) }
	settled := start.Add(50 * time.Minute)
	table := []struct {
		name    string
		old     plan.Pair
		change  func(*plan.Deployment)
		swapped time.Time
	}{
		{"the old one can stay", pair(earlier), func(*plan.Deployment) {}, settled},
		{"a person asked", pair(earlier), func(row *plan.Deployment) { row.Asked = true }, start},
		{"the old one ends before", pair(soon), func(*plan.Deployment) {}, start},
		{"the deadline comes before", pair(earlier), func(row *plan.Deployment) { row.Deadline = start.Add(30 * time.Minute) }, start},
		{"no deadline", pair(earlier), func(row *plan.Deployment) { row.Deadline = time.Time{} }, settled},
		{"the old one is revoked", pair(revoked), func(*plan.Deployment) {}, start},
		{"the old one is untrusted", pair(untrusted), func(*plan.Deployment) {}, start},
		{"the old one covers too little", pair(uncovered), func(*plan.Deployment) {}, start},
		{"there is no old one", pair(absent), func(*plan.Deployment) {}, start},
		{"the old one does not load", pair(broken), func(*plan.Deployment) {}, start},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			target := &fakeTarget{inForce: 1, loaded: 1, listeners: two, pairs: map[int]plan.Pair{1: test.old, 2: pair(fresh)}}
			d := newDeployer(t, target)
			test.change(d.row.Deployment)
			decision := d.wake()
			for target.inForce == 1 {
				decision = d.step(decision)
			}
			if !d.now.Equal(test.swapped) {
				t.Errorf("swapped at %s, want %s: %s", d.now, test.swapped, d.story())
			}
			if len(d.findings) != 0 || d.deployment().History.Failures != 0 {
				t.Errorf("waiting is no failure: %s", d.codes())
			}
		})
	}
}

// TestNeverWorse: what is worse is not deployed, unless a person confirmed it;
// what cannot be judged waits while half of the time is left.
func TestNeverWorse(t *testing.T) {
	half := start.Add(10 * day)
	table := []struct {
		name    string
		new     plan.Pair
		old     plan.Pair
		change  func(*plan.Deployment)
		swapped time.Time // zero: not within the deadline
		codes   string
	}{
		{"covers less", pair(uncovered), pair(), func(*plan.Deployment) {}, time.Time{}, "target-drift"},
		{"expired", pair(expired), pair(), func(*plan.Deployment) {}, time.Time{}, "target-drift"},
		{"untrusted", pair(untrusted), pair(), func(*plan.Deployment) {}, time.Time{}, "target-drift"},
		{"broken for nothing", pair(broken), pair(absent), func(*plan.Deployment) {}, time.Time{}, "target-drift"},
		{"confirmed", pair(uncovered), pair(), func(row *plan.Deployment) { row.AllowWorse = true }, start, ""},
		{"unknown root", pair(unknown), pair(), func(*plan.Deployment) {}, half, "target-not-verified"},
		{"unknown root, asked", pair(unknown), pair(), func(row *plan.Deployment) { row.Asked = true }, start, ""},
		{"unknown root, the old one has ended", pair(unknown), pair(expired), func(*plan.Deployment) {}, start, ""},
		{"unknown root, the first certificate", pair(unknown), pair(absent), func(row *plan.Deployment) { row.Deadline = start.Add(-time.Minute) }, start, ""},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			target := &fakeTarget{inForce: 1, loaded: 1, pairs: map[int]plan.Pair{1: test.old, 2: test.new}}
			d := newDeployer(t, target)
			test.change(d.row.Deployment)
			decision := d.wake()
			for target.inForce == 1 && d.now.Before(start.Add(20*day)) {
				decision = d.step(decision)
			}
			swapped := d.now
			if target.inForce == 1 {
				swapped = time.Time{}
			}
			if !swapped.Equal(test.swapped) {
				t.Errorf("swapped at %s, want %s", swapped, test.swapped)
			}
			for _, one := range d.findings {
				if string(one.Code) != test.codes {
					t.Errorf("finding %s: %s", one.Code, one.Summary)
				}
			}
			if (len(d.findings) == 0) != (test.codes == "") {
				t.Errorf("findings %q, want %q", d.codes(), test.codes)
			}
		})
	}
}

// TestDeploymentKilledAtEveryStep converges, whatever the server does.
func TestDeploymentKilledAtEveryStep(t *testing.T) {
	worlds := map[string]func() *fakeTarget{
		"well": func() *fakeTarget { return &fakeTarget{inForce: 1, loaded: 1, listeners: two} },
		"reload refused": func() *fakeTarget {
			return (&fakeTarget{inForce: 1, loaded: 1, listeners: two}).fail(plan.Reload, trouble(plan.TargetFault, ""))
		},
		"check refused": func() *fakeTarget {
			return (&fakeTarget{inForce: 1, loaded: 1, listeners: two}).fail(plan.Check, trouble(plan.TargetFault, ""))
		},
	}
	for name, world := range worlds {
		whole := newDeployer(t, world())
		whole.run(start.Add(day))
		if whole.deployment().Served != 2 || whole.effects < 8 {
			t.Fatalf("%s: %s", name, whole.story())
		}
		for at := 1; at <= whole.effects; at++ {
			t.Run(fmt.Sprintf("%s %d %s", name, at, whole.trace[at-1]), func(t *testing.T) {
				d := newDeployer(t, world())
				d.killAt = at
				d.run(start.Add(day))
				if !d.killed {
					t.Fatal("nobody was killed")
				}
				if row := d.deployment(); row.Served != 2 || d.target.inForce != 2 || d.target.loaded != 2 || row.Rolling || row.Phase != "" {
					t.Errorf("served %d, in force %d, loaded %d, rolling %t, phase %q: %s", row.Served, d.target.inForce, d.target.loaded, row.Rolling, row.Phase, d.story())
				}
			})
		}
	}
}

// TestRollBackKilledAtEveryStep: a way back that was cut goes on.
func TestRollBackKilledAtEveryStep(t *testing.T) {
	world := func() *fakeTarget {
		target := &fakeTarget{inForce: 1, loaded: 1, listeners: two}
		target.answers = func(listener string, loaded int) plan.Sight {
			if loaded == 2 {
				return plan.Sight{Address: listener, Error: "alert"}
			}
			return plan.Sight{Address: listener, Answered: true, SHA256: leafOf(loaded)}
		}
		return target
	}
	whole := newDeployer(t, world())
	whole.run(start.Add(5 * time.Minute))
	if !strings.Contains(whole.story(), "swap-back 1") {
		t.Fatal(whole.story())
	}
	for at := 1; at <= whole.effects; at++ {
		d := newDeployer(t, world())
		d.killAt = at
		d.run(start.Add(5 * time.Minute))
		if row := d.deployment(); !d.killed || row.Served != 0 || d.target.loaded != 1 || row.Rolling || row.Held != 2 {
			t.Errorf("killed over %d %s: served %d, loaded %d, rolling %t, held %d: %.300s", at, whole.trace[at-1], row.Served, d.target.loaded, row.Rolling, row.Held, d.story())
		}
	}
}

// TestBackward: a person wants an older generation.
func TestBackward(t *testing.T) {
	d := newDeployer(t, &fakeTarget{inForce: 2, loaded: 2, listeners: two})
	d.row.Deployment.Served = 2
	asked := plan.Row{Deployment: &plan.Deployment{Name: "shop", Target: "nginx", Wanted: 1, Backward: true, Asked: true, AllowWorse: true, DueSince: start, Deadline: start.Add(day)}}
	d.row = plan.Merge(d.row, asked)
	d.run(start.Add(time.Minute))
	if row := d.deployment(); row.Served != 1 || d.target.loaded != 1 || row.Backward || d.story() != "look 1 stage 1 test 1 swap-back 1 reload 1 verify 1 verify 1 verify 1" {
		t.Errorf("served %d, loaded %d: %s", row.Served, d.target.loaded, d.story())
	}
}
