package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/inventory"
	"github.com/backstay/backstay/journal"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// Site is one target with what the engine must know of it.
type Site struct {
	Name        string
	Target      deploy.Target
	ReloadEvery time.Duration
}

// Handshake makes a fresh connection and returns the chain whose key was proven.
type Handshake func(ctx context.Context, listener plan.Listener) ([]*x509.Certificate, error)

// deployer drives the deployments of one target side by side, in step: all are
// staged before one test, all are swapped before one reload, and all are
// verified after it. Only one runs for a target.
type deployer struct {
	engine    *engine
	site      Site
	state     string // state folder
	handshake Handshake
	trust     func(authority string) []*cert.Trust
	authority func(name string, generation int) string
	revoked   func(name, sha256 string) bool // by us
	othersDue func() bool                    // certificates for this target are being issued
	more      func() []store.Work            // deployments that became due meanwhile
	reloaded  time.Time
}

// order is the order in which the kinds of effect are carried out over a batch.
var order = []plan.EffectKind{plan.Look, plan.Stage, plan.Check, plan.Swap, plan.SwapBack, plan.Reload, plan.Verify}

// run drives works, and what is due at the target meanwhile, until each has to
// wait for long. limit bounds waiting for others and for the next reload.
func (deployer *deployer) run(ctx context.Context, works []store.Work, limit time.Duration) (left []outcome, err error) {
	deployer.reloaded, err = deployer.engine.state.LastReload(ctx, deployer.site.Name)
	if err != nil {
		return nil, err
	}
	turns := deployer.join(nil, works)
	for len(turns) > 0 {
		if ctx.Err() != nil {
			for _, turn := range turns {
				err = errors.Join(err, turn.leave(ctx.Err()))
				left = append(left, turn.outcome())
			}
			return left, err
		}
		kind := nextKind(turns)
		if kind == plan.Check || kind == plan.Reload {
			// The last moment to take in those that came meanwhile: one test and one
			// reload serve them too.
			if fresh := deployer.more(); len(fresh) > 0 {
				turns = deployer.join(turns, fresh)
				continue
			}
		}
		if kind != "" {
			if err := deployer.step(ctx, turns, kind); err != nil {
				// The store, most of all. Rows keep what was stored of them.
				for _, turn := range turns {
					left = append(left, turn.outcome())
				}
				return left, err
			}
			continue
		}
		var done []outcome
		turns, done, err = deployer.wait(ctx, turns, limit)
		left = append(left, done...)
		if err != nil {
			return left, err
		}
		turns = deployer.join(turns, deployer.more())
	}
	return left, nil
}

// join takes rows into the batch.
func (deployer *deployer) join(turns []*turn, works []store.Work) []*turn {
	engine := deployer.engine
	for _, work := range works {
		around := deployer.around()
		around.Restarted = engine.first(work.Row.ID())
		turn := engine.newTurn(work, around)
		turn.interrupted = around.Restarted
		turn.decide(plan.Woken(engine.now(), around))
		turns = append(turns, turn)
	}
	return turns
}

func (deployer *deployer) around() plan.Around {
	return plan.Around{LastReload: deployer.reloaded, ReloadEvery: deployer.site.ReloadEvery, OthersDue: deployer.othersDue()}
}

// nextKind is the first kind of effect that some row of the batch waits for.
func nextKind(turns []*turn) plan.EffectKind {
	for _, kind := range order {
		for _, turn := range turns {
			if len(turn.decision.Effects) > 0 && turn.decision.Effects[0].Kind == kind {
				return kind
			}
		}
	}
	return ""
}

