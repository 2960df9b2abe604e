package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/daemon"
	"github.com/backstay/backstay/finding"
	"github.com/backstay/backstay/inventory"
	"github.com/backstay/backstay/journal"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// lsFlags are the filters of ls.
type lsFlags struct {
	expiring, issuer, owner, state string
	states                         []string // as given: a state to filter by, or the state folder
	csv                            bool
}

// stateWords are what --state filters by; anything else is a folder, as for
// every other command.
var stateWords = []string{"ok", "due", "renewing", "failing", "overdue", "expired", "not_served", "unverified", "pending", "found"}

func lsCommand(p *program) *cobra.Command {
	var flags lsFlags
	command := &cobra.Command{
		Use:   "ls",
		Short: "which certificates there are, and how each is",
		Long: "Lists the managed certificates by name, then those that were only found, by end of\n" +
			"life. It reads what is recorded and asks nobody; `backstay scan` looks.",
		Args: arguments(0, 0),
		RunE: p.run(func(ctx context.Context, _ []string) error { return p.ls(ctx, flags) }),
	}
	set := command.Flags()
	set.StringVar(&flags.expiring, "expiring", "", "only those that end within this time, such as 30d")
	set.StringVar(&flags.issuer, "issuer", "", "only those whose authority or issuer contains this")
	set.StringVar(&flags.owner, "owner", "", "only those of this owner")
	set.StringArrayVar(&flags.states, "state", nil, "only those in this state: "+strings.Join(stateWords, " ")+"; or the state folder")
	set.BoolVar(&flags.csv, "csv", false, "comma-separated values")
	return command
}

func (p *program) ls(ctx context.Context, flags lsFlags) error {
	for _, word := range flags.states {
		if slices.Contains(stateWords, word) {
			flags.state = word
		} else {
			p.settings.state = word
		}
	}
	now := p.environment.Now()
	filter := inventory.Filter{}
	if flags.expiring != "" {
		within, err := config.ParseDuration(flags.expiring)
		if err != nil {
			return usage(fmt.Sprintf("--expiring %q is not a duration", flags.expiring), "it is written as 30d or 12h", "backstay ls --expiring 30d")
		}
		filter.EndsBefore = now.Add(within)
	}
	state, _, err := p.looking(ctx)
	if err != nil {
		return err
	}
	defer state.Close()
	joined, err := daemon.Overview(ctx, state, filter, now, plan.DefaultTiming())
	if err != nil {
		return err
	}
	header := []string{"NAME", "STATE", "UNTIL (UTC)", "RENEWS (UTC)", "BY", "SERVED", "OWNER"}
	var rows [][]string
	for _, line := range joined.States {
		if !flags.keep(line, filter.EndsBefore) {
			continue
		}
		p.record(line)
		rows = append(rows, []string{line.Name, line.State, moment(line.NotAfter), moment(line.RenewAt), line.Authority, servedWords(line), line.Owner})
	}
	switch {
	case flags.csv:
		p.csv(header, rows)
	case len(rows) == 0:
		p.note("no certificate fits")
	default:
		p.table(header, rows)
		for _, line := range joined.States {
			if line.LastError != "" && flags.keep(line, filter.EndsBefore) {
				p.printf("\n%s: %s\n", line.Name, line.LastError)
				if line.NextStep != "" {
					p.printf("  next: %s\n", line.NextStep)
				}
			}
		}
	}
	return nil
}

// keep says whether a line passes the filters.
func (flags lsFlags) keep(line cert.State, before time.Time) bool {
	switch {
	case flags.state != "" && line.State != flags.state,
		flags.owner != "" && line.Owner != flags.owner,
		flags.issuer != "" && !strings.Contains(strings.ToLower(line.Authority), strings.ToLower(flags.issuer)),
		!before.IsZero() && (line.NotAfter == nil || !line.NotAfter.Before(before)):
		return false
	}
	return true
}

func moment(at *time.Time) string {
	if at == nil {
		return "-"
	}
	return at.UTC().Format("2006-01-02 15:04")
}

func servedWords(line cert.State) string {
	switch len(line.Served) {
	case 0:
		return "-"
	case 1:
		return line.Served[0]
	}
	return fmt.Sprintf("%s and %d more", line.Served[0], len(line.Served)-1)
}

// csv prints cells that no spreadsheet takes for a formula.
func (p *program) csv(header []string, rows [][]string) {
	for _, row := range append([][]string{header}, rows...) {
		cells := make([]string, len(row))
		for index, cell := range row {
			if cell == "-" {
				cell = "" // what is not known is left out
			}
			cells[index] = finding.CSVCell(cell)
		}
		p.output.write([]byte(strings.Join(cells, ",") + "\n"))
	}
}

func showCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME|SHA256",
		Short: "everything that is known of one certificate",
		Args:  arguments(1, 1),
		RunE: p.run(func(ctx context.Context, names []string) error {
			state, _, err := p.looking(ctx)
			if err != nil {
				return err
			}
			defer state.Close()
			work, err := state.Get(ctx, plan.KindCertificate+"/"+names[0])
			if err == nil {
				return p.showManaged(ctx, state, work.Row.Certificate)
			}
			if !errors.Is(err, store.ErrNotFound) {
				return err
			}
			return p.showFound(ctx, state, names[0])
		}),
	}
}

// showManaged prints one managed certificate.
func (p *program) showManaged(ctx context.Context, state *store.Store, row *plan.Certificate) error {
	joined, err := daemon.Overview(ctx, state, inventory.Filter{}, p.environment.Now(), plan.DefaultTiming())
	if err != nil {
		return err
	}
	for _, line := range joined.States {
		if line.Name != row.Name || line.State == inventory.StateFound {
			continue
		}
		p.record(line)
		p.printf("%s is %s\n", line.Name, strings.ReplaceAll(line.State, "_", " "))
		p.facts([][2]string{
			{"names", strings.Join(row.Want.Domains, ", ")}, {"authority", line.Authority}, {"key", row.Want.Key},
			{"good until", moment(line.NotAfter)}, {"renews", moment(line.RenewAt)}, {"served at", strings.Join(line.Served, ", ")},
			{"owner", line.Owner}, {"last error", line.LastError}, {"next", line.NextStep},
		})
	}
	generations, err := state.Generations(ctx, row.Name)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, held := range generations {
		note := ""
		switch {
		case held.Revoked:
			note = "revoked"
		case held.Generation == row.Live:
			note = "live"
		}
		rows = append(rows, []string{fmt.Sprint(held.Generation), held.NotBefore.Format("2006-01-02 15:04"), held.NotAfter.Format("2006-01-02 15:04"), held.Authority, held.SHA256[:16], note})
	}
	if len(rows) > 0 {
		p.printf("\n")
		p.table([]string{"GENERATION", "FROM (UTC)", "UNTIL (UTC)", "BY", "SHA-256", ""}, rows)
	}
	for _, found := range joined.Findings {
		if len(found.Affects) > 0 && found.Affects[0] == row.Name {
			p.record(findingRecord{Kind: "finding", Schema: 1, Finding: found})
			p.printf("\n%s %s: %s\n  next: %s\n", string(found.Severity), string(found.Code), found.Summary, found.Remedy)
		}
	}
	acts, err := journal.About(ctx, state, row.Name, 8)
	if err != nil || len(acts) == 0 {
		return err
	}
	p.printf("\nlatest acts (all with: backstay log tail %s)\n", row.Name)
	for _, act := range acts {
		p.printf("  %s  %s %s\n", act.At.Format("2006-01-02 15:04:05"), act.What, ending(act))
	}
	return nil
}

// facts prints what is known, aligned; what is not known is left out.
func (p *program) facts(facts [][2]string) {
	for _, fact := range facts {
		if fact[1] != "" && fact[1] != "-" {
			p.printf("  %-11s %s\n", fact[0], fact[1])
		}
	}
}

// showFound prints a certificate of the inventory by its fingerprint.
func (p *program) showFound(ctx context.Context, state *store.Store, sha256 string) error {
	entry, err := daemon.Inventory(state).Get(ctx, strings.ToLower(strings.ReplaceAll(sha256, ":", "")))
	if errors.Is(err, inventory.ErrNotFound) || len(sha256) < 8 {
		return &failure{What: fmt.Sprintf("nothing is known of %q", sha256), Cause: "no managed certificate has that name, and none in the inventory that fingerprint", Next: "backstay ls", Exit: ExitUsage}
	}
	if err != nil {
		return err
	}
	found := entry.Object.Certificate
	p.record(found)
	p.facts([][2]string{
		{"subject", found.Subject}, {"issuer", found.Issuer}, {"names", strings.Join(append(found.DNSNames, found.IPAddresses...), ", ")},
		{"from", found.NotBefore.UTC().Format("2006-01-02 15:04 MST")}, {"good until", found.NotAfter.UTC().Format("2006-01-02 15:04 MST")},
		{"key", fmt.Sprintf("%s, %d bits", found.KeyType, found.KeyBits)}, {"serial", found.Serial}, {"sha-256", found.SHA256},
	})
	for _, sighting := range entry.Sightings {
		p.record(sighting)
		p.printf("  seen        %s  %s\n", sighting.SeenAt.Format("2006-01-02 15:04"), strings.TrimPrefix(strings.TrimPrefix(sighting.Place(), "endpoint:"), "file:"))
	}
	return nil
}
