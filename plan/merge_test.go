package plan_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/plan"
)

func deployment(wanted int, edits ...func(*plan.Deployment)) plan.Row {
	row := &plan.Deployment{Name: "shop", Target: "nginx", Domains: []string{"a.test"}, Wanted: wanted, DueSince: start.Add(time.Duration(wanted) * time.Minute), Deadline: start.Add(time.Duration(wanted) * time.Hour)}
	for _, edit := range edits {
		edit(row)
	}
	return plan.Row{Deployment: row}
}

func TestMerge(t *testing.T) {
	held := func(row *plan.Deployment) { row.History.RetryAt, row.History.Failures = start.Add(day), 3 }
	underWay := func(row *plan.Deployment) {
		row.Phase, row.Generation, row.Back, row.BackOK = plan.PhaseReloaded, 2, 1, true
	}
	asked := func(row *plan.Deployment) { row.Asked = true }
	confirmed := func(row *plan.Deployment) { row.AllowWorse = true }
	backward := func(row *plan.Deployment) { row.Backward = true }
	table := []struct {
		name            string
		stored, spawned plan.Row
		check           func(*plan.Deployment) bool
	}{
		{"a newer generation", deployment(2), deployment(3), func(row *plan.Deployment) bool {
			return row.Wanted == 3 && row.DueSince.Equal(start.Add(3*time.Minute)) && row.Deadline.Equal(start.Add(3*time.Hour))
		}},
		{"an older generation", deployment(3), deployment(2), func(row *plan.Deployment) bool { return row.Wanted == 3 && row.Deadline.Equal(start.Add(3*time.Hour)) }},
		{"an older generation that a person wants", deployment(3), deployment(2, backward), func(row *plan.Deployment) bool { return row.Wanted == 2 && row.Backward }},
		{"a newer one after an older that a person wanted", deployment(2, backward), deployment(3), func(row *plan.Deployment) bool { return row.Wanted == 3 && !row.Backward }},
		{"waiting ends", deployment(2, held), deployment(3), func(row *plan.Deployment) bool {
			return row.History.RetryAt.IsZero() && row.History.Failures == 3
		}},
		{"what is under way goes on", deployment(2, underWay), deployment(3), func(row *plan.Deployment) bool {
			return row.Phase == plan.PhaseReloaded && row.Generation == 2 && row.Back == 1 && row.BackOK && row.Wanted == 3
		}},
		{"asked once is asked", deployment(2, asked), deployment(3), func(row *plan.Deployment) bool { return row.Asked }},
		{"a confirmation is for one generation", deployment(2, confirmed), deployment(3), func(row *plan.Deployment) bool { return !row.AllowWorse }},
		{"asked again for the same", deployment(2), deployment(2, asked), func(row *plan.Deployment) bool { return row.Asked && row.Wanted == 2 }},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			before := encode(t, test.stored)
			merged := plan.Merge(test.stored, test.spawned)
			if merged.Deployment == nil || !test.check(merged.Deployment) {
				t.Errorf("merged %s", encode(t, merged))
			}
			if encode(t, test.stored) != before {
				t.Error("Merge changed what was stored")
			}
		})
	}
	t.Run("challenges", func(t *testing.T) {
		open := plan.Row{Challenge: &plan.Challenge{Name: "shop", Solver: "web", Type: "http-01", Token: "t", Open: true}}
		over := plan.Row{Challenge: &plan.Challenge{Name: "shop", Solver: "web", Type: "http-01", Token: "t"}}
		if merged := plan.Merge(open, over); merged.Challenge.Open {
			t.Error("the answer is never taken away")
		}
	})
	t.Run("other rows", func(t *testing.T) {
		other := deployment(9, func(row *plan.Deployment) { row.Target = "mail" })
		if merged := plan.Merge(deployment(2), other); merged.Deployment.Target != "mail" || merged.Deployment.Wanted != 9 {
			t.Errorf("merged %s", encode(t, merged))
		}
	})
}

