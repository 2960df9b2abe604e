package authority

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	maximumBody   = 256 << 10 // of a request; a CSR with 100 names and a 4096 bit key is far smaller
	maximumNonces = 100_000   // remembered at once; the oldest are not known, so all go when it is full
)

// call is one request on its way through the authority.
type call struct {
	kind    Kind
	id      string // what follows the endpoint in the path
	request *http.Request
	rule    *Rule // the fault that decides it, nil for none

	outer   envelope
	header  header
	payload []byte
	key     crypto.PublicKey // that signed the request
	account *account         // nil when signed with a bare key
}

// fault tells whether this call is to commit a fault.
func (call *call) fault(what What) bool { return call.rule != nil && call.rule.What == what }

// answer is what a handler wants to be sent.
type answer struct {
	status  int // 200 when 0
	header  http.Header
	body    any    // sent as JSON
	text    []byte // sent as it is, with the Content-Type of header
	replace *problem
}

func (answer *answer) with(name, value string) *answer {
	if answer.header == nil {
		answer.header = http.Header{}
	}
	answer.header.Add(name, value)
	return answer
}

type signer int

const (
	nobody    signer = iota // a plain GET or HEAD
	byKey                   // jwk
	byAccount               // kid
	byEither
)

// endpoint is one row of the routing table. run is called with the authority's
// lock held.
type endpoint struct {
	kind   Kind
	signer signer
	run    func(*Authority, *call) (*answer, *problem)
}

// The table is a function's result rather than a variable: handlers refer to
// links, links to the table's names.
func (authority *Authority) endpoints() map[string]endpoint {
	return map[string]endpoint{
		"directory":     {Directory, nobody, (*Authority).directory},
		"new-nonce":     {Nonce, nobody, (*Authority).nonceOnly},
		"new-account":   {Account, byKey, (*Authority).newAccount},
		"account":       {Account, byAccount, (*Authority).updateAccount},
		"key-change":    {Account, byAccount, (*Authority).changeKey},
		"orders":        {OrdersList, byAccount, (*Authority).listOrders},
		"new-order":     {Order, byAccount, (*Authority).newOrder},
		"order":         {PollOrder, byAccount, (*Authority).pollOrder},
		"authorization": {Authorization, byAccount, (*Authority).pollAuthorization},
		"challenge":     {Challenge, byAccount, (*Authority).answerChallenge},
		"finalize":      {Finalize, byAccount, (*Authority).finalize},
		"certificate":   {Certificate, byAccount, (*Authority).download},
		"revoke":        {Revoke, byEither, (*Authority).revoke},
		"renewal-info":  {RenewalInfo, nobody, (*Authority).renewalInfo},
	}
}

// link is an absolute URL of ours.
func (authority *Authority) link(parts ...string) string {
	return authority.base.String() + "/" + strings.Join(parts, "/")
}

// Handler serves the whole authority; New already serves it on the listener.
func (authority *Authority) Handler() http.Handler {
	endpoints := authority.endpoints()
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		// So that a client which reads the CA's clock reads the one of this world.
		writer.Header().Set("Date", authority.now().UTC().Format(http.TimeFormat))
		path, ours := strings.CutPrefix(request.URL.Path, authority.base.Path+"/")
		name, id, _ := strings.Cut(path, "/")
		endpoint, known := endpoints[name]
		if !ours || !known {
			notFound("page").write(writer)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(writer, request.Body, maximumBody))
		if err != nil {
			refuse(http.StatusRequestEntityTooLarge, "malformed", "the request is too large or was cut off").write(writer)
			return
		}
		call := &call{kind: endpoint.kind, id: id, request: request}
		call.rule = authority.faults.take(endpoint.kind, authority.about(call, body))
		if authority.sabotageBefore(writer, call) {
			return
		}
		authority.sabotageAfter(writer, call, authority.process(endpoint, call, body))
	})
}

// process checks the signature and runs the endpoint.
func (authority *Authority) process(endpoint endpoint, call *call, body []byte) *answer {
	authority.mutex.Lock()
	defer authority.mutex.Unlock()
	given, refusal := authority.run(endpoint, call, body)
	if refusal != nil {
		given = &answer{replace: refusal}
	}
	given.with("Link", "<"+authority.link("directory")+`>;rel="index"`)
	if endpoint.signer != nobody || endpoint.kind == Nonce {
		// RFC 8555 section 6.5: also with errors.
		given.with("Replay-Nonce", authority.newNonce()).with("Cache-Control", "no-store")
	}
	return given
}

func (authority *Authority) run(endpoint endpoint, call *call, body []byte) (*answer, *problem) {
	method := call.request.Method
	if endpoint.signer == nobody {
		if method != http.MethodGet && method != http.MethodHead {
			return nil, refuse(http.StatusMethodNotAllowed, "malformed", "%s is not allowed here", method)
		}
		return endpoint.run(authority, call)
	}
	if method != http.MethodPost {
		return nil, refuse(http.StatusMethodNotAllowed, "malformed", "only POST is allowed here (RFC 8555 section 6.3)")
	}
	if contentType := call.request.Header.Get("Content-Type"); contentType != "application/jose+json" {
		return nil, refuse(http.StatusUnsupportedMediaType, "malformed", "Content-Type must be application/jose+json")
	}
	if refusal := authority.authenticate(endpoint.signer, call, body); refusal != nil {
		return nil, refusal
	}
	return endpoint.run(authority, call)
}

