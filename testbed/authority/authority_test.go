package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// world is an authority with a web server that answers http-01 for every name,
// and one client.
type world struct {
	*Authority
	test    *testing.T
	client  *acme.Client
	account acme.Account
	answers sync.Map // path -> key authorization
}

func newWorld(t *testing.T, config Config) *world {
	t.Helper()
	made := &world{test: t}
	web := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if answer, found := made.answers.Load(request.URL.Path); found {
			writer.Write([]byte(answer.(string)))
			return
		}
		http.NotFound(writer, request)
	}))
	t.Cleanup(web.Close)
	config.HTTPPort = web.Listener.Addr().(*net.TCPAddr).Port
	var err error
	if made.Authority, err = New(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { made.Close() })
	made.client = &acme.Client{Directory: made.URL(), HTTPClient: made.Client(), PollInterval: time.Millisecond, PollTimeout: 5 * time.Second}
	if !config.ExternalAccountRequired {
		made.account = made.register(newKey(t))
	}
	return made
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (world *world) register(key crypto.Signer) acme.Account {
	world.test.Helper()
	account, err := world.client.NewAccount(world.test.Context(), acme.Account{Contact: []string{"mailto:a@example.org"}, PrivateKey: key})
	if err != nil {
		world.test.Fatal(err)
	}
	return account
}

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

// ready places an order and answers its challenges.
func (world *world) ready(order acme.Order) (acme.Order, error) {
	ctx := world.test.Context()
	order, err := world.client.NewOrder(ctx, world.account, order)
	if err != nil {
		return order, err
	}
	for _, url := range order.Authorizations {
		authorization, err := world.client.GetAuthorization(ctx, world.account, url)
		if err != nil {
			return order, err
		}
		if authorization.Status == "valid" {
			continue
		}
		for _, challenge := range authorization.Challenges {
			if challenge.Type != "http-01" {
				continue
			}
			world.answers.Store(challenge.HTTP01ResourcePath(), challenge.KeyAuthorization)
			if _, err := world.client.InitiateChallenge(ctx, world.account, challenge); err != nil {
				return order, err
			}
		}
		if authorization, err = world.client.PollAuthorization(ctx, world.account, authorization); err != nil {
			return order, err
		}
	}
	return world.client.GetOrder(ctx, world.account, order)
}

func csr(t *testing.T, key crypto.Signer, names ...string) []byte {
	t.Helper()
	template := &x509.CertificateRequest{}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// issue runs an order to its end.
func (world *world) issue(order acme.Order, names ...string) (*x509.Certificate, acme.Order, error) {
	order.Identifiers = identifiers(names...)
	order, err := world.ready(order)
	if err != nil {
		return nil, order, err
	}
	return world.finish(order, names...)
}

func (world *world) finish(order acme.Order, names ...string) (*x509.Certificate, acme.Order, error) {
	ctx := world.test.Context()
	order, err := world.client.FinalizeOrder(ctx, world.account, order, csr(world.test, newKey(world.test), names...))
	if err != nil {
		return nil, order, err
	}
	chains, err := world.client.GetCertificateChain(ctx, world.account, order.Certificate)
	if err != nil {
		return nil, order, err
	}
	block, _ := pem.Decode(chains[0].ChainPEM)
	leaf, err := x509.ParseCertificate(block.Bytes)
	return leaf, order, err
}

func problemOf(t *testing.T, err error) acme.Problem {
	t.Helper()
	var problem acme.Problem
	if !errors.As(err, &problem) {
		t.Fatalf("want a problem document, got %v", err)
	}
	return problem
}

func wantProblem(t *testing.T, err error, status int, kind string) {
	t.Helper()
	problem := problemOf(t, err)
	if problem.Status != status || problem.Type != problemPrefix+kind {
		t.Errorf("got %d %s (%s), want %d %s", problem.Status, problem.Type, problem.Detail, status, kind)
	}
}

func TestIssue(t *testing.T) {
	at := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	world := newWorld(t, Config{Now: func() time.Time { return at }, AlternateRoots: 1})
	leaf, order, err := world.issue(acme.Order{}, "a.example", "b.example", "127.0.0.1")
	if err == nil && order.Status != "valid" {
		t.Errorf("status %q", order.Status)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !leaf.NotBefore.Equal(at.Add(-time.Hour)) || leaf.NotAfter.Sub(leaf.NotBefore) != 90*24*time.Hour-time.Second {
		t.Errorf("dates %s to %s do not follow the clock", leaf.NotBefore, leaf.NotAfter)
	}
	chains, err := world.client.GetCertificateChain(t.Context(), world.account, order.Certificate)
	if err != nil || len(chains) != 2 {
		t.Fatalf("%d chains, %v; want two", len(chains), err)
	}
	for index, roots := range [][]byte{world.Roots(), world.AlternateRoots()} {
		pool, rest := x509.NewCertPool(), x509.NewCertPool()
		pool.AppendCertsFromPEM(roots)
		rest.AppendCertsFromPEM(chains[index].ChainPEM)
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "b.example", Roots: pool, Intermediates: rest, CurrentTime: at}); err != nil {
			t.Errorf("chain %d: %v", index, err)
		}
	}
	book := world.Issued()
	if len(book) != 1 || book[0].Order != order.Location || !book[0].Certificate.Equal(leaf) || strings.Join(book[0].Names, " ") != "a.example b.example 127.0.0.1" {
		t.Errorf("book of certificates: %+v", book)
	}
}

