package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/testbed/authority"
	"github.com/backstay/backstay/testbed/nginx"
	"github.com/backstay/backstay/testbed/pki"
	"github.com/backstay/backstay/testbed/world"
)

// killBinary is the real binary with its kill points, built once.
var killBinary = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "backstay-kill-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "backstay")
	build := exec.Command("go", "build", "-tags", "killpoint", "-o", path, "github.com/backstay/backstay/cmd/backstay")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, output)
	}
	return path, nil
})

// killWorld is a world for one kill: a certificate that is served and must be
// renewed now, and a binary to do it.
type killWorld struct {
	*world.World
	t       *testing.T
	binary  string
	config  string
	solver  string
	address string // of the server that is watched
	nginx   bool   // it is a real nginx
}

// kindNginx deploys to a real nginx in the include form instead of to a server
// that reads two files.
const kindNginx = "nginx"

// newKillWorld issues the first certificate, whose life is so short that it is
// due again at once.
func newKillWorld(t *testing.T, solver string, port int, kind string) *killWorld {
	t.Helper()
	binary, err := killBinary()
	if err != nil {
		t.Fatal(err)
	}
	cfg := world.Config{Folder: t.TempDir(), Authority: authority.Config{OrdersList: true, Validity: 24 * time.Hour}}
	if solver == "own" {
		cfg.Authority.HTTPPort = port
	}
	made, err := world.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { made.Close() })
	rig := &killWorld{World: made, t: t, binary: binary, solver: solver, address: made.Server.Address}
	configuration := world.Configuration{Solver: solver, OwnPort: port, Certificates: []world.Certificate{{Name: "www", Domains: []string{"www.example.com"}}}}
	if kind == kindNginx {
		rig.startNginx(&configuration)
	}
	rig.config, err = made.Configure(configuration)
	if err != nil {
		t.Fatal(err)
	}
	if output, err := rig.backstay(nil, "renew"); err != nil {
		t.Fatalf("first issuance: %v\n%s", err, output)
	}
	return rig
}

// startNginx starts a real nginx whose server block includes our file, which at
// first names a pair that is not ours.
func (rig *killWorld) startNginx(configuration *world.Configuration) {
	rig.t.Helper()
	pair, err := pki.SelfSigned(pki.Options{Names: []string{"www.example.com"}})
	if err != nil {
		rig.t.Fatal(err)
	}
	include := filepath.Join(rig.State(), "targets", "edge", "www.conf")
	if err := os.MkdirAll(filepath.Dir(include), 0o755); err != nil {
		rig.t.Fatal(err)
	}
	text := fmt.Sprintf("ssl_certificate %s;\nssl_certificate_key %s;\n", rig.Path("old.pem"), rig.Path("old.key"))
	for path, content := range map[string][]byte{include: []byte(text), rig.Path("old.pem"): pair.FullchainPEM(), rig.Path("old.key"): pair.KeyPEM()} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			rig.t.Fatal(err)
		}
	}
	if err := os.Chmod(rig.State(), 0o700); err != nil {
		rig.t.Fatal(err)
	}
	server, err := nginx.Start(context.Background(), nginx.Config{Folder: rig.Folder, Ports: 1, Daemon: true, Servers: func(server *nginx.Server) string {
		return fmt.Sprintf("server { listen 127.0.0.1:%d ssl; server_name www.example.com; include %s; location / { return 200 ok; } }", server.Port(0), include)
	}})
	if errors.Is(err, nginx.ErrNotInstalled) {
		rig.t.Skip("nginx is not installed")
	}
	if err != nil {
		rig.t.Fatal(err)
	}
	rig.t.Cleanup(func() { server.Stop() })
	rig.address, rig.nginx = server.Address(0), true
	configuration.Targets = fmt.Sprintf("  edge: {kind: nginx, config: %s, binary: %s, reload_every: 50ms}\n", server.ConfigPath(), server.Binary())
	configuration.Certificates[0].Options = "deploy: [edge]"
}

// backstay runs the binary with further environment.
func (rig *killWorld) backstay(environment []string, arguments ...string) (string, error) {
	command := rig.command(environment, arguments...)
	output, err := command.CombinedOutput()
	return string(output), err
}

