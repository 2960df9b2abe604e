package audit

import (
	"crypto/x509"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/finding"
)

// fileRules judge a certificate that lies in a file: what is true wherever it
// is served. Names and chain depend on the place and are left out.
var fileRules = []rule{
	{"dates", "RFC 5280 section 4.1.2.5", checkDates},
	{"expiring", "limits of our own", checkExpiring},
	{"validity", "Baseline Requirements section 6.3.2", checkValidity},
	{"key", "Baseline Requirements section 6.1.5", checkKeys},
	{"signature", "Baseline Requirements section 7.1.3.2", checkSignatures},
}

// AssessFile makes the record of one certificate in a file. Authorities' own
// certificates are recorded and not judged: a folder of roots is full of old ones.
func AssessFile(observation cert.FileObservation, options Options) cert.File {
	record := cert.File{
		Kind: "file", Schema: 1, Path: observation.Path, Format: observation.Format,
		KeyPresent: observation.KeyPresent, KeyMatches: observation.KeyMatches, Findings: []finding.Finding{},
	}
	if leaf := observation.Certificate; leaf != nil {
		described := cert.Describe(leaf)
		record.Certificate = &described
		if !described.CA {
			looked := facts{leaf: leaf, now: options.Now, managed: options.Managed}
			looked.trust = store(options.Trust).Evaluate(append([]*x509.Certificate{leaf}, observation.Beside...), options.Known, options.Now)
			record.Findings = run(fileRules, looked)
		}
	}
	record.Findings = append(record.Findings, fileFindings(observation)...)
	finding.Sort(record.Findings)
	for i := range record.Findings {
		record.Findings[i].Affects = []string{finding.Text(observation.Path)}
	}
	return record
}

func fileFindings(o cert.FileObservation) (found []finding.Finding) {
	if o.KeyReadable {
		found = append(found, finding.New(finding.FileKeyReadable, "every user of this machine may read the private key", "path", o.KeyPath))
	}
	if o.KeyMatches != nil && !*o.KeyMatches {
		found = append(found, finding.New(finding.FileKeyMismatch, "the private key does not belong to the certificate", "path", o.KeyPath))
	}
	switch {
	case o.Unreadable != "":
		found = append(found, finding.New(finding.CertUnparseable, "a certificate of the file cannot be read", "sha256", o.Unreadable, "error", o.Error))
	case o.Error != "":
		found = append(found, finding.New(finding.FileUnreadable, "the file could not be read", "error", o.Error))
	}
	return found
}