func TestSecondFinalizeIsRefused(t *testing.T) {
	for _, config := range []Config{{}, {PollsUntilIssued: 2}} {
		world := newWorld(t, config)
		order, err := world.ready(acme.Order{Identifiers: identifiers("a.example")})
		if err != nil {
			t.Fatal(err)
		}
		if _, order, err = world.finish(order, "a.example"); err != nil {
			t.Fatal(err)
		}
		// acmez polls after an orderNotReady, so the books are what counts.
		if _, _, err = world.finish(order, "a.example"); err != nil {
			t.Fatal(err)
		}
		if got := world.FinalizeRequests()[order.Location]; got != (Finalized{Arrived: 2, Accepted: 1}) {
			t.Errorf("%+v", got)
		}
		if len(world.Issued()) != 1 {
			t.Errorf("%d certificates, want 1", len(world.Issued()))
		}
	}
}

func TestFinalizeChecksTheRequest(t *testing.T) {
	world := newWorld(t, Config{})
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	order, err := world.ready(acme.Order{Identifiers: identifiers("a.example")})
	if err != nil {
		t.Fatal(err)
	}
	for what, request := range map[string][]byte{
		"more names": csr(t, newKey(t), "a.example", "b.example"), "other name": csr(t, newKey(t), "b.example"),
		"weak key": csr(t, weak, "a.example"), "account key": csr(t, world.account.PrivateKey, "a.example"), "garbage": []byte("no CSR"),
	} {
		_, err := world.client.FinalizeOrder(t.Context(), world.account, order, request)
		if problemOf(t, err).Type != problemPrefix+"badCSR" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := world.finish(order, "a.example"); err != nil {
		t.Errorf("after refusals the order must still be ready: %v", err)
	}
}

func TestOrderRefusals(t *testing.T) {
	world := newWorld(t, Config{Profiles: map[string]Profile{"short": {Description: "six days", Validity: 160 * time.Hour}}})
	leaf, _, err := world.issue(acme.Order{Profile: "short"}, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life != 160*time.Hour-time.Second {
		t.Errorf("life %s", life)
	}
	replaced := acme.Order{Replaces: RenewalID(leaf)}
	if _, _, err := world.issue(replaced, "a.example"); err != nil {
		t.Fatal(err)
	}
	soon := time.Now()
	table := []struct {
		name   string
		order  acme.Order
		names  []string
		status int
		kind   string
	}{
		{"replaced already", replaced, []string{"a.example"}, 409, "alreadyReplaced"},
		{"replaces nothing known", acme.Order{Replaces: "AAAA.BBBB"}, []string{"a.example"}, 404, "malformed"},
		{"dates", acme.Order{NotAfter: &soon}, []string{"a.example"}, 400, "malformed"},
		{"no names", acme.Order{}, nil, 400, "malformed"},
		{"bad name", acme.Order{}, []string{"a_b.example"}, 400, "rejectedIdentifier"},
		{"inner star", acme.Order{}, []string{"a.*.example"}, 400, "rejectedIdentifier"},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			row.order.Identifiers = identifiers(row.names...)
			_, err := world.client.NewOrder(t.Context(), world.account, row.order)
			wantProblem(t, err, row.status, row.kind)
		})
	}
}

func TestReuse(t *testing.T) {
	world := newWorld(t, Config{ReuseAuthorizations: true, ReuseOrders: true})
	order, err := world.ready(acme.Order{Identifiers: identifiers("a.example")})
	if err != nil {
		t.Fatal(err)
	}
	again, err := world.client.NewOrder(t.Context(), world.account, acme.Order{Identifiers: identifiers("a.example")})
	if err != nil || again.Location != order.Location || again.Status != "ready" {
		t.Errorf("%s %s %v, want the open order %s", again.Location, again.Status, err, order.Location)
	}
	if _, _, err := world.finish(order, "a.example"); err != nil {
		t.Fatal(err)
	}
	next, err := world.client.NewOrder(t.Context(), world.account, acme.Order{Identifiers: identifiers("a.example")})
	if err != nil || next.Location == order.Location || next.Status != "ready" {
		t.Errorf("%+v %v, want a new order that is ready at once", next, err)
	}
	if _, err := world.client.DeactivateAuthorization(t.Context(), world.account, next.Authorizations[0]); err != nil {
		t.Fatal(err)
	}
	last, err := world.client.NewOrder(t.Context(), world.account, acme.Order{Identifiers: identifiers("a.example")})
	if err != nil || last.Status != "pending" {
		t.Errorf("%+v %v, want a pending order: the authorization is gone", last, err)
	}
}

