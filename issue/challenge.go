package issue

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/backstay/backstay/plan"
)

// authorizationAnswer is RFC 8555 section 7.1.4.
type authorizationAnswer struct {
	Identifier acme.Identifier `json:"identifier"`
	Status     string          `json:"status"`
	Expires    time.Time       `json:"expires"`
	Wildcard   bool            `json:"wildcard"`
	Challenges []struct {
		Type   string   `json:"type"`
		URL    string   `json:"url"`
		Token  string   `json:"token"`
		Status string   `json:"status"`
		Error  *problem `json:"error"`
	} `json:"challenges"`
}

// authorization reads one authorization.
func (at *client) authorization(ctx context.Context, url string) (*plan.Resource, *plan.Trouble) {
	one, trouble := at.get(ctx, "reading an authorization", url)
	if trouble != nil {
		return nil, trouble
	}
	var answer authorizationAnswer
	if err := json.Unmarshal(one.body, &answer); err != nil {
		return nil, &plan.Trouble{Class: plan.ServerError, Reachable: true, Summary: at.authority.Name + " sent an authorization that cannot be read", Detail: cut(err.Error())}
	}
	identifier := answer.Identifier.Value
	if answer.Wildcard {
		identifier = "*." + identifier
	}
	resource := &plan.Resource{
		URL: url, Status: answer.Status, Identifier: identifier, Expires: answer.Expires,
		RetryAfter: retryAfter(one.header, at.executor.cfg.Now()),
	}
	for _, challenge := range answer.Challenges {
		if challenge.Error != nil && answer.Status == plan.StatusInvalid {
			resource.Error = at.validation("validating "+identifier, challenge.Error)
			resource.Error.Identifier = identifier
		}
		if answer.Status == plan.StatusPending && !isToken(challenge.Token) {
			// A token that is a path or a screenful is an attack on whoever writes
			// files named after it.
			continue
		}
		resource.Challenges = append(resource.Challenges, plan.Challenge{
			Type: challenge.Type, URL: challenge.URL, Token: challenge.Token, Status: challenge.Status,
		})
	}
	if answer.Status == plan.StatusPending && len(resource.Challenges) == 0 && len(answer.Challenges) > 0 {
		return nil, &plan.Trouble{Class: plan.Refused, Reachable: true, Identifier: identifier, Summary: at.authority.Name + " sent only challenges whose tokens are not base64url"}
	}
	return resource, nil
}

// isToken holds a token to RFC 8555 section 8.1: base64url, no padding.
func isToken(token string) bool {
	if token == "" || len(token) > tokenLengthLimit {
		return false
	}
	return strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// offer tells the CA to look (RFC 8555 section 7.5.1).
func (at *client) offer(ctx context.Context, url string) (*plan.Resource, *plan.Trouble) {
	signed, err := at.signer()
	if err != nil {
		return nil, local("reading the account key", err)
	}
	one, trouble := at.do(ctx, "offering a challenge", func(ctx context.Context) error {
		_, err := at.wire.InitiateChallenge(ctx, signed, acme.Challenge{URL: url})
		return err
	})
	if trouble != nil {
		if trouble.Class == plan.Refused && trouble.Type == "malformed" {
			// Some CAs say so when the challenge is not pending any more: the
			// authorization tells what became of it.
			return &plan.Resource{}, nil
		}
		return nil, trouble
	}
	return &plan.Resource{RetryAfter: retryAfter(one.header, at.executor.cfg.Now())}, nil
}

// answer is the challenge's answer with the key authorization.
func (at *client) answer(identifier, kind, token string) (Answer, error) {
	signed, err := at.signer()
	if err != nil {
		return Answer{}, err
	}
	thumbprint, err := signed.Thumbprint()
	if err != nil {
		return Answer{}, err
	}
	return Answer{Identifier: identifier, Type: kind, Token: token, KeyAuthorization: token + "." + thumbprint}, nil
}

// abandon deactivates what is still pending of an order that was given up
// (RFC 8555 section 7.5.2). Whatever the CA says to it, the attempt is over.
func (at *client) abandon(ctx context.Context, attempt *plan.Attempt) {
	signed, err := at.signer()
	if err != nil {
		return
	}
	for _, authorization := range attempt.Authorizations {
		if authorization.Status != plan.StatusPending && authorization.Status != "" {
			continue
		}
		_, trouble := at.do(ctx, "deactivating an authorization", func(ctx context.Context) error {
			_, err := at.wire.DeactivateAuthorization(ctx, signed, authorization.URL)
			return err
		})
		if trouble != nil && !trouble.Reachable {
			return // the CA is away: do not wait for it once a name
		}
	}
}

// renewalInfo asks when to renew (RFC 9773 section 4.1). It is an ordinary GET.
func (executor *Executor) renewalInfo(ctx context.Context, row *plan.Certificate) (*plan.RenewalInfo, *plan.Trouble) {
	at, trouble := executor.client(row.Held.Authority)
	if trouble != nil {
		return nil, trouble
	}
	directory, trouble := at.directory(ctx)
	if trouble != nil {
		return nil, trouble
	}
	if directory.RenewalInfo == "" {
		return &plan.RenewalInfo{Unsupported: true}, nil
	}
	address := strings.TrimSuffix(directory.RenewalInfo, "/") + "/" + row.Held.RenewalID
	one, trouble := at.request(ctx, http.MethodGet, "asking for renewal information", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		response, err := at.wire.HTTPClient.Do(request)
		if err == nil {
			response.Body.Close()
		}
		return err
	})
	if trouble != nil {
		return nil, trouble
	}
	return at.readRenewalInfo(one)
}

func (at *client) readRenewalInfo(one *call) (*plan.RenewalInfo, *plan.Trouble) {
	var answer struct {
		Window struct {
			Start time.Time `json:"start"`
			End   time.Time `json:"end"`
		} `json:"suggestedWindow"`
		Explanation string `json:"explanationURL"`
	}
	if err := json.Unmarshal(one.body, &answer); err != nil || !answer.Window.Start.Before(answer.Window.End) {
		// RFC 9773 section 4.2: a malformed window is no window; our own backstop decides.
		return nil, &plan.Trouble{Class: plan.ServerError, Reachable: true, Summary: fmt.Sprintf("%s sent renewal information that cannot be used", at.authority.Name)}
	}
	return &plan.RenewalInfo{
		Start: answer.Window.Start, End: answer.Window.End, Explanation: cut(answer.Explanation),
		RetryAfter: retryAfter(one.header, at.executor.cfg.Now()),
	}, nil
}
