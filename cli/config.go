package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/finding"
)

func configCommand(p *program) *cobra.Command {
	command := &cobra.Command{
		Use:   "config",
		Short: "check the configuration",
	}
	group(command)
	command.AddCommand(configCheckCommand(p))
	return command
}

func configCheckCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "report every mistake of the configuration with its place",
		Long: "Reads the configuration and conf.d/*.yaml beside it, and reports every mistake in\n" +
			"one pass: file:line:column, the line, and what was probably meant. Nothing is\n" +
			"changed and nothing is asked over the network. Exit code 2 when there is a mistake.",
		Args: arguments(0, 1),
		RunE: p.job(p.checkConfig),
	}
}

// problemRecord is a mistake as a finding on a line of its own.
type problemRecord struct {
	Kind   string `json:"kind"` // "finding"
	Schema int    `json:"schema"`
	finding.Finding
}

func (p *program) checkConfig(_ context.Context, arguments []string) (summary, error) {
	if len(arguments) > 0 {
		p.settings.config = arguments[0]
	}
	path, err := p.configPath()
	if err != nil {
		return summary{}, err
	}
	loaded, problems, err := config.Load(path, config.Options{})
	if err != nil {
		return summary{}, unreadable(err)
	}
	for _, problem := range problems {
		p.record(recordOf(problem))
		if !p.settings.json {
			p.output.write([]byte(problem.String() + "\n"))
		}
	}
	wrong := config.Errors(problems)
	did := summary{Counts: map[string]int{"mistakes": wrong, "warnings": len(problems) - wrong}}
	if loaded == nil {
		return did, usage("the configuration has "+mistakes(problems), "each is shown above with its place", "correct the file, then backstay config check --config "+path)
	}
	for name, number := range map[string]int{
		"authorities": len(loaded.Authorities), "solvers": len(loaded.Solvers), "targets": len(loaded.Targets),
		"certificates": len(loaded.Certificates), "files": len(loaded.Files),
	} {
		did.Counts[name] = number
	}
	p.printf("%s: fine: %s, %s, %s, %s, %s, %s\n", path,
		count(len(loaded.Files), "file"), plural(len(loaded.Authorities), "authority", "authorities"), count(len(loaded.Solvers), "solver"),
		count(len(loaded.Targets), "target"), count(len(loaded.Certificates), "certificate"), count(len(problems), "warning"))
	return did, nil
}

func plural(number int, one, many string) string {
	if number == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", number, many)
}

func recordOf(problem config.Problem) problemRecord {
	severity := finding.High
	if problem.Warning {
		severity = finding.Low
	}
	remedy := problem.Remedy
	if problem.Meant != "" {
		remedy = fmt.Sprintf("did you mean %q?", problem.Meant)
	}
	evidence := map[string]string{"file": problem.Position.File}
	if problem.Position.Line > 0 {
		evidence["line"] = strconv.Itoa(problem.Position.Line)
		evidence["column"] = strconv.Itoa(problem.Position.Column)
	}
	if problem.Excerpt != "" {
		evidence["excerpt"] = problem.Excerpt
	}
	return problemRecord{Kind: "finding", Schema: 1, Finding: finding.Finding{
		Code:     finding.Code("config-" + string(problem.Code)),
		Severity: severity,
		Summary:  problem.Message,
		Remedy:   remedy,
		Evidence: evidence,
	}}
}
