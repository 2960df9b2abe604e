package audit

import (
	"strconv"
	"strings"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/finding"
)

// namesShown is how many names of a certificate are quoted; some have thousands (T2).
const namesShown = 10

// checkNames: RFC 9525 section 6. Where nobody asked for a name, as for a member
// of an address range, there is nothing to compare with.
func checkNames(looked facts) (found []finding.Finding) {
	leaf, name := looked.leaf, looked.observation.Name
	if !cert.HasNames(leaf) {
		found = append(found, finding.New(finding.CertNoSAN, "the certificate has no subject alternative name",
			"subject", cert.Describe(leaf).Subject))
	}
	if name != "" && !cert.MatchesName(leaf, name) {
		found = append(found, finding.New(finding.CertNameMismatch, "the certificate is not for "+name,
			"asked", name, "names", someNames(leaf.DNSNames, cert.Describe(leaf).IPAddresses)))
	}
	return found
}

func someNames(lists ...[]string) string {
	var all []string
	for _, list := range lists {
		all = append(all, list...)
	}
	if len(all) > namesShown {
		return strings.Join(all[:namesShown], " ") + " and " + strconv.Itoa(len(all)-namesShown) + " more"
	}
	return strings.Join(all, " ")
}
