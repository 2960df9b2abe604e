package nginx

import (
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay/deploy"
)

// listeners are the places where the server blocks of a certificate can be
// looked at from this machine: every socket, each address family, each of the
// certificate's names that the block answers there. Left out, because nobody
// could tell right from wrong there: UNIX sockets, QUIC, sockets that want the
// PROXY header, and wildcard sockets whose loopback address belongs to another
// socket.
func listeners(configuration Configuration, servers []int, placement deploy.Placement) []deploy.Listener {
	var list []deploy.Listener
	for _, index := range servers {
		server := configuration.Servers[index]
		for _, listen := range server.Listens {
			transport := "tcp"
			if !listen.TLS {
				transport = server.StartTLS
			}
			if transport == "" || listen.QUIC || listen.ProxyProtocol {
				continue
			}
			for _, address := range dialable(configuration, listen) {
				for _, name := range configuration.serverNames(index, listen, placement.Domains) {
					made := deploy.Listener{Address: address, ServerName: name, Transport: transport}
					if !slices.Contains(list, made) {
						list = append(list, made)
					}
				}
			}
		}
	}
	return list
}

// dialable turns a socket into addresses to dial.
func dialable(configuration Configuration, listen Listen) []string {
	if strings.HasPrefix(listen.Address, "unix:") {
		return nil
	}
	host, port, err := net.SplitHostPort(listen.Address)
	if err != nil {
		return nil
	}
	free := func(hosts ...string) bool { // no other socket takes connections to these
		return !slices.ContainsFunc(hosts, func(host string) bool { return configuration.listens(net.JoinHostPort(host, port)) })
	}
	var list []string
	switch host {
	case "0.0.0.0":
		if free("127.0.0.1") {
			list = append(list, net.JoinHostPort("127.0.0.1", port))
		}
	case "::":
		if free("::1") {
			list = append(list, net.JoinHostPort("::1", port))
		}
		if listen.BothFamilies && free("127.0.0.1", "0.0.0.0") {
			list = append(list, net.JoinHostPort("127.0.0.1", port))
		}
	default:
		list = append(list, listen.Address)
	}
	return list
}

func (configuration Configuration) listens(address string) bool {
	return slices.ContainsFunc(configuration.Servers, func(server Server) bool {
		return slices.ContainsFunc(server.Listens, func(listen Listen) bool { return !listen.QUIC && listen.Address == address })
	})
}

// serverNames are the names to ask a block for on one socket, so that it is this
// block which answers.
func (configuration Configuration) serverNames(index int, listen Listen, domains []string) []string {
	server := configuration.Servers[index]
	if server.Module != "http" && len(server.plainNames()) == 0 {
		return []string{deploy.FirstServerName(domains)} // one certificate a socket
	}
	var list []string
	add := func(name string) {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	for _, domain := range domains {
		if isAddress(domain) { // SNI holds no address (RFC 6066 section 3): the default server answers
			if listen.Default {
				add("")
			}
			continue
		}
		if strings.HasPrefix(domain, "*.") {
			for _, name := range server.plainNames() {
				if !strings.HasPrefix(name, "*.") && covers(domain, name) && configuration.answering(server.Module, listen, name) == index {
					add(name)
				}
			}
		}
		if name := deploy.Concrete(domain); configuration.answering(server.Module, listen, name) == index {
			add(name)
		}
	}
	return list
}

// answering is the block that nginx chooses for a name on a socket: an exact
// name, the longest leading wildcard, the longest trailing one, the first
// expression, the default server (nginx, "Server names"). -1 when an expression
// cannot be judged here.
func (configuration Configuration) answering(module string, listen Listen, name string) int {
	leading, trailing, expression, fallback := match{-1, 0}, match{-1, 0}, -1, -1
	unknown := false
	for index, server := range configuration.Servers {
		at := slices.IndexFunc(server.Listens, func(other Listen) bool { return other.Address == listen.Address && other.QUIC == listen.QUIC })
		if server.Module != module || at < 0 {
			continue
		}
		if server.Listens[at].Default {
			fallback = index
		}
		for _, written := range server.Names {
			written = strings.ToLower(written)
			rest, dotted := strings.CutPrefix(written, ".")
			base, wild := strings.CutPrefix(written, "*.")
			prefix, open := strings.CutSuffix(written, ".*")
			switch {
			case written == name || dotted && rest == name:
				return index
			case dotted && strings.HasSuffix(name, written):
				leading.take(index, len(written))
			case wild && strings.HasSuffix(name, "."+base):
				leading.take(index, len(base)+1)
			case open && strings.HasPrefix(name, prefix+"."):
				trailing.take(index, len(prefix))
			case strings.HasPrefix(written, "~") && expression < 0 && !unknown:
				// As nginx: without regard to case. PCRE knows more than we do.
				compiled, err := regexp.Compile("(?i)" + strings.TrimPrefix(written, "~"))
				if err != nil {
					unknown = true
				} else if compiled.MatchString(name) {
					expression = index
				}
			}
		}
	}
	switch {
	case leading.index >= 0:
		return leading.index
	case trailing.index >= 0:
		return trailing.index
	case unknown:
		return -1
	case expression >= 0:
		return expression
	}
	return fallback
}

// match keeps the longest.
type match struct{ index, length int }

func (match *match) take(index, length int) {
	if length > match.length {
		match.index, match.length = index, length
	}
}
