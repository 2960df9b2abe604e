package nginx_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/deploy/deploytest"
	"github.com/backstay/backstay/deploy/nginx"
)

var _ deploy.Target = (*nginx.Target)(nil)

// patience is how long anything may take on a loaded machine.
const patience = 30 * time.Second

func needNginx(t testing.TB) string {
	t.Helper()
	binary, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed")
	}
	return binary
}

// world is a folder with an nginx configuration and a state folder. In texts,
// FOLDER, STATE and PORT stand for themselves.
type world struct {
	folder, state string
	listener      *net.TCPListener
	process       *exec.Cmd
	log           said
	ended         chan struct{}
}

// said is what nginx wrote; it is read while nginx goes on writing.
type said struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (said *said) Write(data []byte) (int, error) {
	said.mutex.Lock()
	defer said.mutex.Unlock()
	return said.text.Write(data)
}

func (said *said) String() string {
	said.mutex.Lock()
	defer said.mutex.Unlock()
	return said.text.String()
}

// awaitSaid returns when nginx wrote the text.
func (world *world) awaitSaid(t *testing.T, text string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !strings.Contains(world.log.String(), text); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("nginx did not say %q", text)
		}
	}
}

const head = `daemon off;
pid FOLDER/nginx.pid;
error_log stderr notice;
worker_processes 2;
USER
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path FOLDER/t1; proxy_temp_path FOLDER/t2; fastcgi_temp_path FOLDER/t3; uwsgi_temp_path FOLDER/t4; scgi_temp_path FOLDER/t5;
	include FOLDER/conf.d/*.conf;
`

// build makes a world whose http block holds servers.
func build(t testing.TB, servers string) *world {
	t.Helper()
	needNginx(t)
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	world := &world{folder: folder, state: filepath.Join(folder, "state"), listener: listener}
	for _, name := range []string{"conf.d", "tls"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	world.write(t, "nginx.conf", head+servers+"\n}\n")
	return world
}

func (world *world) expand(text string) string {
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // the test's folder is for its owner only
	}
	return strings.NewReplacer("FOLDER", world.folder, "STATE", world.state, "PORT", fmt.Sprint(world.port()), "USER", user).Replace(text)
}

func (world *world) port() int { return world.listener.Addr().(*net.TCPAddr).Port }

func (world *world) address() string { return world.listener.Addr().String() }

func (world *world) path(name string) string { return filepath.Join(world.folder, name) }

func (world *world) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(world.path(name), []byte(world.expand(text)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// put writes a pair as plain files.
func (world *world) put(t testing.TB, issued deploytest.Issued) {
	t.Helper()
	world.write(t, "tls/cert.pem", string(issued.Full()))
	world.write(t, "tls/key.pem", string(issued.Key))
}

func (world *world) open(t testing.TB, change ...func(cfg *nginx.Config)) *nginx.Target {
	t.Helper()
	cfg := nginx.Config{
		Target: config.Target{Name: "edge", Kind: "nginx", Config: world.path("nginx.conf"), Prefix: world.folder},
		State:  world.state, Read: read,
	}
	for _, edit := range change {
		edit(&cfg)
	}
	target, err := nginx.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// opened is what an nginx that starts now would read for its first server that
// has a certificate.
func (world *world) opened(t *testing.T) (full, key []byte) {
	t.Helper()
	configuration, err := read(context.Background(), world.path("nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range configuration.Servers {
		for _, pair := range server.Pairs {
			full, _ = os.ReadFile(pair.Certificate)
			key, _ = os.ReadFile(pair.Key)
			return full, key
		}
	}
	return nil, nil
}

// start runs nginx on the socket that the test holds already: nobody can take
// its port, and connections wait until nginx is there.
func (world *world) start(t *testing.T) {
	t.Helper()
	file, err := world.listener.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	process := exec.Command(needNginx(t), "-p", world.folder, "-c", world.path("nginx.conf"))
	process.Env = append(os.Environ(), "NGINX=3;")
	process.ExtraFiles = []*os.File{file}
	process.Stderr = &world.log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	// Handing it over made the shared socket blocking: a worker that loses the race
	// for a connection to another would hang in accept.
	if err := syscall.SetNonblock(int(file.Fd()), true); err != nil {
		t.Fatal(err)
	}
	world.process, world.ended = process, make(chan struct{})
	go func() {
		process.Wait()
		close(world.ended)
	}()
	t.Cleanup(func() {
		process.Process.Signal(syscall.SIGTERM)
		select {
		case <-world.ended:
		case <-time.After(patience):
			process.Process.Kill()
			<-world.ended
		}
		if t.Failed() {
			t.Logf("nginx said:\n%s", &world.log)
		}
	})
}

// served is the leaf that nginx shows for a name, its key proven. While nginx
// does not run yet, the connection waits in the socket's queue.
func (world *world) served(name string, roots *x509.CertPool) (*x509.Certificate, error) {
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: &tls.Config{ServerName: name, RootCAs: roots}}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	connection, err := dialer.DialContext(ctx, "tcp", world.address())
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// awaitServed handshakes until a pair is shown ten times in a row: earlier
// workers may take connections for a moment after a reload.
func (world *world) awaitServed(t *testing.T, name string, roots *x509.CertPool, issued deploytest.Issued) {
	t.Helper()
	for deadline, row := time.Now().Add(patience), 0; row < 10; {
		leaf, err := world.served(name, roots)
		if err != nil {
			t.Fatalf("a handshake failed: %v", err)
		}
		if row++; !leaf.Equal(issued.Certificate) {
			row = 0
		}
		if time.Now().After(deadline) {
			t.Fatal("the pair is not served")
		}
	}
}

// accepts runs nginx -t, which opens the files as a start does.
func (world *world) accepts(t *testing.T) error {
	t.Helper()
	output, err := exec.Command(needNginx(t), "-t", "-q", "-p", world.folder, "-c", world.path("nginx.conf")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	return nil
}
