package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Client is an ACME client as its own documentation sets it up for one name,
// http-01 by webroot, and a web server that is told to reload by a hook.
type Client struct {
	Name        string
	Certificate string       // the file that the web server opens
	Key         string       // likewise
	Adopts      bool         // the files must be there before the client comes
	Environment []string     // added to PATH and HOME
	Prepare     [][]string   // what a person does once
	Issue       []string     // issues and deploys the first certificate
	Renew       []string     // what cron runs
	Force       []string     // renews what is not due
	Repair      []string     // what a person does after a kill, nil for nobody
	Logs        []string     // folders that are meant to grow, below the client's folder
	Settled     func() error // changes its configuration after the first issuance; nil for nothing
}

// Clients are the names that NewClient knows.
var Clients = []string{"certbot", "lego", "dehydrated", "dehydrated-unlocked", "backstay", "backstay-files"}

// NewClient writes what the client wants to find in the client's folder.
// backstay is the path of the Backstay binary.
func NewClient(name string, w *World, backstay string) (Client, error) {
	hook := filepath.Join(w.Server.Folder, "reload")
	text := fmt.Sprintf("#!/bin/sh\nexec kill -HUP \"$(cat %s)\"\n", w.Server.PIDFile())
	if err := os.WriteFile(hook, []byte(text), 0o755); err != nil {
		return Client{}, err
	}
	switch name {
	case "certbot":
		return certbot(w, hook), nil
	case "lego":
		return lego(w, hook), nil
	case "dehydrated":
		return dehydrated(w)
	case "dehydrated-unlocked": // the same with somebody there who removes its lock after each kill
		helped, err := dehydrated(w)
		helped.Name, helped.Repair = name, []string{"rm", "-f", w.Home() + "/lock"}
		return helped, err
	case "backstay":
		target := fmt.Sprintf("{kind: nginx, config: %q, prefix: %q, pid: %q, reload_every: 10ms}", w.Server.ConfigFile(), w.Server.Folder, w.Server.PIDFile())
		return newBackstay(name, w, backstay, target)
	case "backstay-files": // as if it knew nothing of nginx: two paths and a command
		target := fmt.Sprintf("{kind: files, cert: %q, key: %q, reload: [%q], verify: [%q], reload_every: 10ms}",
			adopted(w, "fullchain.pem"), adopted(w, "privkey.pem"), hook, Domain+"@"+address(w.Server.TLSPort))
		return newBackstay(name, w, backstay, target)
	}
	return Client{}, fmt.Errorf("unknown client %q; known are %q", name, Clients)
}

// Settle lets the server serve what the client has, or prepares it for a first
// issuance when that is still to come.
func (c Client) Settle(w *World, issued bool) error {
	if c.Adopts && !issued {
		if err := placeholder(c.Certificate, c.Key); err != nil {
			return err
		}
	}
	certificate, key := c.Certificate, c.Key
	if !c.Adopts && !issued {
		certificate, key = "", ""
	}
	if issued && c.Settled != nil {
		if err := c.Settled(); err != nil {
			return err
		}
	}
	if err := w.Server.Configure(certificate, key); err != nil {
		return err
	}
	return w.Server.Start()
}

// Run runs one command of the client to its end.
func (c Client) Run(ctx context.Context, w *World, argv []string) (*Process, error) {
	running, err := Begin(argv, c.Environment, w.Folder)
	if err != nil {
		return nil, err
	}
	if err := running.Wait(ctx); err != nil {
		return running, fmt.Errorf("%q: %w\n%s", argv, err, running.Output())
	}
	return running, nil
}

func certbot(w *World, hook string) Client {
	home := w.Home()
	with := func(arguments ...string) []string {
		return append(append([]string{"certbot"}, arguments...), "--config-dir", home+"/etc", "--work-dir", home+"/lib", "--logs-dir", home+"/log", "--non-interactive")
	}
	return Client{
		Name:        "certbot",
		Certificate: home + "/etc/live/" + Domain + "/fullchain.pem",
		Key:         home + "/etc/live/" + Domain + "/privkey.pem",
		Environment: []string{"REQUESTS_CA_BUNDLE=" + w.HTTPSRoots},
		Issue: with("certonly", "--webroot", "--webroot-path", w.Server.Webroot, "--domain", Domain,
			"--server", w.Authority.URL(), "--agree-tos", "--register-unsafely-without-email", "--deploy-hook", hook),
		Renew: with("renew", "--no-random-sleep-on-renew"),
		Force: with("renew", "--no-random-sleep-on-renew", "--force-renewal"),
		Logs:  []string{"log"},
	}
}

