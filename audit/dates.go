package audit

import (
	"github.com/backstay/backstay/finding"
)

// checkDates: RFC 5280 section 4.1.2.5, both ends included.
func checkDates(looked facts) []finding.Finding {
	leaf := looked.leaf
	switch {
	case looked.now.After(leaf.NotAfter):
		made := finding.New(finding.CertExpired, "the certificate expired at "+stamp(leaf.NotAfter), "not_after", stamp(leaf.NotAfter))
		by := leaf.NotAfter.UTC()
		made.By = &by
		return one(made)
	case looked.now.Before(leaf.NotBefore):
		return one(finding.New(finding.CertNotYetValid,
			"the certificate is not valid before "+stamp(leaf.NotBefore), "not_before", stamp(leaf.NotBefore)))
	}
	return nil
}