func (rig *killWorld) command(environment []string, arguments ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	rig.t.Cleanup(cancel)
	command := exec.CommandContext(ctx, rig.binary, append(arguments, "--config", rig.config, "--state", rig.State())...)
	command.Env = append(os.Environ(), environment...)
	return command
}

// prober handshakes all the while: no failure and no mixed pair may be seen.
type prober struct {
	stop     chan struct{}
	done     chan struct{}
	failures []string
	looks    int
}

func startProber(address string) *prober {
	prober := &prober{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(prober.done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-prober.stop:
				return
			case <-tick.C:
				prober.looks++
				connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: "www.example.com"})
				if err != nil {
					prober.failures = append(prober.failures, err.Error())
					continue
				}
				connection.Close()
			}
		}
	}()
	return prober
}

func (prober *prober) end() { close(prober.stop); <-prober.done }

// books is what the CA and the disk say after the rerun.
type books struct{ certificates, orders, finalizes int }

func (rig *killWorld) books() books {
	all := books{certificates: len(rig.Authority.Issued()), orders: len(rig.Authority.Orders())}
	for _, finalized := range rig.Authority.FinalizeRequests() {
		all.finalizes += finalized.Accepted
	}
	return all
}

// converged checks everything that must hold after one rerun.
func (rig *killWorld) converged(where string, before books, output string) {
	rig.t.Helper()
	after := rig.books()
	if after.certificates != before.certificates+1 {
		rig.t.Errorf("%s: %d certificates issued for one need\n%s", where, after.certificates-before.certificates, output)
	}
	if after.finalizes != before.finalizes+1 {
		rig.t.Errorf("%s: %d finalize requests accepted for one need", where, after.finalizes-before.finalizes)
	}
	if orders := after.orders - before.orders; orders > 1 && rig.solver != "own" {
		rig.t.Errorf("%s: %d orders for one need at a CA that lists orders", where, orders)
	}
	if left := rig.ChallengeFiles(); len(left) > 0 {
		rig.t.Errorf("%s: challenge files left: %v", where, left)
	}
	if records := rig.Names.Records("_acme-challenge.www.example.com", "TXT"); len(records) > 0 {
		rig.t.Errorf("%s: TXT records left: %v", where, records)
	}
	for _, folder := range []string{rig.State(), rig.Folder} {
		filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
			if err == nil && strings.HasPrefix(entry.Name(), ".backstay-tmp-") {
				rig.t.Errorf("%s: temporary file left: %s", where, path)
			}
			return nil
		})
	}
	connection, err := tls.Dial("tcp", rig.address, &tls.Config{InsecureSkipVerify: true, ServerName: "www.example.com"})
	if err != nil {
		rig.t.Errorf("%s: %v", where, err)
		return
	}
	defer connection.Close()
	issued := rig.Authority.Issued()
	newest := issued[len(issued)-1].Certificate
	if !bytes.Equal(connection.ConnectionState().PeerCertificates[0].Raw, newest.Raw) {
		rig.t.Errorf("%s: the newest certificate is not served\n%s", where, output)
	}
}

// killedRun renews with --force, dies on the way, and reruns once.
func (rig *killWorld) killedRun(where string, start func(*exec.Cmd) error, environment ...string) (killed bool) {
	rig.t.Helper()
	before := rig.books()
	prober := startProber(rig.address)
	command := rig.command(environment, "renew", "--force", "www")
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	err := start(command)
	if state := command.ProcessState; state != nil && state.Sys().(syscall.WaitStatus).Signaled() {
		killed = true
	} else if err != nil {
		rig.t.Errorf("%s: %v\n%s", where, err, output.String())
	}
	if killed && rig.books() == before && !rig.asked() {
		// It died before the wish to renew was stored: the person asks again.
		prober.end()
		return rig.again(where, before)
	}
	rerun, err := rig.backstay(nil, "renew", "--json")
	if err != nil {
		rig.t.Errorf("%s: the rerun failed: %v\n%s\nkilled run: %s", where, err, rerun, output.String())
	}
	prober.end()
	// A server that opens two plain paths at each handshake can meet the instant of
	// the flip between its two opens: that is the limit of the link form, and a
	// finding says so. The include form of nginx knows no such instant.
	tolerated := 0
	if !rig.nginx {
		tolerated = 1
	}
	if len(prober.failures) > tolerated {
		rig.t.Errorf("%s: the prober saw %d failures in %d looks, first: %s", where, len(prober.failures), prober.looks, prober.failures[0])
	}
	rig.converged(where, before, rerun)
	return killed
}

