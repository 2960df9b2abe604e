package deploytest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay/deploy"
)

// World is one target with a server's view of it.
type World struct {
	State  string
	Name   string                                // of the target
	Open   func(t *testing.T) deploy.Target      // a new value each time, as after a restart
	Opened func(t *testing.T) (full, key []byte) // what a server that starts now would read; nil when nothing is there
	Form   string                                // that Look must report
	Before *Issued                               // the pair of another hand that is in force; nil for none
}

// Suite is the contract of deploy.Target. Each case gets a world of its own, in
// which a certificate named www is to be placed for the names of issued pairs.
func Suite(t *testing.T, authority *Authority, names []string, fresh func(t *testing.T) World) {
	s := &suite{authority: authority, names: names, fresh: fresh}
	t.Run("step by step", s.steps)
	t.Run("answers lost", s.answersLost)
	t.Run("roll back", s.rollBack)
	t.Run("what is not whole is refused", s.notWhole)
	t.Run("damage after staging is refused", s.damaged)
	t.Run("a state folder that counts anew", s.countsAnew)
}

type suite struct {
	authority *Authority
	names     []string
	fresh     func(t *testing.T) World
}

// must are the calls of a deployment, each on a value of its own.
type must struct {
	t     *testing.T
	world World
}

func (must must) look(placement deploy.Placement) deploy.Standing {
	must.t.Helper()
	standing, err := must.world.Open(must.t).Look(context.Background(), placement)
	if err != nil {
		must.t.Fatalf("Look: %v", err)
	}
	return standing
}

func (must must) stage(placement deploy.Placement) {
	must.t.Helper()
	if err := must.world.Open(must.t).Stage(context.Background(), placement); err != nil {
		must.t.Fatalf("Stage: %v", err)
	}
}

func (must must) check(placement deploy.Placement) {
	must.t.Helper()
	if err := must.world.Open(must.t).Check(context.Background(), []deploy.Placement{placement}); err != nil {
		var refused *deploy.Refused
		if errors.As(err, &refused) {
			must.t.Log(refused.Output)
		}
		must.t.Fatalf("Check: %v", err)
	}
}

func (must must) swap(placement deploy.Placement, back bool) {
	must.t.Helper()
	if err := must.world.Open(must.t).Swap(context.Background(), placement, back); err != nil {
		must.t.Fatalf("Swap: %v", err)
	}
}

// opens fails unless a server would now read exactly the pair.
func (must must) opens(when string, issued *Issued) {
	must.t.Helper()
	full, key := must.world.Opened(must.t)
	if issued == nil {
		if full != nil || key != nil {
			must.t.Fatalf("%s: there is a pair although none was put in force", when)
		}
		return
	}
	if !bytes.Contains(full, bytes.TrimSpace(issued.Full())) || !bytes.Contains(key, bytes.TrimSpace(issued.Key)) {
		must.t.Fatalf("%s: the server would read another pair", when)
	}
}

// stands fails unless Look and the target's link say generation and pair.
func (must must) stands(when string, placement deploy.Placement, generation int, issued *Issued) {
	must.t.Helper()
	standing := must.look(placement)
	if standing.Generation != generation || standing.Form != must.world.Form {
		must.t.Fatalf("%s: generation %d, form %s; want %d, %s", when, standing.Generation, standing.Form, generation, must.world.Form)
	}
	if issued == nil {
		if standing.Chain != nil {
			must.t.Fatalf("%s: a chain although nothing is in force", when)
		}
		return
	}
	if len(standing.Chain) == 0 || !standing.Chain[0].Equal(issued.Certificate) || !standing.KeyMatches {
		must.t.Fatalf("%s: Look reports another pair", when)
	}
	if generation > 0 {
		if number, err := deploy.Recorded(must.world.State, must.world.Name, placement.Name); number != generation || err != nil {
			must.t.Fatalf("%s: the target's link says %d, %v", when, number, err)
		}
	}
}

func (must must) generationBefore() int {
	if must.world.Before == nil {
		return -1
	}
	return 0
}

func (s *suite) begin(t *testing.T) (must, Issued, deploy.Placement) {
	t.Helper()
	world := s.fresh(t)
	issued := s.authority.Issue(t, s.names...)
	return must{t, world}, issued, Store(t, world.State, "www", 1, issued)
}

func (s *suite) steps(t *testing.T) {
	must, first, one := s.begin(t)
	must.stands("at first", one, must.generationBefore(), must.world.Before)
	must.stage(one)
	must.opens("staged", must.world.Before)
	must.stands("staged", one, must.generationBefore(), must.world.Before)
	must.check(one)
	must.opens("checked", must.world.Before)
	must.swap(one, false)
	must.opens("swapped", &first)
	must.stands("swapped", one, 1, &first)

	second := s.authority.Issue(t, s.names...)
	two := Store(t, must.world.State, "www", 2, second)
	must.stage(two)
	must.opens("second staged", &first)
	must.check(two)
	must.swap(two, false)
	must.opens("second swapped", &second)
	must.stands("second swapped", two, 2, &second)
}

