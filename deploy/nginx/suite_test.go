package nginx_test

import (
	"encoding/json"
	"testing"

	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/deploy/deploytest"
)

const (
	includeServer = "server { listen 127.0.0.1:PORT ssl; server_name www.example.com; include STATE/targets/edge/www.conf; }"
	plainServer   = "server { listen 127.0.0.1:PORT ssl; server_name www.example.com; ssl_certificate FOLDER/tls/cert.pem; ssl_certificate_key FOLDER/tls/key.pem; }"
	recordServer  = "server { listen 127.0.0.1:PORT ssl; server_name www.example.com; ssl_certificate STATE/targets/edge/www/fullchain.pem; ssl_certificate_key STATE/targets/edge/www/privkey.pem; }"
	liveServer    = "server { listen 127.0.0.1:PORT ssl; server_name www.example.com; ssl_certificate STATE/live/www/fullchain.pem; ssl_certificate_key STATE/live/www/privkey.pem; }"
)

func TestMain(m *testing.M) {
	deploytest.Main(m, map[string]deploytest.Act{
		"deploy": func(argument json.RawMessage) error { return killedDeploy(argument) },
	})
}

func TestSuite(t *testing.T) {
	needNginx(t)
	authority := deploytest.NewAuthority(t)
	names := []string{"www.example.com"}
	old := authority.Issue(t, names...)
	for _, row := range []struct {
		name, server, form string
		before             *deploytest.Issued
		prepare            func(t *testing.T, world *world)
	}{
		{"include", includeServer, deploy.FormInclude, nil, func(*testing.T, *world) {}},
		{"include, over a text of another hand", includeServer, deploy.FormInclude, &old, func(t *testing.T, world *world) {
			world.put(t, old)
			if _, err := deploy.OpenTarget(world.state, "edge"); err != nil {
				t.Fatal(err)
			}
			world.write(t, "state/targets/edge/www.conf", "ssl_certificate FOLDER/tls/cert.pem;\nssl_certificate_key FOLDER/tls/key.pem;\n")
		}},
		{"plain paths", plainServer, deploy.FormLink, &old, func(t *testing.T, world *world) { world.put(t, old) }},
		{"plain paths, nothing there", plainServer, deploy.FormLink, nil, func(*testing.T, *world) {}},
		{"the target's own link", recordServer, deploy.FormLink, nil, func(*testing.T, *world) {}},
		{"the live link", liveServer, deploy.FormLink, nil, func(*testing.T, *world) {}},
	} {
		t.Run(row.name, func(t *testing.T) {
			deploytest.Suite(t, authority, names, func(t *testing.T) deploytest.World {
				world := build(t, row.server)
				row.prepare(t, world)
				return deploytest.World{
					State: world.state, Name: "edge", Form: row.form, Before: row.before,
					Open:   func(t *testing.T) deploy.Target { return world.open(t) },
					Opened: world.opened,
				}
			})
		})
	}
}
