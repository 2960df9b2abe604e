package authority

import (
	"sync"
	"time"
)

// Kind is a kind of request, for rules and counters.
type Kind string

// The kinds of request. A GET or POST-as-GET of an order is PollOrder, also the
// first one.
const (
	Any           Kind = ""
	Directory     Kind = "directory"
	Nonce         Kind = "nonce"
	Account       Kind = "account" // newAccount, account updates and key changes
	OrdersList    Kind = "orders-list"
	Order         Kind = "order" // newOrder
	Authorization Kind = "authorization"
	Challenge     Kind = "challenge"
	Finalize      Kind = "finalize"
	PollOrder     Kind = "poll-order"
	Certificate   Kind = "certificate"
	RenewalInfo   Kind = "ari"
	Revoke        Kind = "revoke"
)

// What is a way to misbehave.
type What string

// Faults of the answer: they may be set at any kind.
const (
	Answer      What = "answer"       // Rule.Status with Rule.Problem, Detail and RetryAfter; the request is not processed
	Hang        What = "hang"         // never answers; ends when the client gives up or the authority closes
	ResetBefore What = "reset-before" // connection torn down, request NOT processed
	ResetAfter  What = "reset-after"  // request processed, connection torn down before the answer
	Truncate    What = "truncate"     // request processed, half of the body sent, connection torn down
	BadNonce    What = "bad-nonce"    // refused with badNonce and a fresh nonce
	Redirect    What = "redirect"     // 302 to Rule.URL
	HostileText What = "hostile-text" // a 400 problem whose text holds terminal escapes, markup and shell code
	Garbage     What = "garbage"      // status 200 and bytes that are no JSON and no PEM
)

// Faults of the matter: each belongs to one kind and never matches elsewhere.
const (
	TokenTraversal What = "token-traversal" // Order: challenge tokens such as ../../etc/passwd
	TokenHuge      What = "token-huge"      // Order: challenge tokens of 1 MB
	OrderInvalid   What = "order-invalid"   // Finalize: accepted, then the order turns invalid
	OrderStuck     What = "order-stuck"     // Finalize: accepted, then processing for ever
	WrongKey       What = "wrong-key"       // Finalize: the certificate has another key
	WrongNames     What = "wrong-names"     // Finalize: the certificate has other names
	Expired        What = "expired"         // Finalize: the certificate ended an hour ago
	ChainReversed  What = "chain-reversed"  // Certificate: issuers first, leaf last
	ChainForeign   What = "chain-foreign"   // Certificate: a stranger's intermediate behind the leaf
	ChainWithKey   What = "chain-with-key"  // Certificate: a private key block in the PEM
)

// home is the kind that a fault of the matter belongs to.
var home = map[What]Kind{
	TokenTraversal: Order, TokenHuge: Order,
	OrderInvalid: Finalize, OrderStuck: Finalize, WrongKey: Finalize, WrongNames: Finalize, Expired: Finalize,
	ChainReversed: Certificate, ChainForeign: Certificate, ChainWithKey: Certificate,
}

// Rule is one line of the fault table.
type Rule struct {
	At    Kind   // Any for every kind
	Name  string // only requests about an order, authorization or certificate with this identifier; "" for all
	After int    // let this many matching requests pass first
	Times int    // then misbehave this often; 0 for always
	What  What

	Status     int           // Answer: 500 when 0
	Problem    string        // Answer: ACME error type such as rateLimited; "" for a body that is no problem document
	Detail     string        // Answer
	RetryAfter time.Duration // Answer: Retry-After header when positive
	URL        string        // Redirect
}

// Faults is a table of rules and a counter per kind. All methods may be called
// at any time from any goroutine.
type Faults struct {
	mutex  sync.Mutex
	rules  []*entry
	counts map[Kind]int
}

type entry struct {
	Rule
	seen int // matching requests so far
	hits int // times misbehaved
}

// Add puts a rule at the end of the table and returns a function that takes it
// out again. The first rule that matches a request decides.
func (faults *Faults) Add(rule Rule) (remove func()) {
	faults.mutex.Lock()
	defer faults.mutex.Unlock()
	added := &entry{Rule: rule}
	faults.rules = append(faults.rules, added)
	return func() {
		faults.mutex.Lock()
		defer faults.mutex.Unlock()
		for index, one := range faults.rules {
			if one == added {
				faults.rules = append(faults.rules[:index:index], faults.rules[index+1:]...)
				return
			}
		}
	}
}

// Clear empties the table; the counters stay.
func (faults *Faults) Clear() {
	faults.mutex.Lock()
	defer faults.mutex.Unlock()
	faults.rules = nil
}

// Count is how many requests of a kind have arrived, faults included; Any
// counts them all.
func (faults *Faults) Count(kind Kind) int {
	faults.mutex.Lock()
	defer faults.mutex.Unlock()
	if kind != Any {
		return faults.counts[kind]
	}
	total := 0
	for _, count := range faults.counts {
		total += count
	}
	return total
}

// Hits is how often any rule for this What has misbehaved so far, rules taken
// out not counted: a test asks it to be sure that its fault happened.
func (faults *Faults) Hits(what What) int {
	faults.mutex.Lock()
	defer faults.mutex.Unlock()
	total := 0
	for _, one := range faults.rules {
		if one.What == what {
			total += one.hits
		}
	}
	return total
}

// take counts a request and returns the rule that decides it, nil for none.
// names are the identifiers the request is about.
func (faults *Faults) take(kind Kind, names []string) *Rule {
	faults.mutex.Lock()
	defer faults.mutex.Unlock()
	if faults.counts == nil {
		faults.counts = make(map[Kind]int)
	}
	faults.counts[kind]++
	for _, one := range faults.rules {
		if !one.matches(kind, names) || (one.Times > 0 && one.hits >= one.Times) {
			continue
		}
		one.seen++
		if one.seen <= one.After {
			continue
		}
		one.hits++
		rule := one.Rule
		return &rule
	}
	return nil
}

func (rule *Rule) matches(kind Kind, names []string) bool {
	if home, bound := home[rule.What]; bound && home != kind {
		return false
	}
	if rule.At != Any && rule.At != kind {
		return false
	}
	if rule.Name == "" {
		return true
	}
	for _, name := range names {
		if name == rule.Name {
			return true
		}
	}
	return false
}
