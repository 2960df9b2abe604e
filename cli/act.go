package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strings"
	"syscall"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/daemon"
	"github.com/backstay/backstay/finding"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// acting is what a command that acts works with: the configuration, the state
// lock, and everything joined over the state folder.
type acting struct {
	program  *program
	daemon   *daemon.Daemon
	lock     *store.Lock
	config   *config.Config
	findings []finding.Finding
	more     bool // the command does more after this run: do not say yet that nothing was to do
}

// act takes the state lock (waiting for another backstay, and saying so), loads
// the configuration and opens the state. The caller closes it.
func (p *program) act(ctx context.Context) (*acting, error) {
	state, err := p.statePath()
	if err != nil {
		return nil, err
	}
	loaded, err := p.loadConfig()
	if err != nil {
		return nil, err
	}
	if len(p.settings.resolvers) > 0 {
		loaded.Resolvers = p.settings.resolvers
	}
	lock, err := store.WaitLock(ctx, state, func(held *store.HeldBy) {
		p.note("waiting: %s", held.Error())
	})
	if err != nil {
		return nil, stateFailure(state, err)
	}
	opened, err := daemon.Open(ctx, daemon.Config{
		Folder: state, Configuration: loaded, Now: p.environment.Now, UserAgent: "backstay/" + thisVersion().Version,
	})
	if err != nil {
		lock.Release()
		return nil, stateFailure(state, err)
	}
	return &acting{program: p, daemon: opened, lock: lock, config: loaded}, nil
}

// close writes what waits and gives the lock back.
func (acting *acting) close() error {
	return errors.Join(acting.daemon.Close(), acting.lock.Release())
}

// stateFailure words what can be wrong with the state folder.
func stateFailure(folder string, err error) error {
	var damage *store.Damage
	var held *store.HeldBy
	switch {
	case errors.As(err, &damage) && damage.Newer:
		return &failure{What: "the state was written by a newer backstay", Cause: damage.Error(), Next: "install that version again; nothing was changed", Err: err}
	case errors.As(err, &damage):
		return &failure{What: "the state database is damaged", Cause: damage.Error(),
			Next: "move " + damage.Path + " aside (with its -wal file) and run `backstay renew`: the certificates on disk are taken up again; nothing was changed", Err: err}
	case errors.As(err, &held):
		return &failure{What: held.Error(), Cause: "it did not finish in time", Next: "wait for it, or look with: backstay log tail", Err: err}
	case errors.Is(err, fs.ErrPermission):
		return &failure{What: "not permitted to use the state folder " + folder, Cause: err.Error(), Next: "the same command as root, or with --state DIR", Exit: ExitForbidden, Err: err}
	case errors.Is(err, syscall.EROFS):
		return &failure{What: "the state folder cannot be written", Cause: err.Error(), Next: "mount it writable; nothing was changed", Err: err}
	case isDiskFull(err):
		return diskFull(folder, err)
	}
	return err
}

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || strings.Contains(err.Error(), "database or disk is full")
}

func diskFull(folder string, err error) error {
	return &failure{What: "the disk under " + folder + " is full", Cause: err.Error(), Next: "free some space, then run `backstay renew`: it goes on from where it stopped", Err: err}
}

// actor is who asks, for the journal.
func actorName() string {
	if who, err := user.Current(); err == nil && who.Username != "" {
		return who.Username
	}
	return fmt.Sprintf("uid %d", syscall.Getuid())
}