// step carries out one kind of effect for all rows that wait for it.
func (deployer *deployer) step(ctx context.Context, turns []*turn, kind plan.EffectKind) error {
	var ready []*turn
	for _, turn := range turns {
		if len(turn.decision.Effects) > 0 && turn.decision.Effects[0].Kind == kind {
			ready = append(ready, turn)
		}
	}
	err := atOnce(ready, func(turn *turn) error {
		err := turn.store(turn.decision.Effects)
		if errors.Is(err, store.ErrConflict) {
			// A newer generation came meanwhile: this row begins again, the others go on.
			turn.skip = true
			return turn.again(ctx)
		}
		return err
	})
	if err != nil {
		return err
	}
	ready = slices.DeleteFunc(ready, func(turn *turn) bool {
		skip := turn.skip
		turn.skip = false
		return skip
	})
	if len(ready) == 0 {
		return nil
	}
	events := make([]plan.Event, len(ready))
	switch kind {
	case plan.Check, plan.Reload:
		trouble := deployer.together(ctx, ready, kind)
		for index := range ready {
			events[index] = plan.Event{Effect: kind, Trouble: trouble[index]}
		}
	case plan.Look, plan.Verify:
		var group sync.WaitGroup
		slots := make(chan struct{}, effectsAtOnce)
		for index, turn := range ready {
			group.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				events[index] = deployer.look(ctx, turn, kind)
			})
		}
		group.Wait()
	default:
		for index, turn := range ready {
			events[index] = deployer.put(ctx, turn, turn.decision.Effects[0])
		}
	}
	ended, around := deployer.engine.now(), deployer.around() // one instant for all: they did it together
	for index, turn := range ready {
		event := events[index]
		if ctx.Err() != nil && event.Trouble != nil {
			continue // we were stopped: that is no evidence against the server
		}
		event.At, event.Around = ended, around
		deployer.engine.note(progressOf(turn.work.Row, turn.decision.Effects[0], event))
		before := *turn.work.Row.Deployment
		turn.decide(event)
		if deployment := turn.work.Row.Deployment; deployment.ServedAt != before.ServedAt {
			turn.proof = &proof{deployment.Generation, event.Verified, deployment.Blind, turn.leaf}
			deployer.engine.ledger.served(deployment, turn.proof)
		}
	}
	return nil
}

