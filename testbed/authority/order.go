package authority

import (
	"cmp"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

const maximumNames = 100 // in an order, as public CAs allow

// newOrder is RFC 8555 section 7.4.
func (authority *Authority) newOrder(call *call) (*answer, *problem) {
	var wanted struct {
		Identifiers []Identifier `json:"identifiers"`
		NotBefore   string       `json:"notBefore"`
		NotAfter    string       `json:"notAfter"`
		Profile     string       `json:"profile"`
		Replaces    string       `json:"replaces"`
	}
	if err := json.Unmarshal(call.payload, &wanted); err != nil {
		return nil, malformed("newOrder: %v", err)
	}
	if wanted.NotBefore != "" || wanted.NotAfter != "" {
		return nil, malformed("notBefore and notAfter are not supported")
	}
	if wanted.Profile != "" {
		if _, known := authority.config.Profiles[wanted.Profile]; !known {
			return nil, refuse(http.StatusBadRequest, "invalidProfile", "profile %q is not offered", wanted.Profile)
		}
	}
	names, refusal := checkNames(wanted.Identifiers)
	if refusal != nil {
		return nil, refusal
	}
	if refusal := authority.checkReplaces(call.account, wanted.Replaces, names); refusal != nil {
		return nil, refusal
	}
	if authority.config.ReuseOrders {
		if open := authority.openOrder(call.account, names, wanted.Profile); open != nil {
			return authority.showOrder(open, http.StatusCreated), nil
		}
	}
	created := authority.place(call, names, wanted.Profile, wanted.Replaces)
	return authority.showOrder(created, http.StatusCreated), nil
}

// place creates an order and the authorizations it lacks.
func (authority *Authority) place(call *call, names []Identifier, profile, replaces string) *order {
	now := authority.now()
	created := &order{
		id: random(), account: call.account, names: names, profile: profile, replaces: replaces,
		created: now, expires: now.Add(authority.config.OrderLifetime),
	}
	for _, name := range names {
		created.authorizations = append(created.authorizations, authority.authorize(call, name, created.expires))
	}
	authority.state.orders[created.id] = created
	authority.state.placed = append(authority.state.placed, created)
	account := call.account
	account.orders = append(account.orders, created)
	account.same[signature(names, profile)] = append(account.same[signature(names, profile)], created)
	if replaces != "" {
		account.replacing[replaces] = append(account.replacing[replaces], created)
	}
	return created
}

// authorize finds a valid authorization to use again, or makes a pending one.
func (authority *Authority) authorize(call *call, name Identifier, expires time.Time) *authorization {
	bare, wildcard := strings.CutPrefix(name.Value, "*.")
	name.Value = bare
	if authority.config.ReuseAuthorizations {
		if valid := authority.validFor(call.account, name, wildcard); valid != nil {
			return valid
		}
	}
	made := &authorization{id: random(), account: call.account, name: name, wildcard: wildcard, expires: expires}
	kinds := []string{"http-01", "dns-01", "tls-alpn-01"}
	switch {
	case wildcard: // only DNS proves a whole subtree
		kinds = []string{"dns-01"}
	case name.Type == "ip": // RFC 8738 section 4: no dns-01
		kinds = []string{"http-01", "tls-alpn-01"}
	}
	for _, kind := range kinds {
		one := &challenge{id: random(), kind: kind, token: authority.token(call), authorization: made}
		made.challenges = append(made.challenges, one)
		authority.state.challenges[one.id] = one
	}
	authority.state.authorizations[made.id] = made
	proves := proof{name, wildcard}
	call.account.proofs[proves] = append(call.account.proofs[proves], made)
	return made
}

func (authority *Authority) token(call *call) string {
	switch {
	case call.fault(TokenTraversal):
		return "../../../../../../tmp/backstay-owned-" + random()
	case call.fault(TokenHuge):
		return strings.Repeat("A", 1<<20)
	}
	return random() + random()[:10]
}

// validFor returns the valid authorization that ends last.
func (authority *Authority) validFor(account *account, name Identifier, wildcard bool) *authorization {
	var best *authorization
	for _, one := range account.proofs[proof{name, wildcard}] {
		if one.status(authority.now()) == "valid" && (best == nil || one.expires.After(best.expires)) {
			best = one
		}
	}
	return best
}

func (authority *Authority) openOrder(account *account, names []Identifier, profile string) *order {
	for _, one := range account.same[signature(names, profile)] {
		if status := one.status(authority.now()); status == "pending" || status == "ready" {
			return one
		}
	}
	return nil
}

// checkNames checks, lowers, sorts and deduplicates. Every bad name is a
// subproblem (RFC 8555 section 6.7.1).
func checkNames(wanted []Identifier) ([]Identifier, *problem) {
	if len(wanted) == 0 || len(wanted) > maximumNames {
		return nil, malformed("an order needs 1 to %d identifiers", maximumNames)
	}
	var names []Identifier
	var bad []subproblem
	for _, name := range wanted {
		checked, why := checkName(name)
		if why != "" {
			bad = append(bad, subproblem{Type: "rejectedIdentifier", Detail: why, Identifier: name})
			continue
		}
		names = append(names, checked)
	}
	if len(bad) > 0 {
		refusal := refuse(http.StatusBadRequest, "rejectedIdentifier", "%d identifiers are not accepted: %s", len(bad), bad[0].Detail)
		if len(bad) > 1 {
			refusal.Subproblems = bad
		}
		return nil, refusal
	}
	sortNames(names)
	return slices.Compact(names), nil
}

func sortNames(names []Identifier) {
	slices.SortFunc(names, func(one, other Identifier) int {
		return cmp.Or(cmp.Compare(one.Type, other.Type), cmp.Compare(one.Value, other.Value))
	})
}

func checkName(name Identifier) (Identifier, string) {
	switch name.Type {
	case "ip":
		ip := net.ParseIP(name.Value)
		if ip == nil {
			return name, "not an IP address"
		}
		return Identifier{Type: "ip", Value: ip.String()}, ""
	case "dns":
	default:
		return name, "identifier type is not supported"
	}
	lower := strings.ToLower(name.Value)
	bare := strings.TrimPrefix(lower, "*.")
	if len(lower) > 253 || net.ParseIP(bare) != nil || !strings.Contains(bare, ".") {
		return name, "not a domain name with a public part"
	}
	for label := range strings.SplitSeq(bare, ".") {
		if !isLabel(label) {
			return name, "a label is not letters, digits and inner hyphens"
		}
	}
	return Identifier{Type: "dns", Value: lower}, ""
}

func isLabel(label string) bool {
	if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	return strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// checkReplaces is RFC 9773 section 5, as Boulder does it: any order that is not
// invalid and replaces the same certificate is a conflict.
func (authority *Authority) checkReplaces(account *account, replaces string, names []Identifier) *problem {
	if replaces == "" {
		return nil
	}
	old := authority.state.renewals[replaces]
	if old == nil {
		return refuse(http.StatusNotFound, "malformed", "replaces: no such certificate")
	}
	if old.order.account != account {
		return unauthorized("replaces: the certificate is another account's")
	}
	shared := slices.ContainsFunc(old.order.names, func(name Identifier) bool { return slices.Contains(names, name) })
	if !shared {
		return malformed("replaces: the certificate shares no name with this order")
	}
	for _, one := range account.replacing[replaces] {
		if one.status(authority.now()) != "invalid" {
			return refuse(http.StatusConflict, "alreadyReplaced", "the certificate already has a replacement order")
		}
	}
	return nil
}

// pollOrder is a POST-as-GET of an order (RFC 8555 section 7.4).
func (authority *Authority) pollOrder(call *call) (*answer, *problem) {
	order, refusal := authority.orderOf(call)
	if refusal != nil {
		return nil, refusal
	}
	if !isEmptyPayload(call.payload) {
		return nil, malformed("an order is only read, with an empty payload")
	}
	given := authority.showOrder(order, http.StatusOK)
	if order.pollsLeft > 0 {
		order.pollsLeft--
	}
	return given, nil
}

func (authority *Authority) orderOf(call *call) (*order, *problem) {
	order := authority.state.orders[call.id]
	if order == nil || order.account != call.account {
		return nil, notFound("order")
	}
	return order, nil
}

func (authority *Authority) showOrder(order *order, status int) *answer {
	state := order.status(authority.now())
	urls := make([]string, len(order.authorizations))
	for index, one := range order.authorizations {
		urls[index] = authority.link("authorization", one.id)
	}
	shown := map[string]any{
		"status":         state,
		"expires":        rfc3339(order.expires),
		"identifiers":    order.names,
		"authorizations": urls,
		"finalize":       authority.link("finalize", order.id),
	}
	if order.profile != "" {
		shown["profile"] = order.profile
	}
	if order.replaces != "" {
		shown["replaces"] = order.replaces
	}
	if document := order.failure().document(); document != nil && state == "invalid" {
		shown["error"] = document
	}
	if state == "valid" {
		shown["certificate"] = authority.link("certificate", order.certificate.id)
	}
	given := &answer{status: status, body: shown}
	given.with("Location", authority.link("order", order.id))
	if authority.config.RetryAfter > 0 && (state == "pending" || state == "processing") {
		given.with("Retry-After", seconds(authority.config.RetryAfter))
	}
	return given
}

// failure is why an order is invalid: its own problem or the first one of its
// challenges.
func (order *order) failure() *problem {
	if order.problem != nil {
		return order.problem
	}
	for _, one := range order.authorizations {
		for _, challenge := range one.challenges {
			if challenge.problem != nil {
				return challenge.problem
			}
		}
	}
	return nil
}
