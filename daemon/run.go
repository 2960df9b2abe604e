package daemon

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/backstay/backstay/finding"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// Selection says what a run should work on.
type Selection struct {
	Names []string // of certificates; empty: everything that is due
	// Patience is how long to wait for a row whose last step failed; Hold for one
	// that merely has to wait (for a poll, for others, for the next reload).
	Patience time.Duration
	Hold     time.Duration
}

// Left is a row that a run could not finish.
type Left struct {
	Name    string
	Row     plan.Row
	Trouble *plan.Trouble // nil: it only waits
	Next    time.Time
}

// workersPerLane bounds the rows of one authority that are driven side by side.
// It is more than the requests that package issue allows at once, because a row
// in hand waits for the disk as often as for the CA.
const workersPerLane = 24

// runner is one run to the end: until nothing selected is due within patience.
type runner struct {
	daemon    *Daemon
	engine    *engine
	selection Selection

	mu       sync.Mutex
	busy     map[string]string // row ID -> lane, for rows in hand
	lanes    map[string]int    // rows in hand by kind and lane
	left     map[string]Left   // rows that wait or failed, by ID
	ended    int               // rows given back so far
	finished chan struct{}
	failure  error
	cancel   context.CancelFunc
}

// Run works on what is due until it is done, waits for long, or ctx ends. What
// is left says why. An error is a failure of our own (the store, most of all).
func (daemon *Daemon) Run(ctx context.Context, selection Selection, tell func(finding.Finding), note func(Progress), who string) (Report, error) {
	if selection.Patience == 0 {
		selection.Patience = 15 * time.Second
	}
	if selection.Hold == 0 {
		selection.Hold = 2 * time.Minute
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	runner := &runner{
		daemon: daemon, engine: daemon.engine(tell, note, who), selection: selection,
		busy: map[string]string{}, lanes: map[string]int{}, left: map[string]Left{},
		finished: make(chan struct{}, 1), cancel: cancel,
	}
	if daemon.logTrouble != nil && tell != nil {
		tell(finding.New(finding.SelfState, "the journal cannot be written, its acts queue: "+daemon.logTrouble.Error()))
	}
	err := runner.loop(inner)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		err = nil
	}
	report := runner.engine.ledger.sorted()
	report.Left = runner.remaining()
	return report, errors.Join(err, runner.failed())
}

func (runner *runner) failed() error {
	runner.mu.Lock()
	defer runner.mu.Unlock()
	return runner.failure
}

