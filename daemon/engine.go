package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/backstay/backstay/finding"
	"github.com/backstay/backstay/journal"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// Actor carries out effects on certificate and challenge rows. Concurrent for
// different rows; every call ends by itself.
type Actor interface {
	Do(ctx context.Context, row plan.Row, effect plan.Effect) plan.Event
	// Resume sets up again what an earlier process took with it.
	Resume(ctx context.Context, row plan.Row)
}

// engine drives rows: decide, store, act, decide. Whatever happens between two
// stored rows, the next run finds the earlier one and goes on from it.
type engine struct {
	rules  plan.Rules
	state  *store.Store
	actor  Actor
	now    func() time.Time
	who    string // who asked for this run: written into acts
	holder string
	tell   func(finding.Finding)
	note   func(Progress)
	ledger *ledger

	mu   sync.Mutex
	seen map[string]bool // rows this process has worked on
}

// Progress is one step of one certificate, for people who watch.
type Progress struct {
	Subject string
	Step    string // an effect
	Detail  string
	Failed  bool
}

// inlineWait is how long a worker waits with a row in hand instead of giving it
// back to the store.
const inlineWait = 300 * time.Millisecond

// leaseTime is how long nobody else may work on a row after its intent is stored.
const leaseTime = 30 * time.Second

// outcome is how a drive left its row.
type outcome struct {
	work    store.Work
	gone    bool
	trouble *plan.Trouble // the last one, when the row waits because of it
}

// drive takes a row as far as it goes now. It returns when the row has to wait
// longer than a moment, or has nothing to do.
func (engine *engine) drive(ctx context.Context, work store.Work, around plan.Around) (outcome, error) {
	around.Restarted = engine.first(work.Row.ID())
	if around.Restarted {
		engine.actor.Resume(ctx, work.Row)
	}
	turn := engine.newTurn(work, around)
	turn.interrupted = around.Restarted
	turn.decide(plan.Woken(engine.now(), around))
	for {
		if err := ctx.Err(); err != nil {
			return turn.outcome(), turn.leave(err)
		}
		if len(turn.decision.Effects) == 0 {
			wait := turn.decision.Next.Sub(engine.now())
			if turn.decision.Gone || turn.decision.Next.IsZero() || wait > inlineWait {
				return turn.outcome(), turn.leave(nil)
			}
			if !sleep(ctx, wait) {
				continue
			}
			turn.decide(plan.Woken(engine.now(), turn.steady()))
			continue
		}
		if err := turn.store(turn.decision.Effects); errors.Is(err, store.ErrConflict) {
			if err := turn.again(ctx); err != nil {
				return turn.outcome(), err
			}
			continue
		} else if err != nil {
			return turn.outcome(), err
		}
		turn.perform(ctx)
	}
}

// again takes up a row that somebody else changed while it was in hand, from
// what is stored now. What was done meanwhile is found by looking, as after a kill.
func (turn *turn) again(ctx context.Context) error {
	work, err := turn.engine.state.Get(context.WithoutCancel(ctx), turn.work.Row.ID())
	if err != nil {
		return err
	}
	fresh := turn.engine.newTurn(work, turn.steady())
	fresh.interrupted = true
	fresh.decide(plan.Woken(turn.engine.now(), turn.steady()))
	*turn = *fresh
	return nil
}

func (engine *engine) newTurn(work store.Work, around plan.Around) *turn {
	return &turn{engine: engine, work: work, around: around}
}

// first reports whether this process has not worked on the row before.
func (engine *engine) first(id string) bool {
	engine.mu.Lock()
	defer engine.mu.Unlock()
	if engine.seen[id] {
		return false
	}
	engine.seen[id] = true
	return true
}

// turn is one worker's time with one row.
type turn struct {
	engine      *engine
	work        store.Work
	around      plan.Around
	decision    plan.Decision
	spawn       []plan.Row
	poke        []string
	issued      *plan.Held
	ended       []plan.Event
	open        map[actKey]int64  // acts under way
	interrupted bool              // close acts that a dead process left open
	dirty       bool              // something must be stored before anything else happens
	proof       *proof            // of a finished deployment
	leaf        *x509.Certificate // of the generation that is deployed
	skip        bool              // it began again in the middle of a batch's step
	stopped     bool              // an effect was cut short by our own end
}

type actKey struct {
	kind  plan.EffectKind
	index int
}

