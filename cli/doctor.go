package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/daemon"
)

func doctorCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "check what Backstay itself depends on",
		Long: "Checks the state folder, its modes and its disk, the database and the journal, that\n" +
			"each configured CA answers, and this machine's clock against theirs. Changes nothing\n" +
			"but a probe file that is removed again. Exit code 1 when something is wrong here, 6\n" +
			"when only a CA did not answer.",
		Args: arguments(0, 0),
		RunE: p.job(p.doctor),
	}
}

func (p *program) doctor(ctx context.Context, _ []string) (summary, error) {
	loaded, err := p.loadConfig()
	if err != nil {
		return summary{}, err
	}
	folder, err := p.statePath()
	if err != nil {
		return summary{}, err
	}
	checks := daemon.Doctor(ctx, loaded, folder, p.environment.Now)
	did := summary{Counts: map[string]int{}}
	rows := make([][]string, 0, len(checks))
	var here, away *daemon.Check
	for index, one := range checks {
		p.record(one)
		did.Counts[one.State]++
		rows = append(rows, []string{one.State, one.Name, one.Summary})
		if one.State == daemon.CheckFailed && one.Unreachable && away == nil {
			away = &checks[index]
		} else if one.State == daemon.CheckFailed && !one.Unreachable && here == nil {
			here = &checks[index]
		}
	}
	p.table([]string{"STATE", "CHECK", "WHAT WAS FOUND"}, rows)
	switch {
	case here != nil:
		return did, &failure{What: here.Name + " is not right", Cause: here.Summary, Next: here.Next}
	case away != nil:
		return did, &failure{What: away.Name + " does not answer", Cause: away.Summary, Next: away.Next, Exit: ExitUnreachable}
	}
	return did, nil
}
