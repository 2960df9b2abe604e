package issue_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/issue"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/testbed/authority"
)

// asked are the effects that ask the CA, and the kind of request each is.
var asked = []struct {
	effect plan.EffectKind
	kind   authority.Kind
}{
	{plan.AskAuthority, authority.Directory},
	{plan.NewAccount, authority.Account},
	{plan.NewOrder, authority.Order},
	{plan.GetAuth, authority.Authorization},
	{plan.OfferChallenge, authority.Challenge},
	{plan.Finalize, authority.Finalize},
	{plan.PollOrder, authority.PollOrder},
	{plan.Collect, authority.Certificate},
	{plan.GetRenewalInfo, authority.RenewalInfo},
}

// TestEveryFaultAtEveryEffect: the trouble is classed, says whether it may have
// been done, obeys the CA's word on when to come back, and exactly one request
// arrived: nothing was repeated behind package plan's back. Each fault happens
// once, so that a hidden repetition would succeed and show itself.
func TestEveryFaultAtEveryEffect(t *testing.T) {
	const later = 2 * time.Minute
	faults := []struct {
		name   string
		rule   authority.Rule
		class  plan.Class
		done   bool // MaybeDone
		retry  bool
		except map[plan.EffectKind]plan.Class // "": no trouble
	}{
		{"500", authority.Rule{What: authority.Answer, Status: 500}, plan.ServerError, false, false, nil},
		{"500 with a problem", authority.Rule{What: authority.Answer, Status: 500, Problem: "serverInternal"}, plan.ServerError, false, false, nil},
		{"503 with Retry-After", authority.Rule{What: authority.Answer, Status: 503, RetryAfter: later}, plan.ServerError, false, true, nil},
		{"429 with Retry-After", authority.Rule{What: authority.Answer, Status: 429, Problem: "rateLimited", RetryAfter: later}, plan.RateLimited, false, true, nil},
		{"429 without a problem", authority.Rule{What: authority.Answer, Status: 429, RetryAfter: later}, plan.RateLimited, false, true, nil},
		{"403", authority.Rule{What: authority.Answer, Status: 403, Problem: "unauthorized"}, plan.Refused, false, false, map[plan.EffectKind]plan.Class{plan.AskAuthority: plan.Setup}},
		{"404", authority.Rule{What: authority.Answer, Status: 404, Problem: "malformed"}, plan.Dead, false, false, map[plan.EffectKind]plan.Class{plan.AskAuthority: plan.Setup}},
		{"hang", authority.Rule{What: authority.Hang}, plan.Transport, true, false, nil},
		{"reset before", authority.Rule{What: authority.ResetBefore}, plan.Transport, true, false, nil},
		{"reset after", authority.Rule{What: authority.ResetAfter}, plan.Transport, true, false, nil},
		{"truncated", authority.Rule{What: authority.Truncate}, plan.Transport, true, false, nil},
		{"redirect to http", authority.Rule{What: authority.Redirect, URL: "http://192.0.2.1/"}, plan.Transport, true, false, nil},
		{"hostile text", authority.Rule{What: authority.HostileText}, plan.Refused, false, false, map[plan.EffectKind]plan.Class{plan.AskAuthority: plan.Setup, plan.OfferChallenge: ""}},
		{"garbage", authority.Rule{What: authority.Garbage}, plan.ServerError, true, false, map[plan.EffectKind]plan.Class{plan.AskAuthority: plan.Setup, plan.OfferChallenge: ""}},
	}
	for _, one := range asked {
		for _, fault := range faults {
			t.Run(string(one.effect)+" "+fault.name, func(t *testing.T) {
				t.Parallel()
				world := newWorld(t, authority.Config{PollsUntilIssued: 1})
				effect := world.before(one.effect)
				if fault.rule.What == authority.Hang {
					world.config.CallTimeout = 300 * time.Millisecond
					world.restart()
				}
				rule := fault.rule
				rule.At, rule.Times = one.kind, 1
				world.ca.Faults().Add(rule)
				before := world.ca.Faults().Count(one.kind)
				event := world.do(effect)
				arrived := world.ca.Faults().Count(one.kind) - before
				if world.ca.Faults().Hits(rule.What) != 1 {
					t.Fatal("the fault did not happen")
				}
				if one.effect == plan.GetRenewalInfo && arrived == 2 && event.Trouble == nil {
					return // net/http repeats a GET by itself when a connection that was kept has died
				}
				if arrived != 1 {
					t.Errorf("%d requests arrived", arrived)
				}
				class, special := fault.except[one.effect]
				if !special {
					class = fault.class
				}
				if class == "" {
					if event.Trouble != nil {
						t.Errorf("%+v", event.Trouble)
					}
					return
				}
				trouble := event.Trouble
				if trouble == nil || trouble.Class != class {
					t.Fatalf("want %s, got %+v", class, trouble)
				}
				if wait := trouble.RetryAfter.Sub(world.clock()); fault.retry && wait != later || !fault.retry && !trouble.RetryAfter.IsZero() {
					t.Errorf("come back after %s", wait)
				}
				if matters := one.effect == plan.NewOrder || one.effect == plan.Finalize; matters && trouble.MaybeDone != fault.done {
					t.Errorf("maybe done: %t", trouble.MaybeDone)
				}
				if trouble.Summary == "" || event.Effect != one.effect {
					t.Errorf("summary %q of %s", trouble.Summary, event.Effect)
				}
				if len(world.generations.files) > 0 && one.effect == plan.Collect {
					if _, err := world.generations.ReadLeaf("shop", 1); err == nil {
						t.Error("something was stored")
					}
				}
			})
		}
	}
}

