package cli

import (
	"bytes"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/config"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

func completionCommand(p *program) *cobra.Command {
	command := &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "print the completion script for a shell",
		Long: "Prints a script that makes a shell complete commands and flags. For bash:\n\n" +
			"  backstay completion bash > /etc/bash_completion.d/backstay",
		Args:      arguments(1, 1),
		ValidArgs: shells,
	}
	command.RunE = p.run(func(_ context.Context, arguments []string) error {
		script, err := completion(command.Root(), arguments[0])
		if err != nil {
			return err
		}
		p.output.write(script)
		return nil
	})
	return command
}

func completion(root *cobra.Command, shell string) ([]byte, error) {
	var script bytes.Buffer
	var err error
	switch shell {
	case "bash":
		err = root.GenBashCompletionV2(&script, true)
	case "zsh":
		err = root.GenZshCompletion(&script)
	case "fish":
		err = root.GenFishCompletion(&script, true)
	case "powershell":
		err = root.GenPowerShellCompletionWithDesc(&script)
	default:
		cause := "known: bash, zsh, fish, powershell"
		next := "backstay completion bash"
		if meant := config.Nearest(shell, shells); meant != "" {
			cause = fmt.Sprintf("did you mean %q?", meant)
			next = "backstay completion " + meant
		}
		return nil, usage(fmt.Sprintf("no completion for the shell %q", shell), cause, next)
	}
	return script.Bytes(), err
}