// loop starts whatever is due, and sleeps until something ends or becomes due.
func (runner *runner) loop(ctx context.Context) error {
	defer runner.settle()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		before := runner.endedSoFar()
		started, err := runner.start(ctx)
		if err != nil {
			return err
		}
		// A row that ended between the look into the store and here may have made
		// others due: look again before saying that there is nothing.
		if started > 0 || runner.endedSoFar() != before {
			continue
		}
		wait, idle := runner.idle()
		if idle && wait < 0 {
			return nil
		}
		// Not shorter: a row whose lane is full is woken by whoever leaves the lane.
		timer := time.NewTimer(max(wait, 20*time.Millisecond))
		if wait < 0 {
			timer.Stop()
		}
		select {
		case <-runner.finished:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (runner *runner) endedSoFar() int {
	runner.mu.Lock()
	defer runner.mu.Unlock()
	return runner.ended
}

// serious reports whether an error is more than our own stop, or a row that was
// changed by another: one of several joined ones is enough.
func serious(err error) bool {
	if err == nil {
		return false
	}
	if several, joined := err.(interface{ Unwrap() []error }); joined {
		return slices.ContainsFunc(several.Unwrap(), serious)
	}
	return !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// settle waits for rows in hand: each stores itself before it lets go.
func (runner *runner) settle() {
	for {
		runner.mu.Lock()
		none := len(runner.busy) == 0
		runner.mu.Unlock()
		if none {
			return
		}
		<-runner.finished
	}
}

// start takes due rows in hand. Certificates and challenges each by themselves,
// deployments a target at a time.
func (runner *runner) start(ctx context.Context) (started int, err error) {
	due, err := runner.due(ctx)
	if err != nil {
		return 0, err
	}
	for _, work := range due {
		if work.Row.Deployment != nil {
			continue
		}
		if runner.take(work) {
			started++
			go runner.drive(ctx, work)
		}
	}
	targets := map[string][]store.Work{}
	var names []string
	for _, work := range due {
		if deployment := work.Row.Deployment; deployment != nil {
			if targets[deployment.Target] == nil {
				names = append(names, deployment.Target)
			}
			targets[deployment.Target] = append(targets[deployment.Target], work)
		}
	}
	for _, name := range names {
		if works := runner.takeTarget(name, targets[name]); len(works) > 0 {
			started += len(works)
			go runner.deploy(ctx, name, works)
		}
	}
	return started, nil
}

// due lists due rows that are not in hand, the earliest deadline first in each lane.
func (runner *runner) due(ctx context.Context) ([]store.Work, error) {
	state, now := runner.daemon.state, runner.engine.now()
	var all []store.Work
	if len(runner.selection.Names) > 0 {
		for _, name := range runner.selection.Names {
			for _, kind := range []string{plan.KindCertificate, plan.KindDeployment, plan.KindChallenge} {
				works, err := state.OfSubject(ctx, kind, name)
				if err != nil {
					return nil, err
				}
				all = append(all, slices.DeleteFunc(works, func(work store.Work) bool {
					return work.Next.IsZero() || work.Next.After(now)
				})...)
			}
		}
		return runner.free(all), nil
	}
	if err := state.Promote(ctx, now); err != nil {
		return nil, err
	}
	lanes, err := state.DueLanes(ctx)
	if err != nil {
		return nil, err
	}
	for _, lane := range lanes {
		limit := runner.room(lane.Kind, lane.Name)
		if limit == 0 {
			continue
		}
		works, err := state.Due(ctx, lane.Kind, lane.Name, limit)
		if err != nil {
			return nil, err
		}
		all = append(all, works...)
	}
	return runner.free(all), nil
}

// room is how many rows of a lane may be taken in hand now.
func (runner *runner) room(kind, lane string) int {
	runner.mu.Lock()
	defer runner.mu.Unlock()
	if kind == plan.KindDeployment {
		return 1000 // one test and one reload for as many as possible
	}
	return max(0, workersPerLane-runner.lanes[kind+"/"+lane])
}

func (runner *runner) free(works []store.Work) []store.Work {
	runner.mu.Lock()
	defer runner.mu.Unlock()
	return slices.DeleteFunc(works, func(work store.Work) bool {
		_, busy := runner.busy[work.Row.ID()]
		return busy
	})
}

// take puts a row in hand unless it is, or its lane is full.
func (runner *runner) take(work store.Work) bool {
	runner.mu.Lock()
	defer runner.mu.Unlock()
	id, lane := work.Row.ID(), work.Row.Kind()+"/"+work.Row.Lane()
	if _, busy := runner.busy[id]; busy || runner.lanes[lane] >= workersPerLane {
		return false
	}
	runner.busy[id] = lane
	runner.lanes[lane]++
	return true
}

// takeTarget takes deployments in hand; only one batch runs for a target.
func (runner *runner) takeTarget(name string, works []store.Work) (taken []store.Work) {
	runner.mu.Lock()
	defer runner.mu.Unlock()
	lane := plan.KindDeployment + "/" + name
	if runner.lanes[lane] > 0 {
		return nil
	}
	for _, work := range works {
		runner.busy[work.Row.ID()] = lane
		runner.lanes[lane]++
	}
	return works
}

// release gives a row back and keeps how it was left.
func (runner *runner) release(id string, result *outcome, err error) {
	runner.mu.Lock()
	runner.ended++
	if lane, busy := runner.busy[id]; busy {
		runner.lanes[lane]--
		delete(runner.busy, id)
	}
	delete(runner.left, id)
	if result != nil && !result.gone && !result.work.Next.IsZero() {
		runner.left[id] = Left{Name: result.work.Row.Subject(), Row: result.work.Row, Trouble: result.trouble, Next: result.work.Next}
	}
	if serious(err) {
		// The store cannot be written (disk full, most of all): nothing more can be
		// done safely, since an act needs its intent stored first.
		runner.failure = errors.Join(runner.failure, err)
		runner.cancel()
	}
	runner.mu.Unlock()
	select {
	case runner.finished <- struct{}{}:
	default:
	}
}

func (runner *runner) drive(ctx context.Context, work store.Work) {
	id := work.Row.ID()
	around, err := runner.daemon.around(ctx, work.Row)
	if err != nil {
		runner.release(id, nil, err)
		return
	}
	result, err := runner.engine.drive(ctx, work, around)
	runner.release(id, &result, err)
}

func (runner *runner) deploy(ctx context.Context, target string, works []store.Work) {
	deployer, trouble := runner.daemon.deployer(target, runner.engine)
	if trouble != nil {
		for _, work := range works {
			result, err := runner.refuse(work, trouble)
			runner.release(work.Row.ID(), &result, err)
		}
		return
	}
	held := works
	deployer.othersDue = func() bool { return runner.coming(target) }
	deployer.more = func() []store.Work {
		due, err := runner.due(ctx)
		if err != nil {
			return nil
		}
		var fresh []store.Work
		for _, work := range due {
			if deployment := work.Row.Deployment; deployment != nil && deployment.Target == target {
				fresh = append(fresh, work)
			}
		}
		runner.mu.Lock()
		for _, work := range fresh {
			runner.busy[work.Row.ID()] = plan.KindDeployment + "/" + target
			runner.lanes[plan.KindDeployment+"/"+target]++
		}
		runner.mu.Unlock()
		held = append(held, fresh...)
		return fresh
	}
	results, err := deployer.run(ctx, works, runner.selection.Hold)
	for _, result := range results {
		runner.release(result.work.Row.ID(), &result, nil)
	}
	for _, work := range held {
		runner.mu.Lock()
		_, busy := runner.busy[work.Row.ID()]
		runner.mu.Unlock()
		if busy {
			runner.release(work.Row.ID(), nil, err)
		}
	}
}

// refuse stores that a row cannot be driven now, so that it is not taken again at
// once, and says why.
func (runner *runner) refuse(work store.Work, trouble *plan.Trouble) (outcome, error) {
	now := runner.engine.now()
	work.Row = work.Row.Clone()
	history := historyOf(work.Row)
	history.Last, history.LastAt, history.RetryAt = trouble, now, now.Add(time.Hour)
	work.Next = history.RetryAt
	runner.engine.tell(finding.New(finding.Code(trouble.Code), work.Row.Subject()+": "+trouble.Summary))
	err := runner.daemon.state.Write(context.Background(), func(tx *store.Tx) error { return tx.SaveWork(&work, store.Lease{}) })
	return outcome{work: work, trouble: trouble}, err
}

// coming reports whether certificates for the target are being issued now.
func (runner *runner) coming(target string) bool {
	runner.mu.Lock()
	defer runner.mu.Unlock()
	for id := range runner.busy { // order does not matter: any one decides
		if name, isCertificate := certificateOf(id); isCertificate && slices.Contains(runner.daemon.targetsOf(name), target) {
			return true
		}
	}
	return false
}

// idle reports whether nothing is in hand, and how long to wait for the next row
// that is worth waiting for; wait < 0: there is none.
func (runner *runner) idle() (wait time.Duration, idle bool) {
	runner.mu.Lock()
	defer runner.mu.Unlock()
	now := runner.engine.now()
	wait = -1
	for _, left := range runner.left { // order does not matter: the least is taken
		until := left.Next.Sub(now)
		most := runner.selection.Hold
		if left.Trouble != nil {
			most = runner.selection.Patience
		}
		if until <= most && (wait < 0 || until < wait) {
			wait = max(until, 0)
		}
	}
	return wait, len(runner.busy) == 0
}

// unfinished: something is under way on the row, not merely planned for later.
func unfinished(row plan.Row) bool {
	switch {
	case row.Certificate != nil:
		return row.Certificate.Attempt != nil
	case row.Deployment != nil:
		return row.Deployment.Phase != "" || row.Deployment.Served != row.Deployment.Wanted
	}
	return true
}

// remaining are the rows that were not finished, by ID.
func (runner *runner) remaining() []Left {
	runner.mu.Lock()
	defer runner.mu.Unlock()
	var all []Left
	for _, left := range runner.left { // order does not matter: sorted below
		if left.Trouble != nil || unfinished(left.Row) {
			all = append(all, left)
		}
	}
	slices.SortFunc(all, func(a, b Left) int {
		if a.Row.ID() < b.Row.ID() {
			return -1
		}
		return 1
	})
	return all
}
