package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/daemon"
	"github.com/backstay/backstay/deploy"
)

func planCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "plan [NAME...]",
		Short: "what would be done: configured, held and served compared",
		Long: "Compares what the configuration wants with what is held and what the servers use,\n" +
			"and prints what `backstay apply` would do. Changes nothing.",
		Args: arguments(0, -1),
		RunE: p.job(func(ctx context.Context, names []string) (summary, error) {
			did, err := p.planned(ctx, names, false)
			if err != nil {
				return did, err
			}
			return did, p.unused(ctx, names)
		}),
	}
}

// unused tells which certificates no server block uses yet, and what to add.
func (p *program) unused(ctx context.Context, names []string) error {
	loaded, err := p.loadConfig()
	if err != nil {
		return err
	}
	folder, err := p.statePath()
	if err != nil {
		return err
	}
	found, err := daemon.Unused(ctx, loaded, folder, names)
	if err != nil {
		return err
	}
	for _, one := range found {
		p.record(one)
		p.printf("\n%s: no server block of %s uses this certificate.\n", one.Name, one.Target)
		p.printf("  In the server block that should, put:\n    include %s;\n", one.Include)
		if one.Path != "" {
			p.printf("  Or let `backstay apply` write this server block to %s:\n", one.Path)
			for line := range strings.Lines(one.Text) {
				p.printf("    %s\n", strings.TrimSuffix(line, "\n"))
			}
		}
	}
	return nil
}

func applyCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "apply",
		Short: "do what `backstay plan` says, server blocks included",
		Long: "Issues and deploys what is due, and adds a server block for each certificate that no\n" +
			"server block uses yet, where the server's configuration has a folder for it. A file\n" +
			"that the server refuses is taken away again.",
		Args: arguments(0, 0),
		RunE: p.job(func(ctx context.Context, _ []string) (summary, error) {
			acting, err := p.act(ctx)
			if err != nil {
				return summary{}, err
			}
			defer func() { p.tellClosing(acting.close()) }()
			acting.more = true
			did, err := acting.work(ctx, daemon.Selection{})
			acting.more = false
			if err != nil && did.Outcome == "" {
				return did, err
			}
			added, adding := acting.daemon.AddServerBlocks(ctx, actorName())
			for _, one := range added {
				p.record(one)
				p.printf("added       %s: a server block in %s\n", one.Name, one.Path)
			}
			if adding != nil {
				return did, blockRefused(adding)
			}
			if len(added) == 0 {
				if did.Outcome == outcomeNothingToDo {
					p.printf("nothing to do\n")
					p.tellWaiting(ctx, acting.daemon.Store())
				}
				return did, err
			}
			var names []string
			for _, one := range added {
				names = append(names, one.Name)
			}
			if err := acting.daemon.Ask(ctx, names, false); err != nil {
				return did, err
			}
			return acting.work(ctx, daemon.Selection{Names: names})
		}),
	}
}

// blockRefused tells why a server block was not added, in the server's own words
// if it has any.
func blockRefused(err error) error {
	told := &failure{What: err.Error(), Cause: "the server's configuration is as it was before", Next: "backstay plan", Err: err}
	var refused *deploy.Refused
	if errors.As(err, &refused) && refused.Output != "" {
		told.Cause, _, _ = strings.Cut(strings.TrimSpace(refused.Output), "\n")
	}
	return told
}
