// Package network finds places to look at by name and by address.
//
// Promise: a target that is not understood is refused with a reason, never
// guessed. A name is looked at on every address it has. A range is walked, never
// held: a /12 costs no more memory than a /30. At most two connections are made
// to one host at a time; rate and concurrency are shared by everything in one
// Run. The order follows from the seed, so that a run can be repeated.
//
// Limits: it finds places, it does not look: Run calls the function it is given.
// A public range wider than /20 (IPv6: 4096 addresses) is refused unless it was
// confirmed, and one of more than 2^24 addresses always.
package network

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/backstay/backstay/cert"
)

// Kind says what a target is, before it is parsed.
type Kind string

// The kinds of targets.
const (
	KindNetwork Kind = "network" // for Parse
	KindPath    Kind = "path"    // a file or folder
	KindServer  Kind = "server"  // SERVER:PATH, the configuration of a server
	KindStdin   Kind = "stdin"   // "-": targets on standard input
)

// servers whose configuration can be named as a target.
var servers = map[string]bool{
	"nginx": true, "apache": true, "haproxy": true, "caddy": true, "traefik": true, "postfix": true, "dovecot": true,
}

// KindOf sorts a target by its form alone: a path contains "/", but so do a URL
// and an address range; "nginx:" followed by digits only is a host and port.
func KindOf(text string) Kind {
	if text == "-" {
		return KindStdin
	}
	if strings.Contains(text, "://") {
		return KindNetwork
	}
	if name, rest, ok := strings.Cut(text, ":"); ok && servers[name] && strings.Trim(rest, "0123456789") != "" {
		return KindServer
	}
	if host, _, err := splitPorts(text); err == nil {
		if _, err := netip.ParsePrefix(host); err == nil {
			return KindNetwork
		}
	}
	if strings.Contains(text, "/") || text == "." || text == ".." {
		return KindPath
	}
	return KindNetwork
}

// Spec is one target of the network, parsed and not expanded.
type Spec struct {
	Text      string       // as written
	Host      string       // a host name to resolve; "" when Prefix is set
	Prefix    netip.Prefix // an address (a full-length prefix) or a range
	Range     bool         // Prefix was written as a range
	Name      string       // the name before "@"; "" for none
	Ports     []PortRange
	Transport string // tcp, or the protocol whose upgrade is asked for
}

// PortRange is From to To, both included.
type PortRange struct{ From, To uint16 }

// scheme is a prefix such as smtp:// with its port.
type scheme struct {
	transport string
	port      uint16
}

// Schemes with TLS from the first byte have transport tcp.
var schemes = map[string]scheme{
	"https": {"tcp", 443}, "tls": {"tcp", 443}, "quic": {"quic", 443},
	"smtps": {"tcp", 465}, "imaps": {"tcp", 993}, "pop3s": {"tcp", 995}, "ldaps": {"tcp", 636}, "ftps": {"tcp", 990},
	"smtp": {"smtp", 25}, "lmtp": {"lmtp", 24}, "imap": {"imap", 143}, "pop3": {"pop3", 110}, "ldap": {"ldap", 389},
	"ftp": {"ftp", 21}, "sieve": {"sieve", 4190}, "xmpp": {"xmpp", 5222}, "xmpp-server": {"xmpp-server", 5269},
	"nntp": {"nntp", 119}, "postgres": {"postgres", 5432}, "mysql": {"mysql", 3306},
}

const maxTargetBytes = 1024

// Parse reads one target. Error: what is wrong with it; it quotes the target.
func Parse(text string) (Spec, error) {
	if len(text) > maxTargetBytes {
		return Spec{}, fmt.Errorf("target of %d bytes", len(text))
	}
	spec, err := parse(text)
	if err != nil {
		return Spec{}, fmt.Errorf("target %q: %w", text, err)
	}
	return spec, nil
}

func parse(text string) (Spec, error) {
	spec := Spec{Text: text, Transport: "tcp"}
	rest, port := text, uint16(443)
	if name, after, ok := strings.Cut(text, "://"); ok {
		known, ok := schemes[strings.ToLower(name)]
		if !ok {
			return spec, fmt.Errorf("unknown scheme %q", name)
		}
		spec.Transport, port = known.transport, known.port
		// A URL may end in a path; an address range may not be in one.
		rest, _, _ = strings.Cut(after, "/")
	}
	if name, after, ok := strings.Cut(rest, "@"); ok {
		host, err := cert.HostName(name)
		if err != nil {
			return spec, fmt.Errorf("%q before @ is not a host name", name)
		}
		spec.Name, rest = host, after
	}
	host, ports, err := splitPorts(rest)
	if err != nil {
		return spec, err
	}
	if spec.Ports = ports; len(ports) == 0 {
		spec.Ports = []PortRange{{port, port}}
	}
	return spec, spec.place(host)
}

// place fills in what comes before the port.
func (spec *Spec) place(host string) error {
	if prefix, err := netip.ParsePrefix(host); err == nil {
		if spec.Name != "" {
			return fmt.Errorf("one name cannot be at a range of addresses")
		}
		spec.Prefix, spec.Range = prefix.Masked(), true
		return nil
	}
	if address, err := netip.ParseAddr(host); err == nil {
		if address.Zone() != "" {
			return fmt.Errorf("addresses with a zone are not supported")
		}
		address = address.Unmap()
		spec.Prefix = netip.PrefixFrom(address, address.BitLen())
		return nil
	}
	name, err := cert.HostName(host)
	if err != nil {
		return err
	}
	// What ends in a number is an address that was mistyped, never a name.
	if last := name[strings.LastIndexByte(name, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("%q is neither a host name nor an address", host)
	}
	spec.Host = name
	return nil
}

// splitPorts cuts HOST:PORTS. An IPv6 address needs brackets to have a port;
// the length of a range may stand inside or behind them.
func splitPorts(text string) (host string, ports []PortRange, err error) {
	if inner, ok := strings.CutPrefix(text, "["); ok {
		return splitBracketed(inner)
	}
	if strings.Count(text, ":") > 1 { // an IPv6 address without port
		return text, nil, nil
	}
	host, list, found := strings.Cut(text, ":")
	if !found {
		return host, nil, nil
	}
	ports, err = parsePorts(list)
	return host, ports, err
}

func splitBracketed(inner string) (host string, ports []PortRange, err error) {
	host, after, closed := strings.Cut(inner, "]")
	if !closed {
		return "", nil, fmt.Errorf("no closing bracket")
	}
	length, list, found := strings.Cut(after, ":")
	if length != "" && !strings.HasPrefix(length, "/") {
		return "", nil, fmt.Errorf("%q after the bracket", after)
	}
	host += length
	if !strings.Contains(host, ":") {
		return "", nil, fmt.Errorf("brackets are for IPv6 addresses")
	}
	if found {
		ports, err = parsePorts(list)
	}
	return host, ports, err
}

func parsePorts(list string) (ports []PortRange, err error) {
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := parsePort(from)
		if err != nil {
			return nil, err
		}
		last := first
		if isRange {
			if last, err = parsePort(to); err != nil {
				return nil, err
			}
		}
		if last < first {
			return nil, fmt.Errorf("port range %q runs backwards", part)
		}
		ports = append(ports, PortRange{first, last})
	}
	return ports, nil
}

func parsePort(text string) (uint16, error) {
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 {
		return 0, fmt.Errorf("%q is not a port", text)
	}
	return uint16(number), nil
}
