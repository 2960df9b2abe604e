package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/daemon"
	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

func renewCommand(p *program) *cobra.Command {
	var force, dry bool
	command := &cobra.Command{
		Use:   "renew [NAME...]",
		Short: "renew and deploy whatever is due; fit for cron",
		Long: "Renews every certificate that is due, issues those that do not exist yet, deploys\n" +
			"what is not served yet, and proves on the wire that it is. Finishes by itself what\n" +
			"an earlier run was killed over. With names: only these, now, whatever the retry\n" +
			"times say. Nothing to do is success and asks nobody.",
		Args: arguments(0, -1),
		RunE: p.job(func(ctx context.Context, names []string) (summary, error) {
			if force && len(names) == 0 {
				return summary{}, usage("--force needs a name", "it renews what is not due, and that costs the CA's quota", "backstay renew --force NAME")
			}
			if dry {
				return p.planned(ctx, names, force)
			}
			return p.renew(ctx, names, force)
		}),
	}
	command.Flags().BoolVar(&force, "force", false, "renew the named certificates although they are not due")
	command.Flags().BoolVar(&dry, "dry-run", false, "say what would be done, and do nothing")
	return command
}

func issueCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "issue NAME...",
		Short: "get the named certificates if they are missing or due, and deploy them",
		Args:  arguments(1, -1),
		RunE: p.job(func(ctx context.Context, names []string) (summary, error) {
			return p.renew(ctx, names, false)
		}),
	}
}

// renew works on everything due, or on names.
func (p *program) renew(ctx context.Context, names []string, force bool) (summary, error) {
	if len(names) == 0 {
		idle, overdue := p.idle(ctx)
		if overdue != nil {
			return summary{}, overdue
		}
		if idle {
			p.printf("nothing to do\n")
			return summary{Outcome: outcomeNothingToDo}, nil
		}
	}
	acting, err := p.act(ctx)
	if err != nil {
		return summary{}, err
	}
	defer func() { acting.program.tellClosing(acting.close()) }()
	if err := known(acting.config, names); err != nil {
		return summary{}, err
	}
	if len(names) > 0 {
		if err := acting.daemon.Ask(ctx, names, force); err != nil {
			return summary{}, err
		}
	}
	return acting.work(ctx, daemon.Selection{Names: names})
}

// idle is the quick way out: nothing is due and the configuration has not
// changed since the rows were made from it. It takes no lock, parses nothing and
// reads no key. Whatever goes wrong here is told on the long way.
//
// Nothing to try now is not the same as all well: a certificate that is past its
// deadline and waits for its next try is a failure, or cron would be silent
// until it expires.
func (p *program) idle(ctx context.Context) (bool, error) {
	path, err := p.configPath()
	if err != nil {
		return false, nil
	}
	hash, _, err := config.Hash(path)
	if err != nil {
		return false, nil
	}
	folder, err := p.statePath()
	if err != nil {
		return false, nil
	}
	if durable.Unfinished(folder) {
		return false, nil // a run was killed at its very end: let the long way clean up
	}
	state, err := store.Open(ctx, store.Config{Folder: folder, ReadOnly: true})
	if err != nil {
		return false, nil
	}
	defer state.Close()
	idle, err := daemon.Idle(ctx, state, hash, p.environment.Now())
	if err != nil || !idle {
		return false, nil
	}
	overdue, next, err := state.Overdue(ctx, p.environment.Now(), 100)
	if err != nil || len(overdue) == 0 {
		p.tellWaiting(ctx, state)
		return err == nil, nil
	}
	return true, &failure{
		What:  plural(len(overdue), "certificate is overdue", "certificates are overdue"),
		Cause: fmt.Sprintf("%s failed before and is tried again at %s", overdue[0], next.UTC().Format("2006-01-02 15:04 MST")),
		Next:  "backstay show " + overdue[0],
	}
}

// tellWaiting says beside "nothing to do" what failed and merely waits.
func (p *program) tellWaiting(ctx context.Context, state *store.Store) {
	waiting, err := daemon.Waits(ctx, state)
	if err != nil || len(waiting) == 0 {
		return // what cannot be read is told by the next command that needs it
	}
	for _, one := range waiting[:min(3, len(waiting))] {
		p.note("waiting: %s is tried again at %s; it failed: %s", one.Name, one.Next.UTC().Format("2006-01-02 15:04:05 MST"), one.Summary)
	}
	if more := len(waiting) - 3; more > 0 {
		p.note("waiting: %s more (backstay ls --state failing)", plural(more, "certificate", "certificates"))
	}
	p.note("next: backstay renew %s tries it at once", waiting[0].Name)
}

// known refuses names that are not configured, with the one that was meant.
func known(loaded *config.Config, names []string) error {
	var all []string
	for _, certificate := range loaded.Certificates {
		all = append(all, certificate.Name)
	}
	for _, name := range names {
		found := false
		for _, each := range all {
			found = found || each == name
		}
		if found {
			continue
		}
		told := usage(fmt.Sprintf("no certificate is named %q", name), "the configuration names no such certificate", "backstay ls")
		if meant := config.Nearest(name, all); meant != "" {
			told.Cause = fmt.Sprintf("did you mean %q?", meant)
		}
		return told
	}
	return nil
}

// tellClosing says what went wrong at the very end; what was done is stored.
func (p *program) tellClosing(err error) {
	if err != nil {
		p.note("warning: closing the state: %s", err.Error())
	}
}

// planned says what a run would do, from what is stored; it asks nobody.
func (p *program) planned(ctx context.Context, names []string, force bool) (summary, error) {
	steps, err := p.steps(ctx, names, force)
	if err != nil {
		return summary{}, err
	}
	rows := make([][]string, 0, len(steps))
	for _, step := range steps {
		p.record(step)
		rows = append(rows, []string{step.Name, step.Do, step.Why})
	}
	if len(steps) == 0 {
		p.printf("nothing to do\n")
		return summary{Outcome: outcomeNothingToDo}, nil
	}
	p.table([]string{"CERTIFICATE", "WOULD", "WHY"}, rows)
	return summary{Counts: map[string]int{"steps": len(steps)}}, nil
}

// steps compares what is configured with what is held.
func (p *program) steps(ctx context.Context, names []string, force bool) ([]daemon.Step, error) {
	loaded, err := p.loadConfig()
	if err != nil {
		return nil, err
	}
	if err := known(loaded, names); err != nil {
		return nil, err
	}
	folder, err := p.statePath()
	if err != nil {
		return nil, err
	}
	state, err := store.Open(ctx, store.Config{Folder: folder, ReadOnly: true})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, stateFailure(folder, err)
	}
	if err == nil {
		defer state.Close()
	} else {
		state = nil
	}
	return daemon.Plan(ctx, loaded, state, names, force, p.environment.Now(), plan.DefaultTiming())
}
