package audit_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/audit"
	"github.com/backstay/backstay/cert"
	. "github.com/backstay/backstay/cert/certtest"
	"github.com/backstay/backstay/finding"
)

// codes writes findings as "code:severity" in order, for comparison.
func codes(list []finding.Finding) string {
	var words []string
	for _, each := range list {
		words = append(words, string(each.Code)+":"+string(each.Severity))
	}
	return strings.Join(words, " ")
}

func look(name string, chain []*x509.Certificate) cert.Observation {
	return cert.Observation{
		Target: name, Named: true, Name: name, ServerName: name, Address: netip.MustParseAddrPort("192.0.2.1:443"),
		Transport: "tcp", Status: cert.StatusOK, ObservedAt: Now, Possession: cert.PossessionProven, Chain: chain,
	}
}

func trusting(pairs ...Pair) *cert.Trust { return cert.NewTrust("test", Chain(pairs...)) }

func TestCertificateRules(t *testing.T) {
	root := Root(t, "Root")
	middle := root.Authority(t, "Middle")
	names := []string{"good.test"}
	leaf := func(edits ...Edit) []*x509.Certificate { return Chain(middle.Leaf(t, names, edits...), middle) }
	bare := func(c *x509.Certificate, _ *crypto.Signer) { c.DNSNames, c.IPAddresses = nil, nil }
	client := func(c *x509.Certificate, _ *crypto.Signer) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	unused := func(c *x509.Certificate, _ *crypto.Signer) { c.ExtKeyUsage = nil }
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const second, hour = time.Second, time.Hour
	from := func(date string) time.Duration {
		begin, err := time.Parse(time.DateOnly, date)
		if err != nil {
			t.Fatal(err)
		}
		return begin.Sub(Now)
	}
	lasting := func(date string, days int) Edit { return Dates(from(date), from(date)+time.Duration(days)*Day) }
	lastingSecondMore := func(date string, days int) Edit {
		return Dates(from(date), from(date)+time.Duration(days)*Day+second)
	}
	for _, c := range []struct {
		name  string
		asked string
		chain []*x509.Certificate
		want  string
	}{
		{"healthy", "good.test", leaf(), ""},
		{"healthy, without usage", "good.test", leaf(unused), ""},
		// dates
		{"expired a second ago", "good.test", leaf(Dates(-90*Day, 0)), "cert-expired:critical"},
		{"ends this second", "good.test", leaf(Dates(-90*Day, second)), "cert-expiring:critical"},
		{"begins this second", "good.test", leaf(Dates(0, 90*Day)), ""},
		{"begins in a second", "good.test", leaf(Dates(second, 90*Day)), "cert-not-yet-valid:critical"},
		// life left: 90 days, limits 30 and 15 days
		{"30 days left of 90", "good.test", leaf(Dates(-60*Day, 30*Day+second)), ""},
		{"a second less", "good.test", leaf(Dates(-60*Day, 30*Day)), "cert-expiring:high"},
		{"15 days left of 90", "good.test", leaf(Dates(-75*Day, 15*Day+second)), "cert-expiring:high"},
		{"a second less", "good.test", leaf(Dates(-75*Day, 15*Day)), "cert-expiring:critical"},
		// six days: a third is two days, a sixth is one
		{"six-day certificate, five days left", "good.test", leaf(Dates(-1*Day, 5*Day)), ""},
		{"six-day certificate, two days left", "good.test", leaf(Dates(-4*Day+second, 2*Day+second)), ""},
		{"six-day certificate, under two days left", "good.test", leaf(Dates(-4*Day-hour, 2*Day-hour)), "cert-expiring:high"},
		{"six-day certificate, under a day left", "good.test", leaf(Dates(-5*Day-hour, 1*Day-hour)), "cert-expiring:critical"},
		// 45 days: a third is 15
		{"45-day certificate, 20 days left", "good.test", leaf(Dates(-25*Day, 20*Day)), ""},
		{"45-day certificate, 14 days left", "good.test", leaf(Dates(-31*Day, 14*Day)), "cert-expiring:high"},
		// names
		{"another name", "other.test", leaf(), "cert-name-mismatch:critical"},
		{"no name asked", "", leaf(), ""},
		{"common name only", "good.test", leaf(bare), "cert-name-mismatch:critical cert-no-san:high"},
		{"common name only, no name asked", "", leaf(bare), "cert-no-san:high"},
		// validity
		{"825 days before September 2020", "good.test", leaf(lasting("2020-08-31", 825)), "cert-expired:critical"},
		{"a second over 825", "good.test", leaf(lastingSecondMore("2020-08-31", 825)), "cert-expired:critical cert-validity-too-long:medium"},
		{"over 398 from September 2020", "good.test", leaf(lasting("2020-09-01", 399)), "cert-expired:critical cert-validity-too-long:medium"},
		{"398 days", "good.test", leaf(lasting("2026-03-14", 398)), ""},
		{"a second over 398", "good.test", leaf(lastingSecondMore("2026-03-14", 398)), "cert-validity-too-long:medium"},
		{"200 days", "good.test", leaf(lasting("2026-10-15", 200)), ""},
		{"a second over 200", "good.test", leaf(lastingSecondMore("2026-10-15", 200)), "cert-validity-too-long:medium"},
		{"398 days on the first day of 200", "good.test", leaf(lasting("2026-03-15", 398)), "cert-validity-too-long:medium"},
		{"100 days of 2027", "good.test", leaf(lasting("2027-03-15", 100)), "cert-not-yet-valid:critical"},
		{"101 days of 2027", "good.test", leaf(lasting("2027-03-15", 101)), "cert-not-yet-valid:critical cert-validity-too-long:medium"},
		{"47 days of 2029", "good.test", leaf(lasting("2029-03-15", 47)), "cert-not-yet-valid:critical"},
		{"48 days of 2029", "good.test", leaf(lasting("2029-03-15", 48)), "cert-not-yet-valid:critical cert-validity-too-long:medium"},
		// use and key
		{"for clients", "good.test", leaf(client), "cert-no-server-auth:critical"},
		{"short curve", "good.test", leaf(WithKey(p224)), "key-weak:critical"},
	} {
		record := audit.Assess(look(c.asked, c.chain), audit.Options{Now: Now, Trust: trusting(root)})
		if got := codes(record.Findings); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestChainCodesAreExclusive(t *testing.T) {
	root, stranger := Root(t, "Root"), Root(t, "Stranger")
	middle := root.Authority(t, "Middle")
	old := root.Authority(t, "Middle", WithKey(middle.Key), Dates(-900*Day, -1*Day))
	short := root.Authority(t, "Short", func(c *x509.Certificate, _ *crypto.Signer) { c.MaxPathLenZero = true; c.MaxPathLen = 0 })
	below := short.Authority(t, "Below")
	fenced := root.Authority(t, "Fenced", func(c *x509.Certificate, _ *crypto.Signer) { c.PermittedDNSDomains = []string{"in.test"} })
	names := []string{"good.test"}
	self := SelfSigned(t, names)
	for _, c := range []struct {
		name  string
		chain []*x509.Certificate
		trust *cert.Trust
		want  string
	}{
		{"incomplete", Chain(middle.Leaf(t, names)), nil, "chain-incomplete"},
		{"expired intermediate", Chain(middle.Leaf(t, names), old), nil, "chain-intermediate-expired"},
		{"path length", Chain(below.Leaf(t, names), below, short), nil, "chain-path-length"},
		{"name constraints", Chain(fenced.Leaf(t, names), fenced), nil, "chain-name-constraints"},
		{"untrusted root", Chain(stranger.Leaf(t, names), stranger), nil, "chain-untrusted-root"},
		{"self-signed", Chain(self), nil, "cert-self-signed"},
		{"self-signed and trusted", Chain(self), trusting(self), ""},
	} {
		trust := c.trust
		if trust == nil {
			trust = trusting(root)
		}
		record := audit.Assess(look("good.test", c.chain), audit.Options{Now: Now, Trust: trust})
		want := c.want
		if want != "" {
			want += ":critical"
		}
		if got := codes(record.Findings); got != want {
			t.Errorf("%s: %q, want %q (%s)", c.name, got, want, record.TrustError)
		}
		if *record.Trusted != (c.want == "") {
			t.Errorf("%s: trusted %v", c.name, *record.Trusted)
		}
	}
	known := audit.Assess(look("good.test", Chain(middle.Leaf(t, names))), audit.Options{Now: Now, Trust: trusting(root), Known: Chain(middle)})
	if codes(known.Findings) != "" {
		t.Errorf("a path through a known intermediate: %s", codes(known.Findings))
	}
}

func TestValidityUnderAnUnknownRootIsInformation(t *testing.T) {
	root := Root(t, "Private")
	chain := Chain(root.Leaf(t, []string{"good.test"}, Dates(-1*Day, 3000*Day)), root)
	record := audit.Assess(look("good.test", chain), audit.Options{Now: Now})
	if got := codes(record.Findings); got != "chain-untrusted-root:critical cert-validity-too-long:info" {
		t.Error(got)
	}
}

func TestManagedCertificateIsJudgedByItsPlan(t *testing.T) {
	root := Root(t, "Root")
	ninety := func(left time.Duration) []*x509.Certificate {
		return Chain(root.Leaf(t, []string{"good.test"}, Dates(left-90*Day, left)))
	}
	for _, c := range []struct {
		left, renewAt time.Duration // counted from Now
		want          string
	}{
		{29 * Day, 1 * Day, ""},
		{29 * Day, -7 * Day, ""}, // 90/12 = 7.5 days of grace
		{29 * Day, -8 * Day, "renew-overdue:high"},
		{14 * Day, -16 * Day, "cert-expiring:critical renew-overdue:high"},
		{14 * Day, 1 * Day, "cert-expiring:critical"},
	} {
		options := audit.Options{Now: Now, Trust: trusting(root), Managed: &audit.Managed{Name: "good", RenewAt: Now.Add(c.renewAt)}}
		if got := codes(audit.Assess(look("good.test", ninety(c.left)), options).Findings); got != c.want {
			t.Errorf("left %v, renewal %v: %q, want %q", c.left, c.renewAt, got, c.want)
		}
	}
}

func TestWeakRSAKeys(t *testing.T) {
	root := Root(t, "Root")
	sound, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	close1, _ := new(big.Int).SetString("1"+strings.Repeat("0", 308)+"7", 10) // not prime; only the modulus counts
	closeModulus := new(big.Int).Mul(close1, new(big.Int).Add(close1, big.NewInt(1000)))
	roca := rocaModulus()
	for name, c := range map[string]struct {
		key  *rsa.PublicKey
		weak bool
	}{
		"sound":        {&sound.PublicKey, false},
		"1024 bits":    {&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}, true},
		"2047 bits":    {&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 2046, 1), E: 65537}, true},
		"exponent 3":   {&rsa.PublicKey{N: sound.N, E: 3}, true},
		"exponent 5":   {&rsa.PublicKey{N: sound.N, E: 5}, false},
		"close primes": {&rsa.PublicKey{N: closeModulus, E: 65537}, true},
		"ROCA":         {&rsa.PublicKey{N: roca, E: 65537}, true},
	} {
		leaf := *root.Leaf(t, []string{"good.test"}).Certificate
		leaf.PublicKey = c.key
		record := audit.Assess(look("good.test", Chain(Pair{Certificate: &leaf}, root)), audit.Options{Now: Now, Trust: trusting(root)})
		if got := strings.Contains(codes(record.Findings), "key-weak:critical"); got != c.weak {
			t.Errorf("%s: %v (%s)", name, got, codes(record.Findings))
		}
	}
}