// Each call was carried out, but its caller never learned it.
func (s *suite) answersLost(t *testing.T) {
	must, first, one := s.begin(t)
	for range 3 {
		must.stage(one)
		must.opens("staged", must.world.Before)
	}
	for range 3 {
		must.swap(one, false)
		must.opens("swapped", &first)
	}
	must.stage(one)
	must.opens("staged after the swap", &first)
	must.check(one)
	must.swap(one, false)
	must.stands("at last", one, 1, &first)
}

func (s *suite) rollBack(t *testing.T) {
	must, first, one := s.begin(t)
	second := s.authority.Issue(t, s.names...)
	two := Store(t, must.world.State, "www", 2, second)
	for _, placement := range []deploy.Placement{one, two} {
		must.stage(placement)
		must.swap(placement, false)
	}
	err := must.world.Open(t).Swap(context.Background(), one, false)
	if !errors.Is(err, deploy.ErrOlderGeneration) {
		t.Fatalf("an older generation: %v", err)
	}
	must.opens("refused", &second)
	for range 2 {
		must.swap(one, true)
		must.opens("rolled back", &first)
	}
	must.stands("rolled back", one, 1, &first)
	must.swap(two, false)
	must.opens("forward again", &second)

	zero := deploy.Placement{Name: "www", Domains: s.names}
	err = must.world.Open(t).Swap(context.Background(), zero, true)
	if must.world.Before == nil {
		if err == nil {
			t.Fatal("rolled back to a pair that never was")
		}
		must.opens("nothing to go back to", &second)
		return
	}
	if err != nil {
		t.Fatalf("back to the pair from before: %v", err)
	}
	must.opens("back to the pair from before", must.world.Before)
	must.stands("back to the pair from before", zero, 0, must.world.Before)
	must.stage(two)
	must.opens("staged once more", must.world.Before)
	must.swap(two, false)
	must.stands("at last", two, 2, &second)
}

func (s *suite) notWhole(t *testing.T) {
	must, first, one := s.begin(t)
	must.stage(one)
	must.swap(one, false)
	refuse := func(when string, placement deploy.Placement) {
		t.Helper()
		if must.world.Open(t).Stage(context.Background(), placement) == nil {
			t.Errorf("%s: staged", when)
		}
		if must.world.Open(t).Swap(context.Background(), placement, false) == nil {
			t.Errorf("%s: swapped", when)
		}
		must.opens(when, &first)
	}
	next := s.authority.Issue(t, s.names...)
	two := one
	two.Generation, two.Folder = 2, deploy.Folder(must.world.State, "www", 2)
	refuse("absent", two)
	if err := deploy.WriteKey(must.world.State, "www", 2, next.Key); err != nil {
		t.Fatal(err)
	}
	refuse("only a key", two)
	if err := deploy.WriteChain(must.world.State, "www", 2, next.Leaf, next.Chain); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(two.Folder, deploy.KeyFile), first.Key, 0o600); err != nil {
		t.Fatal(err)
	}
	refuse("another key", two)
	climbing := one
	climbing.Name = "../www"
	refuse("a name that climbs", climbing)
}

// Damage happens to the generation, or to what was staged; neither is put in force.
func (s *suite) damaged(t *testing.T) {
	must, first, one := s.begin(t)
	must.stage(one)
	must.swap(one, false)
	two := Store(t, must.world.State, "www", 2, s.authority.Issue(t, s.names...))
	must.stage(two)
	if err := os.WriteFile(filepath.Join(two.Folder, deploy.FullChainFile), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if must.world.Open(t).Check(context.Background(), []deploy.Placement{two}) == nil {
		t.Error("the check passed")
	}
	if must.world.Open(t).Swap(context.Background(), two, false) == nil {
		t.Error("the swap was done")
	}
	must.opens("damaged", &first)
}

// After a restore a number may stand for another certificate than the one at
// the target; the deployment must still arrive.
func (s *suite) countsAnew(t *testing.T) {
	must, _, one := s.begin(t)
	must.stage(one)
	must.swap(one, false)
	if err := os.RemoveAll(filepath.Join(must.world.State, "certs", "www")); err != nil {
		t.Fatal(err)
	}
	other := s.authority.Issue(t, s.names...)
	one = Store(t, must.world.State, "www", 1, other)
	must.stage(one)
	must.swap(one, false)
	must.opens("at last", &other)
	must.stands("at last", one, 1, &other)
}
