package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/durable"
)

func manCommand(p *program) *cobra.Command {
	command := &cobra.Command{
		Use:   "man [PAGE]",
		Short: "print a manual page, or write all of them to a folder",
		Long: "Prints the manual page of the program or of one command (config-check), in the\n" +
			"roff format that man(1) reads. With --folder all pages are written there:\n\n" +
			"  backstay man | man -l -\n" +
			"  backstay man --folder /usr/local/share/man/man1",
		Args: arguments(0, 1),
	}
	folder := command.Flags().String("folder", "", "write every page into this `DIR`")
	command.RunE = p.run(func(_ context.Context, arguments []string) error {
		pages := manual(command.Root())
		if *folder != "" {
			if len(arguments) > 0 {
				return usage("a page and --folder exclude each other", "--folder writes every page", "backstay man --folder DIR")
			}
			return p.writePages(*folder, pages)
		}
		name := "backstay"
		if len(arguments) > 0 {
			name = "backstay-" + strings.TrimPrefix(strings.TrimPrefix(arguments[0], "backstay"), "-")
			name = strings.TrimSuffix(name, "-")
		}
		names := make([]string, 0, len(pages))
		for _, each := range pages {
			if each.name == name {
				p.output.write([]byte(each.text))
				return nil
			}
			names = append(names, strings.TrimPrefix(each.name, "backstay-"))
		}
		cause := "pages: " + strings.Join(names, ", ")
		if meant := config.Nearest(arguments[0], names); meant != "" {
			cause = fmt.Sprintf("did you mean %q?", meant)
		}
		return usage(fmt.Sprintf("no manual page %q", arguments[0]), cause, "backstay man")
	})
	return command
}

func (p *program) writePages(folder string, pages []manualPage) error {
	if err := durable.MkdirAll(folder, 0o755); err != nil {
		return &failure{What: "cannot make the folder " + folder, Cause: err.Error(), Next: "backstay man --folder DIR with a folder you may write", Err: err}
	}
	for _, each := range pages {
		if err := durable.WriteFile(filepath.Join(folder, each.name+".1"), []byte(each.text), 0o644); err != nil {
			return &failure{What: "cannot write " + each.name + ".1", Cause: err.Error(), Next: "backstay man --folder DIR with a folder you may write", Err: err}
		}
	}
	p.note("%s written to %s", count(len(pages), "page"), folder)
	return nil
}

// manualPage is one manual page in roff.
type manualPage struct {
	name string // backstay-config-check
	text string
}

// manual makes the page of every command, the program's first. No date stands
// in them, so that two builds of one source give the same bytes.
func manual(command *cobra.Command) []manualPage {
	pages := []manualPage{{strings.ReplaceAll(command.CommandPath(), " ", "-"), roff(command)}}
	for _, each := range command.Commands() {
		if each.IsAvailableCommand() {
			pages = append(pages, manual(each)...)
		}
	}
	return pages
}

// roff writes a page with the man(7) macros: cobra's own generator goes by way
// of Markdown, a detour that needs another module.
func roff(command *cobra.Command) string {
	var text strings.Builder
	name := strings.ReplaceAll(command.CommandPath(), " ", "-")
	fmt.Fprintf(&text, ".TH %q 1 \"\" \"backstay\" \"Backstay Manual\"\n", strings.ToUpper(name))
	fmt.Fprintf(&text, ".SH NAME\n%s \\- %s\n", roffLine(name), roffLine(command.Short))
	fmt.Fprintf(&text, ".SH SYNOPSIS\n%s\n", roffLine(command.UseLine()))
	if command.Long != "" {
		text.WriteString(".SH DESCRIPTION\n.nf\n")
		for _, each := range strings.Split(command.Long, "\n") {
			text.WriteString(roffLine(each) + "\n")
		}
		text.WriteString(".fi\n")
	}
	roffOptions(&text, "OPTIONS", command.NonInheritedFlags())
	roffOptions(&text, "OPTIONS OF EVERY COMMAND", command.InheritedFlags())
	var related []string
	if command.HasParent() {
		related = append(related, strings.ReplaceAll(command.Parent().CommandPath(), " ", "-"))
	}
	for _, each := range command.Commands() {
		if each.IsAvailableCommand() {
			related = append(related, strings.ReplaceAll(each.CommandPath(), " ", "-"))
		}
	}
	if len(related) > 0 {
		text.WriteString(".SH SEE ALSO\n")
		for index, each := range related {
			end := ","
			if index == len(related)-1 {
				end = ""
			}
			fmt.Fprintf(&text, ".BR %s (1)%s\n", roffLine(each), end)
		}
	}
	return text.String()
}

func roffOptions(text *strings.Builder, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(text, ".SH %s\n", title)
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		value, about := pflag.UnquoteUsage(flag)
		fmt.Fprintf(text, ".TP\n\\fB%s\\fR", roffLine("--"+flag.Name))
		if value != "" {
			fmt.Fprintf(text, " \\fI%s\\fR", roffLine(value))
		}
		fmt.Fprintf(text, "\n%s\n", roffLine(about))
	})
}

// roffLine escapes text for roff: a backslash begins an escape, a hyphen would
// become a dash that cannot be copied, and a dot or quote in front a request.
func roffLine(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
