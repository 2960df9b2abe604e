package cert_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"testing"
	"time"

	"github.com/backstay/backstay/cert"
	. "github.com/backstay/backstay/cert/certtest"
)

func TestEvaluate(t *testing.T) {
	root, other := Root(t, "Root"), Root(t, "Other Root")
	middle := root.Authority(t, "Middle")
	leaf := middle.Leaf(t, []string{"good.test"})
	expired := root.Authority(t, "Middle", WithKey(middle.Key), Dates(-900*Day, -1*Day))
	future := root.Authority(t, "Middle", WithKey(middle.Key), Dates(1*Day, 900*Day))
	short := root.Authority(t, "Short", func(c *x509.Certificate, _ *crypto.Signer) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	below := short.Authority(t, "Below")
	fenced := root.Authority(t, "Fenced", func(c *x509.Certificate, _ *crypto.Signer) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"inside.test"}, true
	})
	self := SelfSigned(t, []string{"self.test"})
	strangersMiddle := other.Authority(t, "Stranger")
	strangersLeaf := strangersMiddle.Leaf(t, []string{"good.test"})
	noAuthority := root.Leaf(t, []string{"Pretender"}, func(c *x509.Certificate, _ *crypto.Signer) { c.KeyUsage |= x509.KeyUsageCertSign })
	pretended := noAuthority.Leaf(t, []string{"good.test"})
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaRoot := Root(t, "RSA Root", WithKey(rsaKey))
	sha1 := func(c *x509.Certificate, _ *crypto.Signer) { c.SignatureAlgorithm = x509.SHA1WithRSA }
	client := func(c *x509.Certificate, _ *crypto.Signer) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	// The same authority, its name and key, under a root that is not in the store.
	crossed := other.Authority(t, "Middle", WithKey(middle.Key))
	forged := other.Leaf(t, []string{"good.test"})
	forgedIssuer := Root(t, "Other Root") // the name, not the key

	store := NewStore(t, root, rsaRoot)
	for _, c := range []struct {
		name    string
		store   *cert.Trust
		served  []*x509.Certificate
		known   []*x509.Certificate
		verdict cert.Verdict
		reason  cert.Reason
	}{
		{"full chain", store, Chain(leaf, middle), nil, cert.Yes, ""},
		{"root sent too", store, Chain(leaf, middle, root), nil, cert.Yes, ""},
		{"out of order", store, Chain(leaf, root, other, middle), nil, cert.Yes, ""},
		{"directly below the root", store, Chain(root.Leaf(t, []string{"a.test"})), nil, cert.Yes, ""},
		{"missing intermediate", store, Chain(leaf), nil, cert.No, cert.ReasonIncomplete},
		{"missing intermediate, known elsewhere", store, Chain(leaf), Chain(middle), cert.Yes, ""},
		{"expired intermediate", store, Chain(leaf, expired), nil, cert.No, cert.ReasonIntermediateExpired},
		{"future intermediate", store, Chain(leaf, future), nil, cert.No, cert.ReasonIntermediateExpired},
		{"expired and valid intermediate", store, Chain(leaf, expired, middle), nil, cert.Yes, ""},
		{"expired served, valid known", store, Chain(leaf, expired), Chain(middle), cert.Yes, ""},
		{"unknown root not sent", store, Chain(strangersLeaf, strangersMiddle), nil, cert.Unknown, cert.ReasonUntrustedRoot},
		{"unknown root sent", store, Chain(strangersLeaf, strangersMiddle, other), nil, cert.Unknown, cert.ReasonUntrustedRoot},
		{"unknown root directly", store, Chain(other.Leaf(t, []string{"a.test"}), other), nil, cert.Unknown, cert.ReasonUntrustedRoot},
		{"cross-signed, the trusted way wins", store, Chain(leaf, crossed, other, middle), nil, cert.Yes, ""},
		{"cross-signed, only the unknown way", store, Chain(leaf, crossed), nil, cert.Unknown, cert.ReasonUntrustedRoot},
		{"self-signed", store, Chain(self), nil, cert.No, cert.ReasonSelfSigned},
		{"self-signed and trusted", NewStore(t, self), Chain(self), nil, cert.Yes, ""},
		{"self-signed authority as leaf", store, Chain(other), nil, cert.No, cert.ReasonSelfSigned},
		{"path length", store, Chain(below.Leaf(t, []string{"a.test"}), below, short), nil, cert.No, cert.ReasonPathLength},
		{"signer is no authority", store, Chain(pretended, noAuthority), nil, cert.No, cert.ReasonPathLength},
		{"name constraints kept", store, Chain(fenced.Leaf(t, []string{"a.inside.test"}), fenced), nil, cert.Yes, ""},
		{"name constraints broken", store, Chain(fenced.Leaf(t, []string{"a.outside.test"}), fenced), nil, cert.No, cert.ReasonNameConstraints},
		{"name constraints broken, leaf expired", store, Chain(fenced.Leaf(t, []string{"a.outside.test"}, Dates(-90*Day, -1*Day)), fenced), nil, cert.No, cert.ReasonNameConstraints},
		{"leaf expired", store, Chain(middle.Leaf(t, []string{"a.test"}, Dates(-90*Day, -1*Day)), middle), nil, cert.No, cert.ReasonLeafDates},
		{"leaf of the future", store, Chain(middle.Leaf(t, []string{"a.test"}, Dates(1*Day, 90*Day)), middle), nil, cert.No, cert.ReasonLeafDates},
		{"leaf expired and chain incomplete", store, Chain(middle.Leaf(t, []string{"a.test"}, Dates(-90*Day, -1*Day))), nil, cert.No, cert.ReasonIncomplete},
		{"leaf expired before its intermediate began", store, Chain(middle.Leaf(t, []string{"a.test"}, Dates(-90*Day, -60*Day)), future), nil, cert.No, cert.ReasonIntermediateExpired},
		{"SHA-1", store, Chain(rsaRoot.Leaf(t, []string{"a.test"}, sha1)), nil, cert.No, cert.ReasonWeakSignature},
		{"not for servers", store, Chain(middle.Leaf(t, []string{"a.test"}, client), middle), nil, cert.No, cert.ReasonNotForServers},
		{"issuer's name without its signature", store, Chain(forged, forgedIssuer), nil, cert.No, cert.ReasonIncomplete},
		{"nothing", store, nil, nil, cert.Unknown, cert.ReasonOther},
	} {
		got := c.store.Evaluate(c.served, c.known, Now)
		if got.Verdict != c.verdict || got.Reason != c.reason {
			t.Errorf("%s: %s %q (%s), want %s %q", c.name, got.Verdict, got.Reason, got.Error, c.verdict, c.reason)
		}
		if (got.Verdict == cert.Yes) != (got.Error == "") {
			t.Errorf("%s: verdict %s with error %q", c.name, got.Verdict, got.Error)
		}
		if got.Verdict == cert.Yes && !got.Anchored {
			t.Errorf("%s: trusted and not anchored", c.name)
		}
	}
}

