package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/audit"
	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/daemon"
	"github.com/backstay/backstay/discover/network"
	"github.com/backstay/backstay/finding"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// scanFlags are the flags of scan.
type scanFlags struct {
	roots       string
	concurrency int
	rate        string
	now         string
	failOn      string
	connect     string
	confirm     bool
	noRecord    bool
}

func scanCommand(p *program) *cobra.Command {
	var flags scanFlags
	command := &cobra.Command{
		Use:   "scan TARGET...",
		Short: "find certificates and say what is wrong with them",
		Long: "Looks at hosts, address ranges, files and folders:\n" +
			"  example.com  example.com:8443  192.0.2.0/28:443,8443  [2001:db8::1]:443\n" +
			"  NAME@ADDRESS:PORT (send NAME, connect to ADDRESS)  /etc/ssl  -  (targets on standard input)\n" +
			"A name is looked at on every address that it has. What was seen is recorded in the\n" +
			"inventory (`backstay ls`) unless --no-record is given.",
		Args: arguments(1, -1),
		RunE: p.job(func(ctx context.Context, targets []string) (summary, error) { return p.scan(ctx, targets, flags) }),
	}
	set := command.Flags()
	set.StringVar(&flags.roots, "roots", "", "trust the roots of this PEM file instead of Mozilla's")
	set.IntVar(&flags.concurrency, "concurrency", 0, "looks at a time (200)")
	set.StringVar(&flags.rate, "rate", "", "looks begun a second, N or N/s (no limit)")
	set.StringVar(&flags.now, "now", "", "judge as if it were this time (RFC 3339)")
	set.StringVar(&flags.failOn, "fail-on", "", "exit 5 when a finding is this severe or worse: critical, high, medium, low, info")
	set.StringVar(&flags.connect, "connect-timeout", "", "of one look (10s)")
	set.BoolVar(&flags.confirm, "confirm", false, "allow public address ranges wider than /20")
	set.BoolVar(&flags.noRecord, "no-record", false, "do not record what was seen")
	return command
}

// scanner counts and prints.
type scanner struct {
	p        *program
	limit    finding.Severity
	counts   map[string]int
	reached  bool
	progress *progress
	rows     [][]string
	found    []string
}

func (p *program) scan(ctx context.Context, targets []string, flags scanFlags) (summary, error) {
	scan, limit, err := p.readScan(targets, flags)
	if err != nil {
		return summary{}, err
	}
	closing := p.recordInto(ctx, &scan, flags)
	defer closing()
	scanner := &scanner{p: p, limit: limit, counts: map[string]int{"endpoints": 0, "files": 0, "findings": 0}, progress: p.progress("looks", 0)}
	scan.Endpoint, scan.File = scanner.endpoint, scanner.file
	if err := scan.Run(ctx); err != nil {
		return summary{Counts: scanner.counts, Outcome: outcomePartly}, err
	}
	scanner.print()
	did := summary{Counts: scanner.counts}
	if scanner.reached {
		did.Exit = ExitFindings
	}
	return did, nil
}

// recordInto opens the state for recording, or says once why it cannot be.
func (p *program) recordInto(ctx context.Context, scan *daemon.Scan, flags scanFlags) (closing func()) {
	folder, err := p.statePath()
	if err != nil {
		return func() {}
	}
	if flags.noRecord {
		// Certificates of ours are still judged by their plan.
		state, err := store.Open(ctx, store.Config{Folder: folder, ReadOnly: true})
		if err != nil {
			return func() {}
		}
		defer state.Close()
		p.manage(ctx, scan, state)
		return func() {}
	}
	state, err := store.Open(ctx, store.Config{Folder: folder})
	if err != nil {
		p.note("warning: not recorded: %s", err.Error())
		return func() {}
	}
	scan.State = state
	p.manage(ctx, scan, state)
	return func() {
		if err := state.Close(); err != nil {
			p.note("warning: closing the state: %s", err.Error())
		}
	}
}

func (p *program) manage(ctx context.Context, scan *daemon.Scan, state *store.Store) {
	if managed, err := daemon.Managed(ctx, state, plan.DefaultTiming()); err == nil {
		scan.Managed = daemon.ManagedLeaves(managed)
	}
}

// readScan reads targets and flags.
func (p *program) readScan(targets []string, flags scanFlags) (daemon.Scan, finding.Severity, error) {
	scan := daemon.Scan{Concurrency: flags.concurrency, Confirmed: flags.confirm, Now: p.environment.Now, Resolvers: p.settings.resolvers, Seed: uint64(p.started.UnixNano())}
	scan.Judge = audit.Options{Now: p.environment.Now()}
	var limit finding.Severity
	if flags.failOn != "" {
		severity, known := finding.ParseSeverity(flags.failOn)
		if !known {
			return scan, "", usage(fmt.Sprintf("--fail-on %q is not a severity", flags.failOn), "one of: critical, high, medium, low, info", "backstay scan --help")
		}
		limit = severity
	}
	if flags.now != "" {
		at, err := time.Parse(time.RFC3339, flags.now)
		if err != nil {
			return scan, "", usage(fmt.Sprintf("--now %q is not a time", flags.now), "it is written as 2026-11-21T12:00:00Z", "backstay scan --help")
		}
		scan.Judge.Now = at
	}
	if flags.rate != "" {
		rate, err := strconv.ParseFloat(strings.TrimSuffix(flags.rate, "/s"), 64)
		if err != nil || rate <= 0 {
			return scan, "", usage(fmt.Sprintf("--rate %q is not a rate", flags.rate), "it is written as 50 or 50/s", "backstay scan --help")
		}
		scan.Rate = rate
	}
	if flags.connect != "" {
		wait, err := config.ParseDuration(flags.connect)
		if err != nil || wait <= 0 {
			return scan, "", usage(fmt.Sprintf("--connect-timeout %q is not a duration", flags.connect), "it is written as 10s", "backstay scan --help")
		}
		scan.ConnectTimeout = wait
	}
	if flags.roots != "" {
		text, err := os.ReadFile(flags.roots)
		if err == nil {
			scan.Judge.Trust, err = cert.ParseTrust("roots", text)
		}
		if err != nil {
			return scan, "", usage("--roots "+flags.roots+" cannot be used", err.Error(), "backstay scan --roots FILE TARGET")
		}
	}
	return scan, limit, p.readTargets(&scan, targets)
}

