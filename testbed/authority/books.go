package authority

import (
	"crypto/x509"
	"math/big"
	"time"
)

// Issued is one line of the book of certificates.
type Issued struct {
	Order       string // order URL
	Account     string // account URL
	Names       []string
	Profile     string
	At          time.Time
	Certificate *x509.Certificate
	RenewalID   string
	Revoked     bool
}

// Placed is one line of the book of orders.
type Placed struct {
	URL      string
	Account  string
	Names    []string // sorted
	Profile  string
	Replaces string
	Status   string // now
	Created  time.Time
	Finalize Finalized
}

// Finalized counts the finalize requests of an order that passed the signature
// check. Accepted is never above 1.
type Finalized struct {
	Arrived  int
	Accepted int
}

// Issued returns every certificate in the order of issuance, also those that
// nobody fetched and those that a fault spoiled.
func (authority *Authority) Issued() []Issued {
	authority.mutex.Lock()
	defer authority.mutex.Unlock()
	book := make([]Issued, 0, len(authority.state.sequence))
	for _, one := range authority.state.sequence {
		book = append(book, Issued{
			Order: authority.link("order", one.order.id), Account: authority.link("account", one.order.account.id),
			Names: values(one.order.names), Profile: one.order.profile, At: one.at,
			Certificate: one.leaf, RenewalID: RenewalID(one.leaf), Revoked: one.revoked,
		})
	}
	return book
}

// Orders returns every order in the order of creation.
func (authority *Authority) Orders() []Placed {
	authority.mutex.Lock()
	defer authority.mutex.Unlock()
	book := make([]Placed, 0, len(authority.state.placed))
	for _, one := range authority.state.placed {
		book = append(book, Placed{
			URL: authority.link("order", one.id), Account: authority.link("account", one.account.id),
			Names: values(one.names), Profile: one.profile, Replaces: one.replaces,
			Status: one.status(authority.now()), Created: one.created,
			Finalize: Finalized{Arrived: one.arrived, Accepted: one.accepted},
		})
	}
	return book
}

// FinalizeRequests returns the counts of every order that saw a finalize
// request, by order URL.
func (authority *Authority) FinalizeRequests() map[string]Finalized {
	counts := map[string]Finalized{}
	for _, one := range authority.Orders() {
		if one.Finalize.Arrived > 0 {
			counts[one.URL] = one.Finalize
		}
	}
	return counts
}

// Accounts is how many accounts exist.
func (authority *Authority) Accounts() int {
	authority.mutex.Lock()
	defer authority.mutex.Unlock()
	return len(authority.state.accounts)
}

// Revoked tells whether the certificate with this serial number is revoked, why
// (RFC 5280 section 5.3.1) and since when.
func (authority *Authority) Revoked(serial *big.Int) (reason int, when time.Time, revoked bool) {
	authority.mutex.Lock()
	defer authority.mutex.Unlock()
	one := authority.state.serials[serial.String()]
	if one == nil || !one.revoked {
		return 0, time.Time{}, false
	}
	return one.reason, one.when, true
}

// RevokeAs revokes a certificate from the CA's side, as in a mass revocation.
// It tells whether the certificate is one of ours.
func (authority *Authority) RevokeAs(serial *big.Int, reason int) bool {
	authority.mutex.Lock()
	defer authority.mutex.Unlock()
	one := authority.state.serials[serial.String()]
	if one == nil {
		return false
	}
	one.revoked, one.reason, one.when = true, reason, authority.now()
	return true
}
