package plan_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/backstay/backstay/plan"
)

func pair(edits ...func(*plan.Pair)) plan.Pair {
	made := plan.Pair{Present: true, Loads: true, Covers: true, Trusted: plan.Yes, NotBefore: start.Add(-day), NotAfter: start.Add(89 * day), SHA256: "x"}
	for _, edit := range edits {
		edit(&made)
	}
	return made
}

var (
	absent    = func(one *plan.Pair) { *one = plan.Pair{} }
	broken    = func(one *plan.Pair) { one.Loads = false }
	uncovered = func(one *plan.Pair) { one.Covers, one.Missing = false, "b.test" }
	untrusted = func(one *plan.Pair) { one.Trusted, one.WhyNot = plan.No, "an unknown root" }
	unknown   = func(one *plan.Pair) { one.Trusted, one.WhyNot = plan.Unknown, "a private root" }
	silent    = func(one *plan.Pair) { one.Trusted = "" }
	revoked   = func(one *plan.Pair) { one.Revoked = true }
	expired   = func(one *plan.Pair) { one.NotBefore, one.NotAfter = start.Add(-91*day), start.Add(-day) }
	nearEnd   = func(one *plan.Pair) { one.NotBefore, one.NotAfter = start.Add(-85*day), start.Add(5*day) }
	earlier   = func(one *plan.Pair) { one.NotAfter = start.Add(40 * day) }
)

func TestWorse(t *testing.T) {
	type edit = func(*plan.Pair)
	table := []struct {
		name      string
		candidate []edit
		inForce   []edit
		worse     string // part of the reason; "" for not worse
		unknown   string
	}{
		{"equal", nil, nil, "", ""},
		{"candidate absent", []edit{absent}, nil, "does not load", ""},
		{"candidate broken", []edit{broken}, nil, "does not load", ""},
		{"both broken", []edit{broken}, []edit{broken}, "does not load", ""},
		{"nothing in force", []edit{untrusted, uncovered, revoked, expired}, []edit{absent}, "", ""},
		{"what is in force does not load", []edit{untrusted, uncovered, revoked, expired}, []edit{broken}, "", ""},
		{"covers less", []edit{uncovered}, nil, "does not cover b.test", ""},
		{"covers less than an untrusted, revoked, expired one", []edit{uncovered}, []edit{untrusted, revoked, expired}, "does not cover", ""},
		{"covers more", nil, []edit{uncovered}, "", ""},
		{"covers more but is untrusted", []edit{untrusted}, []edit{uncovered}, "", ""},
		{"both cover too little", []edit{uncovered}, []edit{uncovered}, "", ""},
		{"untrusted for trusted", []edit{untrusted}, nil, "not trusted: an unknown root", ""},
		{"untrusted for unknown", []edit{untrusted}, []edit{unknown}, "not trusted", ""},
		{"untrusted for a revoked, trusted one", []edit{untrusted}, []edit{revoked}, "not trusted", ""},
		{"unknown for trusted", []edit{unknown}, nil, "", "root is not in a store we know"},
		{"no word for trusted", []edit{silent}, nil, "", "root is not in a store we know"},
		{"unknown for untrusted", []edit{unknown}, []edit{untrusted}, "", ""},
		{"unknown for unknown", []edit{unknown}, []edit{silent}, "", ""},
		{"trusted for unknown, revoked", []edit{revoked}, []edit{unknown}, "", ""},
		{"revoked", []edit{revoked}, nil, "revoked", ""},
		{"revoked for expired", []edit{revoked}, []edit{expired}, "revoked", ""},
		{"for revoked", []edit{expired}, []edit{revoked}, "", ""},
		{"both revoked", []edit{revoked}, []edit{revoked}, "", ""},
		{"expired", []edit{expired}, nil, "it ends at", ""},
		{"within its margin", []edit{nearEnd}, nil, "it ends at", ""},
		{"both ended", []edit{expired}, []edit{expired}, "", ""},
		{"for an expired one", nil, []edit{expired}, "", ""},
		{"an earlier end is no reason", []edit{earlier}, nil, "", ""},
		{"a later end is none either", nil, []edit{earlier}, "", ""},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			judgement := plan.Worse(pair(test.candidate...), pair(test.inForce...), start)
			if (judgement.Worse == "") != (test.worse == "") || !strings.Contains(judgement.Worse, test.worse) {
				t.Errorf("worse: %q, want %q", judgement.Worse, test.worse)
			}
			if (judgement.Unknown == "") != (test.unknown == "") || !strings.Contains(judgement.Unknown, test.unknown) {
				t.Errorf("unknown: %q, want %q", judgement.Unknown, test.unknown)
			}
		})
	}
}

// TestWorseIsAnOrder: no pair is worse than itself, and of two pairs that load
// at most one is worse than the other.
func TestWorseIsAnOrder(t *testing.T) {
	draw := func(t *rapid.T, name string) plan.Pair {
		return plan.Pair{
			Present: true, Loads: true, Covers: rapid.Bool().Draw(t, name+" covers"),
			Trusted: rapid.SampledFrom([]plan.Verdict{plan.Yes, plan.No, plan.Unknown, ""}).Draw(t, name+" trusted"),
			Revoked: rapid.Bool().Draw(t, name+" revoked"), NotBefore: start.Add(-10 * day),
			NotAfter: start.Add(day * time.Duration(rapid.IntRange(-5, 90).Draw(t, name+" ends"))),
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		one, other := draw(t, "one"), draw(t, "other")
		if judged := plan.Worse(one, one, start); judged != (plan.Judgement{}) {
			t.Fatalf("worse than itself: %+v", judged)
		}
		forth, back := plan.Worse(one, other, start), plan.Worse(other, one, start)
		if (forth.Worse != "" || forth.Unknown != "") && (back.Worse != "" || back.Unknown != "") {
			t.Fatalf("each is worse than the other: %+v, %+v", forth, back)
		}
	})
}
