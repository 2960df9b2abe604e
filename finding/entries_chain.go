package finding

// Exactly one of the chain codes and cert-self-signed is raised for an
// endpoint: the first of self-signed, incomplete, intermediate-expired,
// name-constraints, path-length, untrusted-root.
var chainEntries = []Entry{
	{
		Code: ChainIncomplete, Severity: Critical, Title: "Intermediate certificate missing",
		Explanation: "The server does not send the certificate that signed its own, and it is not one we know. Clients that do not happen to have it refuse the connection, others do not notice: the failure looks random.",
		Remedy:      "Serve the full chain: the file with the certificate followed by its intermediates.",
		Next:        "backstay deploy NAME", Source: "RFC 8446 section 4.4.2",
	},
	{
		Code: ChainIntermediateEnded, Severity: Critical, Title: "Intermediate certificate expired",
		Explanation: "Every way from the certificate to a trusted root passes a certificate that is outside its dates, and the leaf itself is not the cause.",
		Remedy:      "Replace the intermediate in the served chain by its current version, usually by renewing.",
		Next:        "backstay renew --force NAME", Source: "RFC 5280 section 6.1.3",
	},
	{
		Code: ChainNameConstraints, Severity: Critical, Title: "Issuer may not issue for this name",
		Explanation: "An authority in the chain is limited by name constraints, and a name of the certificate lies outside of them.",
		Remedy:      "Order the certificate from an authority that may issue for all its names.",
		Next:        "backstay show NAME", Source: "RFC 5280 section 4.2.1.10",
	},
	{
		Code: ChainPathLength, Severity: Critical, Title: "Chain longer than its authority allows",
		Explanation: "An authority in the chain limits how many authorities may follow below it, and more do; or a certificate that is not an authority signed another one.",
		Remedy:      "Report it to the authority: it issued what it may not. Order elsewhere meanwhile.",
		Next:        "backstay show NAME", Source: "RFC 5280 section 4.2.1.9",
	},
	{
		Code: ChainUntrustedRoot, Severity: Critical, Title: "Chain ends in an unknown root",
		Explanation: "The chain is complete, but the root at its end is in none of the stores it was judged by. This is right for an internal authority that the clients know and wrong for a public site.",
		Remedy:      "If clients trust this root, scan with --roots FILE; if not, order from an authority they trust.",
		Next:        "backstay scan --roots FILE NAME", Source: "RFC 5280 section 6.1",
	},
	{
		Code: KeyWeak, Severity: Critical, Title: "Key is too weak",
		Explanation: "The public key can be broken or is close to it: RSA under 2048 bits or with an exponent of 3 or less, a DSA key, or a curve under 256 bits.",
		Remedy:      "Make a new key and order a certificate for it: ecdsa-p256 or rsa-2048 at least.",
		Next:        "backstay issue NAME", Source: "Baseline Requirements section 6.1.5",
	},
	{
		Code: SigWeak, Severity: Critical, Title: "Signed with a broken hash",
		Explanation: "A certificate between the leaf and the root is signed with MD5 or SHA-1, for which others can make colliding certificates. Clients refuse it. The root's own signature does not matter and is not judged.",
		Remedy:      "Order a new certificate, signed with SHA-256 or better, over a chain that is too.",
		Next:        "backstay renew --force NAME", Source: "Baseline Requirements section 7.1.3.2",
	},
}
