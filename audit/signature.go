package audit

import (
	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/finding"
)

// checkSignatures looks at every certificate of the path but the root, whose
// signature proves nothing and is checked by nobody. A self-signed leaf is its
// own root.
func checkSignatures(looked facts) []finding.Finding {
	for _, certificate := range belowRoot(looked) {
		hash := cert.WeakHash(certificate)
		if hash == 0 || cert.SelfSigned(certificate) {
			continue
		}
		record := cert.Describe(certificate)
		return one(finding.New(finding.SigWeak, "the signature on "+record.Subject+" uses "+hash.String(),
			"algorithm", record.SignatureAlgorithm, "subject", record.Subject, "sha256", record.SHA256))
	}
	return nil
}
