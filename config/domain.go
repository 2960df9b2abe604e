package config

import (
	"net/netip"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"golang.org/x/net/idna"
)

// toASCII maps what a person writes (upper case, U-labels) to what stands in a
// certificate: lower-case A-labels (RFC 5891, UTS 46 without transitional
// mappings).
var toASCII = idna.New(
	idna.MapForLookup(),
	idna.BidiRule(),
	idna.StrictDomainName(true),
	idna.VerifyDNSLength(true),
	idna.Transitional(false),
)

// domains reads the names of a certificate, and where each one stands.
func (in *reader) domains(node ast.Node) (domains []string, places []Position) {
	written := in.words(node, "domains")
	seen := make(map[string]bool, len(written))
	for _, each := range written {
		domain, reason := domainName(each.value, true)
		if reason != "" {
			in.all.add(each.at, DomainSyntax, each.value, reason)
			continue
		}
		if seen[domain] {
			in.all.add(each.at, DomainTwice, domain)
			continue
		}
		seen[domain] = true
		domains = append(domains, domain)
		places = append(places, each.at)
	}
	return domains, places
}

// domainName brings a name into the form of a certificate, or says why it is
// none. Wildcards and IP addresses count only in a certificate.
func domainName(written string, inCertificate bool) (domain, reason string) {
	if address, err := netip.ParseAddr(written); err == nil {
		switch {
		case !inCertificate:
			return "", "an IP address is no zone"
		case address.Zone() != "":
			return "", "an address in a certificate has no zone"
		case address.IsUnspecified():
			return "", "not the address of one host"
		}
		return address.Unmap().String(), ""
	}
	rest, wildcard := strings.CutPrefix(written, "*.")
	switch {
	case strings.Contains(written, "://"):
		return "", "write the host name alone, not a URL"
	case strings.Contains(written, "/"):
		return "", "a certificate names hosts and addresses, not networks or paths"
	case strings.HasPrefix(written, "["):
		return "", "write an IPv6 address without brackets"
	case strings.Contains(written, ":"):
		return "", "write the name without a port"
	case strings.HasSuffix(written, "."):
		return "", "write it without the dot at the end"
	case strings.Contains(rest, "*") || wildcard && !inCertificate:
		return "", "a wildcard is the whole leftmost label (*.example.com)"
	case strings.Contains(rest, "_"):
		return "", "an underscore is not allowed in a host name"
	}
	name, err := ascii(rest)
	switch {
	case err != nil || name == "":
		return "", "not a host name"
	case numeric(name[strings.LastIndexByte(name, '.')+1:]):
		return "", "neither an IP address nor a host name: the last label is a number"
	case wildcard && len(name) > 251:
		return "", "not a host name" // 253 with the star (RFC 1035 section 2.3.4)
	case wildcard:
		if _, err := netip.ParseAddr(name); err == nil {
			return "", "an IP address has no wildcard"
		}
		return "*." + name, ""
	}
	return name, ""
}

// ascii is toASCII with a short way for names that need no mapping: it makes
// loading many certificates several times faster.
func ascii(name string) (string, error) {
	if len(name) <= 253 && ordinary(name) {
		return name, nil
	}
	return toASCII.ToASCII(name)
}

// ordinary reports whether name is made of lower-case letter-digit-hyphen
// labels, none of which has hyphens in its third and fourth place.
func ordinary(name string) bool {
	length := 0 // of the label so far
	for index := range len(name) {
		letter := name[index]
		switch {
		case letter >= 'a' && letter <= 'z', letter >= '0' && letter <= '9':
			length++
		case letter == '-' && length > 0 && length != 3:
			length++
		case letter == '.' && length > 0 && name[index-1] != '-':
			length = 0
		default:
			return false
		}
		if length > 63 {
			return false
		}
	}
	return length > 0 && name[len(name)-1] != '-'
}

func numeric(label string) bool { return strings.Trim(label, "0123456789") == "" }
