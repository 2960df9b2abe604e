package authority

import (
	"encoding/json"
	"net/http"
	"net/mail"
	"slices"
	"strconv"
	"strings"
)

// directory is RFC 8555 section 7.1.1.
func (authority *Authority) directory(*call) (*answer, *problem) {
	config := authority.config
	meta := map[string]any{}
	if config.ExternalAccountRequired {
		meta["externalAccountRequired"] = true
	}
	if len(config.Profiles) > 0 {
		profiles := map[string]string{}
		for name, profile := range config.Profiles {
			profiles[name] = profile.Description
		}
		meta["profiles"] = profiles
	}
	if len(config.CAAIdentities) > 0 {
		meta["caaIdentities"] = config.CAAIdentities
	}
	if config.Website != "" {
		meta["website"] = config.Website
	}
	if config.Terms != "" {
		meta["termsOfService"] = config.Terms
	}
	directory := map[string]any{
		"newNonce":   authority.link("new-nonce"),
		"newAccount": authority.link("new-account"),
		"newOrder":   authority.link("new-order"),
		"revokeCert": authority.link("revoke"),
		"keyChange":  authority.link("key-change"),
		"meta":       meta,
	}
	if !config.NoRenewalInfo {
		directory["renewalInfo"] = authority.link("renewal-info")
	}
	return &answer{body: directory}, nil
}

// nonceOnly is RFC 8555 section 7.2: 200 for HEAD, 204 for GET.
func (authority *Authority) nonceOnly(call *call) (*answer, *problem) {
	if call.request.Method == http.MethodHead {
		return &answer{status: http.StatusOK}, nil
	}
	return &answer{status: http.StatusNoContent}, nil
}

// newAccount is RFC 8555 section 7.3: the same key finds the same account.
func (authority *Authority) newAccount(call *call) (*answer, *problem) {
	var wanted struct {
		Contact            []string        `json:"contact"`
		OnlyReturnExisting bool            `json:"onlyReturnExisting"`
		TermsAgreed        bool            `json:"termsOfServiceAgreed"`
		Binding            json.RawMessage `json:"externalAccountBinding"`
	}
	if err := json.Unmarshal(call.payload, &wanted); err != nil {
		return nil, malformed("newAccount: %v", err)
	}
	if existing := authority.state.accountOf(call.key); existing != nil {
		if existing.deactivated {
			return nil, unauthorized("the account is deactivated")
		}
		return authority.showAccount(existing, http.StatusOK), nil
	}
	if wanted.OnlyReturnExisting {
		return nil, refuse(http.StatusBadRequest, "accountDoesNotExist", "no account has this key")
	}
	if authority.config.Terms != "" && !wanted.TermsAgreed {
		return nil, refuse(http.StatusForbidden, "userActionRequired", "the terms of service must be agreed to")
	}
	if refusal := checkContacts(wanted.Contact); refusal != nil {
		return nil, refusal
	}
	if refusal := authority.checkBinding(call, wanted.Binding); refusal != nil {
		return nil, refusal
	}
	created := &account{
		id: random(), key: call.key, contacts: wanted.Contact, external: wanted.Binding, created: authority.now(),
		replacing: map[string][]*order{}, same: map[string][]*order{}, proofs: map[proof][]*authorization{},
	}
	authority.state.accounts[created.id] = created
	return authority.showAccount(created, http.StatusCreated), nil
}

func (state *state) accountOf(key any) *account {
	for _, account := range state.accounts {
		if sameKey(account.key, key) {
			return account
		}
	}
	return nil
}

func (authority *Authority) showAccount(account *account, status int) *answer {
	shown := map[string]any{
		"status":    "valid",
		"contact":   account.contacts,
		"createdAt": rfc3339(account.created),
	}
	if account.contacts == nil {
		shown["contact"] = []string{}
	}
	if account.deactivated {
		shown["status"] = "deactivated"
	}
	if len(account.external) > 0 {
		shown["externalAccountBinding"] = json.RawMessage(account.external)
	}
	if authority.config.OrdersList {
		shown["orders"] = authority.link("orders", account.id)
	}
	given := &answer{status: status, body: shown}
	return given.with("Location", authority.link("account", account.id))
}

// updateAccount is RFC 8555 sections 7.3.2 and 7.3.6.
func (authority *Authority) updateAccount(call *call) (*answer, *problem) {
	if call.id != call.account.id {
		return nil, unauthorized("the account is another's")
	}
	if isEmptyPayload(call.payload) {
		return authority.showAccount(call.account, http.StatusOK), nil
	}
	var change struct {
		Contact *[]string `json:"contact"`
		Status  string    `json:"status"`
	}
	if err := json.Unmarshal(call.payload, &change); err != nil {
		return nil, malformed("account: %v", err)
	}
	switch change.Status {
	case "", "valid":
	case "deactivated":
		call.account.deactivated = true
		return authority.showAccount(call.account, http.StatusOK), nil
	default:
		return nil, malformed("an account cannot be made %q", change.Status)
	}
	if change.Contact != nil {
		if refusal := checkContacts(*change.Contact); refusal != nil {
			return nil, refusal
		}
		call.account.contacts = slices.Clone(*change.Contact)
	}
	return authority.showAccount(call.account, http.StatusOK), nil
}

// checkContacts is RFC 8555 section 7.3: mailto with one address and no header
// fields.
func checkContacts(contacts []string) *problem {
	for _, contact := range contacts {
		address, isMail := strings.CutPrefix(contact, "mailto:")
		if !isMail {
			return refuse(http.StatusBadRequest, "unsupportedContact", "only mailto contacts are supported")
		}
		parsed, err := mail.ParseAddress(address)
		if err != nil || parsed.Address != address || strings.Contains(address, "?") {
			return refuse(http.StatusBadRequest, "invalidContact", "contact is not one plain mail address")
		}
	}
	return nil
}

// listOrders is RFC 8555 section 7.1.2.1: pages by a cursor in the path,
// invalid orders left out.
func (authority *Authority) listOrders(call *call) (*answer, *problem) {
	id, page, _ := strings.Cut(call.id, "/")
	if !authority.config.OrdersList {
		return nil, notFound("orders list")
	}
	if id != call.account.id {
		return nil, unauthorized("the account is another's")
	}
	from := 0
	if page != "" {
		number, err := strconv.Atoi(page)
		if err != nil || number < 0 {
			return nil, malformed("the cursor is no number")
		}
		from = number
	}
	urls, now := []string{}, authority.now()
	at := from
	for ; at < len(call.account.orders) && len(urls) < authority.config.OrdersPerPage; at++ {
		if order := call.account.orders[at]; order.status(now) != "invalid" {
			urls = append(urls, authority.link("order", order.id))
		}
	}
	given := &answer{body: map[string]any{"orders": urls}}
	if at < len(call.account.orders) {
		given.with("Link", "<"+authority.link("orders", id, strconv.Itoa(at))+`>;rel="next"`)
	}
	return given, nil
}
