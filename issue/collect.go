package issue

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/plan"
)

// collect downloads the certificate, compares it with what was asked for, and
// stores it. A download that is repeated after a kill writes the same files.
func (executor *Executor) collect(ctx context.Context, at *client, row *plan.Certificate) (*plan.Held, *plan.Trouble) {
	attempt := row.Attempt
	signer, err := executor.key(row.Name, attempt)
	if err != nil {
		return nil, local("reading the key", err)
	}
	one, trouble := at.get(ctx, "downloading the certificate", attempt.Order.Certificate)
	if trouble != nil {
		return nil, trouble
	}
	chain, trouble := at.check(one.body, signer.Public(), attempt)
	if trouble != nil {
		return nil, trouble
	}
	leaf, rest := cert.EncodeChain(chain[:1]), cert.EncodeChain(chain[1:])
	if err := executor.cfg.Generations.WriteChain(row.Name, attempt.Generation, leaf, rest); err != nil {
		return nil, local("storing the certificate", err)
	}
	held := Describe(chain[0])
	held.Generation, held.Authority, held.Account = attempt.Generation, attempt.Authority, attempt.Account
	held.Domains, held.Key, held.Profile, held.Order = attempt.Domains, attempt.Key, attempt.Profile, attempt.Order.URL
	return held, nil
}

// check compares what the CA sent with the request: key, names, dates, usage,
// and a chain in order without anything foreign in it.
func (at *client) check(body []byte, public crypto.PublicKey, attempt *plan.Attempt) ([]*x509.Certificate, *plan.Trouble) {
	wrong := func(err error) *plan.Trouble {
		return &plan.Trouble{
			Class: plan.WrongCertificate, Reachable: true,
			Summary: fmt.Sprintf("%s sent something else than was asked for; it was not stored", at.authority.Name),
			Detail:  cut(err.Error()),
			Next:    "tell the CA; the certificate in force stays",
		}
	}
	if err := notCutShort(body); err != nil {
		// A download that broke off is repeated, not refused.
		return nil, &plan.Trouble{Class: plan.ServerError, Reachable: true, Summary: "the certificate arrived cut short", Detail: cut(err.Error())}
	}
	chain, err := cert.ParseChain(body)
	if err != nil {
		return nil, wrong(err)
	}
	now := at.executor.cfg.Now()
	if err := cert.CheckIssued(chain, cert.IssuedWant{PublicKey: public, Domains: attempt.Domains, Now: now}); err != nil {
		return nil, wrong(err)
	}
	return chain, nil
}

// notCutShort tells a broken download from a wrong certificate: PEM that begins
// more blocks than it ends.
func notCutShort(body []byte) error {
	text := string(body)
	begun, ended := strings.Count(text, "-----BEGIN "), strings.Count(text, "-----END ")
	if begun == 0 || begun != ended || !strings.HasSuffix(strings.TrimSpace(text), "-----") {
		return errors.New("the last block has no end")
	}
	return nil
}

// Describe is what the plan keeps of a leaf.
func Describe(leaf *x509.Certificate) *plan.Held {
	record := cert.Describe(leaf)
	held := &plan.Held{
		SHA256: record.SHA256, SPKI: record.SPKISHA256, Serial: record.Serial,
		NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(),
		Domains: append(append([]string(nil), record.DNSNames...), record.IPAddresses...),
	}
	// RFC 9773 section 4.1; a certificate without the two numbers has none.
	if id, err := acme.ARIUniqueIdentifier(leaf); err == nil {
		held.RenewalID = id
	}
	return held
}

// Revoke asks the issuing CA to revoke a certificate (RFC 8555 section 7.6),
// with the account that ordered it. reason is a code of RFC 5280 section 5.3.1.
// A certificate that is revoked already is no trouble.
func (executor *Executor) Revoke(ctx context.Context, held *plan.Held, leaf *x509.Certificate, reason int) *plan.Trouble {
	at, trouble := executor.client(held.Authority)
	if trouble != nil {
		return trouble
	}
	signed, err := at.signer()
	if err != nil {
		return local("reading the account key", err)
	}
	if signed.Location == "" {
		signed.Location = held.Account
	}
	_, trouble = at.do(ctx, "revoking", func(ctx context.Context) error {
		return at.wire.RevokeCertificate(ctx, signed, leaf, signed.PrivateKey, reason)
	})
	if trouble != nil && trouble.Type == "alreadyRevoked" {
		return nil
	}
	return trouble
}

// Look reads an authority's directory and tells how far its clock is from ours,
// for `doctor`.
func (executor *Executor) Look(ctx context.Context, name string) (ahead time.Duration, trouble *plan.Trouble) {
	at, trouble := executor.client(name)
	if trouble != nil {
		return 0, trouble
	}
	if _, trouble := at.directory(ctx); trouble != nil {
		return 0, trouble
	}
	at.mu.Lock()
	defer at.mu.Unlock()
	return at.ahead, nil
}
