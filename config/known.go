package config

// known holds the directory URLs of public CAs that a configuration may use by
// name. Data, not behaviour: whether a CA wants an external account binding,
// offers renewal information or profiles is read from its directory, because
// that changes without us. Sources: the CAs' own documentation, read 2026-11.
var known = []struct{ name, directory string }{
	{"letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"},
	{"letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"},
	{"google", "https://dv.acme-v02.api.pki.goog/directory"},
	{"zerossl", "https://acme.zerossl.com/v2/DV90"},
	// SSL.com has one directory a hierarchy; the RSA one is trusted by more
	// clients. For the other write `directory: https://acme.ssl.com/sslcom-dv-ecc`.
	{"sslcom", "https://acme.ssl.com/sslcom-dv-rsa"},
	{"actalis", "https://acme-api.actalis.com/acme/directory"},
	// Organisation and extended validation have their own: …/v2/OV, …/v2/EV.
	{"sectigo", "https://acme.sectigo.com/v2/DV"},
	// Accounts of DigiCert ONE use another host; they write `directory:`.
	{"digicert", "https://acme.digicert.com/v2/acme/directory"},
}

// knownDirectory is the directory URL of a CA known by name, "" for others.
func knownDirectory(name string) string {
	for _, authority := range known {
		if authority.name == name {
			return authority.directory
		}
	}
	return ""
}

// knownNames lists the CAs that need no directory.
func knownNames() []string {
	names := make([]string, 0, len(known))
	for _, authority := range known {
		names = append(names, authority.name)
	}
	return names
}