// before brings the world to the instant at which the effect is next.
func (world *world) before(kind plan.EffectKind) plan.Effect {
	world.t.Helper()
	if kind == plan.GetRenewalInfo {
		world.held()
		return plan.Effect{Kind: kind}
	}
	return world.until(kind)
}

// TestCAIsDown: what could not even be dialled was certainly not done.
func TestCAIsDown(t *testing.T) {
	for _, kind := range []plan.EffectKind{plan.AskAuthority, plan.NewOrder, plan.Finalize} {
		world := newWorld(t, authority.Config{})
		effect := world.until(kind)
		world.restart() // without the connections of before
		if err := world.ca.Down(); err != nil {
			t.Fatal(err)
		}
		event := world.do(effect)
		if event.Trouble == nil || event.Trouble.Class != plan.Transport || event.Trouble.MaybeDone || event.Trouble.Reachable {
			t.Errorf("%s: %+v", kind, event.Trouble)
		}
		if err := world.ca.Up(); err != nil {
			t.Fatal(err)
		}
		world.held()
	}
}

// TestANonceThatDoesNotCome leaves nothing done.
func TestANonceThatDoesNotCome(t *testing.T) {
	for name, rule := range map[string]authority.Rule{
		"reset": {What: authority.ResetBefore}, "500": {What: authority.Answer, Status: 500}, "hang": {What: authority.Hang},
	} {
		world := newWorld(t, authority.Config{})
		effect := world.until(plan.NewOrder)
		world.config.CallTimeout = 300 * time.Millisecond
		world.restart() // without nonces
		rule.At = authority.Nonce
		world.ca.Faults().Add(rule)
		event := world.do(effect)
		if event.Trouble == nil || event.Trouble.MaybeDone || event.Trouble.Class == plan.Refused || world.ca.Faults().Count(authority.Order) != 0 {
			t.Errorf("%s: %+v, %d orders", name, event.Trouble, world.ca.Faults().Count(authority.Order))
		}
	}
}

// TestBadNonces are the one thing that is repeated at once, and not for ever
// (RFC 8555 section 6.5).
func TestBadNonces(t *testing.T) {
	world := newWorld(t, authority.Config{})
	effect := world.until(plan.NewOrder)
	remove := world.ca.Faults().Add(authority.Rule{At: authority.Order, What: authority.BadNonce, Times: 2})
	if event := world.do(effect); event.Trouble != nil || world.ca.Faults().Count(authority.Order) != 3 || len(world.ca.Orders()) != 1 {
		t.Errorf("two: %+v, %d requests, %d orders", event.Trouble, world.ca.Faults().Count(authority.Order), len(world.ca.Orders()))
	}
	remove()
	world.ca.Faults().Add(authority.Rule{At: authority.Order, What: authority.BadNonce})
	event := world.do(effect)
	if event.Trouble == nil || event.Trouble.Class != plan.ServerError || event.Trouble.MaybeDone || event.Trouble.Type != "badNonce" {
		t.Errorf("for ever: %+v", event.Trouble)
	}
	if count := world.ca.Faults().Count(authority.Order) - 3; count < 2 || count > 10 || len(world.ca.Orders()) != 1 {
		t.Errorf("for ever: %d requests, %d orders", count, len(world.ca.Orders()))
	}
}

