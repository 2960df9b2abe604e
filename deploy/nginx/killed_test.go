package nginx_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/deploy/deploytest"
	"github.com/backstay/backstay/deploy/nginx"
)

// killed is the argument of the act that is killed.
type killed struct {
	Main, Prefix, State string
	Placement           deploy.Placement
	world               *world
}

// killedDeploy is a deployment without a check: what can be killed in it are
// the writes.
func killedDeploy(argument json.RawMessage) error {
	var k killed
	if err := json.Unmarshal(argument, &k); err != nil {
		return err
	}
	target, err := nginx.New(nginx.Config{Target: config.Target{Name: "edge", Config: k.Main, Prefix: k.Prefix}, State: k.State, Read: read})
	if err != nil {
		return err
	}
	if err := target.Stage(context.Background(), k.Placement); err != nil {
		return err
	}
	return target.Swap(context.Background(), k.Placement, false)
}

// Killed at every step, nginx can be started at once, with the old pair or the
// new one, never with a mixture; and the same calls again finish the work.
func TestKilledAnywhere(t *testing.T) {
	needNginx(t)
	authority := deploytest.NewAuthority(t)
	names := []string{"www.example.com"}
	old, next := authority.Issue(t, names...), authority.Issue(t, names...)
	for _, row := range []struct {
		name, server string
		kills        int
	}{
		{"include", includeServer, 4},
		{"plain paths, the first time", plainServer, 20},
		{"the target's own link", recordServer, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			olds, news := 0, 0
			kills := deploytest.Kill(t, "deploy", func(t *testing.T) any {
				world := build(t, row.server)
				placement := deploytest.Store(t, world.state, "www", 1, old)
				k := killed{Main: world.path("nginx.conf"), Prefix: world.folder, State: world.state, world: world}
				if row.server == plainServer {
					world.put(t, old)
					k.Placement = deploytest.Store(t, world.state, "www", 2, next)
					return k
				}
				target := world.open(t)
				if err := target.Stage(context.Background(), placement); err != nil {
					t.Fatal(err)
				}
				if err := target.Swap(context.Background(), placement, false); err != nil {
					t.Fatal(err)
				}
				k.Placement = deploytest.Store(t, world.state, "www", 2, next)
				return k
			}, func(t *testing.T, argument any) {
				world := argument.(killed).world
				if err := world.accepts(t); err != nil {
					t.Fatalf("nginx would not start: %v", err)
				}
				switch full, key := world.opened(t); {
				case bytes.Equal(full, old.Full()) && bytes.Equal(key, old.Key):
					olds++
				case bytes.Equal(full, next.Full()) && bytes.Equal(key, next.Key):
					news++
				default:
					t.Fatal("nginx would read another pair")
				}
			}, func(t *testing.T, argument any) {
				k := argument.(killed)
				standing, err := k.world.open(t).Look(context.Background(), k.Placement)
				if err != nil || standing.Generation != 2 || !standing.Chain[0].Equal(next.Certificate) {
					t.Fatalf("after another run: %+v, %v", standing, err)
				}
				if number, err := deploy.Recorded(k.State, "edge", "www"); number != 2 || err != nil {
					t.Fatalf("the target's link: %d, %v", number, err)
				}
			})
			if kills < row.kills || olds == 0 || news == 0 {
				t.Fatalf("%d kills (%d old, %d new): too few to prove anything", kills, olds, news)
			}
		})
	}
}
