package nginx_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/deploy/deploytest"
	"github.com/backstay/backstay/deploy/nginx"
)

func look(t *testing.T, target *nginx.Target, placement deploy.Placement) deploy.Standing {
	t.Helper()
	standing, err := target.Look(context.Background(), placement)
	if err != nil {
		t.Fatal(err)
	}
	return standing
}

// listened writes listeners as NAME@ADDRESS, with the transport when it is not tcp.
func listened(standing deploy.Standing) []string {
	var list []string
	for _, listener := range standing.Listeners {
		text := listener.ServerName + "@" + listener.Address
		if listener.Transport != "tcp" {
			text = listener.Transport + "://" + text
		}
		list = append(list, text)
	}
	return list
}

func TestListeners(t *testing.T) {
	const ours = " include STATE/targets/edge/www.conf; "
	for _, row := range []struct {
		name    string
		domains []string
		servers string
		want    []string
	}{
		{"each family and name", []string{"a.example", "b.example"}, "server { listen 443 ssl; listen [::]:443 ssl; server_name a.example b.example;" + ours + "}",
			[]string{"a.example@127.0.0.1:443", "b.example@127.0.0.1:443", "a.example@[::1]:443", "b.example@[::1]:443"}},
		{"both families on one socket", []string{"a.example"}, "server { listen [::]:443 ssl ipv6only=off; server_name a.example;" + ours + "}",
			[]string{"a.example@[::1]:443", "a.example@127.0.0.1:443"}},
		{"what cannot be looked at", []string{"a.example"}, "server { listen 80; listen unix:/x ssl; listen 443 quic; listen 444 ssl proxy_protocol; listen 192.0.2.1:445 ssl; server_name a.example;" + ours + "}",
			[]string{"a.example@192.0.2.1:445"}},
		{"only the names that the block answers", []string{"a.example", "b.example"}, "server { listen 443 ssl; server_name b.example; } server { listen 443 ssl; server_name a.example;" + ours + "}",
			[]string{"a.example@127.0.0.1:443"}},
		{"a default server answers the rest", []string{"a.example", "b.example", "192.0.2.1"}, "server { listen 443 ssl; server_name b.example; } server { listen 443 ssl default_server; server_name _;" + ours + "}",
			[]string{"a.example@127.0.0.1:443", "@127.0.0.1:443"}},
		{"a wildcard", []string{"*.example.com"}, "server { listen 443 ssl; server_name *.example.com www.example.com;" + ours + "} server { listen 443 ssl; server_name mail.example.com; }",
			[]string{"www.example.com@127.0.0.1:443", "backstay-check.example.com@127.0.0.1:443"}},
		{"a wildcard for one name", []string{"*.example.com"}, "server { listen 443 ssl default_server; } server { listen 443 ssl; server_name www.example.com;" + ours + "}",
			[]string{"www.example.com@127.0.0.1:443"}},
		{"an expression takes a name", []string{"a.example", "b.example"}, "server { listen 443 ssl; server_name ~^b; } server { listen 443 ssl default_server; server_name a.example;" + ours + "}",
			[]string{"a.example@127.0.0.1:443"}},
		{"an expression that only PCRE knows", []string{"a.example", "b.example"}, `server { listen 443 ssl; server_name "~^(?!b)"; } server { listen 443 ssl default_server; server_name a.example;` + ours + "}",
			[]string{"a.example@127.0.0.1:443"}},
		{"loopback belongs to another socket", []string{"a.example"}, "server { listen 127.0.0.1:443 ssl; } server { listen 443 ssl; listen 444 ssl; server_name a.example;" + ours + "}",
			[]string{"a.example@127.0.0.1:444"}},
		{"several blocks", []string{"a.example", "b.example"}, "server { listen 443 ssl; server_name a.example;" + ours + "} server { listen 8443 ssl; server_name b.example;" + ours + "}",
			[]string{"a.example@127.0.0.1:443", "b.example@127.0.0.1:443", "a.example@127.0.0.1:8443", "b.example@127.0.0.1:8443"}}, // each is the default of its socket
		{"inherited from the http level", []string{"a.example"}, ours + "server { listen 443 ssl; server_name a.example; }",
			[]string{"a.example@127.0.0.1:443"}},
		{"through a snippet", []string{"a.example"}, "server { listen 443 ssl; server_name a.example; include FOLDER/snippet; }",
			[]string{"a.example@127.0.0.1:443"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			world := build(t, row.servers)
			world.write(t, "snippet", ours)
			standing := look(t, world.open(t), deploy.Placement{Name: "www", Domains: row.domains, Generation: 1})
			if got := listened(standing); !slices.Equal(got, row.want) || standing.Form != deploy.FormInclude {
				t.Errorf("%s: %v", standing.Form, got)
			}
			verify := func(cfg *nginx.Config) { cfg.Target.Verify = []string{"x.example@192.0.2.9:99"} }
			if got := listened(look(t, world.open(t, verify), deploy.Placement{Name: "www", Domains: row.domains, Generation: 1})); !slices.Equal(got, []string{"x.example@192.0.2.9:99"}) {
				t.Errorf("verify is not used: %v", got)
			}
		})
	}
}