// atOnce stores several rows side by side, so that they share transactions.
func atOnce(turns []*turn, act func(*turn) error) error {
	errs := make([]error, len(turns))
	var group sync.WaitGroup
	for index, turn := range turns {
		group.Go(func() { errs[index] = act(turn) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// wait lets go of rows that have nothing to do for long, and sleeps until the
// first of the others has.
func (deployer *deployer) wait(ctx context.Context, turns []*turn, limit time.Duration) (stay []*turn, left []outcome, err error) {
	now := deployer.engine.now()
	var first time.Time
	var leaving []*turn
	for _, turn := range turns {
		next := turn.decision.Next
		if turn.decision.Gone || next.IsZero() || next.Sub(now) > limit || failing(turn.work.Row, next) && next.Sub(now) > inlineWait {
			leaving = append(leaving, turn)
			continue
		}
		stay = append(stay, turn)
		if first.IsZero() || next.Before(first) {
			first = next
		}
	}
	err = atOnce(leaving, func(turn *turn) error { return turn.leave(nil) })
	for _, turn := range leaving {
		left = append(left, turn.outcome())
	}
	if err != nil || len(stay) == 0 {
		return stay, left, err
	}
	sleep(ctx, first.Sub(now))
	for _, turn := range stay {
		if !deployer.engine.now().Before(turn.decision.Next) {
			turn.decide(plan.Woken(deployer.engine.now(), deployer.around()))
		}
	}
	return stay, left, nil
}

// failing reports whether the row waits until next because something went wrong.
func failing(row plan.Row, next time.Time) bool {
	trouble, until := troubleOf(row)
	return trouble != nil && next.Equal(until)
}

// placement of a generation at the target.
func (deployer *deployer) placement(row *plan.Deployment, generation int) deploy.Placement {
	return deploy.Placement{
		Name: row.Name, Domains: row.Domains, Generation: generation,
		Folder: filepath.Join(deployer.state, "certs", row.Name, fmt.Sprint(generation)),
	}
}

// put carries out an effect that changes one certificate's files.
func (deployer *deployer) put(ctx context.Context, turn *turn, effect plan.Effect) plan.Event {
	target := deployer.site.Target
	placement := deployer.placement(turn.work.Row.Deployment, effect.Generation)
	var err error
	switch effect.Kind {
	case plan.Stage:
		err = target.Stage(ctx, placement)
	case plan.Swap:
		err = target.Swap(ctx, placement, false)
	case plan.SwapBack:
		err = target.Swap(ctx, placement, true)
	}
	return plan.Event{Effect: effect.Kind, Trouble: targetTrouble(deployer.site.Name, string(effect.Kind), err)}
}

// together tests or reloads once for all rows. A test that fails for several is
// repeated one by one, so that one bad pair holds up no other.
func (deployer *deployer) together(ctx context.Context, ready []*turn, kind plan.EffectKind) []*plan.Trouble {
	trouble := make([]*plan.Trouble, len(ready))
	all := func(found *plan.Trouble) []*plan.Trouble {
		for index := range trouble {
			trouble[index] = found
		}
		return trouble
	}
	if kind == plan.Reload {
		now := deployer.engine.now()
		err := deployer.site.Target.Reload(ctx)
		if err == nil {
			deployer.reloaded = now
			err = deployer.engine.state.Write(ctx, func(tx *store.Tx) error { return tx.SetLastReload(deployer.site.Name, now) })
		}
		return all(targetTrouble(deployer.site.Name, "reload", err))
	}
	placements := make([]deploy.Placement, len(ready))
	for index, turn := range ready {
		placements[index] = deployer.placement(turn.work.Row.Deployment, turn.work.Row.Deployment.Generation)
	}
	err := deployer.site.Target.Check(ctx, placements)
	if err == nil || len(placements) == 1 {
		return all(targetTrouble(deployer.site.Name, "test", err))
	}
	for index, placement := range placements {
		trouble[index] = targetTrouble(deployer.site.Name, "test", deployer.site.Target.Check(ctx, []deploy.Placement{placement}))
	}
	return trouble
}

// targetTrouble words an error of a target.
func targetTrouble(name, doing string, err error) *plan.Trouble {
	if err == nil {
		return nil
	}
	trouble := &plan.Trouble{Class: plan.TargetFault, Summary: fmt.Sprintf("%s of %s failed: %v", doing, name, err)}
	var refused *deploy.Refused
	if errors.As(err, &refused) {
		trouble.Summary = fmt.Sprintf("%s of %s: %s says no", doing, name, refused.Command)
		trouble.Detail = refused.Output
		trouble.Next = "mend the server's own configuration, then run `backstay renew`"
	}
	if errors.Is(err, deploy.ErrNotRunning) {
		trouble.Code = "target-not-running"
	}
	if errors.Is(err, fs.ErrPermission) {
		trouble.Permission = true
		trouble.Next = "run it as a user who may write there, or give that folder to this user"
	}
	return trouble
}

// proof is a finished verification, for the journal.
type proof struct {
	generation int
	sights     []plan.Sight
	blind      bool
	leaf       *x509.Certificate
}

// record writes a proof as an act of its own, already ended.
func (proof *proof) record(tx *store.Tx, row plan.Row, who string, now time.Time) error {
	facts := map[string]string{"generation": fmt.Sprint(proof.generation), "target": row.Deployment.Target, "certificate": row.Deployment.Name}
	if proof.blind {
		facts["seen"] = "nowhere: no listener is known"
	}
	for index, sight := range proof.sights {
		if index == 20 {
			facts["more"] = fmt.Sprint(len(proof.sights) - index)
			break
		}
		facts[fmt.Sprintf("listener_%d", index+1)] = sight.Address + " " + sight.ServerName + " " + sight.SHA256
	}
	id, err := journal.Begin(tx, journal.Intent{What: "served", Subject: row.ID(), Actor: who, At: now, Details: facts})
	if err != nil {
		return err
	}
	if err := journal.End(tx, id, journal.Outcome{At: now}); err != nil {
		return err
	}
	objects, sightings := proof.seen(now)
	return recordSeen(tx, objects, sightings)
}

// seen are the sightings of a verification, for the inventory.
func (proof *proof) seen(now time.Time) (objects []inventory.Object, sightings []inventory.Sighting) {
	for _, sight := range proof.sights {
		address, err := netip.ParseAddrPort(sight.Address)
		if err != nil || proof.leaf == nil {
			continue
		}
		objects, sightings = appendSeen(objects, sightings, cert.Observation{
			Target: sight.ServerName + "@" + sight.Address, Name: sight.ServerName, ServerName: sight.ServerName, Address: address,
			Transport: "tcp", Status: cert.StatusOK, ObservedAt: now, Chain: []*x509.Certificate{proof.leaf},
		})
	}
	return objects, sightings
}

func appendSeen(objects []inventory.Object, sightings []inventory.Sighting, seen cert.Observation) ([]inventory.Object, []inventory.Sighting) {
	object, sighting := inventory.FromLook(seen)
	return append(objects, object...), append(sightings, sighting...)
}
