package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/daemon"
	"github.com/backstay/backstay/store"
)

func deployCommand(p *program) *cobra.Command {
	var confirm string
	command := &cobra.Command{
		Use:   "deploy NAME",
		Short: "put the newest certificate in force at its targets again, and prove it",
		Long: "Stages, tests, swaps, reloads and verifies the newest generation at every target of\n" +
			"the certificate, although it may have been proven there before. It is not put in\n" +
			"place of a better one unless --confirm NAME says that it shall.",
		Args: arguments(1, 1),
		RunE: p.job(func(ctx context.Context, names []string) (summary, error) {
			if err := confirmed(confirm, names[0], "deploy"); err != nil {
				return summary{}, err
			}
			return p.redeploy(ctx, names[0], 0, confirm != "")
		}),
	}
	command.Flags().StringVar(&confirm, "confirm", "", "deploy a worse certificate: the certificate's name again")
	return command
}

func rollbackCommand(p *program) *cobra.Command {
	var generation int
	var confirm string
	command := &cobra.Command{
		Use:   "rollback NAME",
		Short: "put an older generation back in force, and prove it",
		Long: "Goes back to the generation before the newest, or to --to N. The next renewal moves\n" +
			"forward again. An expired or otherwise worse certificate needs --confirm NAME.",
		Args: arguments(1, 1),
		RunE: p.job(func(ctx context.Context, names []string) (summary, error) {
			if err := confirmed(confirm, names[0], "rollback"); err != nil {
				return summary{}, err
			}
			if generation == 0 {
				generation = -1
			}
			return p.redeploy(ctx, names[0], generation, confirm != "")
		}),
	}
	command.Flags().IntVar(&generation, "to", 0, "the generation to go back to")
	command.Flags().StringVar(&confirm, "confirm", "", "deploy a worse certificate: the certificate's name again")
	return command
}

// confirmed checks that a dangerous act was confirmed with the right name.
func confirmed(given, name, command string) error {
	if given != "" && given != name {
		return usage("--confirm names another certificate", fmt.Sprintf("%q is not %q", given, name), fmt.Sprintf("backstay %s %s --confirm %s", command, name, name))
	}
	return nil
}

// redeploy deploys a generation: 0 the newest, -1 the one before.
func (p *program) redeploy(ctx context.Context, name string, generation int, worse bool) (summary, error) {
	acting, err := p.act(ctx)
	if err != nil {
		return summary{}, err
	}
	defer func() { p.tellClosing(acting.close()) }()
	if err := known(acting.config, []string{name}); err != nil {
		return summary{}, err
	}
	if generation == -1 {
		if generation, err = acting.daemon.Before(ctx, name); err != nil {
			return summary{}, &failure{What: err.Error(), Next: "backstay show " + name, Err: err}
		}
	}
	number, err := acting.daemon.Redeploy(ctx, name, generation, worse)
	switch {
	case errors.Is(err, daemon.ErrNothingHeld), errors.Is(err, store.ErrNotFound):
		return summary{}, &failure{What: name + " has no certificate yet", Next: "backstay issue " + name, Err: err}
	case err != nil:
		return summary{}, &failure{What: err.Error(), Next: "backstay show " + name, Err: err}
	}
	if len(acting.daemon.TargetsOf(name)) == 0 {
		return summary{}, &failure{What: name + " has no target", Cause: "the configuration deploys it nowhere", Next: "add `deploy: [TARGET]` to the certificate"}
	}
	did, err := acting.work(ctx, daemon.Selection{Names: []string{name}})
	if err == nil && did.Exit == ExitDone {
		err = acting.daemon.FollowLive(ctx, name, number)
	}
	return did, err
}