// steady is the surroundings without what holds for the first look only.
func (turn *turn) steady() plan.Around {
	around := turn.around
	around.Restarted = false
	return around
}

// decide takes one event and keeps what follows until it is stored.
func (turn *turn) decide(event plan.Event) {
	engine := turn.engine
	turn.decision = engine.rules.Decide(turn.work.Row, event, engine.now())
	turn.work.Row = turn.decision.Row
	turn.spawn = append(turn.spawn, turn.decision.Spawn...)
	turn.poke = append(turn.poke, turn.decision.Poke...)
	if event.Effect.IsAct() {
		turn.ended = append(turn.ended, event)
		turn.dirty = true
	}
	if event.Issued != nil && event.Trouble == nil {
		issued := *event.Issued
		turn.issued = &issued
		if row := turn.work.Row.Certificate; row != nil && row.Held != nil && row.Held.Generation == issued.Generation {
			turn.issued = row.Held // with the time of issue
		}
		engine.ledger.issued(turn.work.Row.Subject(), turn.issued)
	}
	for _, told := range turn.decision.Findings {
		engine.tell(told)
	}
	turn.dirty = turn.dirty || len(turn.decision.Spawn)+len(turn.decision.Poke)+len(turn.decision.Findings) > 0 || turn.decision.Gone
}

// store makes durable what has to be before effects are carried out: outcomes of
// acts, rows that were spawned, and the intents of the acts to come. Looks alone
// need nothing stored.
func (turn *turn) store(effects []plan.Effect) error {
	acts := 0
	for _, effect := range effects {
		if effect.Kind.IsAct() {
			acts++
		}
	}
	if acts == 0 && !turn.dirty {
		return nil
	}
	return turn.write(effects)
}

// leave stores the row as it is left. The reason it was left for comes first.
func (turn *turn) leave(reason error) error {
	if errors.Is(reason, context.Canceled) || errors.Is(reason, context.DeadlineExceeded) {
		// Interrupted: what was done is stored all the same, and the row is due again.
		turn.decision.Next = turn.engine.now()
	}
	return errors.Join(reason, turn.write(nil))
}

// write is the one transaction of a step.
func (turn *turn) write(effects []plan.Effect) error {
	engine, now := turn.engine, turn.engine.now()
	turn.work.Deadline = turn.decision.Deadline
	turn.work.Next = turn.decision.Next
	lease := store.Lease{}
	if len(effects) > 0 {
		// While the lease lasts the row is in hand; after it, or at the next start
		// when this process is dead, it is due for whoever holds the state then.
		turn.work.Next = now.Add(leaseTime)
		lease = store.Lease{Holder: engine.holder, Until: now.Add(leaseTime)}
	}
	begun := map[actKey]int64{}
	work := turn.work
	err := engine.state.Write(context.WithoutCancel(context.Background()), func(tx *store.Tx) error {
		work = turn.work
		clear(begun)
		if err := turn.saveRow(tx, &work, lease); err != nil {
			return err
		}
		if turn.interrupted {
			if err := journal.Interrupt(tx, work.Row.ID(), now); err != nil {
				return err
			}
		}
		for _, event := range turn.ended {
			if err := turn.end(tx, event); err != nil {
				return err
			}
		}
		if turn.issued != nil {
			if err := tx.AddGeneration(work.Row.Subject(), turn.issued); err != nil {
				return err
			}
		}
		if turn.proof != nil {
			if err := turn.proof.record(tx, work.Row, engine.who, now); err != nil {
				return err
			}
		}
		return turn.begin(tx, work.Row, effects, now, begun)
	})
	if err != nil {
		return err
	}
	turn.work = work
	turn.open = mergeActs(turn.open, begun)
	turn.spawn, turn.poke, turn.ended, turn.issued, turn.proof = nil, nil, nil, nil, nil
	turn.dirty, turn.interrupted = false, false
	return nil
}

func mergeActs(open, begun map[actKey]int64) map[actKey]int64 {
	if open == nil {
		open = map[actKey]int64{}
	}
	maps.Copy(open, begun)
	return open
}

func (turn *turn) saveRow(tx *store.Tx, work *store.Work, lease store.Lease) error {
	var err error
	if turn.decision.Gone {
		err = tx.DeleteWork(work)
	} else {
		err = tx.SaveWork(work, lease)
	}
	if err != nil {
		return err
	}
	now := turn.engine.now()
	for _, row := range turn.spawn {
		if err := tx.Spawn(row, now); err != nil {
			return err
		}
	}
	for _, id := range turn.poke {
		if err := tx.Poke(id, now); err != nil {
			return err
		}
	}
	return nil
}

