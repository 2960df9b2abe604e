package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/finding"
)

// Limits of every command we run.
const (
	commandLimit = 60 * time.Second
	pipeLimit    = 2 * time.Second // for a child that outlives the command and keeps its pipes
	outputLimit  = 64 << 10        // bytes kept of what it says
	lastLine     = 300             // characters of it in an error's text
)

// Command is one run of a program: argv, never a shell.
type Command struct {
	Argv        []string
	Environment []string      // NAME=VALUE, besides the few that every command gets
	Folder      string        // to run in; "" for the root folder
	Limit       time.Duration // 0 for 60 s; then it and its children are killed
	Output      int           // bytes kept of each stream; 0 for 64 KiB
}

// CommandError is a command that could not be run, or did not end well.
type CommandError struct {
	Command string // argv, joined by blanks, for reading only
	Output  string // what it said, raw outside text, capped
	Err     error
}

// Error ends with the last line of what the command said, made safe to show.
func (failed *CommandError) Error() string {
	text := fmt.Sprintf("%s: %v", failed.Command, failed.Err)
	if last := failed.Output[strings.LastIndexByte(failed.Output, '\n')+1:]; last != "" {
		text += ": " + finding.TextAtMost(last, lastLine)
	}
	return text
}

func (failed *CommandError) Unwrap() error { return failed.Err }

// Run runs a command to its end. Error: a *CommandError; its Output holds what
// the command wrote to standard output, then standard error.
func Run(ctx context.Context, command Command) (stdout, stderr []byte, err error) {
	text := strings.Join(command.Argv, " ")
	if len(command.Argv) == 0 {
		return nil, nil, &CommandError{Err: errors.New("no command")}
	}
	limit, most := command.Limit, command.Output
	if limit == 0 {
		limit = commandLimit
	}
	if most == 0 {
		most = outputLimit
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	process := exec.CommandContext(limited, command.Argv[0], command.Argv[1:]...)
	process.Env = append(environment(), command.Environment...)
	if process.Dir = command.Folder; process.Dir == "" {
		process.Dir = "/"
	}
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	process.Cancel = func() error { return syscall.Kill(-process.Process.Pid, syscall.SIGKILL) }
	process.WaitDelay = pipeLimit
	out, fault := &capped{limit: most}, &capped{limit: most}
	process.Stdout, process.Stderr = out, fault
	err = process.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it ended well; a child of it still holds the pipes, as services started by hooks do
	}
	if err != nil && limited.Err() != nil {
		err = fmt.Errorf("stopped after %v: %w", limit, context.Cause(limited))
	}
	if err != nil {
		err = &CommandError{Command: text, Output: strings.TrimSpace(out.text.String() + "\n" + fault.text.String()), Err: err}
	}
	return out.text.Bytes(), fault.text.Bytes(), err
}

// environment is what a command gets of ours: none of our secrets, no sockets
// handed to us, and not nginx's own NGINX variable.
func environment() []string {
	list := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "TZ"} {
		if value, set := os.LookupEnv(name); set {
			list = append(list, name+"="+value)
		}
	}
	return list
}

// capped keeps the first bytes and swallows the rest, so that a chatty command
// neither blocks nor fills memory.
type capped struct {
	text  bytes.Buffer
	limit int
}

func (capped *capped) Write(data []byte) (int, error) {
	if room := capped.limit - capped.text.Len(); room > 0 {
		capped.text.Write(data[:min(room, len(data))])
	}
	return len(data), nil
}
