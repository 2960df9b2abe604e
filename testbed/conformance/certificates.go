package conformance

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// download fetches the chain and checks it as a careful client does: key, names,
// dates, order of the chain, root.
func (run *run) download(account acme.Account, order acme.Order, key crypto.Signer, names ...string) *x509.Certificate {
	run.Helper()
	chains, err := run.client().GetCertificateChain(run.Context(), account, order.Certificate)
	run.must(err)
	var chain []*x509.Certificate
	for rest := chains[0].ChainPEM; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			run.Fatalf("the chain holds a %s block", block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		run.must(err)
		chain = append(chain, certificate)
	}
	if len(chain) < 2 {
		run.Fatalf("the chain has %d certificates", len(chain))
	}
	leaf, roots, rest := chain[0], x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(run.peer.Roots)
	for index, certificate := range chain[1:] {
		rest.AddCert(certificate)
		run.must(chain[index].CheckSignatureFrom(certificate))
	}
	for _, name := range names {
		_, err := leaf.Verify(x509.VerifyOptions{DNSName: strings.Replace(name, "*", "any", 1), Roots: roots, Intermediates: rest})
		run.must(err)
	}
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		run.Fatal("the certificate has another key")
	}
	if got := len(leaf.DNSNames) + len(leaf.IPAddresses); got != len(names) {
		run.Fatalf("the certificate has %d names, want %d", got, len(names))
	}
	return leaf
}

func finalizing(run *run) {
	ctx, client := run.Context(), run.client()
	account, name := run.register(), "final.conformance.test"
	order, err := client.NewOrder(ctx, account, acme.Order{Identifiers: identifiers(name)})
	run.must(err)
	finalize := func(names ...string) (string, crypto.Signer) {
		key := newKey(run.T)
		return run.wire.during(order.Finalize, func() {
			// acmez polls for long after an orderNotReady.
			short, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			client.FinalizeOrder(short, account, order, run.request(key, names...))
		}), key
	}
	answer, _ := finalize(name)
	run.see("finalize: while pending", answer)
	order = run.solve(account, order, "http-01")
	run.see("finalize: order before", order.Status)
	answer, _ = finalize(name, "more.conformance.test")
	run.see("finalize: other names", answer)
	run.see("finalize: order after a bad request", run.status(account, order))
	if run.status(account, order) != "ready" { // a bad request costs the order here
		order = run.ready(account, "http-01", acme.Order{}, name)
	}
	answer, key := finalize(name)
	run.see("finalize: accepted", answer)
	order, err = client.GetOrder(ctx, account, order)
	run.must(err)
	first := run.download(account, order, key, name)
	answer, _ = finalize(name)
	run.see("finalize: a second time", answer)
	order, err = client.GetOrder(ctx, account, order)
	run.must(err)
	again := run.download(account, order, key, name)
	run.see("finalize: certificate afterwards", "same "+yesNo(bytes.Equal(first.Raw, again.Raw)))
}

func (run *run) status(account acme.Account, order acme.Order) string {
	run.Helper()
	now, err := run.client().GetOrder(run.Context(), account, order)
	run.must(err)
	return now.Status
}

func revocation(run *run) {
	ctx, client := run.Context(), run.client()
	found, err := client.GetDirectory(ctx)
	run.must(err)
	account, name := run.register(), "revoked.conformance.test"
	_, leaf, _ := run.issue(account, "http-01", acme.Order{}, name)
	revoke := func(account acme.Account, key crypto.Signer, reason int) string {
		return run.wire.during(found.RevokeCert, func() { client.RevokeCertificate(ctx, account, leaf, key, reason) })
	}
	run.see("revocation: by another account", revoke(run.register(), nil, acme.ReasonSuperseded))
	run.see("revocation: by a foreign key", revoke(account, newKey(run.T), acme.ReasonSuperseded))
	run.see("revocation: by the account", revoke(account, nil, acme.ReasonSuperseded))
	run.see("revocation: again", revoke(account, nil, acme.ReasonSuperseded))
	_, leaf, key := run.issue(account, "http-01", acme.Order{}, name)
	run.see("revocation: by the certificate's key", revoke(account, key, acme.ReasonKeyCompromise))
}

func renewalInformation(run *run) {
	ctx, client := run.Context(), run.client()
	found, err := client.GetDirectory(ctx)
	run.must(err)
	run.see("renewal information: offered", yesNo(found.RenewalInfo != ""))
	if found.RenewalInfo == "" {
		return
	}
	account, name := run.register(), "renewed.conformance.test"
	_, leaf, _ := run.issue(account, "http-01", acme.Order{}, name)
	information, err := client.GetRenewalInfo(ctx, leaf)
	run.must(err)
	inLife := information.SuggestedWindow.Start.After(leaf.NotBefore) && information.SuggestedWindow.End.Before(leaf.NotAfter)
	run.see("renewal information: window inside the life", yesNo(inLife))
	run.see("renewal information: Retry-After", yesNo(run.wire.retryAfter(found.RenewalInfo+"/")))
	replaces, err := acme.ARIUniqueIdentifier(leaf)
	run.must(err)
	var order acme.Order
	replace := func() string {
		return run.wire.during(found.NewOrder, func() {
			order, err = client.NewOrder(ctx, account, acme.Order{Identifiers: identifiers(name), Replaces: replaces})
		})
	}
	run.see("renewal information: replaces", replace())
	run.must(err)
	first := order
	run.see("renewal information: replaces while the first is pending", replace())
	first = run.solve(account, first, "http-01")
	key := newKey(run.T)
	first, err = client.FinalizeOrder(ctx, account, first, run.request(key, name))
	run.must(err)
	run.download(account, first, key, name)
	// Pebble marks the old certificate a moment after the new one is out.
	answer := replace()
	for deadline := time.Now().Add(5 * time.Second); strings.HasPrefix(answer, "201") && time.Now().Before(deadline); {
		answer = replace()
	}
	run.see("renewal information: replaces once more", answer)
}

func profile(run *run) {
	found, err := run.client().GetDirectory(run.Context())
	run.must(err)
	announced := false
	if found.Meta != nil {
		_, announced = found.Meta.Profiles[run.wish.Profile]
	}
	run.see("profile: announced", yesNo(announced))
	_, leaf, _ := run.issue(run.register(), "http-01", acme.Order{Profile: run.wish.Profile}, "short.conformance.test")
	life := leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Minute)
	run.see("profile: life", yesNo(life == run.wish.ProfileLife))
}