// rocaModulus is a number with the pattern of CVE-2017-15361: a power of 65537
// modulo the product of the primes below 170, of 2048 bits.
func rocaModulus() *big.Int {
	product := big.NewInt(1)
	for p := int64(2); p < 170; p++ {
		if big.NewInt(p).ProbablyPrime(10) {
			product.Mul(product, big.NewInt(p))
		}
	}
	number := new(big.Int).Exp(big.NewInt(65537), big.NewInt(123456), product)
	high := new(big.Int).Div(new(big.Int).SetBit(new(big.Int), 2047, 1), product)
	high.Add(high, big.NewInt(12345))
	return number.Add(number, high.Mul(high, product))
}

func TestSignatures(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sha1 := func(c *x509.Certificate, _ *crypto.Signer) { c.SignatureAlgorithm = x509.SHA1WithRSA }
	root := Root(t, "Root", WithKey(key), sha1) // the root's own signature does not matter
	if got := codes(audit.Assess(look("good.test", Chain(root.Leaf(t, []string{"good.test"}), root)), audit.Options{Now: Now, Trust: trusting(root)}).Findings); got != "" {
		t.Errorf("root signed with SHA-1: %s", got)
	}
	weak := root.Leaf(t, []string{"good.test"}, sha1)
	if got := codes(audit.Assess(look("good.test", Chain(weak, root)), audit.Options{Now: Now, Trust: trusting(root)}).Findings); got != "sig-weak:critical" {
		t.Errorf("leaf signed with SHA-1: %s", got)
	}
	middle := root.Authority(t, "Middle", sha1)
	if got := codes(audit.Assess(look("good.test", Chain(middle.Leaf(t, []string{"good.test"}), middle)), audit.Options{Now: Now, Trust: trusting(root)}).Findings); got != "sig-weak:critical" {
		t.Errorf("intermediate signed with SHA-1: %s", got)
	}
}