// begin stores the intents of the acts among effects.
func (turn *turn) begin(tx *store.Tx, row plan.Row, effects []plan.Effect, now time.Time, begun map[actKey]int64) error {
	for _, effect := range effects {
		if !effect.Kind.IsAct() {
			continue
		}
		id, err := journal.Begin(tx, journal.Intent{
			What: string(effect.Kind), Subject: row.ID(), Actor: turn.engine.who, At: now, Details: details(row, effect),
		})
		if err != nil {
			return err
		}
		begun[actKey{effect.Kind, effect.Index}] = id
	}
	return nil
}

// end stores the outcome of an act.
func (turn *turn) end(tx *store.Tx, event plan.Event) error {
	key := actKey{event.Effect, event.Index}
	id, known := turn.open[key]
	if !known {
		return nil
	}
	ended := journal.Outcome{At: event.At}
	if trouble := event.Trouble; trouble != nil {
		ended.Error, ended.Cause = trouble.Summary, string(trouble.Class)
		if trouble.Detail != "" {
			ended.Error += ": " + trouble.Detail
		}
	}
	if err := journal.End(tx, id, ended); err != nil {
		return err
	}
	delete(turn.open, key)
	return nil
}

// effectsAtOnce bounds the effects of one row that run side by side.
const effectsAtOnce = 4

// perform carries the effects out and takes their events, one after the other.
func (turn *turn) perform(ctx context.Context) {
	engine, effects := turn.engine, turn.decision.Effects
	events := make([]plan.Event, len(effects))
	if len(effects) == 1 {
		events[0] = engine.act(ctx, turn.work.Row, effects[0])
	} else {
		var group sync.WaitGroup
		slots := make(chan struct{}, effectsAtOnce)
		for index, effect := range effects {
			group.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				events[index] = engine.act(ctx, turn.work.Row, effect)
			})
		}
		group.Wait()
	}
	for _, event := range events {
		if ctx.Err() != nil && event.Trouble != nil {
			// We were stopped: that says nothing about the CA. The act stays open, and
			// the row says what was sent.
			turn.stopped = true
			continue
		}
		event.Around = turn.steady()
		turn.decide(event)
	}
}

// act carries out one effect; a panic in it is a failure of it alone.
func (engine *engine) act(ctx context.Context, row plan.Row, effect plan.Effect) (event plan.Event) {
	defer func() {
		if panicked := recover(); panicked != nil {
			event = plan.Event{Effect: effect.Kind, Index: effect.Index, At: engine.now(), Trouble: &plan.Trouble{
				Class: plan.Local, Summary: fmt.Sprintf("a fault in backstay itself during %q: %v", effect.Kind, panicked), MaybeDone: true,
			}}
		}
	}()
	event = engine.actor.Do(ctx, row, effect)
	if ctx.Err() != nil && event.Trouble != nil {
		event.Trouble.MaybeDone = true
	}
	engine.note(progressOf(row, effect, event))
	return event
}

func (turn *turn) outcome() outcome {
	left := outcome{work: turn.work, gone: turn.decision.Gone}
	left.work.Next = turn.decision.Next
	if trouble, until := troubleOf(turn.work.Row); trouble != nil && left.work.Next.Equal(until) {
		left.trouble = trouble
	}
	return left
}

// troubleOf is what went wrong last with a row, and until when it waits for that.
// A row that waits until another time merely waits.
func troubleOf(row plan.Row) (trouble *plan.Trouble, until time.Time) {
	if row.Certificate != nil && row.Certificate.Link.Failures > 0 && row.Certificate.History.Failures == 0 {
		return row.Certificate.Link.Last, row.Certificate.Link.RetryAt
	}
	history := historyOf(row)
	if history == nil {
		return nil, time.Time{}
	}
	return history.Last, history.RetryAt
}

func historyOf(row plan.Row) *plan.History {
	switch {
	case row.Certificate != nil:
		return &row.Certificate.History
	case row.Deployment != nil:
		return &row.Deployment.History
	case row.Challenge != nil:
		return &row.Challenge.History
	}
	return nil
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, wait time.Duration) bool {
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
