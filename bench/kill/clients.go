package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// client is an ACME client as its own documentation sets it up for one name,
// http-01 by webroot, and a web server that is told to reload by a hook.
type client struct {
	name        string
	certificate string     // the file that the web server opens, below the client's folder
	key         string     // likewise
	adopts      bool       // the files must be there before the client comes
	environment []string   // added to PATH and HOME
	first       [][]string // issue and deploy the first certificate, in order
	renew       []string   // what cron runs
	repair      []string   // what a person does after the kill, nil for nobody
	ignore      []string   // folders of logs: they are meant to grow
}

// newClient writes what the client wants to find in w.folder/client.
func newClient(name string, w *world, backstay string) (client, error) {
	home := filepath.Join(w.folder, "client")
	hook := filepath.Join(w.folder, "nginx", "reload")
	text := fmt.Sprintf("#!/bin/sh\nexec kill -HUP \"$(cat %s)\"\n", w.server.pidFile())
	if err := os.WriteFile(hook, []byte(text), 0o755); err != nil {
		return client{}, err
	}
	switch name {
	case "certbot":
		return certbot(w, home, hook), nil
	case "lego":
		return lego(w, home, hook), nil
	case "dehydrated":
		return dehydrated(w, home)
	case "dehydrated-unlocked": // the same with somebody there who removes its lock after each kill
		helped, err := dehydrated(w, home)
		helped.name, helped.repair = name, []string{"rm", "-f", home + "/lock"}
		return helped, err
	case "backstay":
		return backstayClient(w, home, backstay)
	}
	return client{}, fmt.Errorf("unknown client %q", name)
}

func certbot(w *world, home, hook string) client {
	folders := []string{"--config-dir", home + "/etc", "--work-dir", home + "/lib", "--logs-dir", home + "/log", "--non-interactive"}
	return client{
		name:        "certbot",
		certificate: "etc/live/" + domain + "/fullchain.pem",
		key:         "etc/live/" + domain + "/privkey.pem",
		environment: []string{"REQUESTS_CA_BUNDLE=" + w.rootsFile},
		first: [][]string{append([]string{"certbot", "certonly", "--webroot", "--webroot-path", w.server.webroot, "--domain", domain,
			"--server", w.authority.URL(), "--agree-tos", "--register-unsafely-without-email", "--deploy-hook", hook}, folders...)},
		renew:  append([]string{"certbot", "renew", "--no-random-sleep-on-renew"}, folders...),
		ignore: []string{"log"},
	}
}

func lego(w *world, home, hook string) client {
	common := []string{"lego", "--server", w.authority.URL(), "--path", home, "--email", "ops@example.com", "--accept-tos",
		"--domains", domain, "--http", "--http.webroot", w.server.webroot}
	with := func(more ...string) []string { return append(append([]string(nil), common...), more...) }
	return client{
		name:        "lego",
		certificate: "certificates/" + domain + ".crt",
		key:         "certificates/" + domain + ".key",
		environment: []string{"LEGO_CA_CERTIFICATES=" + w.rootsFile},
		first:       [][]string{with("run", "--run-hook", hook)},
		renew:       with("renew", "--no-random-sleep", "--renew-hook", hook),
	}
}

func dehydrated(w *world, home string) (client, error) {
	settings := fmt.Sprintf(`CA=%q
BASEDIR=%q
WELLKNOWN=%q
HOOK=%q
CURL_OPTS="--cacert %s"
CONTACT_EMAIL=ops@example.com
KEY_ALGO=prime256v1
`, w.authority.URL(), home, w.server.webroot+"/.well-known/acme-challenge", home+"/hook", w.rootsFile)
	hook := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = deploy_cert ] || exit 0\nexec kill -HUP \"$(cat %s)\"\n", w.server.pidFile())
	for name, text := range map[string]string{"config": settings, "domains.txt": domain + "\n", "hook": hook} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o755); err != nil {
			return client{}, err
		}
	}
	with := func(more ...string) []string {
		return append([]string{"dehydrated", "--config", home + "/config"}, more...)
	}
	return client{
		name:        "dehydrated",
		certificate: "certs/" + domain + "/fullchain.pem",
		key:         "certs/" + domain + "/privkey.pem",
		first:       [][]string{with("--register", "--accept-terms"), with("--cron")},
		renew:       with("--cron"),
	}, nil
}

func backstayClient(w *world, home, binary string) (client, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return client{}, err
	}
	settings := fmt.Sprintf(`version: 1
contact: ops@example.com
authorities:
  bench: {directory: %q, directory_roots: %q, roots: %q}
solvers:
  web: {type: http-01, webroot: %q, port: %d}
targets:
  edge: {kind: nginx, config: %q, prefix: %q, pid: %q, reload_every: 1s}
defaults: {authorities: [bench], solvers: [web]}
certificates:
  - {name: kill, domains: [%s], deploy: [edge]}
`, w.authority.URL(), w.rootsFile, w.chainFile, w.server.webroot, w.server.httpPort, w.server.configFile(), w.server.folder, w.server.pidFile(), domain)
	file := filepath.Join(w.folder, "backstay.yaml")
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		return client{}, err
	}
	with := func(command string) []string {
		return []string{binary, command, "--config", file, "--state", home + "/state", "--no-input"}
	}
	return client{
		name:        "backstay",
		certificate: "tls/fullchain.pem",
		key:         "tls/privkey.pem",
		adopts:      true,
		first:       [][]string{with("renew")},
		renew:       with("renew"),
	}, nil
}
