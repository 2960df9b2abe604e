package authority

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// finalizeUntil sends a finalize request and gives up once enough holds, so that
// the client's own retries and waits do not lengthen the test.
func finalizeUntil(t *testing.T, world *world, order acme.Order, enough func() bool) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := world.client.FinalizeOrder(ctx, world.account, order, csr(t, newKey(t), "a.example"))
		done <- err
	}()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(time.Millisecond):
			if enough() {
				cancel()
				return <-done
			}
		}
	}
}

func TestFaultsOfTheAnswer(t *testing.T) {
	table := []struct {
		rule     Rule
		accepted int // finalize requests accepted
	}{
		{Rule{What: Answer, Status: 503, RetryAfter: time.Minute}, 0},
		{Rule{What: Answer, Status: 429, Problem: "rateLimited", Detail: "too many", RetryAfter: time.Hour}, 0},
		{Rule{What: Hang}, 0},
		{Rule{What: ResetBefore}, 0},
		{Rule{What: ResetAfter}, 1},
		{Rule{What: Truncate}, 1},
		{Rule{What: HostileText}, 0},
		{Rule{What: Garbage}, 0},
		{Rule{What: Redirect, URL: "http://127.0.0.1:1/elsewhere"}, 0},
	}
	for _, row := range table {
		t.Run(string(row.rule.What)+row.rule.Problem, func(t *testing.T) {
			world := newWorld(t, Config{})
			order, err := world.ready(acme.Order{Identifiers: identifiers("a.example")})
			if err != nil {
				t.Fatal(err)
			}
			row.rule.At = Finalize
			world.Faults().Add(row.rule)
			accepted := func() int { return world.FinalizeRequests()[order.Location].Accepted }
			happened := func() bool { return world.Faults().Hits(row.rule.What) > 0 && accepted() == row.accepted }
			if err := finalizeUntil(t, world, order, happened); err == nil {
				t.Error("the fault did not show")
			}
			if !happened() {
				t.Errorf("%d faults, %d finalize requests accepted, want %d", world.Faults().Hits(row.rule.What), accepted(), row.accepted)
			}
		})
	}
}

