package authority

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

// checkCAA is RFC 8659: the nearest CAA record set up the tree decides; for a
// wildcard its issuewild records go before its issue records.
func (authority *Authority) checkCAA(ctx context.Context, look look) *problem {
	resolver, able := authority.config.Network.(CAALookup)
	if !able || len(authority.config.CAAIdentities) == 0 || look.name.Type != "dns" {
		return nil
	}
	for name := look.name.Value; name != ""; _, name, _ = strings.Cut(name, ".") {
		records, err := resolver.LookupCAA(ctx, name)
		if err != nil {
			return refuse(http.StatusBadRequest, "dns", "looking up CAA of %s: %v", name, err)
		}
		if len(records) > 0 {
			return authority.judgeCAA(name, records, look.wildcard)
		}
	}
	return nil
}

func (authority *Authority) judgeCAA(name string, records []string, wildcard bool) *problem {
	byTag := map[string][]string{}
	for _, record := range records {
		tag, value, _ := strings.Cut(record, " ")
		domain, _, _ := strings.Cut(value, ";") // parameters such as accounturi are not judged
		tag = strings.ToLower(tag)
		byTag[tag] = append(byTag[tag], strings.ToLower(strings.TrimSpace(domain)))
	}
	deciding := byTag["issue"]
	if wildcard && len(byTag["issuewild"]) > 0 {
		deciding = byTag["issuewild"]
	}
	if len(deciding) == 0 {
		return nil
	}
	for _, identity := range authority.config.CAAIdentities {
		if slices.Contains(deciding, identity) {
			return nil
		}
	}
	return refuse(http.StatusForbidden, "caa", "the CAA records of %s do not allow this CA", name)
}
