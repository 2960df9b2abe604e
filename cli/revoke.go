package cli

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/daemon"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// reasons are those of RFC 5280 section 5.3.1 that a subscriber may give.
var reasons = map[string]int{
	"unspecified": 0, "key-compromise": 1, "affiliation-changed": 3, "superseded": 4, "cessation-of-operation": 5,
}

func revokeCommand(p *program) *cobra.Command {
	var reason, confirm string
	var generation int
	command := &cobra.Command{
		Use:   "revoke NAME --reason REASON --confirm NAME",
		Short: "ask the CA to revoke a certificate; clients that check then refuse it",
		Long: "Asks the issuing CA to revoke the newest generation, or --generation N. It cannot be\n" +
			"undone. What is served stays served until it is replaced: the certificate becomes\n" +
			"due at once, and `backstay renew` replaces it. Reasons: " + strings.Join(reasonNames(), ", ") + ".",
		Args: arguments(1, 1),
		RunE: p.job(func(ctx context.Context, names []string) (summary, error) {
			code, known := reasons[reason]
			if !known {
				return summary{}, usage(fmt.Sprintf("--reason %q is not a reason", reason), "one of: "+strings.Join(reasonNames(), ", "), "backstay revoke "+names[0]+" --reason superseded --confirm "+names[0])
			}
			if confirm != names[0] {
				return summary{}, usage("revoking needs the name again", "it cannot be undone", fmt.Sprintf("backstay revoke %s --reason %s --confirm %s", names[0], reason, names[0]))
			}
			return p.revoke(ctx, names[0], generation, code, reason)
		}),
	}
	command.Flags().StringVar(&reason, "reason", "", "why: "+strings.Join(reasonNames(), ", "))
	command.Flags().StringVar(&confirm, "confirm", "", "the certificate's name again")
	command.Flags().IntVar(&generation, "generation", 0, "an older generation instead of the newest")
	return command
}

func reasonNames() []string {
	var names []string
	for name := range reasons { // order does not matter: sorted below
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func (p *program) revoke(ctx context.Context, name string, generation, code int, reason string) (summary, error) {
	acting, err := p.act(ctx)
	if err != nil {
		return summary{}, err
	}
	defer func() { p.tellClosing(acting.close()) }()
	if err := known(acting.config, []string{name}); err != nil {
		return summary{}, err
	}
	held, trouble, err := acting.daemon.Revoke(ctx, name, generation, code, reason, actorName())
	switch {
	case errors.Is(err, daemon.ErrNothingHeld), errors.Is(err, store.ErrNotFound):
		return summary{}, &failure{What: name + " has no certificate to revoke", Next: "backstay ls", Err: err}
	case err != nil:
		return summary{}, err
	case trouble != nil:
		failed := &failure{What: name + " was not revoked: " + trouble.Summary, Cause: trouble.Detail, Next: trouble.Next}
		if trouble.Class == plan.Transport || trouble.Class == plan.ServerError || trouble.Class == plan.RateLimited {
			failed.Exit = ExitUnreachable
		}
		if failed.Next == "" {
			failed.Next = "the same command again: a second revocation of one certificate does no harm"
		}
		return summary{}, failed
	}
	p.printf("revoked     %s: generation %d (serial %s) at %s\n", name, held.Generation, held.Serial, held.Authority)
	p.note("next: backstay renew %s", name)
	return summary{Counts: map[string]int{"revoked": 1}}, nil
}
