package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// finalize is RFC 8555 section 7.4: accepted once, in the state "ready" only.
func (authority *Authority) finalize(call *call) (*answer, *problem) {
	order, refusal := authority.orderOf(call)
	if refusal != nil {
		return nil, refusal
	}
	order.arrived++
	var wanted struct {
		CSR string `json:"csr"`
	}
	if err := json.Unmarshal(call.payload, &wanted); err != nil {
		return nil, malformed("finalize: %v", err)
	}
	now := authority.now()
	if status := order.status(now); status != "ready" {
		return nil, refuse(http.StatusForbidden, "orderNotReady", "the order is %s, not ready", status)
	}
	request, refusal := checkRequest(wanted.CSR, order, call)
	if refusal != nil {
		return nil, refusal
	}
	order.accepted++
	order.pollsLeft = authority.config.PollsUntilIssued
	sabotage := What("")
	if call.rule != nil {
		sabotage = call.rule.What
	}
	switch sabotage {
	case OrderInvalid:
		order.problem = refuse(http.StatusInternalServerError, "serverInternal", "issuance failed by a fault rule")
	case OrderStuck:
		order.stuck = true
	default:
		leaf, err := authority.issuer.leaf(request, order.names, authority.profile(order.profile), now, sabotage)
		if err != nil {
			order.problem = refuse(http.StatusInternalServerError, "serverInternal", "signing: %v", err)
			break
		}
		authority.state.record(order, leaf, now)
	}
	return authority.showOrder(order, http.StatusOK), nil
}

func (state *state) record(order *order, leaf *x509.Certificate, now time.Time) {
	issued := &certificate{id: random(), order: order, leaf: leaf, at: now}
	order.certificate = issued
	state.certificates[issued.id] = issued
	state.serials[leaf.SerialNumber.String()] = issued
	state.renewals[RenewalID(leaf)] = issued
	state.sequence = append(state.sequence, issued)
}

// profile resolves an order's profile to real figures.
func (authority *Authority) profile(name string) Profile {
	if name == "" {
		name = authority.config.DefaultProfile
	}
	chosen, known := authority.config.Profiles[name]
	if !known {
		chosen = Profile{Validity: authority.config.Validity, Backdate: authority.config.Backdate}
	}
	setDefault(&chosen.Validity, 90*24*time.Hour)
	setDefault(&chosen.Backdate, time.Hour)
	chosen.Backdate = max(chosen.Backdate, 0)
	return chosen
}

// checkRequest reads the CSR and holds it against the order.
func checkRequest(encoded string, order *order, call *call) (*x509.CertificateRequest, *problem) {
	bad := func(format string, arguments ...any) *problem {
		return refuse(http.StatusBadRequest, "badCSR", format, arguments...)
	}
	der, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return nil, malformed("csr is no base64url")
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, bad("%v", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, bad("%v", err)
	}
	if why := checkRequestKey(request.PublicKey); why != "" {
		return nil, bad("%s", why)
	}
	if sameKey(request.PublicKey, call.account.key) {
		return nil, bad("the certificate's key must not be the account's")
	}
	names, refusal := checkNames(requestNames(request))
	if refusal != nil {
		return nil, bad("%s", refusal.Detail)
	}
	if !sameNames(names, order.names) {
		return nil, bad("the CSR's names are not the order's: %v", values(names))
	}
	return request, nil
}

// requestNames are all names of a CSR, the common name included.
func requestNames(request *x509.CertificateRequest) []Identifier {
	var names []Identifier
	for _, name := range request.DNSNames {
		names = append(names, Identifier{Type: "dns", Value: name})
	}
	for _, ip := range request.IPAddresses {
		names = append(names, Identifier{Type: "ip", Value: ip.String()})
	}
	if common := strings.ToLower(request.Subject.CommonName); common != "" {
		kind := "dns"
		for _, ip := range request.IPAddresses {
			if ip.String() == common {
				kind = "ip"
			}
		}
		names = append(names, Identifier{Type: kind, Value: common})
	}
	return names
}

func checkRequestKey(key any) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 || bits > 4096 {
			return "RSA keys need 2048 to 4096 bits"
		}
		return ""
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() || key.Curve == elliptic.P384() {
			return ""
		}
	}
	return "the key is neither RSA nor ECDSA on P-256 or P-384"
}
