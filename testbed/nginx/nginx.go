// Package nginx runs a real nginx in a temporary folder.
//
// Promise: Start returns an nginx that listens, as the current user, with its
// own configuration, prefix, pid file, logs and temporary paths, touching
// nothing of the machine's own nginx; Stop ends exactly that process and waits
// until it is gone.
//
// Limits: the nginx binary must be installed (ErrNotInstalled otherwise), and
// /proc must be there. A process that is killed without Stop leaves its nginx
// running.
package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNotInstalled says that there is no nginx on this machine.
var ErrNotInstalled = errors.New("nginx is not installed")

// patience bounds every wait for nginx itself. It is far above what it needs;
// only a fault is slower.
const patience = 20 * time.Second

// Config is what an nginx is made from.
type Config struct {
	Folder string // where everything is kept; must exist, absolute
	Ports  int    // free loopback ports wanted
	Daemon bool   // let it fork away, as systems do; otherwise it stays our child

	// Servers returns the text inside http{}: server blocks and whatever goes
	// with them. It is called when the ports are known, again when one of them
	// was taken meanwhile, and by Configure.
	Servers func(server *Server) string
	// Main is text at the top level, before events{}; "" for none.
	Main string

	Binary string // "": found in PATH and the usual places
}

// Server is one nginx.
type Server struct {
	config Config
	binary string
	ports  []int
	child  *exec.Cmd
	exited chan struct{} // closed when child has ended
	pid    int
}