func lego(w *World, hook string) Client {
	with := func(arguments ...string) []string {
		return append([]string{"lego", "--server", w.Authority.URL(), "--path", w.Home(), "--email", "ops@example.com", "--accept-tos",
			"--domains", Domain, "--http", "--http.webroot", w.Server.Webroot}, arguments...)
	}
	return Client{
		Name:        "lego",
		Certificate: w.Home() + "/certificates/" + Domain + ".crt",
		Key:         w.Home() + "/certificates/" + Domain + ".key",
		Environment: []string{"LEGO_CA_CERTIFICATES=" + w.HTTPSRoots},
		Issue:       with("run", "--run-hook", hook),
		Renew:       with("renew", "--no-random-sleep", "--renew-hook", hook),
		Force:       with("renew", "--no-random-sleep", "--renew-hook", hook, "--days", "1000"),
	}
}

func dehydrated(w *World) (Client, error) {
	home := w.Home()
	settings := fmt.Sprintf(`CA=%q
BASEDIR=%q
WELLKNOWN=%q
HOOK=%q
CURL_OPTS="--cacert %s"
CONTACT_EMAIL=ops@example.com
KEY_ALGO=prime256v1
`, w.Authority.URL(), home, w.Server.Webroot+"/.well-known/acme-challenge", home+"/hook", w.HTTPSRoots)
	hook := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = deploy_cert ] || exit 0\nexec kill -HUP \"$(cat %s)\"\n", w.Server.PIDFile())
	for name, text := range map[string]string{"config": settings, "domains.txt": Domain + "\n", "hook": hook} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o755); err != nil {
			return Client{}, err
		}
	}
	with := func(arguments ...string) []string {
		return append([]string{"dehydrated", "--config", home + "/config"}, arguments...)
	}
	return Client{
		Name:        "dehydrated",
		Certificate: home + "/certs/" + Domain + "/fullchain.pem",
		Key:         home + "/certs/" + Domain + "/privkey.pem",
		Prepare:     [][]string{with("--register", "--accept-terms")},
		Issue:       with("--cron"),
		Renew:       with("--cron"),
		Force:       with("--cron", "--force"),
	}, nil
}

// adopted is where files lie that were there before Backstay came.
func adopted(w *World, file string) string { return w.Home() + "/tls/" + file }

func newBackstay(name string, w *World, binary, target string) (Client, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return Client{}, err
	}
	// An authority whose clock is 70 days behind issues what is due at once. A
	// late renewal time keeps that certificate for as long as the first run
	// takes; afterwards the standard one is in force.
	late := "defaults: {authorities: [bench], solvers: [web], renew: 1/10}\n"
	standard := "defaults: {authorities: [bench], solvers: [web]}\n"
	settings := fmt.Sprintf(`version: 1
contact: ops@example.com
authorities:
  bench: {directory: %q, directory_roots: %q, roots: %q}
solvers:
  web: {type: http-01, webroot: %q, port: %d}
targets:
  edge: %s
resolvers: [%q]
certificates:
  - {name: bench, domains: [%s], deploy: [edge]}
`, w.Authority.URL(), w.HTTPSRoots, w.Roots, w.Server.Webroot, w.Server.HTTPPort, target, w.Resolver, Domain)
	file := filepath.Join(w.Folder, "backstay.yaml")
	if err := os.WriteFile(file, []byte(settings+late), 0o644); err != nil {
		return Client{}, err
	}
	with := func(arguments ...string) []string {
		return append(append([]string{binary}, arguments...), "--config", file, "--state", w.Home()+"/state", "--no-input")
	}
	return Client{
		Name:        name,
		Certificate: adopted(w, "fullchain.pem"),
		Key:         adopted(w, "privkey.pem"),
		Adopts:      true,
		Settled: func() error {
			return errors.Join(os.WriteFile(file, []byte(settings+standard), 0o644), age(w.Home()+"/state/backstay.db"))
		},
		Issue: with("renew"),
		Renew: with("renew"),
		Force: with("renew", "--force", "bench"),
	}, nil
}
