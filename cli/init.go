package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/daemon"
	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/store"
)

// initFlags are the flags of init.
type initFlags struct {
	nginx, contact, output string
	force, snippet         bool
}

func initCommand(p *program) *cobra.Command {
	var flags initFlags
	command := &cobra.Command{
		Use:   "init",
		Short: "write a first configuration from what nginx serves on this host",
		Long: "Reads the configuration of nginx, groups the names of its TLS servers by the\n" +
			"certificate that they use now, and writes a commented backstay.yaml: the test CA\n" +
			"first, one certificate a group. Changes nothing else: no server, no certificate.\n" +
			"Needs no root; what it may not read is said in the file.",
		Args: arguments(0, 0),
		RunE: p.job(func(ctx context.Context, _ []string) (summary, error) { return p.init(ctx, flags) }),
	}
	set := command.Flags()
	set.StringVar(&flags.nginx, "nginx", "", "main `FILE` of nginx's configuration (default: the one that nginx -V names)")
	set.StringVar(&flags.contact, "contact", "", "mail `ADDRESS` that the CA may write to")
	set.StringVar(&flags.output, "output", "", "write to this `FILE`, or - for standard output (default: the configuration's path)")
	set.BoolVar(&flags.force, "force", false, "replace a configuration that is there")
	set.BoolVar(&flags.snippet, "snippet", false, "only print what nginx needs to answer challenges by itself")
	return command
}

func (p *program) init(ctx context.Context, flags initFlags) (summary, error) {
	if flags.snippet {
		return p.initSnippet(ctx)
	}
	if flags.contact != "" {
		if address, err := mail.ParseAddress(flags.contact); err != nil || address.Address != flags.contact {
			return summary{}, usage(fmt.Sprintf("--contact %q is no mail address", flags.contact), "write the address alone", "backstay init --contact ops@example.com")
		}
	}
	if flags.output == "-" && p.settings.json {
		return summary{}, usage("--output - and --json do not go together", "standard output is one or the other", "backstay init --json --output FILE")
	}
	path, err := p.initPath(flags)
	if err != nil {
		return summary{}, err
	}
	survey, err := daemon.SurveyNginx(ctx, flags.nginx)
	if err != nil {
		return summary{}, surveyFailure(err)
	}
	starter := newStarter(survey, flags.contact, p.environment.Now())
	if starter.stateless() {
		if starter.thumbprint, err = p.thumbprint(ctx); err != nil {
			return summary{}, err
		}
	}
	text := starter.text()
	if err := acceptable(text); err != nil {
		return summary{}, err
	}
	counts := map[string]int{"certificates": len(starter.certificates), "left_out": len(survey.Left)}
	if path == "-" {
		p.output.write([]byte(text))
		return summary{Counts: counts}, nil
	}
	if err := writeConfig(path, text); err != nil {
		return summary{}, err
	}
	p.initFound(starter)
	p.initNext(starter, path)
	return summary{Counts: counts}, nil
}

// initSnippet prints the snippet alone, for a pipe or a file.
func (p *program) initSnippet(ctx context.Context) (summary, error) {
	thumbprint, err := p.thumbprint(ctx)
	if err != nil {
		return summary{}, err
	}
	p.record(struct {
		Kind       string `json:"kind"`
		Schema     int    `json:"schema"`
		Step       string `json:"step"`
		Thumbprint string `json:"thumbprint"`
		Text       string `json:"text"`
	}{"step", 1, "snippet", thumbprint, daemon.NginxSnippet(thumbprint)})
	if !p.settings.json {
		p.output.write([]byte(daemon.NginxSnippet(thumbprint)))
	}
	return summary{}, nil
}

// thumbprint makes the account key if need be, in the state folder.
func (p *program) thumbprint(ctx context.Context) (string, error) {
	state, err := p.statePath()
	if err != nil {
		return "", err
	}
	thumbprint, err := daemon.Thumbprint(ctx, state, func(held *store.HeldBy) { p.note("waiting: %s", held.Error()) })
	if err != nil {
		return "", stateFailure(state, err)
	}
	return thumbprint, nil
}

// initPath is where the configuration is written; one that is there is not
// replaced without --force.
func (p *program) initPath(flags initFlags) (string, error) {
	path := flags.output
	switch {
	case path == "-":
		return path, nil
	case path != "":
	case p.settings.config != "":
		path = p.settings.config
	case p.environment.User == 0:
		path = systemConfig
	default:
		folder := p.home("XDG_CONFIG_HOME", ".config")
		if folder == "" {
			return "", usage("no place for the configuration", "neither XDG_CONFIG_HOME nor HOME is set", "backstay init --output FILE")
		}
		path = filepath.Join(folder, "backstay", "backstay.yaml")
	}
	switch _, err := os.Lstat(path); {
	case err == nil && !flags.force:
		return "", usage(path+" is there already", "init replaces a configuration only when told to", "backstay init --output - to see what it would write, or --force")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", writeFailure(path, err)
	}
	return path, nil
}