// NewStore is a store of the pairs' certificates.
func NewStore(t *testing.T, pairs ...Pair) *cert.Trust {
	t.Helper()
	store, err := cert.ParseTrust("test", PEM(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// A server that sends many authorities which all could have signed each other
// must not cost more than the bounded number of signature checks (T2).
func TestT2ManyCrossSignedAuthoritiesAreBounded(t *testing.T) {
	key := Root(t, "Maze")
	served := Chain(key.Leaf(t, []string{"a.test"}))
	for range 30 {
		served = append(served, key.Authority(t, "Maze", WithKey(SelfSigned(t, nil).Key)).Certificate)
	}
	start := time.Now()
	got := NewStore(t, Root(t, "Elsewhere")).Evaluate(served, nil, Now)
	if got.Verdict == cert.Yes {
		t.Error("trusted")
	}
	if spent := time.Since(start); spent > 2*time.Second {
		t.Errorf("took %v", spent)
	}
}

func TestMozillaStore(t *testing.T) {
	store := cert.Mozilla()
	if store != cert.Mozilla() || store.Name() != "mozilla" {
		t.Error("not one store of that name")
	}
	leaf := SelfSigned(t, []string{"a.test"})
	if got := store.Evaluate(Chain(leaf), nil, Now); got.Verdict != cert.No || got.Reason != cert.ReasonSelfSigned {
		t.Errorf("%+v", got)
	}
}

func TestParseTrustRefusesHoles(t *testing.T) {
	root := Root(t, "Root")
	broken := append(PEM(root), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")...)
	for name, text := range map[string][]byte{"a damaged root": broken, "no PEM": []byte("x"), "a key only": root.KeyPEM(t)} {
		if _, err := cert.ParseTrust("x", text); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