func TestRulesCount(t *testing.T) {
	world := newWorld(t, Config{})
	get := func() int {
		response, err := world.Client().Get(world.URL())
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	before := world.Faults().Count(Directory)
	remove := world.Faults().Add(Rule{At: Directory, After: 1, Times: 2, What: Answer, Status: 503})
	var statuses []int
	for range 5 {
		statuses = append(statuses, get())
	}
	if !slices.Equal(statuses, []int{200, 503, 503, 200, 200}) {
		t.Errorf("%v", statuses)
	}
	if got := world.Faults().Count(Directory) - before; got != 5 {
		t.Errorf("counted %d requests, want 5", got)
	}
	remove()
	remove()
	world.Faults().Add(Rule{What: Answer, Status: 418})
	if get() != http.StatusTeapot {
		t.Error("a rule at any kind must match the directory")
	}
	world.Faults().Clear()
	if get() != http.StatusOK {
		t.Error("an empty table must not misbehave")
	}
}

func TestRuleForOneName(t *testing.T) {
	world := newWorld(t, Config{})
	world.Faults().Add(Rule{At: Order, Name: "sick.example", What: Answer, Status: 403, Problem: "rejectedIdentifier"})
	if _, _, err := world.issue(acme.Order{}, "a.example"); err != nil {
		t.Errorf("another name must not suffer: %v", err)
	}
	_, err := world.client.NewOrder(t.Context(), world.account, acme.Order{Identifiers: identifiers("sick.example")})
	wantProblem(t, err, 403, "rejectedIdentifier")
}

func TestBadNonceHeals(t *testing.T) {
	world := newWorld(t, Config{})
	world.Faults().Add(Rule{At: Order, Times: 1, What: BadNonce})
	if _, _, err := world.issue(acme.Order{}, "a.example"); err != nil {
		t.Error(err)
	}
	if len(world.Orders()) != 1 || world.Faults().Hits(BadNonce) != 1 {
		t.Errorf("%d orders, %d faults", len(world.Orders()), world.Faults().Hits(BadNonce))
	}
}

func TestFaultsOfTheMatter(t *testing.T) {
	table := []struct {
		what  What
		check func(chain []byte, leaf *x509.Certificate) bool
	}{
		{WrongNames, func(_ []byte, leaf *x509.Certificate) bool { return leaf.VerifyHostname("a.example") != nil }},
		{Expired, func(_ []byte, leaf *x509.Certificate) bool { return leaf.NotAfter.Before(time.Now()) }},
		{ChainReversed, func(chain []byte, leaf *x509.Certificate) bool { return leaf.IsCA }},
		{ChainForeign, func(chain []byte, leaf *x509.Certificate) bool {
			_, rest := pem.Decode(chain)
			block, _ := pem.Decode(rest)
			issuer, err := x509.ParseCertificate(block.Bytes)
			return err == nil && leaf.CheckSignatureFrom(issuer) != nil
		}},
		{ChainWithKey, func(chain []byte, _ *x509.Certificate) bool { return bytes.Contains(chain, []byte("PRIVATE KEY")) }},
	}
	for _, row := range table {
		t.Run(string(row.what), func(t *testing.T) {
			// Without renewal information: acmez asks for it after each download
			// and waits seconds when the chain makes no sense.
			world := newWorld(t, Config{NoRenewalInfo: true})
			world.Faults().Add(Rule{What: row.what})
			_, order, err := world.issue(acme.Order{}, "a.example")
			if err != nil {
				t.Fatal(err)
			}
			chains, err := world.client.GetCertificateChain(t.Context(), world.account, order.Certificate)
			if err != nil {
				t.Fatal(err)
			}
			block, _ := pem.Decode(chains[0].ChainPEM)
			leaf, err := x509.ParseCertificate(block.Bytes)
			if err != nil || !row.check(chains[0].ChainPEM, leaf) {
				t.Errorf("not spoiled as asked (%v)\n%s", err, chains[0].ChainPEM)
			}
		})
	}
}

func TestWrongKey(t *testing.T) {
	world := newWorld(t, Config{})
	world.Faults().Add(Rule{What: WrongKey})
	order, err := world.ready(acme.Order{Identifiers: identifiers("a.example")})
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	if _, err := world.client.FinalizeOrder(t.Context(), world.account, order, csr(t, key, "a.example")); err != nil {
		t.Fatal(err)
	}
	if sameKey(world.Issued()[0].Certificate.PublicKey, key.Public()) {
		t.Error("the certificate has the right key")
	}
}

func TestOrdersThatEndBadly(t *testing.T) {
	for what, status := range map[What]string{OrderInvalid: "invalid", OrderStuck: "processing"} {
		world := newWorld(t, Config{})
		world.Faults().Add(Rule{What: what})
		order, err := world.ready(acme.Order{Identifiers: identifiers("a.example")})
		if err != nil {
			t.Fatal(err)
		}
		accepted := func() bool { return world.FinalizeRequests()[order.Location].Accepted == 1 }
		if err := finalizeUntil(t, world, order, accepted); err == nil {
			t.Errorf("%s: no error", what)
		}
		if got := world.Orders()[0]; got.Status != status || got.Finalize.Accepted != 1 {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

func TestStrangeTokens(t *testing.T) {
	for what, check := range map[What]func(string) bool{
		TokenTraversal: func(token string) bool { return strings.Contains(token, "../") },
		TokenHuge:      func(token string) bool { return len(token) == 1<<20 },
	} {
		world := newWorld(t, Config{})
		world.Faults().Add(Rule{What: what})
		order, err := world.client.NewOrder(t.Context(), world.account, acme.Order{Identifiers: identifiers("a.example")})
		if err != nil {
			t.Fatal(err)
		}
		authorization, err := world.client.GetAuthorization(t.Context(), world.account, order.Authorizations[0])
		if err != nil || len(authorization.Challenges) != 3 || !check(authorization.Challenges[0].Token) {
			t.Errorf("%s: %d challenges, %v", what, len(authorization.Challenges), err)
		}
	}
}

func TestHangEndsWithTheAuthority(t *testing.T) {
	world := newWorld(t, Config{})
	world.Faults().Add(Rule{At: Directory, What: Hang})
	done := make(chan error, 1)
	go func() {
		response, err := world.Client().Get(world.URL())
		if err == nil {
			response.Body.Close()
		}
		done <- err
	}()
	deadline := time.After(5 * time.Second)
	for world.Faults().Hits(Hang) == 0 {
		select {
		case err := <-done:
			t.Fatalf("ended before it hung: %v", err)
		case <-deadline:
			t.Fatal("the request never arrived")
		case <-time.After(time.Millisecond):
		}
	}
	if err := world.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-done:
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a torn connection", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the request still hangs")
	}
}