func TestFailedChallenge(t *testing.T) {
	for _, background := range []bool{false, true} {
		world := newWorld(t, Config{ValidateInBackground: background})
		order, err := world.client.NewOrder(t.Context(), world.account, acme.Order{Identifiers: identifiers("a.example")})
		if err != nil {
			t.Fatal(err)
		}
		authorization, err := world.client.GetAuthorization(t.Context(), world.account, order.Authorizations[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, challenge := range authorization.Challenges {
			if challenge.Type == "http-01" {
				if _, err := world.client.InitiateChallenge(t.Context(), world.account, challenge); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err = world.client.PollAuthorization(t.Context(), world.account, authorization); err == nil {
			t.Error("the authorization must fail")
		}
		order, err = world.client.GetOrder(t.Context(), world.account, order)
		if err != nil || order.Status != "invalid" || order.Error == nil || !strings.HasSuffix(order.Error.Type, "unauthorized") {
			t.Errorf("%+v %v", order, err)
		}
	}
}

func TestRevokeAndRenewalInfo(t *testing.T) {
	world := newWorld(t, Config{})
	leaf, _, err := world.issue(acme.Order{}, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	before, err := world.client.GetRenewalInfo(t.Context(), leaf)
	if err != nil || before.RetryAfter == nil || !before.SuggestedWindow.Start.After(time.Now()) {
		t.Fatalf("%+v %v", before, err)
	}
	start := time.Now().Add(-2 * time.Hour).Truncate(time.Second)
	world.SetRenewalWindow(RenewalID(leaf), start, start.Add(time.Hour), "https://ca.example/why")
	set, err := world.client.GetRenewalInfo(t.Context(), leaf)
	if err != nil || !set.SuggestedWindow.Start.Equal(start) || set.ExplanationURL != "https://ca.example/why" {
		t.Errorf("%+v %v", set, err)
	}
	if err := world.client.RevokeCertificate(t.Context(), world.account, leaf, newKey(t), 4); err == nil {
		t.Error("a foreign key must not revoke")
	}
	if err := world.client.RevokeCertificate(t.Context(), world.account, leaf, nil, 4); err != nil {
		t.Fatal(err)
	}
	reason, _, revoked := world.Revoked(leaf.SerialNumber)
	if !revoked || reason != 4 {
		t.Errorf("revoked %v reason %d", revoked, reason)
	}
	wantProblem(t, world.client.RevokeCertificate(t.Context(), world.account, leaf, nil, 4), 400, "alreadyRevoked")
}

func TestDownAndUp(t *testing.T) {
	world := newWorld(t, Config{})
	if err := world.Down(); err != nil {
		t.Fatal(err)
	}
	if _, err := world.Client().Get(world.URL()); err == nil {
		t.Error("it answers while it is down")
	}
	if err := world.Up(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := world.issue(acme.Order{}, "a.example"); err != nil {
		t.Errorf("the account must have survived: %v", err)
	}
	if err := errors.Join(world.Close(), world.Close()); err != nil {
		t.Error(err)
	}
}

// Many clients at once: every order ends, once, and the books agree.
func TestManyAtOnce(t *testing.T) {
	world := newWorld(t, Config{ValidateInBackground: true, ReuseAuthorizations: true})
	const workers, each = 8, 5
	var done sync.WaitGroup
	for worker := range workers {
		done.Go(func() {
			for number := range each {
				name := string(rune('a'+worker)) + string(rune('a'+number)) + ".example"
				if _, _, err := world.issue(acme.Order{}, name, "shared.example"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	issued := map[string]int{}
	for _, one := range world.Issued() {
		issued[one.Order]++
	}
	for _, one := range world.Orders() {
		if one.Status != "valid" || one.Finalize.Accepted != 1 || issued[one.URL] != 1 {
			t.Errorf("%+v with %d certificates", one, issued[one.URL])
		}
	}
	if len(world.Orders()) != workers*each {
		t.Errorf("%d orders, want %d", len(world.Orders()), workers*each)
	}
}

// acmez refuses an unknown profile by itself, so this goes by hand.
func TestUnknownProfile(t *testing.T) {
	world := newWorld(t, Config{})
	request := requester{world: world, key: world.account.PrivateKey, id: world.account.Location}
	answer := request.post(t, world.link("new-order"), map[string]any{"identifiers": identifiers("a.example"), "profile": "nonsense"})
	if answer.status != 400 || !strings.Contains(string(answer.body), "invalidProfile") {
		t.Errorf("%d %s", answer.status, answer.body)
	}
}
