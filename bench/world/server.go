package world

import (
	"crypto/tls"
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

// Server is a real nginx on loopback.
type Server struct {
	Folder, Webroot   string
	HTTPPort, TLSPort int
	certificate, key  string // paths as configured; "" while there are none
	command           *exec.Cmd
}

// ConfigFile is the path of the configuration.
func (s *Server) ConfigFile() string { return filepath.Join(s.Folder, "nginx.conf") }

// PIDFile is the path of the pid file.
func (s *Server) PIDFile() string { return filepath.Join(s.Folder, "nginx.pid") }

// Configure writes the configuration: the challenges on one port and, once
// there is a pair to name, TLS on the other.
func (s *Server) Configure(certificate, key string) error {
	s.certificate, s.key = certificate, key
	secure := ""
	if certificate != "" {
		secure = fmt.Sprintf(`
	server {
		listen 127.0.0.1:%d ssl;
		server_name %s;
		ssl_certificate %s;
		ssl_certificate_key %s;
		location / { return 200 "ok\n"; }
	}`, s.TLSPort, Domain, certificate, key)
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;"
	}
	text := fmt.Sprintf(`%s
pid %s;
error_log %s/error.log;
worker_processes 2;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path %[3]s/body;
	proxy_temp_path %[3]s/proxy;
	fastcgi_temp_path %[3]s/fastcgi;
	uwsgi_temp_path %[3]s/uwsgi;
	scgi_temp_path %[3]s/scgi;
	server {
		listen 127.0.0.1:%[4]d;
		server_name %[5]s;
		root %[6]s;
	}%[7]s
}
`, user, s.PIDFile(), s.Folder, s.HTTPPort, Domain, s.Webroot, secure)
	return os.WriteFile(s.ConfigFile(), []byte(text), 0o644)
}

// Start runs nginx and waits until it answers.
func (s *Server) Start() error {
	s.Stop()
	s.command = exec.Command("nginx", "-p", s.Folder, "-c", s.ConfigFile(), "-g", "daemon off;")
	s.command.Stderr = os.Stderr
	if err := s.command.Start(); err != nil {
		return err
	}
	port := s.HTTPPort
	if s.certificate != "" {
		port = s.TLSPort
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		connection, err := net.Dial("tcp", address(port))
		if err == nil {
			connection.Close()
			return s.pidWritten(deadline)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nginx does not answer: %w", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *Server) pidWritten(deadline time.Time) error {
	for {
		data, err := os.ReadFile(s.PIDFile())
		if pid, _ := strconv.Atoi(strings.TrimSpace(string(data))); pid == s.command.Process.Pid {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(errors.New("nginx wrote no pid file"), err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Stop ends nginx and waits for it.
func (s *Server) Stop() {
	if s.command == nil {
		return
	}
	s.command.Process.Signal(syscall.SIGTERM)
	s.command.Wait()
	s.command = nil
}

// WouldStart asks nginx whether it could start with what is on disk now.
func (s *Server) WouldStart() bool {
	return exec.Command("nginx", "-p", s.Folder, "-c", s.ConfigFile(), "-t", "-q").Run() == nil
}

// PairMatches reports whether the two configured files belong together now.
func (s *Server) PairMatches() bool {
	_, err := tls.LoadX509KeyPair(s.certificate, s.key)
	return err == nil
}

// Served makes one handshake and returns the serial number it was shown. The
// handshake also proves that the server holds the key.
func (s *Server) Served() (string, error) {
	dialer := &net.Dialer{Timeout: 5 * time.Second} // a busy machine is slow, a dead server refuses
	// Not verified: the authority is nobody's, and the serial number decides.
	connection, err := tls.DialWithDialer(dialer, "tcp", address(s.TLSPort), &tls.Config{ServerName: Domain, InsecureSkipVerify: true})
	if err != nil {
		return "", err
	}
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0].SerialNumber.Text(16), nil
}

// Serves waits until a certificate is served, or the limit is over.
func (s *Server) Serves(serial string, limit time.Duration) bool {
	for deadline := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if seen, err := s.Served(); err == nil && seen == serial {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