// writeConfig writes the file readable by all: it names secrets, it holds none.
func writeConfig(path, text string) error {
	if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return writeFailure(path, err)
	}
	if err := durable.WriteFile(path, []byte(text), 0o644); err != nil {
		return writeFailure(path, err)
	}
	return nil
}

func writeFailure(path string, err error) error {
	failed := &failure{What: "cannot write " + path, Cause: err.Error(), Next: "backstay init --output FILE", Err: err}
	if errors.Is(err, fs.ErrPermission) {
		failed.Exit = ExitForbidden
	}
	return failed
}

func surveyFailure(err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, daemon.ErrNoServer):
		return &failure{What: err.Error(), Cause: "no nginx in PATH, and none of the usual configuration files", Next: "backstay init --nginx FILE", Err: err}
	case errors.Is(err, fs.ErrPermission) && errors.As(err, &path):
		return &failure{What: "not permitted to read " + path.Path, Cause: path.Err.Error(), Next: "the same command as a user who may read it", Exit: ExitForbidden, Err: err}
	case errors.As(err, &path):
		return usage("cannot read "+path.Path, path.Err.Error(), "backstay init --nginx FILE")
	}
	return usage("cannot read nginx's configuration", err.Error(), "backstay init --nginx FILE")
}

// acceptable loads what was written, as the next command will: a name that our
// own check refuses must not get into a file that we call fine.
func acceptable(text string) error {
	folder, err := os.MkdirTemp("", "backstay-init-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "backstay.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	loaded, problems, err := config.Load(path, config.Options{})
	if err != nil {
		return err
	}
	if index := slices.IndexFunc(problems, func(one config.Problem) bool { return !one.Warning }); loaded == nil && index >= 0 {
		return &failure{What: "what was found does not make a configuration", Cause: problems[index].Message, Next: "backstay init --output - with another --nginx FILE"}
	}
	return nil
}

// foundRecord is one certificate of the new configuration.
type foundRecord struct {
	Kind      string   `json:"kind"` // "step"
	Schema    int      `json:"schema"`
	Step      string   `json:"step"` // "configure"
	Name      string   `json:"name"`
	Domains   []string `json:"domains"`
	Wildcards []string `json:"wildcards,omitempty"`
	File      string   `json:"file"`
	Line      int      `json:"line"`
	Solver    string   `json:"solver"`
}

// initFound prints what was found, in one table.
func (p *program) initFound(starter *starter) {
	rows := make([][]string, 0, len(starter.certificates))
	for _, made := range starter.certificates {
		group := made.group
		p.record(foundRecord{"step", 1, "configure", made.name, group.Names, group.Wildcards, group.File, group.Line, made.solver})
		by, until := "-", "-"
		if group.Present != nil {
			by, until = group.Present.Issuer.String(), group.Present.NotAfter.UTC().Format("2006-01-02 15:04")
		}
		rows = append(rows, []string{made.name, short60(strings.Join(group.Names, " ")), fmt.Sprintf("%s:%d", group.File, group.Line), until, by, made.solver})
	}
	if len(rows) > 0 {
		p.table([]string{"CERTIFICATE", "NAMES", "WHERE", "UNTIL (UTC)", "NOW BY", "PROVEN BY"}, rows)
	}
	for _, left := range starter.survey.Left {
		p.printf("left out: %s (%s:%d): %s\n", left.What, left.File, left.Line, left.Why)
	}
	for _, group := range starter.wild {
		p.printf("left out: %s (%s:%d): a wildcard is proven by dns-01 only; the file says how\n", strings.Join(group.Wildcards, " "), group.File, group.Line)
	}
	for _, problem := range starter.survey.Problems {
		p.note("warning: %s", problem)
	}
}

func short60(text string) string {
	if len(text) > 60 {
		return text[:57] + "..."
	}
	return text
}

// initNext says what to do now.
func (p *program) initNext(starter *starter, path string) {
	if len(starter.certificates) > 0 {
		p.printf("\n")
	}
	p.printf("written: %s, from %s\n", path, starter.survey.Main)
	if len(starter.certificates) == 0 {
		p.printf("No TLS server with a name was found: write the certificates into it.\n")
	}
	if starter.contact == "" {
		p.printf("First put your mail address into it (contact).\n")
	}
	if starter.stateless() {
		p.printf("nginx must answer challenges by itself: put the text that `backstay init --snippet` prints where the file says.\n")
	}
	named := ""
	if standard, err := p.configPath(); err != nil || standard != path || p.settings.config != "" {
		named = " --config " + path
	}
	p.printf("next: backstay config check%s\nthen: backstay plan%s\n", named, named)
}
