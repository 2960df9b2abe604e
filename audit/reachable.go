package audit

import (
	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/finding"
)

// checkReachable: only a target that somebody named is missed; most addresses of
// a range are silent, and rightly.
func checkReachable(looked facts) []finding.Finding {
	o := looked.observation
	if o.Status == cert.StatusOK || !o.Named || o.Unreadable != "" {
		return nil
	}
	address := ""
	if o.Address.IsValid() {
		address = o.Address.String()
	}
	return one(finding.New(finding.ProbeUnreachable, o.Target+" gave no TLS handshake: "+o.Status,
		"status", o.Status, "error", o.Error, "address", address))
}

// checkParseable: RFC 5280 section 4.1. That we cannot read a certificate is
// known; what is in it is not, so no other rule speaks.
func checkParseable(looked facts) []finding.Finding {
	o := looked.observation
	if o.Unreadable == "" {
		return nil
	}
	return one(finding.New(finding.CertUnparseable, "the certificate cannot be read", "sha256", o.Unreadable, "error", o.Error))
}
