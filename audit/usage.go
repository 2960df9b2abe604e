package audit

import (
	"crypto/x509"
	"slices"

	"github.com/backstay/backstay/finding"
)

// checkUsage: RFC 5280 section 4.2.1.12. A certificate without the extension may
// be used for anything.
func checkUsage(looked facts) []finding.Finding {
	usages := looked.leaf.ExtKeyUsage
	if len(usages)+len(looked.leaf.UnknownExtKeyUsage) == 0 ||
		slices.Contains(usages, x509.ExtKeyUsageServerAuth) || slices.Contains(usages, x509.ExtKeyUsageAny) {
		return nil
	}
	return one(finding.New(finding.CertNoServerAuth, "the certificate may not be used by a server"))
}
