package cert

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// IssuedWant is what a certificate was ordered for.
type IssuedWant struct {
	PublicKey crypto.PublicKey
	Domains   []string // host names, wildcards, IP addresses
	Now       time.Time
}

// WrongCertificate says in which ways an issued chain is not what was asked
// for. Texts may quote the certificate: raw outside text.
type WrongCertificate struct{ Problems []string }

func (wrong *WrongCertificate) Error() string {
	return "not the certificate that was asked for: " + strings.Join(wrong.Problems, "; ")
}

// maxChain is the longest chain that we take from an authority.
const maxChain = 10

// startSlack is how far in the future a new certificate may begin: clocks
// differ, and authorities usually date an hour back.
const startSlack = time.Hour

// CheckIssued is what we insist on before storing what an authority sent: the
// key of the request, exactly the names that were asked for, a life that has
// not ended and begins within an hour, use as a server, and a chain in order in
// which each certificate signs the one before and nothing else is carried
// along (RFC 8555 section 7.4.2; T12). A root at the end is let through. Error:
// *WrongCertificate with all problems.
//
// It does not judge trust: whether the root is known is Trust's to say.
func CheckIssued(chain []*x509.Certificate, want IssuedWant) error {
	if len(chain) == 0 {
		return &WrongCertificate{[]string{"no certificate was sent"}}
	}
	if len(chain) > maxChain {
		return &WrongCertificate{[]string{fmt.Sprintf("%d certificates were sent", len(chain))}}
	}
	var problems []string
	problems = append(problems, leafProblems(chain[0], want)...)
	problems = append(problems, nameProblems(chain[0], want.Domains)...)
	problems = append(problems, chainProblems(chain, want.Now)...)
	if len(problems) > 0 {
		return &WrongCertificate{problems}
	}
	return nil
}

func leafProblems(leaf *x509.Certificate, want IssuedWant) (problems []string) {
	if !KeyMatches(leaf, want.PublicKey) {
		problems = append(problems, "it is for another key")
	}
	if want.Now.After(leaf.NotAfter) {
		problems = append(problems, "it expired at "+leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if leaf.NotBefore.After(want.Now.Add(startSlack)) {
		problems = append(problems, "it is not valid before "+leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	if !leaf.NotAfter.After(leaf.NotBefore) {
		problems = append(problems, "it ends before it begins")
	}
	if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		problems = append(problems, "it is not for servers (serverAuth)")
	}
	if leaf.BasicConstraintsValid && leaf.IsCA {
		problems = append(problems, "it is a certificate authority")
	}
	return problems
}

// nameProblems compares sets. A name more is as wrong as a name less: it would
// be served to people who did not ask for it.
func nameProblems(leaf *x509.Certificate, domains []string) (problems []string) {
	wanted, held := map[string]bool{}, map[string]bool{}
	for _, domain := range domains {
		wanted[sameForm(domain)] = true
	}
	for _, name := range leaf.DNSNames {
		held[strings.ToLower(name)] = true
	}
	for _, address := range leaf.IPAddresses {
		held[sameForm(address.String())] = true
	}
	if missing := firstAbsent(wanted, held); missing != "" {
		problems = append(problems, "it lacks the name "+missing)
	}
	if extra := firstAbsent(held, wanted); extra != "" {
		problems = append(problems, "it has the name "+extra+", which was not asked for")
	}
	if len(leaf.EmailAddresses)+len(leaf.URIs) > 0 {
		problems = append(problems, "it has names of other kinds")
	}
	if common := leaf.Subject.CommonName; common != "" && !wanted[sameForm(common)] {
		problems = append(problems, "its common name is "+common+", which was not asked for")
	}
	return problems
}

// sameForm brings a domain of the configuration or an address into one form.
func sameForm(domain string) string {
	if address, ok := parseAddress(domain); ok {
		return address.String()
	}
	if host, err := requestName(domain); err == nil {
		return host
	}
	return strings.ToLower(domain)
}

// firstAbsent is the alphabetically first key of these that others lack.
func firstAbsent(these, others map[string]bool) string {
	first := ""
	for name := range these { // order does not matter: the smallest is taken
		if !others[name] && (first == "" || name < first) {
			first = name
		}
	}
	return first
}

func chainProblems(chain []*x509.Certificate, now time.Time) (problems []string) {
	if SelfIssued(chain[0]) {
		return []string{"it is self-signed"}
	}
	for i := 0; i+1 < len(chain); i++ {
		child, parent := chain[i], chain[i+1]
		// CheckSignatureFrom wants the right to sign (basic constraints, key
		// usage) and a hash that is not broken, which is what we want too.
		if !slices.Equal(child.RawIssuer, parent.RawSubject) {
			problems = append(problems, fmt.Sprintf("certificate %d of the chain is not the issuer of the one before", i+2))
		} else if err := child.CheckSignatureFrom(parent); err != nil {
			problems = append(problems, fmt.Sprintf("certificate %d of the chain did not sign the one before: %v", i+2, err))
		}
		if now.After(parent.NotAfter) {
			problems = append(problems, fmt.Sprintf("certificate %d of the chain expired at %s", i+2, parent.NotAfter.UTC().Format(time.RFC3339)))
		}
	}
	return problems
}
