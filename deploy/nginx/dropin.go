package nginx

import (
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/deploy"
)

// dropIn writes a server block that would serve the certificate, and names a
// file for it that the configuration would include. Our text must be in force
// before the block is written: nginx does not start over an include that is
// missing.
func (target *Target) dropIn(configuration Configuration, placement deploy.Placement) (text, path string) {
	included := deploy.Text{State: target.state, Target: target.configured.Name, Name: placement.Name}
	var block strings.Builder
	fmt.Fprintf(&block, "# Written by Backstay: serves the certificate %s.\n# The included file is replaced at each deployment; this one is yours to change.\nserver {\n", placement.Name)
	for _, address := range dropInSockets(configuration) {
		fmt.Fprintf(&block, "    listen %s ssl;\n", address)
	}
	names := make([]string, len(placement.Domains))
	for index, domain := range placement.Domains {
		names[index] = quote(domain)
	}
	fmt.Fprintf(&block, "    server_name %s;\n    include %s;\n\n    location / {\n", strings.Join(names, " "), quote(included.Path()))
	if behind := plainServer(configuration, placement); behind != "" {
		fmt.Fprintf(&block, "        proxy_pass http://%s;\n"+
			"        proxy_set_header Host $host;\n"+
			"        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n"+
			"        proxy_set_header X-Forwarded-Proto https;\n", behind)
	} else {
		block.WriteString("        return 404;\n")
	}
	block.WriteString("    }\n}\n")
	return block.String(), dropInPath(configuration, placement)
}

// dropInSockets are all addresses at port 443, and each address that another
// block takes for itself there: nginx asks those sockets only.
func dropInSockets(configuration Configuration) []string {
	sockets := []string{"443"}
	if _, err := os.Stat("/proc/net/if_inet6"); err == nil { // without IPv6 nginx would refuse to start
		sockets = append(sockets, "[::]:443")
	}
	for _, server := range configuration.Servers {
		for _, listen := range server.Listens {
			host, port, err := net.SplitHostPort(listen.Address)
			if err != nil || server.Module != "http" || port != "443" || !listen.TLS || listen.QUIC || host == "0.0.0.0" || host == "::" || slices.Contains(sockets, listen.Address) {
				continue
			}
			sockets = append(sockets, listen.Address)
		}
	}
	return sockets
}

func dropInListeners(configuration Configuration, placement deploy.Placement) []deploy.Listener {
	var list []deploy.Listener
	for _, socket := range dropInSockets(configuration) {
		listen := Listen{Address: socket}
		if socket == "443" {
			listen.Address = "0.0.0.0:443"
		}
		for _, address := range dialable(configuration, listen) {
			for _, domain := range placement.Domains {
				if made := (deploy.Listener{Address: address, ServerName: deploy.Concrete(domain), Transport: "tcp"}); !isAddress(domain) {
					list = append(list, made)
				}
			}
		}
	}
	return list
}

// plainServer is the address of a block that serves the names without TLS.
// One that only redirects to https would send its readers in a circle.
func plainServer(configuration Configuration, placement deploy.Placement) string {
	for _, server := range configuration.Servers {
		covered := slices.ContainsFunc(server.plainNames(), func(name string) bool { return coveredBy(placement.Domains, name) })
		if server.Module != "http" || !covered || server.ToTLS {
			continue
		}
		for _, listen := range server.Listens {
			if addresses := dialable(configuration, listen); !listen.TLS && !listen.ProxyProtocol && len(addresses) > 0 {
				return addresses[0]
			}
		}
	}
	return ""
}

// dropInPath finds a folder whose files the http block includes, conf.d first.
func dropInPath(configuration Configuration, placement deploy.Placement) string {
	name := "backstay-" + placement.Name + ".conf"
	best := ""
	for _, pattern := range configuration.Includes {
		folder, base := filepath.Split(pattern)
		if matched, err := path.Match(base, name); err != nil || !matched || strings.ContainsAny(folder, "*?[") || !strings.ContainsAny(base, "*?[") {
			continue
		}
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			continue
		}
		if filepath.Base(folder) == "conf.d" {
			return filepath.Join(folder, name)
		}
		if best == "" {
			best = filepath.Join(folder, name)
		}
	}
	return best
}