// Find returns the path of the nginx binary.
func Find() (string, error) {
	if path, err := exec.LookPath("nginx"); err == nil {
		return filepath.Abs(path)
	}
	for _, path := range []string{"/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/local/nginx/sbin/nginx"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", ErrNotInstalled
}

// Start runs an nginx and returns when it listens. The caller must Stop it.
// Errors: ErrNotInstalled, or nginx's own words about its configuration.
func Start(ctx context.Context, config Config) (*Server, error) {
	server := &Server{config: config, binary: config.Binary}
	if server.binary == "" {
		var err error
		if server.binary, err = Find(); err != nil {
			return nil, err
		}
	}
	for _, folder := range []string{"temp", "html"} {
		if err := os.MkdirAll(server.Path(folder), 0o755); err != nil {
			return nil, fmt.Errorf("nginx: %w", err)
		}
	}
	var err error
	for range 5 {
		if server.ports, err = freePorts(config.Ports); err != nil {
			return nil, fmt.Errorf("nginx: %w", err)
		}
		if err = server.Configure(); err != nil {
			return nil, err
		}
		if err = server.Run(ctx); err == nil || !strings.Contains(err.Error(), "Address already in use") {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return server, nil
}

// freePorts asks the kernel for ports. Between this and nginx's own bind
// another process may take one; Start then asks again.
func freePorts(count int) ([]int, error) {
	var ports []int
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close() // all stay open until all are known
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// Port is the port with this index, counted from 0.
func (server *Server) Port(index int) int { return server.ports[index] }

// Address is 127.0.0.1 and the port with this index.
func (server *Server) Address(index int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(server.ports[index]))
}

// Path is a path inside the folder.
func (server *Server) Path(parts ...string) string {
	return filepath.Join(append([]string{server.config.Folder}, parts...)...)
}

// Binary is the program that runs.
func (server *Server) Binary() string { return server.binary }

// ConfigPath is the main configuration file.
func (server *Server) ConfigPath() string { return server.Path("nginx.conf") }

// PIDPath is the pid file.
func (server *Server) PIDPath() string { return server.Path("nginx.pid") }

// ErrorLog is everything nginx has complained about so far.
func (server *Server) ErrorLog() string {
	content, _ := os.ReadFile(server.Path("error.log"))
	return string(content)
}

// Configure writes the configuration anew; nginx reads it at the next Reload.
func (server *Server) Configure() error {
	var text strings.Builder
	if os.Geteuid() == 0 {
		// Workers of another user could not read what root keeps in a
		// temporary folder.
		text.WriteString("user root;\n")
	}
	fmt.Fprintf(&text, "daemon %s;\npid %s;\nerror_log %s notice;\nworker_processes 2;\n",
		onOff(server.config.Daemon), server.PIDPath(), server.Path("error.log"))
	text.WriteString(server.config.Main)
	fmt.Fprintf(&text, "\nevents { worker_connections 64; }\nhttp {\n  access_log %s;\n", server.Path("access.log"))
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&text, "  %s_temp_path %s;\n", kind, server.Path("temp", kind))
	}
	if server.config.Servers != nil {
		text.WriteString(server.config.Servers(server))
	}
	text.WriteString("\n}\n")
	if err := os.WriteFile(server.ConfigPath(), []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("nginx: %w", err)
	}
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// Arguments are the arguments that make any call of the binary mean this
// server.
func (server *Server) Arguments() []string {
	return []string{"-p", server.config.Folder, "-c", server.ConfigPath(), "-e", server.Path("error.log")}
}

// Test runs nginx -t. Error: nginx's own words.
func (server *Server) Test(ctx context.Context) error {
	output, err := exec.CommandContext(ctx, server.binary, append(server.Arguments(), "-t")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("nginx -t: %w: %s", err, bytes.TrimSpace(output))
	}
	return nil
}

// Run starts the process with the configuration as it stands and returns when it
// listens; also after a Stop.
func (server *Server) Run(ctx context.Context) error {
	os.Remove(server.PIDPath())
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// Not CommandContext: the process outlives this call. To files and not to
	// pipes: a daemon would hold a pipe open.
	words, err := os.Create(server.Path("start.log"))
	if err != nil {
		return fmt.Errorf("nginx: %w", err)
	}
	defer words.Close()
	child := exec.Command(server.binary, server.Arguments()...)
	child.Stdout, child.Stderr = words, words
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to handle
	if err := child.Start(); err != nil {
		return fmt.Errorf("nginx: %w", err)
	}
	server.child, server.exited = child, make(chan struct{})
	var result error
	go func() {
		result = child.Wait()
		close(server.exited)
	}()
	failed := func() error {
		said, _ := os.ReadFile(server.Path("start.log"))
		return fmt.Errorf("nginx did not start: %v: %s", result, bytes.TrimSpace(said))
	}
	// nginx writes its pid file after it has bound its ports.
	err = poll(ctx, func() (bool, error) {
		if server.pid = server.readPID(); server.pid != 0 && alive(server.pid) {
			return true, nil
		}
		select {
		case <-server.exited:
			if !server.config.Daemon || result != nil {
				return false, failed()
			}
		default:
		}
		return false, nil
	})
	if err != nil && server.pid == 0 {
		child.Process.Kill()
	}
	return err
}

func (server *Server) readPID() int {
	content, err := os.ReadFile(server.PIDPath())
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil || pid <= 1 {
		return 0
	}
	return pid
}

// PID is the master process.
func (server *Server) PID() int { return server.pid }

// Reload makes nginx read its configuration again. It returns when the signal
// was sent; see WaitServed.
func (server *Server) Reload() error { return syscall.Kill(server.pid, syscall.SIGHUP) }

// Stop ends the process, hard when it does not follow, and waits until it is
// gone. Calling it twice is harmless.
func (server *Server) Stop() error {
	if server.pid == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	workers := server.Workers()
	syscall.Kill(server.pid, syscall.SIGTERM)
	gone := func() (bool, error) { return !alive(server.pid), nil }
	err := poll(ctx, gone)
	if err != nil {
		syscall.Kill(server.pid, syscall.SIGKILL)
		for _, worker := range workers { // they do not follow a killed master
			syscall.Kill(worker, syscall.SIGKILL)
		}
	}
	if !server.config.Daemon {
		<-server.exited
	}
	server.pid = 0
	return err
}