// TestABadNonceThenSilence: the last word counts.
func TestABadNonceThenSilence(t *testing.T) {
	world := newWorld(t, authority.Config{})
	effect := world.until(plan.NewOrder)
	world.ca.Faults().Add(authority.Rule{At: authority.Order, What: authority.BadNonce, Times: 1})
	world.ca.Faults().Add(authority.Rule{At: authority.Order, What: authority.ResetAfter, Times: 1})
	event := world.do(effect)
	if event.Trouble == nil || event.Trouble.Class != plan.Transport || !event.Trouble.MaybeDone || len(world.ca.Orders()) != 1 {
		t.Errorf("%+v, %d orders", event.Trouble, len(world.ca.Orders()))
	}
}

// TestRedirectsAreNotFollowed, wherever they lead.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var visits atomic.Int64
	visit := http.HandlerFunc(func(writer http.ResponseWriter, _ *http.Request) { visits.Add(1); writer.Write([]byte("{}")) })
	plain, secured := httptest.NewServer(visit), httptest.NewTLSServer(visit)
	defer plain.Close()
	defer secured.Close()
	for _, one := range asked {
		for _, target := range []string{plain.URL, secured.URL} {
			world := newWorld(t, authority.Config{PollsUntilIssued: 1})
			effect := world.before(one.effect)
			world.ca.Faults().Add(authority.Rule{At: one.kind, What: authority.Redirect, URL: target, Times: 1})
			if event := world.do(effect); event.Trouble == nil || event.Trouble.Class != plan.Transport || !strings.Contains(event.Trouble.Summary, "redirect") {
				t.Errorf("%s: %+v", one.effect, event.Trouble)
			}
		}
	}
	if visits.Load() != 0 {
		t.Errorf("%d redirects were followed", visits.Load())
	}
}

// TestWrongCertificates are not stored, and say what is wrong.
func TestWrongCertificates(t *testing.T) {
	table := []struct {
		what authority.What
		at   authority.Kind
		says string
	}{
		{authority.WrongKey, authority.Finalize, "key"},
		{authority.WrongNames, authority.Finalize, "example.org"},
		{authority.Expired, authority.Finalize, ""},
		{authority.ChainReversed, authority.Certificate, ""},
		{authority.ChainForeign, authority.Certificate, ""},
		{authority.ChainWithKey, authority.Certificate, ""},
	}
	for _, test := range table {
		t.Run(string(test.what), func(t *testing.T) {
			world := newWorld(t, authority.Config{})
			world.ca.Faults().Add(authority.Rule{At: test.at, What: test.what, Times: 1})
			event := world.do(world.until(plan.Collect))
			if world.ca.Faults().Hits(test.what) != 1 {
				t.Fatal("the fault did not happen")
			}
			if event.Trouble == nil || event.Trouble.Class != plan.WrongCertificate || event.Issued != nil || !strings.Contains(event.Trouble.Detail, test.says) || event.Trouble.Detail == "" {
				t.Errorf("%+v", event.Trouble)
			}
			if !slices.Equal(world.generations.writes, []string{"shop/1/key"}) {
				t.Errorf("written: %v", world.generations.writes)
			}
		})
	}
}

// TestOrderFaults of the CA itself.
func TestOrderFaults(t *testing.T) {
	world := newWorld(t, authority.Config{PollsUntilIssued: 1})
	effect := world.until(plan.Finalize)
	world.ca.Faults().Add(authority.Rule{What: authority.OrderInvalid, Times: 1})
	event := world.do(effect)
	if event.Trouble != nil {
		t.Fatalf("%+v", event.Trouble)
	}
	if event.Resource.Status != plan.StatusInvalid {
		event = world.do(plan.Effect{Kind: plan.PollOrder})
	}
	if event.Resource == nil || event.Resource.Status != plan.StatusInvalid || event.Resource.Error == nil || event.Resource.Error.Class != plan.Dead {
		t.Errorf("%+v %+v", event.Resource, event.Trouble)
	}
	// Finalizing again is refused, and the authority counts that it was not done twice.
	if event := world.do(effect); event.Trouble == nil || event.Trouble.Class != plan.Refused {
		t.Errorf("%+v", event.Trouble)
	}
	for url, counts := range world.ca.FinalizeRequests() {
		if counts.Accepted > 1 {
			t.Errorf("%s: %+v", url, counts)
		}
	}
}

