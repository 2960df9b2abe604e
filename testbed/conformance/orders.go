package conformance

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

func identifiers(names ...string) []acme.Identifier {
	var all []acme.Identifier
	for _, name := range names {
		kind := "dns"
		if net.ParseIP(name) != nil {
			kind = "ip"
		}
		all = append(all, acme.Identifier{Type: kind, Value: name})
	}
	return all
}

func (run *run) request(key crypto.Signer, names ...string) []byte {
	run.Helper()
	template := &x509.CertificateRequest{}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	run.must(err)
	return der
}

// solve brings an order's authorizations to an end with one kind of challenge.
func (run *run) solve(account acme.Account, order acme.Order, kind string) acme.Order {
	run.Helper()
	ctx, client := run.Context(), run.client()
	for _, url := range order.Authorizations {
		authorization, err := client.GetAuthorization(ctx, account, url)
		run.must(err)
		if authorization.Status == "valid" {
			continue
		}
		at := slices.IndexFunc(authorization.Challenges, func(one acme.Challenge) bool { return one.Type == kind })
		if at < 0 {
			run.Fatalf("no %s is offered for %s", kind, authorization.Identifier.Value)
		}
		run.world.present(run.T, authorization.Challenges[at])
		_, err = client.InitiateChallenge(ctx, account, authorization.Challenges[at])
		run.must(err)
		_, err = client.PollAuthorization(ctx, account, authorization)
		run.must(err)
	}
	order, err := client.GetOrder(ctx, account, order)
	run.must(err)
	return order
}

// ready places an order and solves it.
func (run *run) ready(account acme.Account, kind string, order acme.Order, names ...string) acme.Order {
	run.Helper()
	order.Identifiers = identifiers(names...)
	placed, err := run.client().NewOrder(run.Context(), account, order)
	run.must(err)
	return run.solve(account, placed, kind)
}

// issue goes the whole way and checks what comes out.
func (run *run) issue(account acme.Account, kind string, order acme.Order, names ...string) (acme.Order, *x509.Certificate, crypto.Signer) {
	run.Helper()
	placed := run.ready(account, kind, order, names...)
	key := newKey(run.T)
	done, err := run.client().FinalizeOrder(run.Context(), account, placed, run.request(key, names...))
	run.must(err)
	return done, run.download(account, done, key, names...), key
}

func byHTTP(run *run) { run.issueAndSee("http-01", "http-01", "web.conformance.test") }
func byTLS(run *run)  { run.issueAndSee("tls-alpn-01", "tls-alpn-01", "tls.conformance.test") }
func byDNS(run *run)  { run.issueAndSee("dns-01", "dns-01", "txt.conformance.test") }

func address(run *run) {
	run.issueAndSee("address by http-01", "http-01", "127.0.0.1")
	run.issueAndSee("address by tls-alpn-01", "tls-alpn-01", "127.0.0.1")
}

func severalNames(run *run) {
	run.issueAndSee("several names", "http-01", "one.conformance.test", "two.conformance.test", "127.0.0.1")
	// The bare name and its wildcard have two TXT values under one name.
	run.issueAndSee("name and its wildcard", "dns-01", "both.conformance.test", "*.both.conformance.test")
}

func (run *run) issueAndSee(what, kind string, names ...string) {
	run.Helper()
	order, _, _ := run.issue(run.register(), kind, acme.Order{}, names...)
	run.see("order: "+what, order.Status)
}

func wildcard(run *run) {
	account := run.register()
	order, err := run.client().NewOrder(run.Context(), account, acme.Order{Identifiers: identifiers("*.wild.conformance.test")})
	run.must(err)
	authorization, err := run.client().GetAuthorization(run.Context(), account, order.Authorizations[0])
	run.must(err)
	run.see("wildcard: identifier", authorization.Identifier.Value+" wildcard "+yesNo(authorization.Wildcard))
	var kinds []string
	for _, challenge := range authorization.Challenges {
		kinds = append(kinds, challenge.Type)
	}
	slices.Sort(kinds)
	run.see("wildcard: challenges", strings.Join(kinds, " "))
	run.issueAndSee("wildcard", "dns-01", "*.wild.conformance.test")
}