func TestReconcile(t *testing.T) {
	wanted := want(web, "a.test")
	wanted.Deploy = []string{"nginx"}
	more := wanted
	more.Deploy = []string{"nginx", "mail"}
	stored := *holding(90 * day)
	stored.Want = wanted
	stored.History.Failures = 2
	retired := stored
	retired.Retired = true
	empty := stored
	empty.Held = nil

	table := []struct {
		name   string
		wishes []plan.Wish
		rows   []plan.Certificate
		want   []string // ID and what is said of it
	}{
		{"nothing", nil, nil, nil},
		{"new", []plan.Wish{{Name: "shop", Want: wanted}}, nil, []string{"certificate/shop new"}},
		{"as it should be", []plan.Wish{{Name: "shop", Want: wanted}}, []plan.Certificate{stored}, nil},
		{"gone", nil, []plan.Certificate{stored}, []string{"certificate/shop retired held"}},
		{"gone before", nil, []plan.Certificate{retired}, nil},
		{"back", []plan.Wish{{Name: "shop", Want: wanted}}, []plan.Certificate{retired}, []string{"certificate/shop held"}},
		{"another target", []plan.Wish{{Name: "shop", Want: more}}, []plan.Certificate{stored}, []string{"certificate/shop held", "deployment/shop/mail 1"}},
		{"another target, nothing held", []plan.Wish{{Name: "shop", Want: more}}, []plan.Certificate{empty}, []string{"certificate/shop"}},
		{"in the order of the wishes", []plan.Wish{{Name: "z", Want: wanted}, {Name: "a", Want: wanted}}, []plan.Certificate{stored}, []string{"certificate/z new", "certificate/a new", "certificate/shop retired held"}},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			before := encode(t, test.rows)
			var got []string
			for _, row := range plan.Reconcile(test.wishes, test.rows, start) {
				text := row.ID()
				switch {
				case row.Deployment != nil:
					text += " " + encode(t, row.Deployment.Wanted)
				case row.Certificate.Retired:
					text += " retired"
				}
				if row.Certificate != nil && row.Certificate.Held != nil {
					text += " held"
				}
				if row.Certificate != nil && row.Certificate.Held == nil && row.Certificate.History.Failures == 0 {
					text += " new"
				}
				got = append(got, text)
			}
			if encode(t, got) != encode(t, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if encode(t, test.rows) != before {
				t.Error("Reconcile changed the rows")
			}
		})
	}
}

// TestReconcileSeesEveryChange: no field of Want is forgotten.
func TestReconcileSeesEveryChange(t *testing.T) {
	stored := *holding(90 * day)
	for name, change := range map[string]func(*plan.Want){
		"domains": func(want *plan.Want) { want.Domains = []string{"b.test"} }, "authorities": func(want *plan.Want) { want.Authorities = []string{"second"} },
		"solvers": func(want *plan.Want) { want.Solvers = []plan.Solver{dns} }, "deploy": func(want *plan.Want) { want.Deploy = []string{"nginx"} },
		"key": func(want *plan.Want) { want.Key = "rsa-2048" }, "renew": func(want *plan.Want) { want.Renew = "1/2" }, "profile": func(want *plan.Want) { want.Profile = "p" },
		"owner": func(want *plan.Want) { want.Owner = "web team" }, "tier": func(want *plan.Want) { want.Tier = 1 },
	} {
		wish := stored.Want
		change(&wish)
		rows := plan.Reconcile([]plan.Wish{{Name: "shop", Want: wish}}, []plan.Certificate{stored}, start)
		if len(rows) == 0 || encode(t, rows[0].Certificate.Want) != encode(t, wish) || rows[0].Certificate.Held == nil {
			t.Errorf("%s: %s", name, encode(t, rows))
		}
	}
}

// TestChallengeRows: an answer is taken away once it is not needed, however
// often that fails, and never before.
func TestChallengeRows(t *testing.T) {
	row := plan.Row{Challenge: &plan.Challenge{Name: "shop", Solver: "web", Type: "http-01", Token: "t", Open: true, Since: start}}
	if decision := decide(t, rules(), row, plan.Woken(start, plan.Around{}), start); len(decision.Effects) != 0 || !decision.Next.IsZero() || decision.Gone {
		t.Fatalf("an open one: %+v", decision)
	}
	row.Challenge.Open = false
	now := start
	decision := decide(t, rules(), row, plan.Woken(now, plan.Around{}), now)
	for try := range 5 {
		if len(decision.Effects) != 1 || decision.Effects[0].Kind != plan.Clean {
			t.Fatalf("try %d: %+v", try, decision)
		}
		decision = decide(t, rules(), decision.Row, plan.Event{Effect: plan.Clean, At: now, Trouble: trouble(plan.SolverFault, "")}, now)
		if len(decision.Effects) != 0 || !decision.Next.After(now) || decision.Gone {
			t.Fatalf("after failure %d: %+v", try, decision)
		}
		now = decision.Next
		decision = decide(t, rules(), decision.Row, plan.Woken(now, plan.Around{}), now)
	}
	if decision = decide(t, rules(), decision.Row, plan.Event{Effect: plan.Clean, At: now}, now); !decision.Gone {
		t.Errorf("not gone: %+v", decision)
	}
}

// TestWhatIsRecorded: acts belong into the journal, looks do not.
func TestWhatIsRecorded(t *testing.T) {
	acts := []plan.EffectKind{plan.NewAccount, plan.MakeKey, plan.NewOrder, plan.SetChallenge, plan.OfferChallenge, plan.Finalize, plan.Collect, plan.Abandon, plan.PointLive, plan.Clean, plan.Stage, plan.Swap, plan.SwapBack, plan.Reload}
	looks := []plan.EffectKind{plan.AskAuthority, plan.FindOrder, plan.GetAuth, plan.CheckChallenge, plan.PollOrder, plan.GetRenewalInfo, plan.Look, plan.Check, plan.Verify}
	for _, kind := range acts {
		if !kind.IsAct() {
			t.Errorf("%s is not recorded", kind)
		}
	}
	for _, kind := range looks {
		if kind.IsAct() {
			t.Errorf("%s is a look", kind)
		}
	}
}
