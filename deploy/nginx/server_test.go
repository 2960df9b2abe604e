package nginx_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// deployed puts a placement in force with every step but verification.
func deployed(t *testing.T, target *nginx.Target, placement deploy.Placement, back bool) {
	t.Helper()
	if !back {
		if err := target.Stage(context.Background(), placement); err != nil {
			t.Fatalf("Stage: %v", err)
		}
		if err := target.Check(context.Background(), []deploy.Placement{placement}); err != nil {
			t.Fatalf("Check: %v", err)
		}
	}
	if err := target.Swap(context.Background(), placement, back); err != nil {
		t.Fatalf("Swap: %v", err)
	}
}

// A running nginx through a first deployment, a renewal and a roll-back, while
// somebody connects all the time: no handshake fails, and each shows one of the
// pairs that were in force.
func TestServedThroughout(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	const name = "www.example.com"
	for _, row := range []struct{ name, server string }{{"include", includeServer}, {"plain paths", plainServer}} {
		t.Run(row.name, func(t *testing.T) {
			old, one, two := authority.Issue(t, name), authority.Issue(t, name), authority.Issue(t, name)
			world := build(t, row.server)
			target := world.open(t)
			first := deploytest.Store(t, world.state, "www", 1, one)
			if row.server == plainServer {
				world.put(t, old)
			} else {
				old = one
				deployed(t, target, first, false)
			}
			world.start(t)
			world.awaitServed(t, name, authority.Roots(), old)

			stop, stopped := make(chan struct{}), make(chan int)
			go func() {
				count := 0
				defer func() { stopped <- count }()
				for {
					select {
					case <-stop:
						return
					default:
					}
					leaf, err := world.served(name, authority.Roots())
					if err != nil {
						t.Errorf("a handshake failed: %v", err)
						return
					}
					if !leaf.Equal(old.Certificate) && !leaf.Equal(one.Certificate) && !leaf.Equal(two.Certificate) {
						t.Error("a certificate that was never in force")
					}
					count++
				}
			}()
			second := deploytest.Store(t, world.state, "www", 2, two)
			for _, step := range []struct {
				placement deploy.Placement
				back      bool
				issued    deploytest.Issued
			}{{first, false, one}, {second, false, two}, {first, true, one}, {second, false, two}} {
				deployed(t, target, step.placement, step.back)
				if err := target.Reload(context.Background()); err != nil {
					t.Fatalf("Reload: %v", err)
				}
				world.awaitServed(t, name, authority.Roots(), step.issued)
			}
			close(stop)
			if count := <-stopped; count < 20 {
				t.Errorf("only %d handshakes beside", count)
			}
		})
	}
}

