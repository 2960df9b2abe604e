package authority

import (
	"crypto/x509"
	"encoding/base64"
	"time"
)

// window is a renewal window somebody set, or the one that follows from a
// certificate's life.
type window struct {
	start, end  time.Time
	explanation string
}

// RenewalID is the certificate's identifier in renewal information and replaces
// (RFC 9773 section 4.1).
func RenewalID(certificate *x509.Certificate) string {
	serial := certificate.SerialNumber.Bytes()
	if len(serial) > 0 && serial[0]&0x80 != 0 {
		serial = append([]byte{0}, serial...) // the DER INTEGER's bytes
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode(certificate.AuthorityKeyId) + "." + encode(serial)
}

// renewalInfo is RFC 9773 section 4.
func (authority *Authority) renewalInfo(call *call) (*answer, *problem) {
	if authority.config.NoRenewalInfo {
		return nil, notFound("renewal information")
	}
	one := authority.state.renewals[call.id]
	if one == nil {
		return nil, notFound("certificate")
	}
	chosen := authority.windowOf(call.id, one)
	shown := map[string]any{
		"suggestedWindow": map[string]string{"start": rfc3339(chosen.start), "end": rfc3339(chosen.end)},
	}
	if chosen.explanation != "" {
		shown["explanationURL"] = chosen.explanation
	}
	given := &answer{body: shown}
	return given.with("Retry-After", seconds(authority.config.RenewalInfoPoll)), nil
}

// windowOf is: what was set for the certificate, then for all, then the past for
// a revoked one, then two days (or a fiftieth of a short life) around the point
// where a third of the life, or half of a life under ten days, is left.
func (authority *Authority) windowOf(id string, one *certificate) window {
	if set, found := authority.state.windows[id]; found {
		return set
	}
	if set, found := authority.state.windows[""]; found {
		return set
	}
	if one.revoked {
		return window{start: one.when.Add(-time.Hour), end: one.when.Add(-time.Minute)}
	}
	life := one.leaf.NotAfter.Sub(one.leaf.NotBefore)
	left, half := life/3, 24*time.Hour
	if life < 10*24*time.Hour {
		left, half = life/2, life/50
	}
	ideal := one.leaf.NotAfter.Add(-left)
	return window{start: ideal.Add(-half), end: ideal.Add(half)}
}

// SetRenewalWindow sets the window of one certificate (see RenewalID), or of all
// that have none of their own with "". explanation is a URL or "".
func (authority *Authority) SetRenewalWindow(id string, start, end time.Time, explanation string) {
	authority.mutex.Lock()
	defer authority.mutex.Unlock()
	authority.state.windows[id] = window{start, end, explanation}
}
