package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/backstay/backstay/config"
)

func init() { cobra.EnableCommandSorting = false } // the order of commands is meant

// newRoot builds the tree of commands.
func newRoot(p *program) *cobra.Command {
	root := &cobra.Command{
		Use:               "backstay",
		Short:             "keeps TLS certificates alive through outages",
		Long:              "Backstay keeps TLS certificates renewed and served: it finds them, orders and deploys\nthem, proves on the wire that they are served, and finishes what a kill interrupted.",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetOut(&p.output)
	root.SetErr(p.environment.Stderr)
	root.SetIn(p.environment.Stdin)
	root.SetFlagErrorFunc(flagFailure)
	globalFlags(root.PersistentFlags(), &p.settings)
	root.AddCommand(commands(p)...)
	root.SetHelpCommand(helpCommand())
	group(root)
	return root
}

// group makes a command that only holds others: alone it prints its help, and
// an unknown word gets a suggestion.
func group(command *cobra.Command) {
	command.Args = cobra.ArbitraryArgs
	command.RunE = func(command *cobra.Command, arguments []string) error {
		if len(arguments) == 0 {
			return command.Help()
		}
		return unknownCommand(command, arguments[0])
	}
}

func unknownCommand(parent *cobra.Command, word string) error {
	var names []string
	for _, each := range parent.Commands() {
		if each.IsAvailableCommand() {
			names = append(names, each.Name())
		}
	}
	cause := "known: " + strings.Join(names, ", ")
	next := parent.CommandPath() + " --help"
	if meant := config.Nearest(word, names); meant != "" {
		cause = fmt.Sprintf("did you mean %q?", meant)
		next = parent.CommandPath() + " " + meant
	}
	return usage(fmt.Sprintf("unknown command %q", word), cause, next)
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "help about any command",
		RunE: func(command *cobra.Command, arguments []string) error {
			about := command.Root()
			for _, word := range arguments {
				index := slices.IndexFunc(about.Commands(), func(each *cobra.Command) bool { return each.Name() == word })
				if index < 0 {
					return unknownCommand(about, word)
				}
				about = about.Commands()[index]
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// globalFlags are the flags that every command knows.
func globalFlags(flags *pflag.FlagSet, settings *settings) {
	flags.StringVar(&settings.config, "config", "", "configuration `FILE` (default /etc/backstay/backstay.yaml, else $XDG_CONFIG_HOME/backstay/backstay.yaml)")
	flags.StringVar(&settings.state, "state", "", "state `DIR` (default /var/lib/backstay as root, else $XDG_STATE_HOME/backstay)")
	flags.BoolVar(&settings.json, "json", false, "print one JSON object a line")
	flags.BoolVar(&settings.quiet, "quiet", false, "no messages but errors")
	flags.BoolVar(&settings.verbose, "verbose", false, "more messages")
	flags.BoolVar(&settings.noInput, "no-input", false, "never ask")
	flags.Var((*durationFlag)(&settings.timeout), "timeout", "give the whole command at most this `DURATION` (30s, 5m, 1d)")
	flags.Var((*resolverFlag)(&settings.resolvers), "resolver", "ask this DNS server, `ADDR:PORT` (repeatable)")
	flags.SortFlags = false
}

// durationFlag is a duration over zero that may be written in days.
type durationFlag time.Duration

func (value *durationFlag) String() string {
	if *value == 0 {
		return ""
	}
	return time.Duration(*value).String()
}
func (value *durationFlag) Type() string { return "duration" }
func (value *durationFlag) Set(written string) error {
	duration, err := config.ParseDuration(written)
	if err != nil || duration <= 0 {
		return errors.New("write a duration over zero: 30s, 5m, 6h, 1d")
	}
	*value = durationFlag(duration)
	return nil
}

// resolverFlag collects DNS servers.
type resolverFlag []netip.AddrPort

func (value *resolverFlag) String() string { return "" }
func (value *resolverFlag) Type() string   { return "address" }
func (value *resolverFlag) Set(written string) error {
	address, err := netip.ParseAddrPort(written)
	if err != nil || address.Port() == 0 {
		return errors.New("write an IP address and a port: 192.0.2.53:53, [2001:db8::53]:53")
	}
	*value = append(*value, address)
	return nil
}

// flagFailure words what pflag found wrong.
func flagFailure(command *cobra.Command, err error) error {
	next := command.CommandPath() + " --help"
	var unknown *pflag.NotExistError
	var valueless *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		var names []string
		command.Flags().VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
		cause := "the command has no such flag"
		if meant := config.Nearest(name, names); meant != "" {
			cause = fmt.Sprintf("did you mean --%s?", meant)
		}
		return usage(fmt.Sprintf("unknown flag %s", dashed(name)), cause, next)
	case errors.As(err, &valueless):
		return usage(fmt.Sprintf("flag %s has no value", dashed(valueless.GetSpecifiedName())), "it stands last, or its value was left out", next)
	case errors.As(err, &invalid):
		cause := ""
		if behind := errors.Unwrap(invalid); behind != nil {
			cause = behind.Error()
		}
		return usage(fmt.Sprintf("flag --%s cannot be %q", invalid.GetFlag().Name, invalid.GetValue()), cause, next)
	}
	return usage(err.Error(), "", next)
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// arguments checks how many words follow a command; most < 0 means any number.
func arguments(least, most int) cobra.PositionalArgs {
	return func(command *cobra.Command, words []string) error {
		next := command.CommandPath() + " --help"
		switch {
		case len(words) < least:
			return usage(fmt.Sprintf("%s needs more arguments", command.CommandPath()), "usage: "+command.UseLine(), next)
		case most >= 0 && len(words) > most:
			return usage(fmt.Sprintf("%s does not take %q", command.CommandPath(), words[most]), "usage: "+command.UseLine(), next)
		}
		return nil
	}
}
