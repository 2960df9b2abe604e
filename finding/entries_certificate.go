package finding

var certificateEntries = []Entry{
	{
		Code: CertExpired, Severity: Critical, Title: "Certificate expired",
		Explanation: "The end date of the served certificate has passed. Clients refuse the connection.",
		Remedy:      "Issue and deploy a new certificate now; then find out why renewal did not happen.",
		Next:        "backstay renew --force NAME", Source: "RFC 5280 section 4.1.2.5",
	},
	{
		Code: CertNotYetValid, Severity: Critical, Title: "Certificate not yet valid",
		Explanation: "The begin date of the served certificate lies in the future. Clients refuse the connection until then. Often the clock of this machine or of the issuing machine is wrong.",
		Remedy:      "Check the clocks of this machine and of the issuer; put the previous certificate back until the date has come.",
		Next:        "backstay rollback NAME", Source: "RFC 5280 section 4.1.2.5",
	},
	{
		Code: CertExpiring, Severity: High, Title: "Certificate about to expire",
		Explanation: "Less life is left than the smaller of 30 days and a third of the certificate's own lifetime (high), or the smaller of 15 days and a sixth (critical). A six-day certificate with five days left is fine. A certificate that Backstay renews is judged by its plan instead until it becomes critical.",
		Remedy:      "Renew the certificate; make its renewal automatic if it is not.",
		Next:        "backstay renew NAME",
	},
	{
		Code: CertValidityTooLong, Severity: Medium, Title: "Certificate valid for too long",
		Explanation: "The certificate is valid for longer than the Baseline Requirements allowed when it was issued: 825 days until 2020-09-01, then 398, 200 from 2026-03-15, 100 from 2027-03-15 and 47 from 2029-03-15. Browsers refuse such certificates from public authorities. Under a root that no store knows this is only information.",
		Remedy:      "Order a certificate with a shorter life; automate its renewal first.",
		Next:        "backstay show NAME", Source: "CA/Browser Forum Baseline Requirements section 6.3.2",
	},
	{
		Code: CertNameMismatch, Severity: Critical, Title: "Certificate is for other names",
		Explanation: "None of the certificate's subject alternative names matches the name that was asked for. Names match without regard to case, a wildcard stands for exactly one label, an IP address matches an IP entry only, and the common name does not count. Often the server answered with its default certificate.",
		Remedy:      "Serve the certificate of this name, or order one that holds it; check the server's name-based selection (SNI).",
		Next:        "backstay scan NAME", Source: "RFC 9525 section 6",
	},
	{
		Code: CertNoSAN, Severity: High, Title: "Certificate has no subject alternative name",
		Explanation: "The certificate names its host in the common name only, if at all. Browsers and current libraries ignore the common name.",
		Remedy:      "Order a certificate with subject alternative names.",
		Next:        "backstay issue NAME", Source: "RFC 9525 section 6.3; Baseline Requirements section 7.1.2.7.12",
	},
	{
		Code: CertSelfSigned, Severity: Critical, Title: "Certificate is self-signed",
		Explanation: "The certificate is signed with its own key and is in no trusted store, so nobody vouches for it. A self-signed certificate that is one of the trusted roots does not raise this.",
		Remedy:      "Order a certificate from an authority that your clients trust, or scan with --roots FILE if they trust this one.",
		Next:        "backstay issue NAME", Source: "RFC 5280 section 6.1",
	},
	{
		Code: CertUnparseable, Severity: High, Title: "Certificate cannot be read",
		Explanation: "The bytes that were served or stored as a certificate do not follow the standard closely enough to be read. Many clients refuse it too.",
		Remedy:      "Look at the raw certificate; order a new one from its issuer.",
		Next:        "openssl x509 -in FILE -noout -text", Source: "RFC 5280 section 4.1",
	},
	{
		Code: CertNoServerAuth, Severity: Critical, Title: "Certificate is not for servers",
		Explanation: "The certificate's extended key usage names purposes, and serving TLS is not among them. Clients refuse it.",
		Remedy:      "Order a server certificate; check that the right file is configured.",
		Next:        "backstay show NAME", Source: "RFC 5280 section 4.2.1.12",
	},
}
