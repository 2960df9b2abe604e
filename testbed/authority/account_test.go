package authority

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"

	"github.com/mholt/acmez/v3/acme"
)

func TestAccountLife(t *testing.T) {
	world := newWorld(t, Config{})
	key := newKey(t)
	_, err := world.client.GetAccount(t.Context(), acme.Account{PrivateKey: key})
	wantProblem(t, err, 400, "accountDoesNotExist")
	account := world.register(key)
	again, err := world.client.GetAccount(t.Context(), acme.Account{PrivateKey: key})
	if err != nil || again.Location != account.Location {
		t.Errorf("%+v %v, want %s", again, err, account.Location)
	}
	if same := world.register(key); same.Location != account.Location {
		t.Errorf("the same key made another account %s", same.Location)
	}
	again.PrivateKey, again.Contact = key, []string{"mailto:b@example.org"}
	if changed, err := world.client.UpdateAccount(t.Context(), again); err != nil || !slices.Equal(changed.Contact, again.Contact) {
		t.Errorf("%+v %v", changed, err)
	}
	for contact, kind := range map[string]string{"tel:+1": "unsupportedContact", "mailto:a@b.c?subject=x": "invalidContact", "mailto:a@b.c,d@e.f": "invalidContact"} {
		again.Contact = []string{contact}
		_, err := world.client.UpdateAccount(t.Context(), again)
		wantProblem(t, err, 400, kind)
	}
	fresh := newKey(t)
	account.PrivateKey = key
	rolled, err := world.client.AccountKeyRollover(t.Context(), account, fresh)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := world.client.GetAccount(t.Context(), acme.Account{PrivateKey: fresh}); err != nil || found.Location != account.Location {
		t.Errorf("after the key change: %+v %v", found, err)
	}
	if _, err := world.client.AccountKeyRollover(t.Context(), rolled, world.account.PrivateKey); err == nil {
		t.Error("a key change to another account's key must be a conflict")
	}
	rolled.Status, rolled.Contact = "deactivated", nil
	if _, err := world.client.UpdateAccount(t.Context(), rolled); err != nil {
		t.Fatal(err)
	}
	_, err = world.client.NewOrder(t.Context(), rolled, acme.Order{Identifiers: identifiers("a.example")})
	wantProblem(t, err, 403, "unauthorized")
}

func TestExternalAccountBinding(t *testing.T) {
	secret := []byte("0123456789abcdef0123456789abcdef")
	world := newWorld(t, Config{ExternalAccountRequired: true, ExternalAccounts: map[string][]byte{"kid-1": secret}})
	table := []struct {
		name   string
		id     string
		secret []byte
		kind   string // "" for accepted
	}{
		{"right", "kid-1", secret, ""},
		{"unknown key id", "kid-2", secret, "unauthorized"},
		{"wrong secret", "kid-1", []byte("wrong"), "unauthorized"},
		{"none", "", nil, "externalAccountRequired"},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			account := acme.Account{PrivateKey: newKey(t)}
			if row.id != "" {
				binding := acme.EAB{KeyID: row.id, MACKey: base64.RawURLEncoding.EncodeToString(row.secret)}
				if err := account.SetExternalAccountBinding(t.Context(), world.client, binding); err != nil {
					t.Fatal(err)
				}
			}
			_, err := world.client.NewAccount(t.Context(), account)
			if row.kind == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantProblem(t, err, 403, row.kind)
		})
	}
	if world.Accounts() != 1 {
		t.Errorf("%d accounts, want 1", world.Accounts())
	}
}

func TestOrdersList(t *testing.T) {
	world := newWorld(t, Config{OrdersList: true, OrdersPerPage: 2})
	for range 3 {
		if _, err := world.client.NewOrder(t.Context(), world.account, acme.Order{Identifiers: identifiers("a.example")}); err != nil {
			t.Fatal(err)
		}
	}
	if world.account.Orders == "" {
		t.Fatal("the account shows no orders list")
	}
	requests := requester{world: world, key: world.account.PrivateKey, id: world.account.Location}
	var urls []string
	next, pages := world.account.Orders, 0
	for ; next != "" && pages < 5; pages++ {
		answer := requests.post(t, next, nil)
		var page struct{ Orders []string }
		if err := json.Unmarshal(answer.body, &page); err != nil {
			t.Fatal(err)
		}
		urls = append(urls, page.Orders...)
		next = answer.link("next")
	}
	var book []string
	for _, placed := range world.Orders() {
		book = append(book, placed.URL)
	}
	if pages != 2 || len(urls) != 3 || !slices.Equal(urls, book) {
		t.Errorf("%d pages with %v, want 2 pages with %v", pages, urls, book)
	}
}