// readTargets sorts targets into paths and network ones; a mistake in any is
// told before the first look.
func (p *program) readTargets(scan *daemon.Scan, targets []string) error {
	var specs []network.Spec
	stdin := false
	for _, target := range targets {
		switch network.KindOf(target) {
		case network.KindStdin:
			stdin = true
		case network.KindPath:
			if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
				return usage(target+" is not there", "a target with a / is a file or folder", "backstay scan --help")
			}
			scan.Paths = append(scan.Paths, target)
		case network.KindServer:
			return usage(fmt.Sprintf("target %q is not supported by this version yet", target), "server configurations are read by `init` only", "backstay scan FOLDER")
		default:
			spec, err := network.Parse(target)
			if err != nil {
				return usage(err.Error(), "see the forms of a target", "backstay scan --help")
			}
			if err := spec.Permit(scan.Confirmed); err != nil {
				return usage(err.Error(), "a wide range of addresses that are not private", "the same command with --confirm, if they are yours")
			}
			specs = append(specs, spec)
		}
	}
	if len(specs) > 0 || stdin {
		scan.Targets = p.targets(specs, stdin)
	}
	return nil
}

// targets yields the given ones, then those on standard input, one a line.
func (p *program) targets(specs []network.Spec, stdin bool) iter.Seq[network.Spec] {
	return func(yield func(network.Spec) bool) {
		for _, spec := range specs {
			if !yield(spec) {
				return
			}
		}
		if !stdin {
			return
		}
		for line, err := range network.Lines(p.environment.Stdin) {
			if err != nil {
				p.note("warning: standard input: %s", err.Error())
				continue
			}
			spec, err := network.Parse(line)
			if err != nil {
				p.note("warning: %s", err.Error())
				continue
			}
			if !yield(spec) {
				return
			}
		}
	}
}

// endpoint takes one look's record.
func (scanner *scanner) endpoint(record cert.Endpoint) {
	scanner.counts["endpoints"]++
	scanner.counts[record.Status]++
	scanner.take(record.Findings)
	scanner.p.record(record)
	where := record.Target
	if record.Address != "" {
		where = fmt.Sprintf("%s (%s:%d)", record.Target, record.Address, record.Port)
	}
	scanner.line(where, record.Status, record.Certificate, record.Findings)
}

// file takes one file's record.
func (scanner *scanner) file(record cert.File) {
	scanner.counts["files"]++
	scanner.take(record.Findings)
	scanner.p.record(record)
	state := record.Format
	if record.KeyPresent {
		state += " with key"
	}
	scanner.line(record.Path, state, record.Certificate, record.Findings)
}

func (scanner *scanner) take(findings []finding.Finding) {
	scanner.progress.add(1)
	scanner.counts["findings"] += len(findings)
	for _, found := range findings {
		if scanner.limit != "" && found.Severity.AtLeast(scanner.limit) {
			scanner.reached = true
		}
	}
}

// line keeps one row of the table; addresses that merely refused are left to
// the counts, or a range of thousands would hide what was found.
func (scanner *scanner) line(where, state string, certificate *cert.Certificate, findings []finding.Finding) {
	if scanner.p.settings.json || certificate == nil && len(findings) == 0 {
		return
	}
	names, until := "", ""
	if certificate != nil {
		until = certificate.NotAfter.UTC().Format("2006-01-02 15:04")
		names = strings.Join(certificate.DNSNames, " ")
		if names == "" {
			names = certificate.Subject
		}
		if len(names) > 60 {
			names = names[:57] + "..."
		}
	}
	scanner.rows = append(scanner.rows, []string{where, state, until, names, codes(findings)})
	for _, found := range findings {
		scanner.found = append(scanner.found, fmt.Sprintf("%-8s %s: %s", found.Severity, where, found.Summary))
	}
}

func codes(findings []finding.Finding) string {
	if len(findings) == 0 {
		return "fine"
	}
	words := make([]string, 0, len(findings))
	for _, found := range findings {
		words = append(words, string(found.Code))
	}
	return strings.Join(words, " ")
}

func (scanner *scanner) print() {
	p := scanner.p
	if len(scanner.rows) > 0 {
		p.table([]string{"WHERE", "STATE", "UNTIL (UTC)", "NAMES", "FINDINGS"}, scanner.rows)
	}
	for _, line := range scanner.found {
		p.printf("%s\n", line)
	}
	silent := scanner.counts["refused"] + scanner.counts["unreachable"] + scanner.counts["timeout"]
	p.note("%s, %s, %s%s", count(scanner.counts["endpoints"], "endpoint"), plural(scanner.counts["files"], "certificate in files", "certificates in files"), count(scanner.counts["findings"], "finding"), silentWords(silent))
}

func silentWords(silent int) string {
	if silent == 0 {
		return ""
	}
	return fmt.Sprintf("; %d did not answer", silent)
}
