package authority

import (
	"context"
	"encoding/json"
)

// pollAuthorization is RFC 8555 sections 7.5 and 7.5.2.
func (authority *Authority) pollAuthorization(call *call) (*answer, *problem) {
	one := authority.state.authorizations[call.id]
	if one == nil || one.account != call.account {
		return nil, notFound("authorization")
	}
	if !isEmptyPayload(call.payload) {
		var change struct{ Status string }
		if err := json.Unmarshal(call.payload, &change); err != nil || change.Status != "deactivated" {
			return nil, malformed("an authorization can only be read or deactivated")
		}
		if status := one.status(authority.now()); status != "pending" && status != "valid" {
			return nil, malformed("the authorization is %s already", status)
		}
		one.deactivated = true
	}
	return authority.showAuthorization(one), nil
}

func (authority *Authority) showAuthorization(one *authorization) *answer {
	status := one.status(authority.now())
	var challenges []any
	for _, challenge := range one.challenges {
		// A decided authorization shows only the challenge that decided it.
		if status == "valid" && challenge.validated.IsZero() || status == "invalid" && challenge.problem == nil {
			continue
		}
		challenges = append(challenges, authority.showChallenge(challenge))
	}
	shown := map[string]any{
		"identifier": one.name,
		"status":     status,
		"expires":    rfc3339(one.expires),
		"challenges": challenges,
	}
	if one.wildcard {
		shown["wildcard"] = true
	}
	given := &answer{body: shown}
	if authority.config.RetryAfter > 0 && status == "pending" {
		given.with("Retry-After", seconds(authority.config.RetryAfter))
	}
	return given
}

func (authority *Authority) showChallenge(challenge *challenge) map[string]any {
	shown := map[string]any{
		"type":   challenge.kind,
		"url":    authority.link("challenge", challenge.id),
		"token":  challenge.token,
		"status": challenge.status(),
	}
	if !challenge.validated.IsZero() {
		shown["validated"] = rfc3339(challenge.validated)
	}
	if challenge.problem != nil {
		shown["error"] = challenge.problem.document()
	}
	return shown
}

// answerChallenge is RFC 8555 section 7.5.1. The first answer starts the look,
// later ones only read.
func (authority *Authority) answerChallenge(call *call) (*answer, *problem) {
	one := authority.state.challenges[call.id]
	if one == nil || one.authorization.account != call.account {
		return nil, notFound("challenge")
	}
	if !isEmptyPayload(call.payload) {
		var object map[string]any
		if err := json.Unmarshal(call.payload, &object); err != nil {
			return nil, malformed("challenge: %v", err)
		}
		if refusal := authority.initiate(call, one); refusal != nil {
			return nil, refusal
		}
	}
	given := &answer{body: authority.showChallenge(one)}
	return given.with("Link", "<"+authority.link("authorization", one.authorization.id)+`>;rel="up"`), nil
}

// initiate looks at the name, at once or in the background. The lock is open
// while it looks: the name's server may be slow, or may itself be a client here.
func (authority *Authority) initiate(call *call, one *challenge) *problem {
	if one.initiated {
		return nil
	}
	if status := one.authorization.status(authority.now()); status != "pending" {
		return malformed("the authorization is %s already", status)
	}
	one.initiated = true
	wanted := look{
		kind: one.kind, name: one.authorization.name, wildcard: one.authorization.wildcard,
		token: one.token, expected: one.token + "." + thumbprint(call.account.key),
	}
	if !authority.config.ValidateInBackground {
		authority.mutex.Unlock()
		refusal := authority.validate(wanted)
		authority.mutex.Lock()
		authority.decide(one, refusal)
		return nil
	}
	authority.work.Add(1)
	go func() {
		defer authority.work.Done()
		refusal := authority.validate(wanted)
		authority.mutex.Lock()
		defer authority.mutex.Unlock()
		authority.decide(one, refusal)
	}()
	return nil
}

func (authority *Authority) decide(one *challenge, refusal *problem) {
	if refusal != nil {
		one.problem = refusal
		return
	}
	now := authority.now()
	one.validated = now
	one.authorization.expires = now.Add(authority.config.AuthorizationLife)
}

func (authority *Authority) validate(wanted look) *problem {
	ctx, cancel := context.WithTimeout(authority.lifetime, authority.config.ValidationTimeout)
	defer cancel()
	if refusal := authority.checkCAA(ctx, wanted); refusal != nil {
		refusal.Identifier = &wanted.name
		return refusal
	}
	looks := map[string]func(context.Context, look) *problem{
		"http-01": authority.lookHTTP, "dns-01": authority.lookDNS, "tls-alpn-01": authority.lookTLS,
	}
	refusal := looks[wanted.kind](ctx, wanted)
	if refusal != nil {
		refusal.Identifier = &wanted.name
	}
	return refusal
}