func TestLooksWithoutCertificate(t *testing.T) {
	for _, status := range []string{cert.StatusRefused, cert.StatusUnreachable, cert.StatusTimeout, cert.StatusReset, cert.StatusNotTLS, cert.StatusHandshakeFailed, cert.StatusResolveFailed, cert.StatusError} {
		o := cert.Observation{Target: "x.test", Named: true, Status: status, Error: "because\x1b[0m", ObservedAt: Now}
		record := audit.Assess(o, audit.Options{Now: Now})
		if got := codes(record.Findings); got != "probe-unreachable:high" {
			t.Errorf("%s: %q", status, got)
		}
		if record.Findings[0].Evidence["error"] != `because\x1b[0m` {
			t.Errorf("raw outside text in %v", record.Findings[0].Evidence)
		}
		o.Named = false
		if got := codes(audit.Assess(o, audit.Options{Now: Now}).Findings); got != "" {
			t.Errorf("member of a range, %s: %q", status, got)
		}
	}
	o := cert.Observation{Target: "x.test", Named: true, Status: cert.StatusError, Unreadable: "00ff", ObservedAt: Now}
	if got := codes(audit.Assess(o, audit.Options{Now: Now}).Findings); got != "cert-unparseable:high" {
		t.Error(got)
	}
	text, err := json.Marshal(audit.Assess(cert.Observation{Target: "x", Status: cert.StatusTimeout, ObservedAt: Now}, audit.Options{Now: Now}))
	if err != nil || string(text) != `{"kind":"endpoint","schema":1,"target":"x","status":"timeout","observed_at":"2026-11-20T12:00:00Z","findings":[]}` {
		t.Errorf("%s, %v", text, err)
	}
}

