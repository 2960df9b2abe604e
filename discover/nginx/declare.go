package nginx

import (
	"strings"

	"github.com/backstay/backstay/cert"
)

// Declarations are the certificates the configuration names: one record for
// each (listen, name, certificate), in the order of the files. The name is ""
// for a server that is written as the default one or has no name. A certificate
// that no TLS socket serves (nginx's own client certificates, leftovers) has
// one record with neither.
func (configuration Configuration) Declarations() []cert.Declaration {
	var list []cert.Declaration
	seen := map[cert.Declaration]bool{}
	add := func(pair Pair, listen, name string) {
		made := cert.Declaration{
			Kind: "declaration", Schema: 1, Server: "nginx", File: pair.File, Line: pair.Line,
			Listen: listen, Name: name, Certificate: pair.Certificate, Key: pair.Key, DecidedAtRunTime: pair.AtRunTime,
		}
		if !seen[made] { // the same socket for TCP and QUIC, or a snippet included twice
			seen[made] = true
			list = append(list, made)
		}
	}
	for _, server := range configuration.Servers {
		names := server.names()
		for _, pair := range server.Pairs {
			for _, listen := range server.Listens {
				if !listen.TLS && server.StartTLS == "" {
					continue
				}
				if listen.DefaultWritten || len(names) == 0 {
					add(pair, listen.Address, "")
				}
				for _, name := range names {
					add(pair, listen.Address, name)
				}
			}
		}
	}
	for _, pair := range configuration.Unserved {
		add(pair, "", "")
	}
	return list
}

// names are those that a client can send: ".example.com" is two of them, "_"
// and "" are none. Expressions stay as written.
func (server Server) names() []string {
	if server.Module == "mail" {
		return nil // there server_name is the greeting's
	}
	var names []string
	for _, name := range server.Names {
		switch rest, dotted := strings.CutPrefix(name, "."); {
		case name == "" || name == "_":
		case dotted:
			names = append(names, strings.ToLower(rest), "*."+strings.ToLower(rest))
		case strings.HasPrefix(name, "~"):
			names = append(names, name)
		default:
			names = append(names, strings.ToLower(name))
		}
	}
	return names
}