// authenticate is RFC 8555 section 6.2 to 6.5, in that order: form, key,
// signature, nonce, URL. The nonce is used up only by a request that verifies,
// so that a stranger cannot spend it.
func (authority *Authority) authenticate(allowed signer, call *call, body []byte) *problem {
	var err error
	if call.outer, call.header, err = parseEnvelope(body); err != nil {
		return malformed("%v", err)
	}
	if refusal := authority.findKey(allowed, call); refusal != nil {
		return refusal
	}
	if _, _, err := algorithmOf(call.key); err != nil {
		return refuse(http.StatusBadRequest, "badPublicKey", "%v", err)
	}
	call.payload, err = call.outer.verify(call.header.Algorithm, call.key)
	if err != nil {
		if wanted, _, _ := algorithmOf(call.key); wanted != call.header.Algorithm {
			return refuse(http.StatusBadRequest, "badSignatureAlgorithm", "%v", err)
		}
		return malformed("%v", err)
	}
	if !authority.state.nonces[call.header.Nonce] {
		return refuse(http.StatusBadRequest, "badNonce", "the nonce is not one of ours, or was used")
	}
	delete(authority.state.nonces, call.header.Nonce)
	if call.header.URL != authority.base.Scheme+"://"+authority.base.Host+call.request.URL.Path {
		return unauthorized("the URL in the protected header is not the one that was asked")
	}
	if call.account != nil && call.account.deactivated {
		return unauthorized("the account is deactivated")
	}
	return nil
}

func (authority *Authority) findKey(allowed signer, call *call) *problem {
	hasKey, hasID := len(call.header.Key) > 0, call.header.KeyID != ""
	switch {
	case hasKey == hasID:
		return malformed("exactly one of jwk and kid is needed (RFC 8555 section 6.2)")
	case hasKey && allowed == byAccount:
		return malformed("this resource needs a kid")
	case hasID && allowed == byKey:
		return malformed("this resource needs a jwk")
	}
	if hasKey {
		key, err := parseWebKey(call.header.Key)
		if err != nil {
			return refuse(http.StatusBadRequest, "badPublicKey", "%v", err)
		}
		call.key = key
		return nil
	}
	id, ours := strings.CutPrefix(call.header.KeyID, authority.link("account")+"/")
	call.account = authority.state.accounts[id]
	if !ours || call.account == nil {
		return refuse(http.StatusBadRequest, "accountDoesNotExist", "no account with this kid")
	}
	call.key = call.account.key
	return nil
}

func (authority *Authority) newNonce() string {
	if len(authority.state.nonces) >= maximumNonces {
		clear(authority.state.nonces)
	}
	nonce := random()
	authority.state.nonces[nonce] = true
	return nonce
}

// about finds the names a request is about, for rules that name one. It looks
// at unverified bytes and decides nothing else.
func (authority *Authority) about(call *call, body []byte) []string {
	authority.mutex.Lock()
	defer authority.mutex.Unlock()
	id, _, _ := strings.Cut(call.id, "/")
	switch call.kind {
	case Order:
		return claimedNames(body)
	case PollOrder, Finalize:
		if order := authority.state.orders[id]; order != nil {
			return values(order.names)
		}
	case Authorization:
		if authorization := authority.state.authorizations[id]; authorization != nil {
			return []string{authorization.name.Value}
		}
	case Challenge:
		if challenge := authority.state.challenges[id]; challenge != nil {
			return []string{challenge.authorization.name.Value}
		}
	case Certificate:
		if certificate := authority.state.certificates[id]; certificate != nil {
			return values(certificate.order.names)
		}
	}
	return nil
}

func claimedNames(body []byte) []string {
	outer, _, err := parseEnvelope(body)
	if err != nil {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(outer.Payload)
	if err != nil {
		return nil
	}
	var claimed struct{ Identifiers []Identifier }
	if json.Unmarshal(payload, &claimed) != nil {
		return nil
	}
	return values(claimed.Identifiers)
}

// send writes an answer in full.
func (given *answer) send(writer http.ResponseWriter) {
	status, body := given.render(writer.Header())
	writer.WriteHeader(status)
	writer.Write(body)
}

// render puts the headers in place and returns status and body.
func (given *answer) render(header http.Header) (int, []byte) {
	for name, all := range given.header {
		header[name] = append(header[name], all...)
	}
	if given.replace != nil {
		recorder := &buffer{header: header}
		given.replace.write(recorder)
		return recorder.status, recorder.body.Bytes()
	}
	status := given.status
	if status == 0 {
		status = http.StatusOK
	}
	if given.body == nil {
		return status, given.text
	}
	header.Set("Content-Type", "application/json")
	body, err := json.MarshalIndent(given.body, "", "  ")
	if err != nil {
		panic("authority: " + err.Error()) // our own values always marshal
	}
	return status, body
}

// buffer is a ResponseWriter that keeps what is written.
type buffer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (buffer *buffer) Header() http.Header            { return buffer.header }
func (buffer *buffer) WriteHeader(status int)         { buffer.status = status }
func (buffer *buffer) Write(part []byte) (int, error) { return buffer.body.Write(part) }
func rfc3339(at time.Time) string                     { return at.UTC().Format(time.RFC3339) }
