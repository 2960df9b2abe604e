package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// The solver types this version has, and those of the design it has not yet.
var (
	solverTypes      = []string{"http-01", "tls-alpn-01", "dns-01"}
	laterSolverTypes = []string{"dns-account-01", "dns-persist-01", "manual"}
	dnsProviders     = []string{"rfc2136"}
	laterProviders   = []string{"acme-dns", "azure", "cloudflare", "digitalocean", "exec", "gandi", "google", "hetzner", "ovh", "powerdns", "route53", "webhook"}
	tsigAlgorithms   = []string{"hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"} // RFC 8945 section 6; MD5 and SHA-1 left out
)

var (
	solverKeys = keys{
		owner: "a solver",
		known: []string{"type", "webroot", "listen", "stateless", "port", "provider", "server", "zone", "tsig", "check_at"},
	}
	// solverTypeKeys are the keys that make sense for a type.
	solverTypeKeys = map[string][]string{
		"http-01":     {"type", "webroot", "listen", "stateless", "port"},
		"tls-alpn-01": {"type", "listen", "port"},
		"dns-01":      {"type", "provider", "server", "zone", "tsig", "check_at"},
	}
	tsigKeys = keys{owner: "tsig", known: []string{"name", "algorithm", "secret"}}
)

func (draft *draft) readSolvers(in *reader, node ast.Node) {
	found, _ := in.entries(node, "solvers")
	for _, each := range found {
		if !draft.define("solver", each) {
			continue
		}
		draft.solvers = append(draft.solvers, each.key)
		draft.config.Solvers[each.key] = draft.solver(in, each)
	}
}

func (draft *draft) solver(in *reader, entry field) Solver {
	solver := Solver{Name: entry.key, Position: entry.at}
	problems := len(in.all.problems)
	found := in.fields(entry.value, solverKeys)
	solver.Type = in.kind(entry, found, "type", "solver type", solverTypes, laterSolverTypes, len(in.all.problems) > problems)
	if solver.Type == "" {
		return solver
	}
	found = in.belonging(found, solverTypeKeys[solver.Type], "a solver of type", solver.Type)
	for _, each := range found {
		draft.solverField(in, &solver, each)
	}
	switch solver.Type {
	case "http-01":
		forms := 0
		for _, each := range found {
			if each.key == "webroot" || each.key == "listen" || each.key == "stateless" && solver.Stateless {
				forms++
			}
		}
		if forms != 1 {
			in.all.add(entry.at, SolverForm)
		}
	case "tls-alpn-01":
		in.needs(entry, found, "a solver of type tls-alpn-01", "listen")
	case "dns-01":
		in.needs(entry, found, "a solver of type dns-01", "provider", "server")
	}
	return solver
}

func (draft *draft) solverField(in *reader, solver *Solver, each field) {
	switch each.key {
	case "webroot":
		solver.Webroot = in.absolute(each.value, "webroot")
	case "listen":
		solver.Listen = in.listen(each.value)
	case "stateless":
		solver.Stateless = in.truth(each.value, "stateless")
	case "port":
		solver.Port = in.number(each.value, "port", 1, 65535)
	case "provider":
		solver.Provider = in.choice(each.value, "provider", dnsProviders, laterProviders)
	case "server":
		if written, ok := in.word(each.value, "server"); ok {
			solver.Server = written.value
			in.addressPort(written, "server")
		}
	case "zone":
		if written, ok := in.word(each.value, "zone"); ok {
			zone, reason := domainName(strings.TrimSuffix(written.value, "."), false)
			if reason != "" {
				in.all.add(written.at, DomainSyntax, written.value, reason)
			}
			solver.Zone = zone
		}
	case "tsig":
		solver.TSIG = draft.tsig(in, each)
	case "check_at":
		for _, each := range in.addressPorts(each.value, "check_at") {
			solver.CheckAt = append(solver.CheckAt, each.String())
		}
	}
}

func (draft *draft) tsig(in *reader, entry field) *TSIG {
	tsig := &TSIG{Algorithm: "hmac-sha256"}
	found := in.secretFields(entry.value, tsigKeys, "name", "algorithm")
	for _, each := range found {
		switch each.key {
		case "name":
			name, _ := in.word(each.value, "name")
			tsig.Name = name.value
		case "algorithm":
			tsig.Algorithm = in.choice(each.value, "algorithm", tsigAlgorithms, nil)
		case "secret":
			tsig.Secret = draft.secret(in, each)
		}
	}
	in.needs(entry, found, "tsig", "name", "secret")
	return tsig
}

// kind reads the key that says what an entry is; "" when it is missing or bad.
// When the entry had problems already, a missing key may just be misspelt.
func (in *reader) kind(entry field, found []field, key, what string, known, later []string, troubled bool) string {
	for _, each := range found {
		if each.key == key {
			return in.choice(each.value, what, known, later)
		}
	}
	if !troubled {
		in.all.add(entry.at, KeyMissing, strconv.Quote(entry.key), key).Remedy = "known: " + strings.Join(known, ", ")
	}
	return ""
}

// belonging drops the keys that make no sense for an entry of this kind, and
// reports them.
func (in *reader) belonging(found []field, allowed []string, what, kind string) []field {
	kept := found[:0]
	for _, each := range found {
		if contains(allowed, each.key) {
			kept = append(kept, each)
			continue
		}
		in.all.add(each.at, KeyElsewhere, each.key, what, kind)
	}
	return kept
}

// needs reports the keys that are required and not there.
func (in *reader) needs(entry field, found []field, what string, required ...string) {
	for _, key := range required {
		if !slices.ContainsFunc(found, func(each field) bool { return each.key == key }) {
			in.all.add(entry.at, KeyMissing, what, key)
		}
	}
}

// addressPort checks an IP address with a port; the zero value when it was
// reported.
func (in *reader) addressPort(written text, what string) netip.AddrPort {
	address, err := netip.ParseAddrPort(written.value)
	if err != nil || address.Port() == 0 || address.Addr().IsUnspecified() {
		in.all.add(written.at, AddressPort, what, written.value)
		return netip.AddrPort{}
	}
	return address
}

func (in *reader) addressPorts(node ast.Node, what string) []netip.AddrPort {
	var addresses []netip.AddrPort
	for _, written := range in.words(node, what) {
		if address := in.addressPort(written, what); address.IsValid() {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// listen reads where our own listener stands: an IP address, or nothing for all
// of them, and a port.
func (in *reader) listen(node ast.Node) string {
	written, ok := in.word(node, "listen")
	if !ok {
		return ""
	}
	value := written.value
	if strings.HasPrefix(value, ":") {
		value = "0.0.0.0" + value
	}
	if address, err := netip.ParseAddrPort(value); err != nil || address.Port() == 0 {
		in.all.add(written.at, ListenSyntax, written.value)
	}
	return written.value
}
