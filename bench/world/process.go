package world

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Patience is how long a client may take for one run.
const Patience = 90 * time.Second

// Process is a running client in a process group of its own.
type Process struct {
	command *exec.Cmd
	output  bytes.Buffer
	Started time.Time
	Ended   chan struct{} // closed when the client has ended
	err     error         // readable then
	Took    time.Duration // likewise
}

// Begin starts a client in folder, with PATH and HOME and what is given as its
// whole environment.
func Begin(argv, environment []string, folder string) (*Process, error) {
	p := &Process{command: exec.Command(argv[0], argv[1:]...), Ended: make(chan struct{})}
	p.command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + folder, "LC_ALL=C.UTF-8"}, environment...)
	p.command.Dir = folder
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A child that outlives a killed client must not keep Wait from returning.
	p.command.WaitDelay = time.Second
	p.Started = time.Now()
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.command.Wait()
		p.Took = time.Since(p.Started)
		close(p.Ended)
	}()
	return p, nil
}

// Kill ends the whole group at once and waits for it. It reports false when
// the client had already ended by itself.
func (p *Process) Kill() bool {
	select {
	case <-p.Ended:
		return false
	default:
	}
	syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL)
	<-p.Ended
	status, ok := p.command.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Wait lets the client end by itself, within Patience.
func (p *Process) Wait(ctx context.Context) error {
	limit := time.NewTimer(Patience)
	defer limit.Stop()
	select {
	case <-p.Ended:
		return p.err
	case <-ctx.Done():
		p.Kill()
		return ctx.Err()
	case <-limit.C:
		p.Kill()
		return errors.New("did not end within " + Patience.String())
	}
}

// Output is what the client has said. Read it after the end.
func (p *Process) Output() string { return p.output.String() }

// CPU is the time that the client and its ended children have computed. Read it
// after the end.
func (p *Process) CPU() time.Duration {
	return p.command.ProcessState.UserTime() + p.command.ProcessState.SystemTime()
}

// Memory is the most that the client had resident, in KiB; of its children only
// the largest counts, alone. Read it after the end.
func (p *Process) Memory() int64 {
	usage, ok := p.command.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return usage.Maxrss
}