func TestListenersOfMailAndStream(t *testing.T) {
	world := build(t, "")
	world.write(t, "nginx.conf", "mail { server { listen 25; protocol smtp; starttls on; include STATE/targets/edge/www.conf; } server { listen 993 ssl; include STATE/targets/edge/www.conf; } }\nstream { server { listen 853 ssl; include STATE/targets/edge/www.conf; } }")
	standing := look(t, world.open(t), deploy.Placement{Name: "www", Domains: []string{"mail.example"}, Generation: 1})
	want := []string{"smtp://mail.example@127.0.0.1:25", "mail.example@127.0.0.1:993", "mail.example@127.0.0.1:853"}
	if got := listened(standing); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// Which plain paths are a certificate's, and which are left alone.
func TestPlainPathsFound(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	block := func(names, pair string) string {
		text := "server { listen 443 ssl; server_name " + names + ";"
		for _, pair := range strings.Fields(pair) {
			text += " ssl_certificate FOLDER/tls/" + pair + ".pem; ssl_certificate_key FOLDER/tls/" + pair + ".key;"
		}
		return text + " }\n"
	}
	certificates := func(list ...string) []config.Certificate {
		var made []config.Certificate
		for _, text := range list {
			domains := strings.Fields(text)
			made = append(made, config.Certificate{Name: domains[0], Domains: domains[1:]})
		}
		return made
	}
	for _, row := range []struct {
		name    string
		servers string
		owners  []config.Certificate
		place   string // name and domains
		form    string
		path    string // of the certificate, below tls
		fault   string
	}{
		{"by name", block("a.example", "x"), nil, "a a.example", deploy.FormLink, "x.pem", ""},
		{"not by another name", block("b.example", "x"), nil, "a a.example", deploy.FormNone, "", ""},
		{"by wildcard", block("a.example", "x"), nil, "w *.example", deploy.FormLink, "x.pem", ""},
		{"not by a wildcard over two labels", block("a.b.example", "x"), nil, "w *.example", deploy.FormNone, "", ""},
		{"a block without a name, by its certificate", block("_", "a.example"), nil, "a a.example", deploy.FormLink, "a.example.pem", ""},
		{"a block without a name, with a certificate for more", block("_", "ab"), nil, "a a.example", deploy.FormNone, "", ""},
		{"the exact certificate rather than the wildcard", block("a.example", "x"), certificates("w *.example", "a a.example"), "w *.example", deploy.FormNone, "", ""},
		{"the exact certificate", block("a.example", "x"), certificates("w *.example", "a a.example"), "a a.example", deploy.FormLink, "x.pem", ""},
		{"the one that covers more", block("a.example b.example", "x"), certificates("ab a.example b.example", "a a.example"), "a a.example", deploy.FormNone, "", ""},
		{"of two alike the first by name", block("a.example", "x"), certificates("z a.example", "y a.example"), "z a.example", deploy.FormNone, "", ""},
		{"a name that would be lost", block("a.example b.example", "ab"), nil, "a a.example", "", "", "answers \"b.example\""},
		{"a name that would be lost in another block", block("a.example", "ab") + block("b.example", "ab"), nil, "a a.example", "", "", "answers \"b.example\""},
		{"a name that is not served well anyway", block("a.example c.example", "ab"), nil, "a a.example", deploy.FormLink, "ab.pem", ""},
		{"RSA and ECDSA side by side", block("a.example", "rsa a.example"), nil, "a a.example", deploy.FormLink, "a.example.pem", ""},
		{"two of one kind", block("a.example", "x a.example"), nil, "a a.example", "", "", "several certificates"},
		{"decided at run time", "server { listen 443 ssl; server_name a.example; ssl_certificate FOLDER/tls/$ssl_server_name.pem; ssl_certificate_key FOLDER/tls/$ssl_server_name.key; }", nil, "a a.example", deploy.FormNone, "", ""},
		{"no TLS", "server { listen 80; server_name a.example; ssl_certificate FOLDER/tls/x.pem; ssl_certificate_key FOLDER/tls/x.key; }", nil, "a a.example", deploy.FormNone, "", ""},
		{"a generation's own file", "server { listen 443 ssl; server_name a.example; ssl_certificate STATE/certs/a/1/fullchain.pem; ssl_certificate_key STATE/certs/a/1/privkey.pem; }", nil, "a a.example", "", "", "include "},
	} {
		t.Run(row.name, func(t *testing.T) {
			world := build(t, row.servers)
			for name, issued := range map[string]deploytest.Issued{
				"x": authority.Issue(t, "a.example", "old.example"), "a.example": authority.Issue(t, "a.example"),
				"ab": authority.Issue(t, "a.example", "b.example"), "rsa": authority.IssueRSA(t, "a.example"),
			} {
				world.write(t, "tls/"+name+".pem", string(issued.Full()))
				world.write(t, "tls/"+name+".key", string(issued.Key))
			}
			words := strings.Fields(row.place)
			placement := deploytest.Store(t, world.state, words[0], 1, authority.Issue(t, words[1:]...))
			target := world.open(t, func(cfg *nginx.Config) { cfg.Certificates = row.owners })
			standing, err := target.Look(context.Background(), placement)
			if row.fault != "" {
				if err == nil || !strings.Contains(err.Error(), row.fault) {
					t.Errorf("%+v, %v", standing, err)
				}
				if target.Stage(context.Background(), placement) == nil {
					t.Error("staged all the same")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			path := ""
			if row.path != "" {
				path = world.path("tls/" + row.path)
			}
			if standing.Form != row.form || standing.Certificate != path {
				t.Errorf("%s %s", standing.Form, standing.Certificate)
			}
		})
	}
}

// Paths held for one certificate are not taken for another one that is deployed
// here as well; once that is not, they may be.
func TestPathsChangeHands(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	world := build(t, plainServer)
	world.put(t, authority.Issue(t, "www.example.com"))
	first := deploytest.Store(t, world.state, "www", 1, authority.Issue(t, "www.example.com"))
	deployed(t, world.open(t), first, false)
	issued := authority.Issue(t, "www.example.com")
	renamed := deploytest.Store(t, world.state, "web", 1, issued)
	if standing := look(t, world.open(t), renamed); standing.Form != deploy.FormNone {
		t.Errorf("taken: %+v", standing)
	}
	target := world.open(t, func(cfg *nginx.Config) {
		cfg.Certificates = []config.Certificate{{Name: "web", Domains: renamed.Domains}}
	})
	deployed(t, target, renamed, false)
	if standing := look(t, target, renamed); standing.Generation != 1 || !standing.Chain[0].Equal(issued.Certificate) {
		t.Errorf("%+v", standing)
	}
}

// Blocks with paths of their own for the same name are all moved, and count as
// done when the last one is.
func TestSeveralPlainPaths(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	world := build(t, plainServer+" server { listen 127.0.0.1:PORT ssl; server_name web.example.com; ssl_certificate FOLDER/tls/two.pem; ssl_certificate_key FOLDER/tls/two.key; }")
	names := []string{"www.example.com", "web.example.com"}
	old, issued := authority.Issue(t, names...), authority.Issue(t, names...)
	world.put(t, old)
	world.write(t, "tls/two.pem", string(old.Full()))
	world.write(t, "tls/two.key", string(old.Key))
	target := world.open(t)
	placement := deploytest.Store(t, world.state, "www", 1, issued)
	deployed(t, target, placement, false)
	standing := look(t, target, placement)
	if standing.Generation != 1 || len(standing.Listeners) != 2 {
		t.Errorf("%+v", standing)
	}
	for _, path := range []string{"tls/cert.pem", "tls/two.pem"} {
		if text, _ := os.ReadFile(world.path(path)); string(text) != string(issued.Full()) {
			t.Errorf("%s was not moved", path)
		}
	}
	// one place fell back behind the other
	second := deploy.Linked{State: world.state, Certificate: world.path("tls/two.pem"), Key: world.path("tls/two.key")}
	if err := second.Swap(deploy.Placement{Name: "www"}, true); err != nil {
		t.Fatal(err)
	}
	if standing := look(t, target, placement); standing.Generation != 0 || !standing.Chain[0].Equal(old.Certificate) {
		t.Errorf("%+v", standing)
	}
}

func TestDropIn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("port 443 needs root")
	}
	authority := deploytest.NewAuthority(t)
	for _, row := range []struct {
		name, servers string
		has, hasNot   string
	}{
		{"no server at all", "", "return 404", "proxy_pass"},
		{"a plain server", "server { listen 127.0.0.1:8099; server_name www.example.com; return 200 ok; }", "proxy_pass http://127.0.0.1:8099;", "404"},
		{"a plain server that redirects", "server { listen 127.0.0.1:8099; server_name www.example.com; return 301 https://$host$request_uri; }", "return 404", "proxy_pass"},
		{"another block has an address of its own", "server { listen 127.0.0.2:443 ssl; server_name other; ssl_reject_handshake on; }", "listen 127.0.0.2:443 ssl;", "proxy_pass"},
	} {
		t.Run(row.name, func(t *testing.T) {
			world := build(t, row.servers)
			target := world.open(t)
			placement := deploytest.Store(t, world.state, "www", 1, authority.Issue(t, "www.example.com", "*.example.com"))
			standing := look(t, target, placement)
			if standing.Form != deploy.FormNone || standing.Generation != -1 || standing.DropInPath != world.path("conf.d/backstay-www.conf") {
				t.Fatalf("%+v", standing)
			}
			if !strings.Contains(standing.DropIn, row.has) || strings.Contains(standing.DropIn, row.hasNot) {
				t.Errorf("the block:\n%s", standing.DropIn)
			}
			if got := listened(standing); !slices.Contains(got, "www.example.com@127.0.0.1:443") || !slices.Contains(got, "backstay-check.example.com@127.0.0.1:443") {
				t.Errorf("listeners: %v", got)
			}
			deployed(t, target, placement, false)
			if standing := look(t, target, placement); standing.Form != deploy.FormNone || standing.Generation != 1 {
				t.Fatalf("swapped, no block yet: %+v", standing)
			}
			if err := target.TryBlock(context.Background(), standing.DropIn); err != nil {
				t.Fatalf("tried beforehand: %v", err)
			}
			var refused *deploy.Refused
			if err := target.TryBlock(context.Background(), "server { nonsense; }"); !errors.As(err, &refused) || !strings.Contains(refused.Output, "nonsense") {
				t.Fatalf("a bad block, tried beforehand: %v", err)
			}
			if left, _ := filepath.Glob(world.path(".*")); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
			if err := os.WriteFile(standing.DropInPath, []byte(standing.DropIn), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := target.Check(context.Background(), nil); err != nil {
				t.Fatalf("nginx refuses the block: %v: %v", err, world.accepts(t))
			}
			if standing := look(t, target, placement); standing.Form != deploy.FormInclude || standing.Generation != 1 || !standing.KeyMatches {
				t.Errorf("with the block: %+v", standing)
			}
		})
	}
}

func TestFullStateDisk(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	world := build(t, includeServer)
	world.state = filepath.Join(deploytest.SmallDisk(t, 256), "state")
	world.write(t, "nginx.conf", head+includeServer+"}")
	target := world.open(t)
	old, next := authority.Issue(t, "www.example.com"), authority.Issue(t, "www.example.com")
	deployed(t, target, deploytest.Store(t, world.state, "www", 1, old), false)
	placement := deploytest.Store(t, world.state, "www", 2, next)
	free := deploytest.Fill(t, filepath.Dir(world.state))
	if err := target.Stage(context.Background(), placement); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("staged on a full disk: %v", err)
	}
	if full, _ := world.opened(t); string(full) != string(old.Full()) || world.accepts(t) != nil {
		t.Error("what was in force is not any more")
	}
	free()
	if err := target.Stage(context.Background(), placement); err != nil {
		t.Fatal(err)
	}
	free = deploytest.Fill(t, filepath.Dir(world.state))
	defer free()
	if err := target.Swap(context.Background(), placement, false); err != nil {
		t.Errorf("a swap needs no space: %v", err)
	}
	if full, _ := world.opened(t); string(full) != string(next.Full()) || world.accepts(t) != nil {
		t.Error("the swap is not in force")
	}
}

// The configuration is read again when it changes, wherever it changes.
func TestConfigurationIsFollowed(t *testing.T) {
	world := build(t, "")
	reads := 0
	target := world.open(t, func(cfg *nginx.Config) {
		cfg.Read = func(ctx context.Context, main string) (nginx.Configuration, error) {
			reads++
			return read(ctx, main)
		}
	})
	placement := deploy.Placement{Name: "www", Domains: []string{"www.example.com"}, Generation: 1}
	form := func(when, want string) {
		t.Helper()
		if standing := look(t, target, placement); standing.Form != want {
			t.Errorf("%s: %s", when, standing.Form)
		}
	}
	form("at first", deploy.FormNone)
	before := reads
	form("again", deploy.FormNone)
	if reads != before {
		t.Errorf("read %d times although nothing changed", reads)
	}
	world.write(t, "conf.d/new.conf", includeServer)
	form("a new file", deploy.FormInclude)
	world.write(t, "conf.d/new.conf", strings.Replace(includeServer, "include", "#nclude", 1)+"}")
	form("another content", deploy.FormNone)
	world.write(t, "conf.d/new.conf", "server { listen 443 ssl; include FOLDER/later; }")
	form("an include that is not there", deploy.FormNone)
	world.write(t, "later", "include STATE/targets/edge/www.conf;")
	form("now it is", deploy.FormInclude)
}

func TestNewRefuses(t *testing.T) {
	sound := nginx.Config{Target: config.Target{Name: "edge"}, State: "/var/lib/backstay", Read: read}
	if _, err := nginx.New(sound); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(cfg *nginx.Config){
		"Name is required":       func(cfg *nginx.Config) { cfg.Target.Name = "" },
		"Read is required":       func(cfg *nginx.Config) { cfg.Read = nil },
		"State must be absolute": func(cfg *nginx.Config) { cfg.State = "state" },
		"dollar":                 func(cfg *nginx.Config) { cfg.State = "/var/$x" },
		"verify":                 func(cfg *nginx.Config) { cfg.Target.Verify = []string{"gopher://x"} },
	} {
		cfg := sound
		change(&cfg)
		if _, err := nginx.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
