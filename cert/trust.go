package cert

import (
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Verdict is an answer that may also be "we do not know".
type Verdict string

// The verdicts on a chain.
const (
	Yes     Verdict = "yes"     // a path to a root of the store holds now
	No      Verdict = "no"      // every path fails, and the reason is known
	Unknown Verdict = "unknown" // it holds, as far as we can tell, but ends in a root that the store does not have
)

// Reason says why the best path fails.
type Reason string

// The reasons. Those that are chain codes of the catalogue stand in the order
// in which one wins over the next.
const (
	ReasonNone                Reason = ""
	ReasonSelfSigned          Reason = "self_signed"
	ReasonIncomplete          Reason = "incomplete"
	ReasonIntermediateExpired Reason = "intermediate_expired" // or not valid yet
	ReasonNameConstraints     Reason = "name_constraints"
	ReasonPathLength          Reason = "path_length" // or a signer that is no authority
	ReasonUntrustedRoot       Reason = "untrusted_root"
	// The chain is in order in these cases; other findings name the cause.
	ReasonWeakSignature Reason = "weak_signature"
	ReasonLeafDates     Reason = "leaf_dates"
	ReasonNotForServers Reason = "not_for_servers"
	ReasonOther         Reason = "other"
)

// Evaluation is what a store says about a chain at one instant.
type Evaluation struct {
	Verdict  Verdict
	Reason   Reason
	Error    string              // one sentence, "" for Yes; may quote the certificates: raw outside text
	Path     []*x509.Certificate // the path that holds, else the one that came nearest; leaf first
	Anchored bool                // Path ends in a root of the store
	Store    string              // name of the store
}

// Trust is a set of roots. It is safe for concurrent use.
type Trust struct {
	name  string
	pool  *x509.CertPool
	roots map[string][]anchor // by raw subject
}

type anchor struct {
	certificate *x509.Certificate
	constraint  func([]*x509.Certificate) error // nil for none
}

// NewTrust makes a store of the given roots. A self-signed server certificate
// may be one of them.
func NewTrust(name string, roots []*x509.Certificate) *Trust {
	trust := emptyTrust(name)
	for _, root := range roots {
		trust.add(anchor{certificate: root})
	}
	return trust
}

// ParseTrust makes a store of a PEM file. Blocks that are no certificates are
// skipped; a certificate that cannot be read, or a file without any, is an
// error, because a store with a hole gives wrong answers.
func ParseTrust(name string, text []byte) (*Trust, error) {
	parsed, err := ParsePEM(text)
	if err != nil {
		return nil, err
	}
	for _, unreadable := range parsed.Unreadable {
		if certificateLabel(unreadable.Label) {
			return nil, unreadable
		}
	}
	if len(parsed.Certificates) == 0 {
		return nil, errors.New("no certificate")
	}
	return NewTrust(name, parsed.Certificates), nil
}

// Mozilla is the bundled copy of Mozilla's store for servers, with its
// distrust-after dates. It is parsed once, at the first call.
var Mozilla = sync.OnceValue(func() *Trust {
	trust := emptyTrust("mozilla")
	for root := range bundle.Roots() {
		certificate, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			continue // a root that Go cannot parse can anchor no path that Go verifies
		}
		trust.add(anchor{certificate, root.Constraint})
	}
	return trust
})

func emptyTrust(name string) *Trust {
	return &Trust{name: name, pool: x509.NewCertPool(), roots: map[string][]anchor{}}
}

func (t *Trust) add(root anchor) {
	if _, present := t.find(root.certificate); present {
		return
	}
	if root.constraint != nil {
		t.pool.AddCertWithConstraint(root.certificate, root.constraint)
	} else {
		t.pool.AddCert(root.certificate)
	}
	subject := string(root.certificate.RawSubject)
	t.roots[subject] = append(t.roots[subject], root)
}

// Name is the name the store was made with.
func (t *Trust) Name() string { return t.name }

// Contains reports whether this very certificate is a root of the store.
func (t *Trust) Contains(certificate *x509.Certificate) bool {
	_, present := t.find(certificate)
	return present
}

func (t *Trust) find(certificate *x509.Certificate) (anchor, bool) {
	for _, root := range t.roots[string(certificate.RawSubject)] {
		if root.certificate.Equal(certificate) {
			return root, true
		}
	}
	return anchor{}, false
}

// maxServed is how many of the certificates of a chain are looked at. A hostile
// server could send hundreds; no path needs them.
const maxServed = 40

// Evaluate judges a leaf with what was served beside it, in any order, at now.
// known are further intermediates that we have seen elsewhere: a client may
// have them too, and a valid path through any of them wins.
//
// It does not compare names (see MatchesName) and does not look at revocation.
func (t *Trust) Evaluate(served, known []*x509.Certificate, now time.Time) (result Evaluation) {
	result = Evaluation{Verdict: Unknown, Reason: ReasonOther, Store: t.name}
	defer func() {
		// A hostile chain has made Go's verifier panic before (T3). That is no
		// statement about the chain.
		if cause := recover(); cause != nil {
			result = Evaluation{Verdict: Unknown, Reason: ReasonOther, Store: t.name, Error: fmt.Sprintf("verifier failed: %v", cause)}
		}
	}()
	if len(served) == 0 {
		result.Error = "no certificate"
		return result
	}
	others := append(append([]*x509.Certificate{}, served[1:min(len(served), maxServed)]...), known...)
	path, err := t.verify(served[0], others, now)
	if err == nil {
		return Evaluation{Verdict: Yes, Path: path, Anchored: true, Store: t.name}
	}
	return t.explain(served[0], others, now, err)
}

// verify asks crypto/x509, which alone decides what is valid.
func (t *Trust) verify(leaf *x509.Certificate, others []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: t.pool, Intermediates: poolOf(others), CurrentTime: now})
	if err != nil {
		return nil, err
	}
	return chains[0], nil
}

func poolOf(certificates []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, certificate := range certificates {
		pool.AddCert(certificate)
	}
	return pool
}
