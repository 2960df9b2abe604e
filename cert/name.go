package cert

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// MatchesName reports whether a client that wants to talk to name, a host name
// or an IP address, may accept the certificate, by RFC 9525: case is folded; a
// wildcard is a whole leftmost label and stands for exactly one; an IP address
// matches an IP entry only; the common name never counts; a name with a NUL or
// another character that host names do not have matches nothing.
func MatchesName(leaf *x509.Certificate, name string) bool {
	if address, ok := parseAddress(name); ok {
		return matchesAddress(leaf, address)
	}
	wanted, err := HostName(name)
	if err != nil {
		return false
	}
	for _, pattern := range leaf.DNSNames {
		if matchesPattern(strings.ToLower(pattern), wanted) {
			return true
		}
	}
	return false
}

// HasNames reports whether the certificate has any subject alternative name
// that a TLS client could match (DNS or IP).
func HasNames(leaf *x509.Certificate) bool {
	return len(leaf.DNSNames) > 0 || len(leaf.IPAddresses) > 0
}

// HostName brings a host name into the form in which names are compared:
// A-labels, lower case, no final dot. Underscores are let through, because they
// occur. An IP address is not a host name.
func HostName(name string) (string, error) {
	host := strings.TrimSuffix(name, ".")
	for i := 0; i < len(host); i++ {
		if host[i] < 0x80 {
			continue
		}
		// RFC 9525 section 6.3: U-labels are compared as A-labels.
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", fmt.Errorf("%q is not a host name", name)
		}
		host = ascii
		break
	}
	host = strings.ToLower(host)
	if _, isAddress := parseAddress(host); isAddress || !validHost(host) {
		return "", fmt.Errorf("%q is not a host name", name)
	}
	return host, nil
}

// parseAddress reads an IP address, brackets allowed. A zone has no meaning in
// a certificate, so an address with one is none.
func parseAddress(name string) (netip.Addr, bool) {
	if strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") {
		name = name[1 : len(name)-1]
	}
	address, err := netip.ParseAddr(name)
	if err != nil || address.Zone() != "" {
		return netip.Addr{}, false
	}
	return address.Unmap(), true
}

func matchesAddress(leaf *x509.Certificate, wanted netip.Addr) bool {
	for _, entry := range leaf.IPAddresses {
		if address, ok := netip.AddrFromSlice(entry); ok && address.Unmap() == wanted {
			return true
		}
	}
	return false
}

// matchesPattern compares names in lower case; RFC 9525 section 6.3.
func matchesPattern(pattern, wanted string) bool {
	if rest, wildcard := strings.CutPrefix(pattern, "*."); wildcard {
		_, parent, ok := strings.Cut(wanted, ".")
		return ok && validHost(rest) && rest == parent
	}
	return validHost(pattern) && pattern == wanted
}

// validHost is the preferred name syntax of RFC 1034 with underscores.
func validHost(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := 0; i < len(label); i++ {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