// TestBadTokens never become a challenge, so never a file name.
func TestBadTokens(t *testing.T) {
	for _, what := range []authority.What{authority.TokenTraversal, authority.TokenHuge} {
		world := newWorld(t, authority.Config{})
		world.ca.Faults().Add(authority.Rule{At: authority.Order, What: what, Times: 1})
		event := world.do(world.until(plan.GetAuth))
		if event.Trouble == nil || event.Resource != nil || len(world.answers.set) != 0 {
			t.Errorf("%s: %+v, %+v", what, event.Trouble, event.Resource)
		}
		if what == authority.TokenTraversal && event.Trouble.Class != plan.Refused {
			t.Errorf("%s: %+v", what, event.Trouble)
		}
		if len(event.Trouble.Summary)+len(event.Trouble.Detail) > 2000 {
			t.Errorf("%s: trouble of %d characters", what, len(event.Trouble.Summary)+len(event.Trouble.Detail))
		}
	}
}

// TestValidationRefused carries the CA's reason and the name.
func TestValidationRefused(t *testing.T) {
	world := newWorld(t, authority.Config{})
	world.until(plan.OfferChallenge)
	world.answers.mutex.Lock()
	clear(world.answers.set)
	world.answers.mutex.Unlock()
	if event := world.do(plan.Effect{Kind: plan.OfferChallenge, Index: 1}); event.Trouble != nil {
		t.Fatalf("%+v", event.Trouble)
	}
	event := world.do(plan.Effect{Kind: plan.GetAuth, Index: 1})
	if event.Trouble != nil || event.Resource.Status != plan.StatusInvalid || event.Resource.Error == nil || event.Resource.Error.Identifier != "b.example.org" || event.Resource.Error.Detail == "" {
		t.Errorf("%+v %+v", event.Resource, event.Trouble)
	}
}

// liar is a CA that checks nothing and sends what it is told to.
func liar(t *testing.T, bodies map[string]string, header http.Header) *issue.Executor {
	t.Helper()
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Replay-Nonce", "bm9uY2U")
		writer.Header().Set("Content-Type", "application/json")
		for name, values := range header {
			writer.Header()[name] = values
		}
		body, known := bodies[request.URL.Path]
		switch {
		case request.URL.Path == "/directory" && !known:
			fmt.Fprintf(writer, `{"newNonce":"%[1]s/nonce","newAccount":"%[1]s/account","newOrder":"%[1]s/order","renewalInfo":"%[1]s/ari"}`, server.URL)
		case request.Method == http.MethodHead:
		case known:
			writer.Write([]byte(strings.ReplaceAll(body, "SELF", server.URL)))
		default:
			http.NotFound(writer, request)
		}
	}))
	t.Cleanup(server.Close)
	world := newWorld(t, authority.Config{})
	world.config.Authorities["first"] = issue.Authority{Name: "first", Directory: server.URL + "/directory", InsecureTestCA: true}
	world.restart()
	return world.executor
}

func attempt(edit func(*plan.Attempt)) plan.Row {
	made := &plan.Attempt{Number: 1, Generation: 1, Authority: "first", Domains: []string{"a.example.org"}, Key: "ecdsa-p256"}
	edit(made)
	return plan.Row{Certificate: &plan.Certificate{Name: "shop", Attempt: made, Held: &plan.Held{Authority: "first", RenewalID: "aa.bb"}}}
}

