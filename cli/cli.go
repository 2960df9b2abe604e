// Package cli is the command line: one file a command, each of which parses,
// calls one package, and prints.
//
// Promise: data goes to standard output, everything else to standard error.
// With --json standard output holds one JSON object a line and nothing else. An
// error says in three short lines what happened, the likely cause, and what to
// type next. The exit codes are those named here. Text from outside is escaped
// where it is printed. No command asks anything when standard input is not a
// terminal.
//
// Limits: no rule about certificates lives here. Wide characters are counted as
// one column when tables are aligned.
//
// A command is a function that returns a *cobra.Command and is listed in
// commands. Its RunE is p.run(...) or, when it may take long and must end with a
// `result` record, p.job(...). It prints with p.record and p.table, tells with
// p.note and p.progress, and fails with a *failure.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime/debug"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// Environment is everything a command may know about the process it runs in.
type Environment struct {
	Arguments      []string // without the program's name
	Stdin          io.Reader
	Stdout         io.Writer
	Stderr         io.Writer
	Getenv         func(name string) string
	Now            func() time.Time
	User           int // the effective user id; 0 is root
	StdinTerminal  bool
	StdoutTerminal bool
	StderrTerminal bool
}

// Process is the environment of this process.
func Process() Environment {
	terminal := func(file *os.File) bool { return isatty.IsTerminal(file.Fd()) }
	return Environment{
		Arguments:      os.Args[1:],
		Stdin:          os.Stdin,
		Stdout:         os.Stdout,
		Stderr:         os.Stderr,
		Getenv:         os.Getenv,
		Now:            time.Now,
		User:           os.Geteuid(),
		StdinTerminal:  terminal(os.Stdin),
		StdoutTerminal: terminal(os.Stdout),
		StderrTerminal: terminal(os.Stderr),
	}
}

// program is one run of the command line: the environment, the global flags,
// and the printers. Its printing methods may be called from several goroutines.
type program struct {
	environment Environment
	settings    settings
	output      output

	command string // full name without the program's, such as "config check"
	started time.Time
}

// settings are the flags that every command knows.
type settings struct {
	config    string // as given; see configPath
	state     string // as given; see statePath
	json      bool
	quiet     bool
	verbose   bool
	noInput   bool
	timeout   time.Duration // of the whole command; 0: none
	resolvers []netip.AddrPort
}

// commands lists every command in the order of the help text.
func commands(p *program) []*cobra.Command {
	return []*cobra.Command{
		initCommand(p),
		scanCommand(p),
		lsCommand(p),
		showCommand(p),
		renewCommand(p),
		issueCommand(p),
		planCommand(p),
		applyCommand(p),
		deployCommand(p),
		rollbackCommand(p),
		revokeCommand(p),
		doctorCommand(p),
		demoCommand(p),
		logCommand(p),
		configCommand(p),
		completionCommand(p),
		manCommand(p),
		versionCommand(p),
	}
}

// Main runs one command to its end and returns the exit code. When ctx is
// cancelled with ErrInterrupted as its cause the code is ExitInterrupted.
func Main(ctx context.Context, environment Environment) (code int) {
	p := &program{environment: environment, started: environment.Now()}
	p.output.stdout, p.output.stderr = environment.Stdout, environment.Stderr
	defer func() {
		if recovered := recover(); recovered != nil {
			fmt.Fprintf(environment.Stderr, "backstay: internal error: %s\n%s", escape(fmt.Sprint(recovered)), debug.Stack())
			code = ExitFailed
		}
	}()
	root := newRoot(p)
	root.SetArgs(environment.Arguments)
	err := root.ExecuteContext(ctx)
	return p.finish(ctx, err)
}

// finish turns what a command returned into messages and an exit code.
func (p *program) finish(ctx context.Context, err error) int {
	p.clearProgress()
	if err == nil {
		err = p.output.failed()
	}
	if err == nil {
		return ExitDone // also when a signal came too late to stop anything
	}
	if errors.Is(context.Cause(ctx), ErrInterrupted) {
		p.note("backstay: interrupted")
		return ExitInterrupted
	}
	var silent exitOnly
	if errors.As(err, &silent) {
		return int(silent)
	}
	told := asFailure(err)
	p.tell(told)
	return told.Exit
}
