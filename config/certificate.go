package config

import (
	"net/mail"
	"net/netip"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

var (
	keyTypes      = []string{"rsa-2048", "rsa-3072", "rsa-4096", "ecdsa-p256", "ecdsa-p384"}
	laterKeyTypes = []string{"ecdsa-p256+rsa-2048"}

	defaultsKeys = keys{
		owner: "defaults",
		known: []string{"authorities", "solvers", "deploy", "key", "renew", "profile", "on_dead_name"},
		later: []string{"spare", "rotate"},
	}
	certificateKeys = keys{
		owner: "a certificate",
		known: []string{"name", "domains", "authorities", "solvers", "deploy", "key", "renew", "profile", "on_dead_name", "owner", "tier", "hooks"},
		later: []string{"spare", "rotate"},
	}
	hookKeys  = keys{owner: "hooks", known: []string{"deploy"}, later: []string{"pre", "post"}}
	fetchKeys = keys{owner: "fetch", known: []string{"allow"}}
)

// wishes are what both defaults and a certificate may say. A list that was not
// given is nil; one given empty is not.
type wishes struct {
	authorities []text
	solvers     []text
	deploy      []text
	key         string
	renew       string
	profile     string
	onDeadName  string
}

// certificate is one entry with what resolving needs.
type certificate struct {
	Certificate
	wishes wishes
	named  Position   // of the name, or of the domain it comes from
	places []Position // of each domain
}

func (in *reader) wishes(node ast.Node, allowed keys) wishes {
	var found wishes
	for _, each := range in.fields(node, allowed) {
		in.wish(&found, each)
	}
	return found
}

func (in *reader) wish(found *wishes, each field) {
	switch each.key {
	case "authorities":
		found.authorities = in.words(each.value, "authorities")
	case "solvers":
		found.solvers = in.words(each.value, "solvers")
	case "deploy":
		found.deploy = in.words(each.value, "deploy")
	case "key":
		found.key = in.choice(each.value, "key", keyTypes, laterKeyTypes)
	case "renew":
		found.renew = in.renew(each.value)
	case "profile":
		profile, _ := in.word(each.value, "profile")
		found.profile = profile.value
	case "on_dead_name":
		found.onDeadName = in.choice(each.value, "on_dead_name", []string{"hold"}, []string{"split"})
	}
}

// renew reads ari (RFC 9773), or the fraction of the life left at renewal.
func (in *reader) renew(node ast.Node) string {
	if number := nodeText(node); number != "" {
		in.all.add(in.from.position(node), RenewSyntax, number)
		return ""
	}
	written, ok := in.word(node, "renew")
	if !ok || written.value == "ari" {
		return written.value
	}
	above, below, _ := strings.Cut(written.value, "/")
	part, err := strconv.Atoi(above)
	whole, errWhole := strconv.Atoi(below)
	if err != nil || errWhole != nil || part < 1 || whole <= part || whole > 1000 {
		in.all.add(written.at, RenewSyntax, written.value)
		return ""
	}
	return written.value
}

func (draft *draft) readCertificates(in *reader, node ast.Node) {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		if _, null := node.(*ast.NullNode); !null && node != nil {
			in.wrong(node, "certificates", "a list")
		}
		return
	}
	for _, each := range list.Values {
		draft.readCertificate(in, each)
	}
}

func (draft *draft) readCertificate(in *reader, node ast.Node) {
	read := certificate{Certificate: Certificate{Position: in.from.position(node)}}
	problems := len(in.all.problems)
	var name text
	var domains ast.Node
	for _, each := range in.fields(node, certificateKeys) {
		switch each.key {
		case "name":
			name, _ = in.word(each.value, "name")
		case "domains":
			domains = each.value
		case "owner":
			owner, _ := in.word(each.value, "owner")
			read.Owner = owner.value
		case "tier":
			read.Tier = in.number(each.value, "tier", 1, 99)
		case "hooks":
			read.Hooks = in.hooks(each.value)
		default:
			in.wish(&read.wishes, each)
		}
	}
	list, isList := domains.(*ast.SequenceNode)
	switch {
	case domains == nil || isList && len(list.Values) == 0:
		if len(in.all.problems) == problems { // else domains is probably misspelt
			in.all.add(read.Position, DomainMissing)
		}
	default:
		read.Domains, read.places = in.domains(domains)
	}
	if len(read.places) > 0 {
		read.named = read.places[0]
	}
	switch {
	case name.value != "":
		read.Name, read.named = name.value, name.at
		if !validName(name.value) {
			in.all.add(name.at, NameSyntax, "certificate", name.value)
		}
	case len(read.Domains) > 0:
		read.Name = defaultName(read.Domains[0])
		if read.Name == "" {
			in.all.add(read.named, NameMissing, read.Domains[0])
		}
	}
	draft.certificates = append(draft.certificates, read)
}

// defaultName is the first domain with "*." written "_wildcard."; "" when that
// is no good file name (an IPv6 address, a very long name).
func defaultName(domain string) string {
	rest, wildcard := strings.CutPrefix(domain, "*.")
	if !validName(rest) || len(rest) > longestName-len("_wildcard.") {
		return ""
	}
	if wildcard {
		return "_wildcard." + rest
	}
	return rest
}

func (in *reader) hooks(node ast.Node) Hooks {
	var hooks Hooks
	for _, each := range in.fields(node, hookKeys) {
		switch each.key {
		case "deploy":
			hooks.Deploy = in.argv(each.value, "deploy")
		}
	}
	return hooks
}

func (in *reader) version(node ast.Node) int {
	version := in.number(node, "version", 1, 1<<30)
	if version > 1 {
		in.all.add(in.from.position(node), VersionUnknown, version)
	}
	return version
}

func (in *reader) contact(node ast.Node) string {
	written, ok := in.word(node, "contact")
	if !ok {
		return ""
	}
	address, err := mail.ParseAddress(written.value)
	if err != nil || address.Address != written.value || !strings.Contains(written.value, "@") {
		in.all.add(written.at, ContactSyntax, written.value)
	}
	return written.value
}

func (in *reader) proxy(node ast.Node) string {
	written, ok := in.word(node, "proxy")
	if ok && parseURL(written.value) == nil {
		in.badURL(node, written, "proxy")
	}
	return written.value
}

func (in *reader) fetch(node ast.Node) Fetch {
	var fetch Fetch
	for _, each := range in.fields(node, fetchKeys) {
		for _, written := range in.words(each.value, "allow") {
			network, err := netip.ParsePrefix(written.value)
			if err != nil {
				in.all.add(written.at, NetworkSyntax, written.value)
				continue
			}
			fetch.Allow = append(fetch.Allow, network.Masked())
		}
	}
	return fetch
}