// nginx opens its files while the pair is swapped under it again and again: in
// the include form it never reads a mixture.
func TestStartsDuringSwaps(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	world := build(t, includeServer)
	target := world.open(t)
	var placements [2]deploy.Placement
	for index := range placements {
		placements[index] = deploytest.Store(t, world.state, "www", index+1, authority.Issue(t, "www.example.com"))
		deployed(t, target, placements[index], false)
	}
	const swaps = 500
	done := make(chan struct{})
	var group sync.WaitGroup
	starts := 0
	group.Go(func() {
		for {
			if err := world.accepts(t); err != nil {
				t.Errorf("start %d: %v", starts, err)
				return
			}
			starts++
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for index := range swaps {
		if err := target.Swap(context.Background(), placements[index%2], true); err != nil {
			t.Errorf("swap %d: %v", index, err)
			break
		}
	}
	close(done)
	group.Wait()
	if starts < 20 {
		t.Errorf("only %d starts during %d swaps: too few to prove anything", starts, swaps)
	}
	t.Logf("%d starts during %d swaps", starts, swaps)
}

// 500 fresh handshakes over reloads between two generations: each proves the key
// of the certificate it shows.
func TestHandshakesAreNeverMixed(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	const name = "www.example.com"
	world := build(t, includeServer)
	target := world.open(t)
	var issued [2]deploytest.Issued
	var placements [2]deploy.Placement
	for index := range placements {
		issued[index] = authority.Issue(t, name)
		placements[index] = deploytest.Store(t, world.state, "www", index+1, issued[index])
		deployed(t, target, placements[index], false)
	}
	world.start(t)
	world.awaitServed(t, name, authority.Roots(), issued[1])
	seen := [2]int{}
	for handshake := range 500 {
		if handshake%50 == 0 {
			if err := target.Swap(context.Background(), placements[handshake/50%2], true); err != nil {
				t.Fatal(err)
			}
			if err := target.Reload(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		leaf, err := world.served(name, authority.Roots())
		if err != nil {
			t.Fatalf("handshake %d: %v", handshake, err)
		}
		for index := range issued {
			if leaf.Equal(issued[index].Certificate) {
				seen[index]++
			}
		}
	}
	if seen[0]+seen[1] != 500 || seen[0] < 50 || seen[1] < 50 {
		t.Errorf("shown: %v", seen)
	}
}

func TestCheckRefuses(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	const name = "www.example.com"
	good := authority.Issue(t, name)
	weak := authority.IssueFor(t, weakKey(t), name)
	for _, row := range []struct {
		name    string
		issued  deploytest.Issued
		spoil   string // a file in conf.d
		refused string // in what nginx says; "" when it accepts
	}{
		{"all is well", good, "", ""},
		{"a foreign mistake in the configuration", good, "server { nonsense; }", `unknown directive "nonsense"`},
		{"a foreign certificate that is gone", good, "server { listen unix:FOLDER/x.sock ssl; ssl_certificate FOLDER/gone.pem; ssl_certificate_key FOLDER/gone.key; }", "gone.pem"},
		{"a key that its TLS library refuses", weak, "", "ee key too small"},
	} {
		t.Run(row.name, func(t *testing.T) {
			world := build(t, includeServer)
			target := world.open(t)
			deployed(t, target, deploytest.Store(t, world.state, "www", 1, good), false)
			next := deploytest.Store(t, world.state, "www", 2, row.issued)
			if err := target.Stage(context.Background(), next); err != nil {
				t.Fatal(err)
			}
			if row.spoil != "" {
				world.write(t, "conf.d/spoil.conf", row.spoil)
			}
			err := target.Check(context.Background(), []deploy.Placement{next})
			var refused *deploy.Refused
			switch {
			case row.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case row.refused != "" && (!errors.As(err, &refused) || !strings.Contains(refused.Output, row.refused)):
				t.Errorf("%v: %+v", err, refused)
			}
			if row.spoil != "" && target.Check(context.Background(), nil) == nil {
				t.Error("without placements the configuration was not asked about")
			}
			standing, err := world.open(t).Look(context.Background(), next)
			if err != nil || standing.Generation != 1 || !standing.Chain[0].Equal(good.Certificate) {
				t.Errorf("after the check: %+v, %v", standing, err)
			}
		})
	}
}

// Many pairs are one run of nginx; a bad one among them is found.
func TestCheckManyAtOnce(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	world := build(t, "")
	target := world.open(t)
	var placements []deploy.Placement
	for index := range 20 {
		name := "c" + strconv.Itoa(index)
		placements = append(placements, deploytest.Store(t, world.state, name, 1, authority.Issue(t, name+".example.com")))
		if err := target.Stage(context.Background(), placements[index]); err != nil {
			t.Fatal(err)
		}
	}
	if err := target.Check(context.Background(), placements); err != nil {
		t.Fatal(err)
	}
	bad := deploytest.Store(t, world.state, "bad", 1, authority.IssueFor(t, weakKey(t), "bad.example.com"))
	if err := target.Stage(context.Background(), bad); err != nil {
		t.Fatal(err)
	}
	err := target.Check(context.Background(), append(placements, bad))
	var refused *deploy.Refused
	if !errors.As(err, &refused) || !strings.Contains(refused.Output, bad.Folder) {
		t.Errorf("%v: %+v", err, refused)
	}
}

func TestReloadFindsItsMaster(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	placed := func(t *testing.T) (*world, *nginx.Target) {
		world := build(t, includeServer)
		target := world.open(t)
		deployed(t, target, deploytest.Store(t, world.state, "www", 1, authority.Issue(t, "www.example.com")), false)
		return world, target
	}
	t.Run("not running", func(t *testing.T) {
		world, target := placed(t)
		if err := os.Remove(world.path("nginx.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if err := target.Reload(context.Background()); !errors.Is(err, deploy.ErrNotRunning) {
			t.Errorf("no pid file: %v", err)
		}
		world.write(t, "nginx.pid", "") // as nginx -t leaves it
		if err := target.Reload(context.Background()); !errors.Is(err, deploy.ErrNotRunning) {
			t.Errorf("an empty pid file: %v", err)
		}
		for _, text := range []string{"0", "-1", "x", strings.Repeat("1", 40)} {
			world.write(t, "nginx.pid", text)
			if err := target.Reload(context.Background()); err == nil || errors.Is(err, deploy.ErrNotRunning) {
				t.Errorf("pid file %q: %v", text, err)
			}
		}
		dead := exec.Command("true")
		if err := dead.Run(); err != nil {
			t.Fatal(err)
		}
		world.write(t, "nginx.pid", strconv.Itoa(dead.Process.Pid)+"\n")
		if err := target.Reload(context.Background()); !errors.Is(err, deploy.ErrNotRunning) {
			t.Errorf("a dead process: %v", err)
		}
	})
	t.Run("the number is in use again", func(t *testing.T) {
		world, target := placed(t)
		other := exec.Command("sleep", "600") // SIGHUP would end it
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			other.Process.Kill()
			if err := other.Wait(); !strings.Contains(err.Error(), "killed") {
				t.Errorf("the other program got a signal: %v", err)
			}
		}()
		world.write(t, "nginx.pid", strconv.Itoa(other.Process.Pid))
		if err := target.Reload(context.Background()); !errors.Is(err, deploy.ErrNotRunning) || !strings.Contains(err.Error(), "another program") {
			t.Errorf("another program: %v", err)
		}
	})
	t.Run("an nginx of another configuration", func(t *testing.T) {
		world, target := placed(t)
		world.start(t)
		if _, err := world.served("www.example.com", authority.Roots()); err != nil {
			t.Fatal(err)
		}
		if err := target.Reload(context.Background()); err != nil {
			t.Fatalf("its own: %v", err)
		}
		stranger, strangerTarget := placed(t)
		pid, err := os.ReadFile(world.path("nginx.pid"))
		if err != nil {
			t.Fatal(err)
		}
		stranger.write(t, "nginx.pid", string(pid))
		if err := strangerTarget.Reload(context.Background()); err == nil || !strings.Contains(err.Error(), "reads "+world.path("nginx.conf")) {
			t.Errorf("another's master: %v", err)
		}
	})
	t.Run("by a command", func(t *testing.T) {
		world, _ := placed(t)
		out := world.path("out")
		edit := func(cfg *nginx.Config) {
			cfg.Target.Reload = config.Reload{Argv: []string{"sh", "-c", `echo "$RENEWED_LINEAGE|$RENEWED_DOMAINS" > "$0"`, out}}
		}
		for range 2 { // the second value was not there when the swap was done
			if err := world.open(t, edit).Reload(context.Background()); err != nil {
				t.Fatal(err)
			}
			text, _ := os.ReadFile(out)
			if want := filepath.Join(world.state, "targets", "edge", "www") + "|www.example.com\n"; string(text) != want {
				t.Errorf("the command was told %q", text)
			}
		}
	})
}

// The configuration breaks between swap and reload: nginx keeps serving what it
// had, and serves the new pair as soon as the configuration is mended.
func TestReloadOfABrokenConfiguration(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	const name = "www.example.com"
	old, next := authority.Issue(t, name), authority.Issue(t, name)
	world := build(t, includeServer)
	target := world.open(t)
	deployed(t, target, deploytest.Store(t, world.state, "www", 1, old), false)
	world.start(t)
	world.awaitServed(t, name, authority.Roots(), old)
	deployed(t, target, deploytest.Store(t, world.state, "www", 2, next), false)
	world.write(t, "conf.d/spoil.conf", "nonsense;")
	if err := target.Reload(context.Background()); err != nil {
		t.Fatalf("the request was not delivered: %v", err)
	}
	world.awaitSaid(t, `"nonsense"`)
	world.awaitServed(t, name, authority.Roots(), old)
	if err := os.Remove(world.path("conf.d/spoil.conf")); err != nil {
		t.Fatal(err)
	}
	if err := target.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	world.awaitServed(t, name, authority.Roots(), next)
	if err := world.process.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the master is another process now: %v", err)
	}
}

// The swap was done and the process died before the reload: a new value of the
// target sees generation and listener, and reloads.
func TestReloadAfterARestart(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	const name = "www.example.com"
	old, next := authority.Issue(t, name), authority.Issue(t, name)
	world := build(t, includeServer)
	deployed(t, world.open(t), deploytest.Store(t, world.state, "www", 1, old), false)
	world.start(t)
	placement := deploytest.Store(t, world.state, "www", 2, next)
	deployed(t, world.open(t), placement, false)

	target := world.open(t)
	standing, err := target.Look(context.Background(), placement)
	want := deploy.Listener{Address: world.address(), ServerName: name, Transport: "tcp"}
	if err != nil || standing.Generation != 2 || len(standing.Listeners) != 1 || standing.Listeners[0] != want {
		t.Fatalf("%+v, %v", standing, err)
	}
	for range 2 { // the answer to the first was lost
		if err := target.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	world.awaitServed(t, name, authority.Roots(), next)
}

// An nginx that hangs in its own test holds nobody for ever.
func TestCheckEnds(t *testing.T) {
	world := build(t, includeServer)
	script := world.path("hanging-nginx")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nsleep 600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	target := world.open(t, func(cfg *nginx.Config) { cfg.Target.Binary = script })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	err := target.Check(ctx, nil)
	var refused *deploy.Refused
	if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
}