func TestRecordOfAnEndpoint(t *testing.T) {
	root := Root(t, "Root")
	leaf := root.Leaf(t, []string{"good.test"})
	record := audit.Assess(look("good.test", Chain(leaf, root)), audit.Options{Now: Now, Trust: trusting(root), Stores: []*cert.Trust{cert.Mozilla()}})
	if record.Address != "192.0.2.1" || record.Port != 443 || !*record.Trusted || record.TrustError != "" || record.Stores["mozilla"] || len(record.Stores) != 1 ||
		len(record.Chain) != 2 || record.Certificate.SHA256 != record.Chain[0].SHA256 || record.Certificate.SHA256 != cert.Fingerprint(leaf.Certificate.Raw) {
		t.Errorf("%+v", record)
	}
}

func TestAssessFile(t *testing.T) {
	root := Root(t, "Root", Dates(-4000*Day, -1*Day))
	no := false
	leaf := root.Leaf(t, []string{"good.test"}, Dates(-90*Day, -1*Day))
	for _, c := range []struct {
		name string
		file cert.FileObservation
		want string
	}{
		{"expired authority", cert.FileObservation{Certificate: root.Certificate}, ""},
		{"expired leaf", cert.FileObservation{Certificate: leaf.Certificate}, "cert-expired:critical"},
		{"open key", cert.FileObservation{Certificate: root.Certificate, KeyPresent: true, KeyReadable: true}, "file-key-readable:high"},
		{"wrong key", cert.FileObservation{Certificate: root.Certificate, KeyPresent: true, KeyMatches: &no}, "file-key-mismatch:high"},
		{"unreadable", cert.FileObservation{Error: "permission denied"}, "file-unreadable:low"},
		{"unparseable", cert.FileObservation{Error: "x509: bad", Unreadable: "00"}, "cert-unparseable:high"},
	} {
		record := audit.AssessFile(c.file, audit.Options{Now: Now})
		if got := codes(record.Findings); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestT2NamesAreNotPrintedWhole(t *testing.T) {
	root := Root(t, "Root")
	names := make([]string, 500)
	for i := range names {
		names[i] = strings.Repeat("a", i%50+1) + ".test"
	}
	record := audit.Assess(look("other.test", Chain(root.Leaf(t, names))), audit.Options{Now: Now, Trust: trusting(root)})
	if got := record.Findings[0].Evidence["names"]; !strings.HasSuffix(got, "and 490 more") {
		t.Error(got)
	}
}
