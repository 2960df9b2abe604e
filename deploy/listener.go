package deploy

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// CheckLabel stands for the star when a wildcard name is tried.
const CheckLabel = "backstay-check"

// protocols are the transports of a verify endpoint with their usual ports.
// Those that speak TLS from the first byte are plain tcp to us.
var protocols = map[string]struct {
	port      int
	transport string
}{
	"https": {443, "tcp"}, "smtps": {465, "tcp"}, "imaps": {993, "tcp"}, "pop3s": {995, "tcp"}, "ldaps": {636, "tcp"}, "ftps": {990, "tcp"},
	"smtp": {25, "smtp"}, "lmtp": {24, "lmtp"}, "imap": {143, "imap"}, "pop3": {110, "pop3"}, "ldap": {389, "ldap"}, "ftp": {21, "ftp"},
	"sieve": {4190, "sieve"}, "xmpp": {5222, "xmpp"}, "xmpp-server": {5269, "xmpp-server"}, "nntp": {119, "nntp"},
	"postgres": {5432, "postgres"}, "mysql": {3306, "mysql"},
}

// ParseListener reads one endpoint of a target's verify list: HOST, HOST:PORT,
// NAME@ADDRESS:PORT or any of them after PROTOCOL://. Domains are those of the
// certificate: without a NAME, a host that is an address is asked for the first.
// Error: quotes the text.
func ParseListener(text string, domains []string) (Listener, error) {
	fault := func(why string) (Listener, error) { return Listener{}, fmt.Errorf("verify %q: %s", text, why) }
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "https", text
	}
	protocol, known := protocols[strings.ToLower(scheme)]
	if !known {
		return fault("unknown protocol")
	}
	rest = strings.TrimSuffix(rest, "/")
	name, address, named := strings.Cut(rest, "@")
	if !named {
		name, address = "", rest
	}
	host, port, err := splitPort(address, protocol.port)
	if err != nil {
		return fault(err.Error())
	}
	switch _, notAddress := netip.ParseAddr(host); {
	case named && !plainHost(name), notAddress != nil && !plainHost(host):
		return fault("not a host name")
	case named:
	case notAddress != nil:
		name = host
	default:
		name = FirstServerName(domains)
	}
	return Listener{Address: net.JoinHostPort(host, strconv.Itoa(port)), ServerName: name, Transport: protocol.transport}, nil
}

// FirstServerName is what to send as SNI (RFC 6066 section 3) for a certificate
// when nothing else is said: "" when it names addresses only, which SNI cannot hold.
func FirstServerName(domains []string) string {
	for _, domain := range domains {
		if _, err := netip.ParseAddr(domain); err != nil {
			return Concrete(domain)
		}
	}
	return ""
}

// Concrete turns a wildcard name into one that it covers.
func Concrete(domain string) string {
	if base, wild := strings.CutPrefix(domain, "*."); wild {
		return CheckLabel + "." + base
	}
	return domain
}

func splitPort(address string, usual int) (host string, port int, err error) {
	if bare, isAddress := netip.ParseAddr(strings.Trim(address, "[]")); isAddress == nil {
		return bare.String(), usual, nil
	}
	if !strings.Contains(address, ":") {
		return address, usual, nil
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("not HOST:PORT")
	}
	if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("not a port")
	}
	return host, port, nil
}

// plainHost accepts what can be a host name, so that nothing else of a
// configuration is ever dialled.
func plainHost(name string) bool {
	if name == "" || len(name) > 253 || name != url.PathEscape(name) {
		return false
	}
	return !strings.ContainsAny(name, "%$&+=:,;@!'()~*") && !strings.HasPrefix(name, "-")
}

// ParseListeners reads a whole verify list.
func ParseListeners(list, domains []string) ([]Listener, error) {
	var listeners []Listener
	for _, text := range list {
		listener, err := ParseListener(text, domains)
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, listener)
	}
	return listeners, nil
}
