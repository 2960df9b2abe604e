package config

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

var (
	authorityKeys = keys{
		owner: "an authority",
		known: []string{"directory", "directory_roots", "roots", "eab", "profile", "insecure_test_ca"},
	}
	eabKeys = keys{owner: "eab", known: []string{"key_id", "hmac"}}
)

// readAuthorities takes the CAs in the order written: the order is preference.
// Those of conf.d come after those of the main file.
func (draft *draft) readAuthorities(in *reader, node ast.Node) {
	found, _ := in.entries(node, "authorities")
	for _, each := range found {
		if !draft.define("authority", each) {
			continue
		}
		draft.authorities = append(draft.authorities, each.key)
		draft.config.Authorities = append(draft.config.Authorities, draft.authority(in, each))
	}
}

func (draft *draft) authority(in *reader, entry field) Authority {
	authority := Authority{Name: entry.key, Position: entry.at}
	var directory text
	broken := false
	if _, isMapping := entry.value.(*ast.MappingNode); !isMapping && entry.value != nil {
		_, isNull := entry.value.(*ast.NullNode)
		broken = !isNull
	}
	for _, each := range in.fields(entry.value, authorityKeys) {
		switch each.key {
		case "directory":
			var ok bool
			directory, ok = in.word(each.value, "directory")
			if ok && parseURL(directory.value) == nil {
				in.badURL(each.value, directory, "directory")
				directory, ok = text{}, false
			}
			broken = broken || !ok
		case "directory_roots":
			file, _ := in.word(each.value, "directory_roots")
			authority.DirectoryRoots = draft.path(file.value)
		case "roots":
			file, _ := in.word(each.value, "roots")
			authority.Roots = draft.path(file.value)
		case "eab":
			authority.EAB = draft.eab(in, each)
		case "profile":
			profile, _ := in.word(each.value, "profile")
			authority.Profile = profile.value
		case "insecure_test_ca":
			authority.InsecureTestCA = in.truth(each.value, "insecure_test_ca")
		}
	}
	if directory.value != "" {
		authority.Directory = draft.directory(directory, authority.InsecureTestCA)
		return authority
	}
	authority.Directory = knownDirectory(authority.Name)
	switch {
	case broken:
	case authority.Directory == "":
		problem := in.all.add(entry.at, AuthorityUnknown, authority.Name)
		problem.Meant = Nearest(authority.Name, knownNames())
		problem.Remedy = "add directory: https://…, or use a known name: " + strings.Join(knownNames(), ", ")
	case authority.InsecureTestCA:
		in.all.add(entry.at, TestAuthority, authority.Directory)
	}
	return authority
}

// directory checks the URL of an ACME directory: https, or for a test CA
// anything on loopback.
func (draft *draft) directory(written text, test bool) string {
	address := parseURL(written.value)
	switch {
	case address == nil: // reported when it was read
	case test && !loopback(address.Hostname()):
		draft.all.add(written.at, TestAuthority, written.value)
	case address.Scheme == "http" && !test:
		problem := draft.all.add(written.at, URLNotHTTPS, "directory", written.value)
		if loopback(address.Hostname()) {
			problem.Remedy = "a test CA on this host may use http with insecure_test_ca: true"
		}
	}
	return written.value
}

// parseURL accepts http and https URLs with a host, without user, query or
// fragment; nil for anything else.
func parseURL(written string) *url.URL {
	address, err := url.Parse(written)
	if err != nil || address.Host == "" || address.Hostname() == "" || address.User != nil || address.Fragment != "" ||
		(address.Scheme != "http" && address.Scheme != "https") || strings.ContainsAny(written, " \\") {
		return nil
	}
	return address
}

// badURL reports a URL. One with a user may hold a password: it is not shown.
func (in *reader) badURL(node ast.Node, written text, what string) {
	shown := written.value
	if strings.Contains(shown, "@") {
		shown = "(not shown)"
		in.from.hideAll(node)
	}
	in.all.add(written.at, URLSyntax, what, shown)
}

// loopback reports whether host can only mean this machine.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

func (draft *draft) eab(in *reader, entry field) *EAB {
	binding := &EAB{}
	keyID, hmac := false, false
	for _, each := range in.secretFields(entry.value, eabKeys) {
		switch each.key {
		case "key_id":
			keyID = true
			binding.KeyID = draft.secret(in, each)
		case "hmac":
			hmac = true
			binding.HMAC = draft.secret(in, each)
		}
	}
	if !keyID {
		in.all.add(entry.at, KeyMissing, "eab", "key_id")
	}
	if !hmac {
		in.all.add(entry.at, KeyMissing, "eab", "hmac")
	}
	return binding
}
