package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// patience is how long a client may take for one run.
const patience = 90 * time.Second

// process is a running client in a process group of its own.
type process struct {
	command *exec.Cmd
	output  bytes.Buffer
	begin   time.Time
	ended   chan struct{} // closed when the client has ended
	err     error         // readable then
	took    time.Duration // likewise
}

func begin(argv, environment []string, folder string) (*process, error) {
	p := &process{command: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{})}
	p.command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + folder, "LC_ALL=C.UTF-8"}, environment...)
	p.command.Dir = folder
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A child that outlives a killed client must not keep Wait from returning.
	p.command.WaitDelay = time.Second
	p.begin = time.Now()
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.command.Wait()
		p.took = time.Since(p.begin)
		close(p.ended)
	}()
	return p, nil
}

// kill ends the whole group at once and waits for it. It reports false when
// the client had already ended by itself.
func (p *process) kill() bool {
	select {
	case <-p.ended:
		return false
	default:
	}
	syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL)
	<-p.ended
	status, ok := p.command.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// wait lets the client end by itself, within patience.
func (p *process) wait(ctx context.Context) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-p.ended:
		return p.err
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	case <-limit.C:
		p.kill()
		return errors.New("did not end within " + patience.String())
	}
}