// TestLies: addresses elsewhere are not visited, and huge or wrong answers are
// bounded and classed.
func TestLies(t *testing.T) {
	elsewhere := attempt(func(attempt *plan.Attempt) {
		attempt.Order = plan.Order{URL: "https://192.0.2.1/order/1", Status: plan.StatusReady, FinalizeURL: "https://192.0.2.1/finalize", Certificate: "https://192.0.2.1/certificate"}
		attempt.Authorizations = []plan.Authorization{{URL: "https://192.0.2.1/authorization", Challenge: "file:///etc/passwd", Status: plan.StatusPending}}
		attempt.Request = []byte("x")
	})
	ordinary := attempt(func(*plan.Attempt) {})
	location := http.Header{"Location": {"https://192.0.2.1/order/1"}}
	table := []struct {
		name   string
		bodies map[string]string
		header http.Header
		row    plan.Row
		effect plan.EffectKind
		class  plan.Class // "": no trouble
	}{
		{"an order elsewhere is stored as an address only", map[string]string{"/order": `{"status":"pending"}`}, location, ordinary, plan.NewOrder, ""},
		{"and never polled", nil, nil, elsewhere, plan.PollOrder, plan.Refused},
		{"nor read", nil, nil, elsewhere, plan.GetAuth, plan.Refused},
		{"nor offered", nil, nil, elsewhere, plan.OfferChallenge, plan.Refused},
		{"nor finalized", nil, nil, elsewhere, plan.Finalize, plan.Refused},
		{"nor downloaded", nil, nil, elsewhere, plan.Collect, plan.Refused},
		{"an order without an address", map[string]string{"/order": `{"status":"pending"}`}, nil, ordinary, plan.NewOrder, plan.ServerError},
		{"a huge order", map[string]string{"/order": `{"status":"` + strings.Repeat("x", 2<<20) + `"}`}, location, ordinary, plan.NewOrder, plan.Transport},
		{"an account without an address", map[string]string{"/account": `{"status":"valid"}`}, nil, ordinary, plan.NewAccount, plan.ServerError},
		{"an account that is deactivated", map[string]string{"/account": `{"status":"deactivated"}`}, location, ordinary, plan.NewAccount, plan.Setup},
		{"a directory that names nothing", map[string]string{"/directory": `{}`}, nil, ordinary, plan.NewOrder, ""},
		{"a directory of another type is no answer to a poll", nil, http.Header{"Content-Type": {"text/html"}}, ordinary, plan.PollOrder, plan.Setup},
		{"nor to an offer", nil, http.Header{"Content-Type": {"text/html"}}, attempt(func(attempt *plan.Attempt) { attempt.Authorizations = []plan.Authorization{{}} }), plan.OfferChallenge, plan.Setup},
		{"a directory that is a page", map[string]string{"/directory": `<html>`}, nil, ordinary, plan.AskAuthority, plan.Setup},
		{"a huge directory", map[string]string{"/directory": strings.Repeat(" ", 2<<20)}, nil, ordinary, plan.AskAuthority, plan.Transport},
		{"a directory that points elsewhere", map[string]string{"/directory": `{"newNonce":"https://192.0.2.1/nonce","newAccount":"https://192.0.2.1/account","newOrder":"https://192.0.2.1/order"}`}, nil, ordinary, plan.NewOrder, plan.Refused},
		{"a window that is turned round", map[string]string{"/ari/aa.bb": `{"suggestedWindow":{"start":"2031-01-02T00:00:00Z","end":"2031-01-01T00:00:00Z"}}`}, nil, ordinary, plan.GetRenewalInfo, plan.ServerError},
		{"a window that is none", map[string]string{"/ari/aa.bb": `[]`}, nil, ordinary, plan.GetRenewalInfo, plan.ServerError},
		{"a window", map[string]string{"/ari/aa.bb": `{"suggestedWindow":{"start":"2031-01-01T00:00:00Z","end":"2031-01-02T00:00:00Z"}}`}, nil, ordinary, plan.GetRenewalInfo, ""},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			began := time.Now()
			event := liar(t, test.bodies, test.header).Do(t.Context(), test.row, plan.Effect{Kind: test.effect})
			if test.name == "a directory that names nothing" {
				if event.Trouble == nil {
					t.Error("no trouble")
				}
				return
			}
			if test.class == "" && event.Trouble != nil || test.class != "" && (event.Trouble == nil || event.Trouble.Class != test.class) {
				t.Errorf("want %q, got %+v", test.class, event.Trouble)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			if event.Trouble != nil && len(event.Trouble.Summary)+len(event.Trouble.Detail) > 2000 {
				t.Errorf("trouble of %d characters", len(event.Trouble.Summary)+len(event.Trouble.Detail))
			}
		})
	}
}

// TestRetryAfterIsBounded: a CA that says "next year" is not believed, one that
// says nonsense not heard.
func TestRetryAfterIsBounded(t *testing.T) {
	body := map[string]string{"/ari/aa.bb": `{"suggestedWindow":{"start":"2031-01-01T00:00:00Z","end":"2031-01-02T00:00:00Z"}}`}
	for text, want := range map[string]time.Duration{
		"60": time.Minute, "99999999999": 7 * 24 * time.Hour, "-5": -1, "soon": -1, "1e9": -1,
		start.Add(time.Hour).Format(http.TimeFormat): time.Hour, start.AddDate(10, 0, 0).Format(http.TimeFormat): 7 * 24 * time.Hour,
	} {
		event := liar(t, body, http.Header{"Retry-After": {text}}).Do(t.Context(), attempt(func(*plan.Attempt) {}), plan.Effect{Kind: plan.GetRenewalInfo})
		if event.Trouble != nil {
			t.Fatalf("%q: %+v", text, event.Trouble)
		}
		got := time.Duration(-1)
		if !event.Renewal.RetryAfter.IsZero() {
			got = event.Renewal.RetryAfter.Sub(start)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
