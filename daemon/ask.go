package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// Ask makes the named certificates due now because a person wants to see them
// done: what waits after failures is tried at once. force: a new certificate
// although none is due.
func (daemon *Daemon) Ask(ctx context.Context, names []string, force bool) error {
	now := daemon.cfg.Now()
	for _, name := range names {
		works, err := daemon.rowsOf(ctx, name)
		if err != nil {
			return err
		}
		err = daemon.state.Write(ctx, func(tx *store.Tx) error {
			for index := range works {
				work := works[index]
				work.Row = work.Row.Clone()
				switch {
				case work.Row.Certificate != nil:
					work.Row.Certificate.History.RetryAt = time.Time{}
					work.Row.Certificate.Link.RetryAt = time.Time{}
					work.Row.Certificate.Asked = work.Row.Certificate.Asked || force && work.Row.Certificate.Held != nil
				case work.Row.Deployment != nil:
					work.Row.Deployment.History.RetryAt = time.Time{}
				default:
					continue
				}
				work.Next = now
				if err := tx.SaveWork(&work, store.Lease{}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (daemon *Daemon) rowsOf(ctx context.Context, name string) (all []store.Work, err error) {
	for _, kind := range []string{plan.KindCertificate, plan.KindDeployment, plan.KindChallenge} {
		works, err := daemon.state.OfSubject(ctx, kind, name)
		if err != nil {
			return nil, err
		}
		all = append(all, works...)
	}
	return all, nil
}

// ErrNothingHeld is returned when a certificate has no generation to deploy.
var ErrNothingHeld = errors.New("no certificate is held yet")

// Redeploy makes a generation due at all targets of a certificate, although it
// may have been proven there before. generation 0 is the newest. worse: a person
// confirmed that it may be worse than what is in force.
func (daemon *Daemon) Redeploy(ctx context.Context, name string, generation int, worse bool) (int, error) {
	work, err := daemon.state.Get(ctx, plan.KindCertificate+"/"+name)
	if err != nil {
		return 0, err
	}
	held, err := daemon.heldAs(ctx, work.Row.Certificate, generation)
	if err != nil {
		return 0, err
	}
	now := daemon.cfg.Now()
	return held.Generation, daemon.state.Write(ctx, func(tx *store.Tx) error {
		for _, target := range daemon.targetsOf(name) {
			row := &plan.Deployment{
				Name: name, Target: target, Domains: held.Domains, Wanted: held.Generation, Anew: true,
				Asked: true, AllowWorse: worse, DueSince: now, Deadline: held.NotAfter,
				Backward: held.Generation < work.Row.Certificate.Held.Generation,
			}
			if err := tx.Spawn(plan.Row{Deployment: row}, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// heldAs is a generation that was issued: the newest for 0.
func (daemon *Daemon) heldAs(ctx context.Context, row *plan.Certificate, generation int) (*plan.Held, error) {
	if row.Held == nil {
		return nil, ErrNothingHeld
	}
	if generation == 0 || generation == row.Held.Generation {
		return row.Held, nil
	}
	all, err := daemon.state.Generations(ctx, row.Name)
	if err != nil {
		return nil, err
	}
	var known []string
	for index := range all {
		if all[index].Generation == generation {
			return &all[index], nil
		}
		known = append(known, fmt.Sprint(all[index].Generation))
	}
	return nil, fmt.Errorf("%s has no generation %d (it has %s)", row.Name, generation, strings.Join(known, ", "))
}

// Step is one thing that a run would do.
type Step struct {
	Kind   string `json:"kind"` // "step"
	Schema int    `json:"schema"`
	Name   string `json:"name"`
	Do     string `json:"step"`
	Why    string `json:"why"`
}

// Plan compares what is configured with what is held, and says what a run would
// do. It decides as a run would, changes nothing and asks nobody. state is nil
// when there is none yet.
func Plan(ctx context.Context, configuration *config.Config, state *store.Store, names []string, force bool, now time.Time, timing plan.Timing) ([]Step, error) {
	rows := map[string]*plan.Certificate{}
	deployments := map[string]*plan.Deployment{}
	if state != nil {
		works, err := state.OfKind(ctx, plan.KindCertificate)
		if err != nil {
			return nil, err
		}
		for _, work := range works {
			rows[work.Row.Certificate.Name] = work.Row.Certificate
		}
		if works, err = state.OfKind(ctx, plan.KindDeployment); err != nil {
			return nil, err
		}
		for _, work := range works {
			deployments[work.Row.Deployment.Name+"/"+work.Row.Deployment.Target] = work.Row.Deployment
		}
	}
	rules := plan.Rules{Timing: timing}
	if state != nil {
		if seed, err := state.Fact(ctx, "seed"); err == nil {
			rules.Seed = decodeSeed(seed)
		}
	}
	var steps []Step
	for _, wish := range Wishes(configuration) {
		if len(names) > 0 && !slices.Contains(names, wish.Name) {
			delete(rows, wish.Name)
			continue
		}
		steps = append(steps, stepsOf(rules, wish, rows[wish.Name], deployments, force, now)...)
		delete(rows, wish.Name)
	}
	for _, work := range sortedRows(rows) {
		if !work.Retired && len(names) == 0 {
			steps = append(steps, Step{"step", 1, work.Name, "stop renewing", "it is not in the configuration any more; its files are kept"})
		}
	}
	return steps, nil
}

func sortedRows(rows map[string]*plan.Certificate) (all []*plan.Certificate) {
	for _, row := range rows { // order does not matter: sorted below
		all = append(all, row)
	}
	slices.SortFunc(all, func(a, b *plan.Certificate) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// stepsOf one certificate.
func stepsOf(rules plan.Rules, wish plan.Wish, stored *plan.Certificate, deployments map[string]*plan.Deployment, force bool, now time.Time) (steps []Step) {
	add := func(do, why string) { steps = append(steps, Step{"step", 1, wish.Name, do, why}) }
	row := plan.Certificate{Name: wish.Name, Since: now}
	if stored != nil {
		row = *stored
	}
	row.Want, row.Retired, row.Asked = wish.Want, false, row.Asked || force && row.Held != nil
	reason, _ := rules.Due(&row, now)
	issuing := row.Attempt != nil || reason != ""
	switch {
	case row.Attempt != nil:
		add("finish the order at "+row.Attempt.Authority, "an earlier run began it")
	case reason != "" && now.Before(row.History.RetryAt):
		add("try again at "+row.History.RetryAt.UTC().Format("2006-01-02 15:04 MST"), "it failed: "+row.History.Last.Summary)
	case reason != "":
		add("issue by "+wish.Want.Authorities[0], reasonWords(reason, &row))
	}
	for _, target := range wish.Want.Deploy {
		deployment := deployments[wish.Name+"/"+target]
		switch {
		case issuing:
			add("deploy to "+target, "the new certificate must be served")
		case row.Held == nil:
		case deployment == nil || deployment.Served != row.Held.Generation || deployment.Unproven:
			add("deploy to "+target, fmt.Sprintf("generation %d is held and not proven to be served there", row.Held.Generation))
		}
	}
	return steps
}

func reasonWords(reason string, row *plan.Certificate) string {
	switch reason {
	case plan.ReasonNew:
		return "none is held for " + strings.Join(row.Want.Domains, ", ")
	case plan.ReasonNames:
		return "the configured names changed"
	case plan.ReasonAsked:
		return "a person asked for it"
	case plan.ReasonRevoked:
		return "the one that is held was revoked"
	case plan.ReasonWindow:
		return "the CA's renewal window has come"
	}
	return "it ends at " + row.Held.NotAfter.UTC().Format("2006-01-02 15:04 MST")
}