// work runs what is selected to its end and says how it went.
func (acting *acting) work(ctx context.Context, selection daemon.Selection) (summary, error) {
	p := acting.program
	if p.settings.timeout > 0 {
		selection.Patience, selection.Hold = p.settings.timeout, p.settings.timeout
	}
	steps := p.progress("certificates", 0)
	told := map[string]bool{}
	report, err := acting.daemon.Run(ctx, selection, func(found finding.Finding) {
		key := string(found.Code) + found.Summary
		if told[key] {
			return
		}
		told[key] = true
		acting.findings = append(acting.findings, found)
		p.record(findingRecord{Kind: "finding", Schema: 1, Finding: found})
		if !p.settings.json {
			p.note("%s", string(found.Severity)+" "+found.Summary)
			if said := found.Evidence["said"]; said != "" {
				for _, line := range strings.Split(said, `\x0a`) { // how finding.Text writes a line's end
					p.note("  said: %s", line)
				}
			}
			if found.Remedy != "" {
				p.note("  next: %s", found.Remedy)
			}
		}
	}, func(step daemon.Progress) {
		steps.add(0)
		p.detail("  %s: %s %s", step.Subject, step.Step, step.Detail)
	}, actorName())
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		if isDiskFull(err) {
			return summary{}, diskFull("the state folder", err)
		}
		return summary{}, err
	}
	return acting.conclude(ctx, report)
}

// findingRecord is a finding on a line of its own.
type findingRecord struct {
	Kind   string `json:"kind"` // "finding"
	Schema int    `json:"schema"`
	finding.Finding
}

// conclude prints what a run did, and picks the exit code.
func (acting *acting) conclude(ctx context.Context, report daemon.Report) (summary, error) {
	p := acting.program
	for _, one := range report.Issued {
		p.record(one)
		p.printf("issued      %s: generation %d by %s, good until %s\n", one.Name, one.Generation, one.Authority, one.NotAfter.UTC().Format("2006-01-02 15:04 MST"))
	}
	for _, one := range report.Served {
		p.record(one)
		where := "; nobody told us where to look, so it is not proven (`verify:` under the target)"
		if len(one.Listeners) > 0 {
			where = ", seen at " + strings.Join(one.Listeners, ", ")
		}
		p.printf("%-11s %s: generation %d at %s%s\n", one.Step, one.Name, one.Generation, one.Target, where)
	}
	issued, served, left := report.Issued, report.Served, report.Left
	failed := map[string]*plan.Trouble{}
	for _, one := range left {
		if one.Trouble != nil && one.Row.Challenge == nil {
			failed[one.Name] = one.Trouble
		}
	}
	did := summary{Counts: map[string]int{"issued": len(issued), "deployed": len(served), "failed": len(failed)}}
	if interrupted := ctx.Err(); interrupted != nil {
		p.note("what was begun is kept: the next `backstay renew` goes on from there")
		did.Outcome = outcomePartly
		return did, interrupted
	}
	switch {
	case len(failed) > 0 && len(issued)+len(served) > 0:
		did.Outcome, did.Exit = outcomePartly, ExitPartly
	case len(failed) > 0:
		did.Outcome = outcomeFailed
		return did, acting.failed(failed)
	case len(issued)+len(served) == 0:
		did.Outcome = outcomeNothingToDo
		if !acting.more {
			p.printf("nothing to do\n")
			p.tellWaiting(ctx, acting.daemon.Store())
		}
	}
	return did, nil
}

// failed is the failure of a run in which nothing succeeded.
func (acting *acting) failed(failed map[string]*plan.Trouble) error {
	told := &failure{What: fmt.Sprintf("%s could not be brought up to date", plural(len(failed), "certificate", "certificates"))}
	unreachable, forbidden := true, true
	first := ""
	for name, trouble := range failed { // order does not matter: the least name is told
		unreachable = unreachable && (trouble.Class == plan.Transport || trouble.Class == plan.ServerError || trouble.Class == plan.RateLimited)
		forbidden = forbidden && trouble.Permission
		if first == "" || name < first {
			first = name
		}
	}
	trouble := failed[first]
	told.Cause, told.Next = first+": "+trouble.Summary, trouble.Next
	if told.Next == "" {
		told.Next = "backstay show " + first
	}
	switch {
	case forbidden:
		told.Exit = ExitForbidden
	case unreachable:
		told.Exit = ExitUnreachable
	}
	return told
}