// asked reports whether the certificate is marked to be renewed.
func (rig *killWorld) asked() bool {
	output, err := rig.backstay(nil, "renew", "--dry-run", "--json")
	if err != nil {
		rig.t.Errorf("dry run: %v\n%s", err, output)
	}
	for _, line := range strings.Split(output, "\n") {
		var step struct{ Kind, Step string }
		if json.Unmarshal([]byte(line), &step) == nil && step.Kind == "step" {
			return true
		}
	}
	return false
}

func (rig *killWorld) again(where string, before books) bool {
	output, err := rig.backstay(nil, "renew", "--force", "www")
	if err != nil {
		rig.t.Errorf("%s: the repetition failed: %v\n%s", where, err, output)
	}
	rig.converged(where, before, output)
	return true
}

// seeds is how many random kills are tried; BACKSTAY_KILLS raises it for soaks.
func seeds(usual int) int {
	if more, err := strconv.Atoi(os.Getenv("BACKSTAY_KILLS")); err == nil && more > 0 {
		return more
	}
	return usual
}

// TestKillAtEveryPoint kills the real binary at each place of ours that changes
// a file or commits, one after the other, and lets one rerun finish. Without
// BACKSTAY_KILLS only every seventh place is tried.
func TestKillAtEveryPoint(t *testing.T) {
	step := 7
	if os.Getenv("BACKSTAY_KILLS") != "" {
		step = 1
	}
	for _, one := range []struct{ kind, solver string }{{"files", "web"}, {kindNginx, "web"}} {
		t.Run(one.kind, func(t *testing.T) {
			var rig *killWorld
			hit := 0
			for point := 1; ; point += step {
				if hit%3 == 0 {
					rig = newKillWorld(t, one.solver, 0, one.kind) // the breaker allows five orders a certificate and day
				}
				where := fmt.Sprintf("kill at point %d", point)
				killed := rig.killedRun(where, (*exec.Cmd).Run, "BACKSTAY_KILL_POINT="+strconv.Itoa(point))
				if t.Failed() {
					return
				}
				if !killed {
					break
				}
				hit++
			}
			if hit < 10 {
				t.Fatalf("only %d points were hit", hit)
			}
			t.Logf("%d points hit (every %d.)", hit, step)
		})
	}
}

// TestKillAtRandom kills the real binary at random instants, with every solver.
func TestKillAtRandom(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	for _, one := range []struct {
		kind, solver string
		kills        int
	}{{kindNginx, "web", 12}, {"files", "zone", 4}, {"files", "own", 4}} {
		t.Run(one.kind+" "+one.solver, func(t *testing.T) {
			random := rand.New(rand.NewSource(20261121))
			var rig *killWorld
			hit, total := 0, seeds(one.kills)
			for seed := range total {
				if seed%2 == 0 {
					rig = newKillWorld(t, one.solver, port, one.kind)
				}
				delay := time.Duration(random.Int63n(int64(140 * time.Millisecond)))
				where := fmt.Sprintf("kill %d after %s", seed, delay)
				killed := rig.killedRun(where, func(command *exec.Cmd) error {
					if err := command.Start(); err != nil {
						return err
					}
					timer := time.AfterFunc(delay, func() { command.Process.Kill() })
					defer timer.Stop()
					return command.Wait()
				})
				if t.Failed() {
					return
				}
				if killed {
					hit++
				}
			}
			if hit == 0 {
				t.Fatal("no run was killed")
			}
			t.Logf("%d of %d runs were killed", hit, total)
		})
	}
}