func wrongAnswer(run *run) {
	ctx, client := run.Context(), run.client()
	account := run.register()
	order, err := client.NewOrder(ctx, account, acme.Order{Identifiers: identifiers("wrong.conformance.test")})
	run.must(err)
	authorization, err := client.GetAuthorization(ctx, account, order.Authorizations[0])
	run.must(err)
	for _, challenge := range authorization.Challenges {
		if challenge.Type == "http-01" {
			lie := challenge
			lie.KeyAuthorization = challenge.Token + ".AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
			run.world.present(run.T, lie)
			_, err := client.InitiateChallenge(ctx, account, challenge)
			run.must(err)
		}
	}
	short, cancel := context.WithTimeout(ctx, 2*time.Second) // for a CA that never gives up
	_, err = client.PollAuthorization(short, account, authorization)
	cancel()
	run.see("wrong answer: error", yesNo(err != nil))
	authorization, err = client.GetAuthorization(ctx, account, order.Authorizations[0])
	run.must(err)
	kind := ""
	for _, challenge := range authorization.Challenges {
		if challenge.Error != nil {
			kind = strings.TrimPrefix(challenge.Error.Type, "urn:ietf:params:acme:error:")
		}
	}
	run.see("wrong answer: authorization", authorization.Status+" "+kind)
	order, err = client.GetOrder(ctx, account, order)
	run.must(err)
	run.see("wrong answer: order", order.Status)
}

func deactivatedAuthorization(run *run) {
	ctx, client := run.Context(), run.client()
	account := run.register()
	order, err := client.NewOrder(ctx, account, acme.Order{Identifiers: identifiers("given-up.conformance.test")})
	run.must(err)
	var ended acme.Authorization
	answer := run.wire.during(order.Authorizations[0], func() {
		ended, err = client.DeactivateAuthorization(ctx, account, order.Authorizations[0])
	})
	run.see("deactivated authorization: answer", strings.TrimSpace(answer+" "+ended.Status))
	if err != nil {
		return
	}
	order, err = client.GetOrder(ctx, account, order)
	run.must(err)
	run.see("deactivated authorization: order", order.Status)
}

func anothersOrder(run *run) {
	order := run.ready(run.register(), "http-01", acme.Order{}, "mine.conformance.test")
	stranger := run.register()
	run.see("another's order: read", run.wire.during(order.Location, func() {
		run.client().GetOrder(run.Context(), stranger, order)
	}))
	run.see("another's order: finalize", run.wire.during(order.Finalize, func() {
		run.client().FinalizeOrder(run.Context(), stranger, order, run.request(newKey(run.T), "mine.conformance.test"))
	}))
}

func reuse(run *run) {
	account := run.register()
	run.issue(account, "http-01", acme.Order{}, "again.conformance.test")
	order, err := run.client().NewOrder(run.Context(), account, acme.Order{Identifiers: identifiers("again.conformance.test")})
	run.must(err)
	run.see("reuse: second order", order.Status)
	order, err = run.client().NewOrder(run.Context(), run.register(), acme.Order{Identifiers: identifiers("again.conformance.test")})
	run.must(err)
	run.see("reuse: order of another account", order.Status)
}

func badNonce(run *run) {
	ctx, client := run.Context(), run.client()
	found, err := client.GetDirectory(ctx)
	run.must(err)
	run.wire.spoilNonce("AAAAAAAAAAAAAAAAAAAAAA")
	account := acme.Account{PrivateKey: newKey(run.T), TermsOfServiceAgreed: true}
	_, err = client.NewAccount(ctx, account)
	run.must(err)
	answers := run.wire.answers(found.NewAccount)
	run.see("bad nonce: first answer", answers[0])
	run.see("bad nonce: with the fresh one", answers[len(answers)-1])
}

func lostReply(run *run) {
	ctx, client := run.Context(), run.client()
	found, err := client.GetDirectory(ctx)
	run.must(err)
	account := run.register()
	run.wire.lose(found.NewOrder)
	order, err := client.NewOrder(ctx, account, acme.Order{Identifiers: identifiers("lost.conformance.test")})
	run.must(err)
	answers := run.wire.answers(found.NewOrder)
	if len(answers) < 2 || answers[0] != "lost" {
		run.Fatalf("nothing was lost: %v", answers)
	}
	// acmez sends the same bytes again, so the nonce is used up by then.
	run.see("lost reply: the same request again", answers[1])
	run.see("lost reply: asked anew", answers[len(answers)-1]+" "+order.Status)
	run.see("lost reply: order can be used", run.solve(account, order, "http-01").Status)
}
