package audit

import (
	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/finding"
)

// chainCodes: the reason of the best path decides, so an endpoint has one code
// at most. Which reason wins is package cert's order of the Reason constants.
var chainCodes = map[cert.Reason]finding.Code{
	cert.ReasonSelfSigned:          finding.CertSelfSigned,
	cert.ReasonIncomplete:          finding.ChainIncomplete,
	cert.ReasonIntermediateExpired: finding.ChainIntermediateEnded,
	cert.ReasonNameConstraints:     finding.ChainNameConstraints,
	cert.ReasonPathLength:          finding.ChainPathLength,
	cert.ReasonUntrustedRoot:       finding.ChainUntrustedRoot,
}

var chainSummaries = map[finding.Code]string{
	finding.CertSelfSigned:         "the certificate is self-signed",
	finding.ChainIncomplete:        "the chain is incomplete",
	finding.ChainIntermediateEnded: "an intermediate certificate is outside its dates",
	finding.ChainNameConstraints:   "an authority of the chain may not issue for these names",
	finding.ChainPathLength:        "the chain breaks the limits of its authorities",
	finding.ChainUntrustedRoot:     "the chain ends in a root that is not trusted",
}

// checkChain: RFC 5280 section 6. Reasons without a chain code (dates of the
// leaf, broken hash, wrong use) have findings of their own. A refusal by Go's
// verifier that we cannot name is reported as an untrusted chain with the
// verifier's words, for clients refuse it too.
func checkChain(looked facts) []finding.Finding {
	code, ok := chainCodes[looked.trust.Reason]
	if !ok && looked.trust.Reason == cert.ReasonOther && looked.trust.Verdict == cert.No {
		code, ok = finding.ChainUntrustedRoot, true
	}
	if !ok {
		return nil
	}
	return one(finding.New(code, chainSummaries[code], "why", looked.trust.Error, "store", looked.trust.Store))
}
