package authority

import (
	"encoding/json"
	"net/http"
)

// checkBinding is RFC 8555 section 7.3.4: an HS256 JWS over the account's key,
// under a key that was given out beforehand.
func (authority *Authority) checkBinding(call *call, raw json.RawMessage) *problem {
	if len(raw) == 0 || string(raw) == "null" {
		if authority.config.ExternalAccountRequired {
			return refuse(http.StatusForbidden, "externalAccountRequired", "an external account binding is needed")
		}
		return nil
	}
	inner, protected, err := parseEnvelope(raw)
	if err != nil {
		return malformed("externalAccountBinding: %v", err)
	}
	switch {
	case protected.Algorithm != "HS256":
		return refuse(http.StatusBadRequest, "badSignatureAlgorithm", "the binding needs HS256, not %q", protected.Algorithm)
	case protected.Nonce != "":
		return malformed("the binding must not have a nonce")
	case protected.URL != call.header.URL:
		return malformed("the binding's URL is not the request's")
	}
	secret, known := authority.config.ExternalAccounts[protected.KeyID]
	if !known {
		return unauthorized("the binding's key id is not known")
	}
	payload, err := inner.verifyMAC(secret)
	if err != nil {
		return unauthorized("binding: %v", err)
	}
	key, err := parseWebKey(payload)
	if err != nil {
		return malformed("binding: %v", err)
	}
	if !sameKey(key, call.key) {
		return malformed("the bound key is not the account's")
	}
	return nil
}

// changeKey is RFC 8555 section 7.3.5: outer signature by the old key, inner by
// the new one.
func (authority *Authority) changeKey(call *call) (*answer, *problem) {
	inner, protected, err := parseEnvelope(call.payload)
	if err != nil {
		return nil, malformed("inner request: %v", err)
	}
	if protected.URL != call.header.URL {
		return nil, malformed("the inner URL is not the outer one")
	}
	if len(protected.Key) == 0 || protected.KeyID != "" || protected.Nonce != "" {
		return nil, malformed("the inner request needs a jwk, no kid and no nonce")
	}
	fresh, err := parseWebKey(protected.Key)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "badPublicKey", "%v", err)
	}
	payload, err := inner.verify(protected.Algorithm, fresh)
	if err != nil {
		return nil, malformed("inner request: %v", err)
	}
	var change struct {
		Account string          `json:"account"`
		OldKey  json.RawMessage `json:"oldKey"`
	}
	if err := json.Unmarshal(payload, &change); err != nil {
		return nil, malformed("inner request: %v", err)
	}
	old, err := parseWebKey(change.OldKey)
	if err != nil || !sameKey(old, call.account.key) || change.Account != call.header.KeyID {
		return nil, malformed("the inner request names another account or key")
	}
	if taken := authority.state.accountOf(fresh); taken != nil {
		refusal := refuse(http.StatusConflict, "malformed", "another account has this key")
		refusal.location = authority.link("account", taken.id)
		return nil, refusal
	}
	call.account.key = fresh
	return authority.showAccount(call.account, http.StatusOK), nil
}
