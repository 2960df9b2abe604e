package conformance

import (
	"slices"
	"sync"
	"testing"
)

// Difference is an observation in which a CA is allowed to differ.
type Difference struct {
	Peer    string
	What    string // key in expected, or "BEHAVIOUR: offered"
	Instead string
	Reason  string
}

// expected is what the documents say, or where they leave it open, what our own
// authority does; those have an entry in Differences for whoever does otherwise.
var expected = map[string]string{
	"directory: required fields":     "newNonce newAccount newOrder revokeCert keyChange", // RFC 8555 section 7.1.1
	"directory: renewal information": "yes",
	"directory: meta":                "yes",

	"account: only existing, none there": "400 accountDoesNotExist", // section 7.3.1
	"account: new":                       "201 valid",
	"account: same key again":            "200 same yes",
	"account: only existing":             "200 same yes",
	"account: contact changed":           "mailto:b@conformance.test",
	"account: contact that is no mail":   "400 unsupportedContact", // section 7.3

	"key change: answer":                              "200", // section 7.3.5
	"key change: found by the new key":                "yes",
	"key change: old key":                             "400 accountDoesNotExist",
	"key change: to a key in use":                     "409 malformed",
	"key change: account that asked for a key in use": "unchanged yes",

	"account deactivation: status":           "deactivated", // section 7.3.6
	"account deactivation: order afterwards": "403 unauthorized",

	"external account: announced":  "yes", // section 7.3.4
	"external account: none":       "403 externalAccountRequired",
	"external account: wrong key":  "403 unauthorized",
	"external account: unknown id": "403 unauthorized",
	"external account: right":      "201",

	"order: http-01":                "valid", // section 8.3
	"order: tls-alpn-01":            "valid", // RFC 8737
	"order: dns-01":                 "valid", // section 8.4
	"order: wildcard":               "valid",
	"order: address by http-01":     "valid", // RFC 8738
	"order: address by tls-alpn-01": "valid",
	"order: several names":          "valid",
	"order: name and its wildcard":  "valid",
	"wildcard: identifier":          "wild.conformance.test wildcard yes", // section 7.1.4
	"wildcard: challenges":          "dns-01",

	"wrong answer: error":                  "yes",
	"wrong answer: authorization":          "invalid unauthorized", // section 7.1.6
	"wrong answer: order":                  "invalid",
	"deactivated authorization: answer":    "200 deactivated", // section 7.5.2
	"deactivated authorization: order":     "invalid",
	"another's order: read":                "404 malformed",
	"another's order: finalize":            "404 malformed",
	"reuse: second order":                  "ready",
	"reuse: order of another account":      "pending",
	"bad nonce: first answer":              "400 badNonce", // section 6.5
	"bad nonce: with the fresh one":        "201",
	"lost reply: the same request again":   "400 badNonce",
	"lost reply: asked anew":               "201 pending",
	"lost reply: order can be used":        "ready",
	"finalize: while pending":              "403 orderNotReady", // section 7.4
	"finalize: order before":               "ready",
	"finalize: other names":                "400 badCSR",
	"finalize: order after a bad request":  "ready",
	"finalize: accepted":                   "200",
	"finalize: a second time":              "403 orderNotReady",
	"finalize: certificate afterwards":     "same yes",
	"revocation: by another account":       "403 unauthorized", // section 7.6
	"revocation: by a foreign key":         "403 unauthorized",
	"revocation: by the account":           "200",
	"revocation: again":                    "400 alreadyRevoked",
	"revocation: by the certificate's key": "200",

	"renewal information: offered":                             "yes", // RFC 9773
	"renewal information: window inside the life":              "yes",
	"renewal information: Retry-After":                         "yes", // section 4.3.2
	"renewal information: replaces":                            "201", // section 5
	"renewal information: replaces while the first is pending": "409 alreadyReplaced",
	"renewal information: replaces once more":                  "409 alreadyReplaced",
	"profile: announced":                                       "yes",
	"profile: life":                                            "yes",
}

// Differences is every difference that is known and allowed.
var Differences = []Difference{
	{"pebble", "key change: to a key in use", "200",
		"Pebble 2.10.1 looks for the conflict with a pointer where the error is a value, so 409 is never sent; the key is not changed"},
	{"pebble", "wildcard: challenges", "dns-01 dns-account-01 dns-persist-01", "offers two challenge types that are still drafts"},
	{"pebble", "finalize: other names", "403 unauthorized", "RFC 8555 section 7.4 lists badCSR as a possible type, not the only one"},
	{"pebble", "another's order: read", "403 unauthorized", "RFC 8555 leaves open how another account's order is refused"},
	{"pebble", "another's order: finalize", "403 unauthorized", "as for reading"},
	{"pebble", "renewal information: replaces while the first is pending", "201",
		"marks a certificate as replaced when the new order is finalized; Boulder and ours when it is placed"},

	{"step-ca", "directory: renewal information", "no", "not offered"},
	{"step-ca", "directory: meta", "no", "optional; sent only when there is something in it"},
	{"step-ca", "renewal information: offered", "no", "not offered"},
	{"step-ca", "profile: offered", "no", "no profiles"},
	{"step-ca", "reuse: offered", "no", "every order gets authorizations of its own"},
	{"step-ca", "external account: offered", "no", "keys need its administration database, which a CA from one file has not"},
	{"step-ca", "account: contact that is no mail", "200", "contacts are stored as they are"},
	{"step-ca", "key change: answer", "501 rejectedIdentifier", "not implemented"},
	{"step-ca", "account deactivation: order afterwards", "401 unauthorized", "another status for the same type"},
	{"step-ca", "wrong answer: authorization", "pending rejectedIdentifier",
		"keeps the challenge pending with its error, so that it can be offered again"},
	{"step-ca", "wrong answer: order", "pending", "follows from the authorization"},
	{"step-ca", "deactivated authorization: answer", "400 malformed", "not implemented: the payload must be empty"},
	{"step-ca", "another's order: read", "401 unauthorized", "as Pebble, with another status"},
	{"step-ca", "another's order: finalize", "401 unauthorized", "as for reading"},
	{"step-ca", "finalize: while pending", "400 orderNotReady", "another status for the same type"},
	{"step-ca", "finalize: a second time", "200", "answers with the order as it is; no second certificate is made"},
}

// book holds the observations of one CA against the tables.
type book struct {
	peer  string
	mutex sync.Mutex
	seen  map[string]bool
}

func newBook(peer string) *book { return &book{peer: peer, seen: map[string]bool{}} }

func (book *book) difference(what string) *Difference {
	at := slices.IndexFunc(Differences, func(one Difference) bool { return one.Peer == book.peer && one.What == what })
	if at < 0 {
		return nil
	}
	return &Differences[at]
}

func (book *book) observe(t *testing.T, what, got string) {
	t.Helper()
	book.mutex.Lock()
	book.seen[what] = true
	book.mutex.Unlock()
	want, known := expected[what]
	if difference := book.difference(what); difference != nil {
		want, known = difference.Instead, true
	}
	if !known {
		t.Errorf("%s: %q is in no table", what, got)
	} else if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// finish checks that every difference of this CA was looked for.
func (book *book) finish(t *testing.T) {
	t.Helper()
	for _, one := range Differences {
		if one.Peer != book.peer {
			continue
		}
		if !book.seen[one.What] && !t.Failed() {
			t.Errorf("difference %q of %s was not seen", one.What, one.Peer)
		}
		if one.Instead == expected[one.What] || one.Reason == "" {
			t.Errorf("difference %q of %s is none, or has no reason", one.What, one.Peer)
		}
	}
}
