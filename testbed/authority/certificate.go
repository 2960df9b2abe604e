package authority

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/testbed/pki"
)

// download is RFC 8555 section 7.4.2. Alternate chains are at CERTIFICATE/1 and
// up.
func (authority *Authority) download(call *call) (*answer, *problem) {
	id, alternate, _ := strings.Cut(call.id, "/")
	one := authority.state.certificates[id]
	if one == nil || one.order.account != call.account || one.order.status(authority.now()) != "valid" {
		return nil, notFound("certificate")
	}
	if !isEmptyPayload(call.payload) {
		return nil, malformed("a certificate is only read, with an empty payload")
	}
	chosen := 0
	if alternate != "" {
		number, err := strconv.Atoi(alternate)
		if err != nil || number < 1 || number >= len(authority.issuer.intermediates) {
			return nil, notFound("chain")
		}
		chosen = number
	}
	chain := []*x509.Certificate{one.leaf, authority.issuer.intermediates[chosen].Certificate}
	given := &answer{text: authority.spoil(call, chain)}
	given.with("Content-Type", "application/pem-certificate-chain")
	for index := range authority.issuer.intermediates {
		if index == chosen {
			continue
		}
		url := authority.link("certificate", id)
		if index > 0 {
			url += "/" + strconv.Itoa(index)
		}
		given.with("Link", "<"+url+`>;rel="alternate"`)
	}
	return given, nil
}

// spoil encodes the chain, with the fault the call is to commit.
func (authority *Authority) spoil(call *call, chain []*x509.Certificate) []byte {
	switch {
	case call.fault(ChainReversed):
		slices.Reverse(chain)
	case call.fault(ChainForeign):
		chain = []*x509.Certificate{chain[0], authority.issuer.stranger.Certificate}
	case call.fault(ChainWithKey):
		key, err := pki.NewKey("")
		if err == nil {
			stray := &pki.Pair{Certificate: chain[0], Key: key}
			return append(pki.PEM(chain...), stray.KeyPEM()...)
		}
	}
	return pki.PEM(chain...)
}

// revoke is RFC 8555 section 7.6: by the account that issued, by an account
// that is authorized for every name, or by the certificate's own key.
func (authority *Authority) revoke(call *call) (*answer, *problem) {
	var wanted struct {
		Certificate string `json:"certificate"`
		Reason      int    `json:"reason"`
	}
	if err := json.Unmarshal(call.payload, &wanted); err != nil {
		return nil, malformed("revokeCert: %v", err)
	}
	der, err := base64.RawURLEncoding.DecodeString(wanted.Certificate)
	if err != nil {
		return nil, malformed("certificate is no base64url")
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, malformed("certificate: %v", err)
	}
	one := authority.state.serials[parsed.SerialNumber.String()]
	if one == nil || !one.leaf.Equal(parsed) {
		return nil, notFound("certificate")
	}
	if !authority.mayRevoke(call, one) {
		return nil, unauthorized("neither the certificate's key nor an account that holds its names")
	}
	if one.revoked {
		return nil, refuse(http.StatusBadRequest, "alreadyRevoked", "the certificate is revoked already")
	}
	if !slices.Contains([]int{0, 1, 3, 4, 5}, wanted.Reason) { // what a subscriber may say (RFC 5280 section 5.3.1)
		return nil, refuse(http.StatusBadRequest, "badRevocationReason", "reason %d is not accepted", wanted.Reason)
	}
	one.revoked, one.reason, one.when = true, wanted.Reason, authority.now()
	return &answer{status: http.StatusOK}, nil
}

func (authority *Authority) mayRevoke(call *call, one *certificate) bool {
	if call.account == nil {
		return sameKey(call.key, one.leaf.PublicKey)
	}
	if one.order.account == call.account {
		return true
	}
	for _, name := range one.order.names {
		bare, wildcard := strings.CutPrefix(name.Value, "*.")
		if authority.validFor(call.account, Identifier{Type: name.Type, Value: bare}, wildcard) == nil {
			return false
		}
	}
	return true
}
