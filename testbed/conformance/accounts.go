package conformance

import (
	"encoding/base64"
	"strings"

	"github.com/mholt/acmez/v3/acme"
)

func directory(run *run) {
	found, err := run.client().GetDirectory(run.Context())
	run.must(err)
	var present []string
	for _, field := range [][2]string{
		{"newNonce", found.NewNonce}, {"newAccount", found.NewAccount}, {"newOrder", found.NewOrder},
		{"revokeCert", found.RevokeCert}, {"keyChange", found.KeyChange},
	} {
		if strings.HasPrefix(field[1], "https://") {
			present = append(present, field[0])
		}
	}
	run.see("directory: required fields", strings.Join(present, " "))
	run.see("directory: renewal information", yesNo(found.RenewalInfo != ""))
	run.see("directory: meta", yesNo(found.Meta != nil))
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func accounts(run *run) {
	ctx, client := run.Context(), run.client()
	found, err := client.GetDirectory(ctx)
	run.must(err)
	key := newKey(run.T)
	run.see("account: only existing, none there", run.wire.during(found.NewAccount, func() {
		client.GetAccount(ctx, acme.Account{PrivateKey: key})
	}))
	wanted := acme.Account{Contact: []string{"mailto:a@conformance.test"}, TermsOfServiceAgreed: true, PrivateKey: key}
	var created, again, existing acme.Account
	answer := run.wire.during(found.NewAccount, func() {
		created, err = client.NewAccount(ctx, wanted)
		run.must(err)
	})
	run.see("account: new", answer+" "+created.Status)
	answer = run.wire.during(found.NewAccount, func() {
		again, err = client.NewAccount(ctx, wanted)
		run.must(err)
	})
	run.see("account: same key again", answer+" same "+yesNo(again.Location == created.Location))
	answer = run.wire.during(found.NewAccount, func() {
		existing, err = client.GetAccount(ctx, acme.Account{PrivateKey: key})
		run.must(err)
	})
	run.see("account: only existing", answer+" same "+yesNo(existing.Location == created.Location))
	change := acme.Account{Location: created.Location, PrivateKey: key, Contact: []string{"mailto:b@conformance.test"}}
	updated, err := client.UpdateAccount(ctx, change)
	run.must(err)
	run.see("account: contact changed", strings.Join(updated.Contact, " "))
	change.Contact = []string{"tel:+15551234"}
	run.see("account: contact that is no mail", run.wire.during(created.Location, func() { client.UpdateAccount(ctx, change) }))
}

func keyChange(run *run) {
	ctx, client := run.Context(), run.client()
	found, err := client.GetDirectory(ctx)
	run.must(err)
	account, fresh := run.register(), newKey(run.T)
	answer := run.wire.during(found.KeyChange, func() { client.AccountKeyRollover(ctx, account, fresh) })
	run.see("key change: answer", answer)
	if !strings.HasPrefix(answer, "200") {
		return // nothing changed, so there is nothing more to see
	}
	again, err := client.GetAccount(ctx, acme.Account{PrivateKey: fresh})
	run.must(err)
	run.see("key change: found by the new key", yesNo(again.Location == account.Location))
	run.see("key change: old key", run.wire.during(found.NewAccount, func() {
		client.GetAccount(ctx, acme.Account{PrivateKey: account.PrivateKey})
	}))
	other := run.register()
	run.see("key change: to a key in use", run.wire.during(found.KeyChange, func() { client.AccountKeyRollover(ctx, other, fresh) }))
	kept, err := client.GetAccount(ctx, acme.Account{PrivateKey: other.PrivateKey})
	run.must(err)
	run.see("key change: account that asked for a key in use", "unchanged "+yesNo(kept.Location == other.Location))
}

func accountDeactivation(run *run) {
	ctx, client := run.Context(), run.client()
	found, err := client.GetDirectory(ctx)
	run.must(err)
	account := run.register()
	ended, err := client.UpdateAccount(ctx, acme.Account{Status: "deactivated", Location: account.Location, PrivateKey: account.PrivateKey})
	run.must(err)
	run.see("account deactivation: status", ended.Status)
	run.see("account deactivation: order afterwards", run.wire.during(found.NewOrder, func() {
		client.NewOrder(ctx, account, acme.Order{Identifiers: identifiers("gone.conformance.test")})
	}))
}

func externalAccount(run *run) {
	ctx, client := run.Context(), run.client()
	found, err := client.GetDirectory(ctx)
	run.must(err)
	run.see("external account: announced", yesNo(found.Meta != nil && found.Meta.ExternalAccountRequired))
	try := func(id, key string) string {
		account := acme.Account{PrivateKey: newKey(run.T), TermsOfServiceAgreed: true}
		if id != "" {
			run.must(account.SetExternalAccountBinding(ctx, client, acme.EAB{KeyID: id, MACKey: key}))
		}
		return run.wire.during(found.NewAccount, func() { client.NewAccount(ctx, account) })
	}
	id, right := run.wish.ExternalAccountID, run.wish.ExternalAccountKey
	wrong := base64.RawURLEncoding.EncodeToString([]byte("not the right key at all, sorry!"))
	run.see("external account: none", try("", ""))
	run.see("external account: wrong key", try(id, wrong))
	run.see("external account: unknown id", try("kid-unknown", right))
	run.see("external account: right", try(id, right))
}
