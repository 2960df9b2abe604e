package nginx

import (
	"net/netip"
	"slices"
	"strings"
)

// plainNames are the names of a block that can be compared: exact ones and
// wildcards of one leading label, in lower case. ".example.com" is both.
// Expressions, trailing wildcards, variables and "_" are left out.
func (server Server) plainNames() []string {
	if server.Module == "mail" {
		return nil // there server_name is the greeting's
	}
	var names []string
	for _, name := range server.Names {
		name = strings.ToLower(name)
		if rest, dotted := strings.CutPrefix(name, "."); dotted && rest != "" {
			names = append(names, rest, "*."+rest)
			continue
		}
		bare := strings.TrimPrefix(name, "*.")
		if bare == "" || bare == "_" || strings.ContainsAny(bare, "*$~ ") {
			continue
		}
		names = append(names, name)
	}
	return names
}

// coveredBy reports whether a certificate for domains covers a name; a wildcard
// covers one label (RFC 9525 section 6.3), and only itself covers a wildcard.
func coveredBy(domains []string, name string) bool {
	return slices.ContainsFunc(domains, func(domain string) bool { return covers(domain, name) })
}

func covers(domain, name string) bool {
	if strings.EqualFold(domain, name) {
		return true
	}
	base, wild := strings.CutPrefix(domain, "*.")
	label, rest, dotted := strings.Cut(name, ".")
	return wild && dotted && label != "" && label != "*" && strings.EqualFold(base, rest)
}

func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}
