package issue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/issue"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/testbed/authority"
)

func TestNewChecksItsConfiguration(t *testing.T) {
	whole := newWorld(t, authority.Config{}).config
	for field, cut := range map[string]func(*issue.Config){
		"Folder": func(config *issue.Config) { config.Folder = "" }, "Generations": func(config *issue.Config) { config.Generations = nil },
		"Random": func(config *issue.Config) { config.Random = nil }, "Now": func(config *issue.Config) { config.Now = nil },
	} {
		config := whole
		cut(&config)
		if _, err := issue.New(config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("without %s: %v", field, err)
		}
	}
}

// TestWholeIssuance: package plan drives the executor; one request of each kind
// that costs something.
func TestWholeIssuance(t *testing.T) {
	for name, config := range map[string]authority.Config{
		"at once":                {},
		"slow":                   {PollsUntilIssued: 3, RetryAfter: 2 * time.Second},
		"validated later":        {ValidateInBackground: true},
		"reused authorizations":  {ReuseAuthorizations: true},
		"with a list of orders":  {OrdersList: true},
		"without renewal info":   {NoRenewalInfo: true},
		"with alternate roots":   {AlternateRoots: 2},
		"with terms and website": {Terms: "https://ca.example/terms", Website: "https://ca.example"},
	} {
		t.Run(name, func(t *testing.T) {
			world := newWorld(t, config)
			held := world.held()
			issued := world.ca.Issued()
			if len(issued) != 1 || len(world.ca.Orders()) != 1 || world.ca.Accounts() != 1 {
				t.Fatalf("%d certificates, %d orders, %d accounts", len(issued), len(world.ca.Orders()), world.ca.Accounts())
			}
			leaf := issued[0].Certificate
			if held.SHA256 != cert.Fingerprint(leaf.Raw) || held.RenewalID != issued[0].RenewalID || !held.NotAfter.Equal(leaf.NotAfter) ||
				held.Order != issued[0].Order || held.Account != issued[0].Account || held.Generation != 1 || held.Authority != "first" {
				t.Errorf("held %+v", held)
			}
			stored, err := world.generations.ReadLeaf("shop", 1)
			if err != nil || !bytes.Equal(stored.Raw, leaf.Raw) {
				t.Errorf("stored %v, %v", stored, err)
			}
			key, _ := world.generations.ReadKey("shop", 1)
			if signer, err := cert.ParseKey(key); err != nil || !cert.KeyMatches(leaf, signer) {
				t.Errorf("the key does not fit: %v", err)
			}
			for _, kind := range []authority.Kind{authority.Directory, authority.Account, authority.Order, authority.Finalize, authority.Certificate} {
				if count := world.ca.Faults().Count(kind); count != 1 {
					t.Errorf("%d requests of kind %s", count, kind)
				}
			}
			if name == "reused authorizations" {
				world.row.Certificate.Asked = true
				world.until(plan.Finalize)
				if world.ca.Faults().Count(authority.Challenge) != 2 {
					t.Error("a valid authorization was offered again")
				}
			}
		})
	}
}

// TestIdentifiers: a wildcard needs dns-01 (tested there); an IP address and
// names together do not.
func TestIdentifiers(t *testing.T) {
	world := newWorld(t, authority.Config{})
	world.row.Certificate.Want.Domains = []string{"a.example.org", "127.0.0.1"}
	held := world.held()
	leaf := world.ca.Issued()[0].Certificate
	if len(leaf.IPAddresses) != 1 || len(leaf.DNSNames) != 1 || !slices.Equal(held.Domains, []string{"a.example.org", "127.0.0.1"}) {
		t.Errorf("%v %v", leaf.IPAddresses, leaf.DNSNames)
	}
}

func TestProfiles(t *testing.T) {
	world := newWorld(t, authority.Config{Profiles: map[string]authority.Profile{"short": {Validity: 160 * time.Hour}, "classic": {}}, DefaultProfile: "classic"})
	event := world.do(world.until(plan.AskAuthority))
	if !slices.Equal(event.Resource.Profiles, []string{"classic", "short"}) || !event.Resource.RenewalInfo || event.Resource.URL != "" {
		t.Errorf("%+v", event.Resource)
	}
	world.row.Certificate.Attempt = nil
	world.row.Certificate.Want.Profile = "short"
	if held := world.held(); held.NotAfter.Sub(held.NotBefore) > 161*time.Hour || held.Profile != "short" {
		t.Errorf("%+v", held)
	}
}

// TestKeyIsMadeOnce: a key that is on disk is kept, so that a kill between key and
// order loses nothing.
func TestKeyIsMadeOnce(t *testing.T) {
	world := newWorld(t, authority.Config{})
	effect := world.until(plan.MakeKey)
	first := world.do(effect)
	key, _ := world.generations.ReadKey("shop", 1)
	second := world.do(effect)
	again, _ := world.generations.ReadKey("shop", 1)
	if first.Trouble != nil || second.Trouble != nil || len(first.Resource.Request) == 0 || !bytes.Equal(key, again) || len(world.generations.writes) != 1 {
		t.Errorf("%+v %+v, written %v", first.Trouble, second.Trouble, world.generations.writes)
	}
	world.generations.broken = os.ErrPermission
	world.row.Certificate.Attempt.Generation = 2
	if event := world.do(effect); event.Trouble == nil || event.Trouble.Class != plan.Local || !event.Trouble.Permission {
		t.Errorf("%+v", event.Trouble)
	}
}

// TestAccountSurvives the process, and is found again by its key alone.
func TestAccountSurvives(t *testing.T) {
	world := newWorld(t, authority.Config{OrdersList: true})
	url := world.do(world.until(plan.NewAccount)).Resource.URL
	files, err := filepath.Glob(filepath.Join(world.folder, "first", "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	var file string
	for _, one := range files {
		info, err := os.Stat(one)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", one, info.Mode(), err)
		}
		if strings.HasSuffix(one, ".json") {
			file = one
		}
	}
	text, err := os.ReadFile(file)
	var stored map[string]string
	if err != nil || json.Unmarshal(text, &stored) != nil || stored["url"] != url || stored["directory"] != world.ca.URL() || stored["orders"] == "" || bytes.Contains(text, []byte("PRIVATE")) {
		t.Errorf("%s, %v", text, err)
	}

	world.restart()
	if event := world.do(plan.Effect{Kind: plan.AskAuthority}); event.Trouble != nil || event.Resource.URL != url {
		t.Errorf("after a restart: %+v %+v", event.Resource, event.Trouble)
	}
	if count := world.ca.Faults().Count(authority.Account); count != 1 {
		t.Errorf("%d account requests", count)
	}

	os.Remove(file)
	world.restart()
	if event := world.do(plan.Effect{Kind: plan.AskAuthority}); event.Trouble != nil || event.Resource.URL != "" {
		t.Errorf("without its file: %+v", event.Resource)
	}
	if event := world.do(plan.Effect{Kind: plan.NewAccount}); event.Trouble != nil || event.Resource.URL != url || world.ca.Accounts() != 1 {
		t.Errorf("found again: %+v %+v, %d accounts", event.Resource, event.Trouble, world.ca.Accounts())
	}

	// Without its key the file is worth nothing.
	os.Remove(strings.TrimSuffix(file, ".json") + ".key")
	world.restart()
	if event := world.do(plan.Effect{Kind: plan.AskAuthority}); event.Trouble != nil || event.Resource.URL != "" {
		t.Errorf("without its key: %+v", event.Resource)
	}

	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	world.restart()
	if event := world.do(plan.Effect{Kind: plan.AskAuthority}); event.Trouble == nil || event.Trouble.Class != plan.Local {
		t.Errorf("a damaged file: %+v", event.Trouble)
	}
}

// TestAnAccountThatTheCAForgot is registered anew with the same key.
func TestAnAccountThatTheCAForgot(t *testing.T) {
	world := newWorld(t, authority.Config{})
	effect := world.until(plan.NewOrder)
	remove := world.ca.Faults().Add(authority.Rule{At: authority.Order, What: authority.Answer, Status: 400, Problem: "accountDoesNotExist", Times: 1})
	event := world.do(effect)
	remove()
	if event.Trouble == nil || event.Trouble.Class != plan.Dead {
		t.Fatalf("%+v", event.Trouble)
	}
	if event := world.do(plan.Effect{Kind: plan.AskAuthority}); event.Resource == nil || event.Resource.URL != "" {
		t.Errorf("still known: %+v", event.Resource)
	}
	world.row.Certificate.Attempt = nil
	world.held()
	if world.ca.Accounts() != 1 {
		t.Errorf("%d accounts", world.ca.Accounts())
	}
}

// TestSharedKeyIsOne: accounts made at several CAs at the same moment have one key.
func TestSharedKeyIsOne(t *testing.T) {
	for range 20 {
		world := newWorld(t, authority.Config{})
		world.config.SharedKey = true
		for _, name := range []string{"second", "third", "fourth"} {
			other := world.config.Authorities["first"]
			other.Name = name
			world.config.Authorities[name] = other
		}
		world.restart()
		var all sync.WaitGroup
		for name := range world.config.Authorities {
			all.Add(1)
			go func() {
				defer all.Done()
				row := plan.Row{Certificate: &plan.Certificate{Name: name, Attempt: &plan.Attempt{Authority: name}}}
				if event := world.executor.Do(t.Context(), row, plan.Effect{Kind: plan.NewAccount}); event.Trouble != nil {
					t.Errorf("%s: %+v", name, event.Trouble)
				}
			}()
		}
		all.Wait()
		if accounts := world.ca.Accounts(); accounts != 1 {
			t.Fatalf("%d accounts, so as many keys", accounts)
		}
		if _, err := issue.Thumbprint(world.folder, world.config); err != nil {
			t.Error(err)
		}
	}
}

func TestExternalAccountBinding(t *testing.T) {
	const right = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
	table := []struct {
		name     string
		id, hmac string
		err      error
		none     bool
		class    plan.Class
		requests int
	}{
		{"right", "key-1", right, nil, false, "", 1},
		{"wrong key", "key-1", "d3Jvbmd3cm9uZ3dyb25nd3Jvbmd3cm9uZw", nil, false, plan.Refused, 1},
		{"unknown id", "key-2", right, nil, false, plan.Refused, 1},
		{"no base64", "key-1", "!!!", nil, false, plan.Setup, 0},
		{"unreadable", "", "", errors.New("no such file"), false, plan.Setup, 0},
		{"missing", "", "", nil, true, plan.Setup, 0},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			world := newWorld(t, authority.Config{ExternalAccountRequired: true, ExternalAccounts: map[string][]byte{"key-1": []byte("secretsecretsecretsecret")}})
			if !test.none {
				first := world.config.Authorities["first"]
				first.EAB = func(context.Context) (string, string, error) { return test.id, test.hmac, test.err }
				world.config.Authorities["first"] = first
				world.restart()
			}
			event := world.do(world.until(plan.NewAccount))
			if test.class == "" && event.Trouble != nil || test.class != "" && (event.Trouble == nil || event.Trouble.Class != test.class) {
				t.Errorf("%+v", event.Trouble)
			}
			if event.Trouble != nil && test.hmac != "" && strings.Contains(event.Trouble.Summary+event.Trouble.Detail+event.Trouble.Next, test.hmac) {
				t.Errorf("the secret is told: %+v", event.Trouble)
			}
			if count := world.ca.Faults().Count(authority.Account); count != test.requests {
				t.Errorf("%d requests", count)
			}
		})
	}
}

// TestFindOrder finds the order whose answer was lost, in a list of several
// pages, and no other one.
func TestFindOrder(t *testing.T) {
	world := newWorld(t, authority.Config{OrdersList: true, OrdersPerPage: 2})
	for range 3 {
		world.row.Certificate.Asked = true
		world.until("")
	}
	world.row.Certificate.Asked = true
	effect := world.until(plan.NewOrder)
	if event := world.do(plan.Effect{Kind: plan.FindOrder}); event.Trouble != nil || event.Resource.URL != "" {
		t.Fatalf("found one that is valid already: %+v %+v", event.Resource, event.Trouble)
	}
	world.ca.Faults().Add(authority.Rule{At: authority.Order, What: authority.ResetAfter, Times: 1})
	if event := world.do(effect); event.Trouble == nil || event.Trouble.Class != plan.Transport || !event.Trouble.MaybeDone {
		t.Fatalf("%+v", event.Trouble)
	}
	orders := world.ca.Orders()
	event := world.do(plan.Effect{Kind: plan.FindOrder})
	if event.Trouble != nil || len(orders) < 2 || event.Resource.URL != orders[len(orders)-1].URL || event.Resource.Status != plan.StatusPending || len(event.Resource.Authorizations) != 2 || event.Resource.FinalizeURL == "" {
		t.Fatalf("%+v %+v", event.Resource, event.Trouble)
	}
	world.row.Certificate.Attempt.Domains = []string{"a.example.org"}
	if event := world.do(plan.Effect{Kind: plan.FindOrder}); event.Trouble != nil || event.Resource.URL != "" {
		t.Errorf("found an order for other names: %+v", event.Resource)
	}
}

func TestFindOrderWithoutAList(t *testing.T) {
	world := newWorld(t, authority.Config{})
	world.until(plan.NewOrder)
	before := world.ca.Faults().Count(authority.Any)
	if event := world.do(plan.Effect{Kind: plan.FindOrder}); event.Trouble != nil || event.Resource.URL != "" || world.ca.Faults().Count(authority.Any) != before {
		t.Errorf("%+v %+v", event.Resource, event.Trouble)
	}
}

func TestReplaces(t *testing.T) {
	world := newWorld(t, authority.Config{})
	held := world.held()
	world.row.Certificate.Asked = true
	effect := world.until(plan.NewOrder)
	if event := world.do(effect); event.Trouble != nil {
		t.Fatalf("%+v", event.Trouble)
	}
	orders := world.ca.Orders()
	if last := orders[len(orders)-1]; last.Replaces != held.RenewalID || held.RenewalID == "" {
		t.Errorf("replaces %q, held %q", last.Replaces, held.RenewalID)
	}
	if event := world.do(effect); event.Trouble == nil || event.Trouble.Class != plan.Refused || event.Trouble.Type != "alreadyReplaced" || event.Trouble.Status != 409 {
		t.Errorf("twice: %+v", event.Trouble)
	}
}

func TestAbandonHandsAuthorizationsBack(t *testing.T) {
	world := newWorld(t, authority.Config{})
	world.until(plan.SetChallenge)
	if event := world.do(plan.Effect{Kind: plan.Abandon}); event.Trouble != nil {
		t.Fatalf("%+v", event.Trouble)
	}
	for index := range 2 {
		if event := world.do(plan.Effect{Kind: plan.GetAuth, Index: index}); event.Resource == nil || event.Resource.Status != "deactivated" {
			t.Errorf("%d: %+v %+v", index, event.Resource, event.Trouble)
		}
	}
	if status := world.ca.Orders()[0].Status; status != "invalid" {
		t.Errorf("order %s", status)
	}
	world.ca.Down()
	before := time.Now()
	if event := world.do(plan.Effect{Kind: plan.Abandon}); event.Trouble != nil || time.Since(before) > 5*time.Second {
		t.Errorf("with the CA away: %+v", event.Trouble)
	}
}

func TestRenewalInfo(t *testing.T) {
	world := newWorld(t, authority.Config{RenewalInfoPoll: 3 * time.Hour})
	held := world.held()
	event := world.do(plan.Effect{Kind: plan.GetRenewalInfo})
	if event.Trouble != nil || !event.Renewal.Start.Before(event.Renewal.End) || event.Renewal.Start.Before(held.NotBefore) || event.Renewal.End.After(held.NotAfter) {
		t.Fatalf("%+v %+v", event.Renewal, event.Trouble)
	}
	if wait := event.Renewal.RetryAfter.Sub(world.clock()); wait != 3*time.Hour {
		t.Errorf("Retry-After %s", wait)
	}
	without := newWorld(t, authority.Config{NoRenewalInfo: true})
	without.held()
	if event := without.do(plan.Effect{Kind: plan.GetRenewalInfo}); event.Trouble != nil || !event.Renewal.Unsupported {
		t.Errorf("%+v %+v", event.Renewal, event.Trouble)
	}
}

func TestRevoke(t *testing.T) {
	world := newWorld(t, authority.Config{})
	held := world.held()
	leaf, err := world.generations.ReadLeaf("shop", 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is revoked already is no trouble
		if trouble := world.executor.Revoke(t.Context(), held, leaf, 4); trouble != nil {
			t.Errorf("%+v", trouble)
		}
	}
	if reason, _, revoked := world.ca.Revoked(leaf.SerialNumber); !revoked || reason != 4 {
		t.Errorf("revoked %t for %d", revoked, reason)
	}
}

// TestLookTellsTheClock: `doctor` learns how far the CA's clock is from ours.
func TestLookTellsTheClock(t *testing.T) {
	world := newWorld(t, authority.Config{})
	world.config.Now = func() time.Time { return world.clock().Add(-90 * time.Minute) }
	world.restart()
	if ahead, trouble := world.executor.Look(t.Context(), "first"); trouble != nil || ahead.Round(time.Minute) != 90*time.Minute {
		t.Errorf("%s, %+v", ahead, trouble)
	}
	if _, trouble := world.executor.Look(t.Context(), "none"); trouble == nil || trouble.Class != plan.Setup {
		t.Errorf("%+v", trouble)
	}
}

// TestSolverFailures are the solver's, with the name; and a solver that left the
// configuration is said so.
func TestSolverFailures(t *testing.T) {
	world := newWorld(t, authority.Config{})
	effect := world.until(plan.SetChallenge)
	world.answers.broken = errors.New("folder is read only")
	if event := world.do(effect); event.Trouble == nil || event.Trouble.Class != plan.SolverFault || event.Trouble.Identifier != "a.example.org" || !strings.Contains(event.Trouble.Summary, "folder is read only") {
		t.Errorf("set: %+v", event.Trouble)
	}
	if event := world.do(plan.Effect{Kind: plan.CheckChallenge}); event.Trouble == nil || event.Trouble.Class != plan.SolverFault {
		t.Errorf("check: %+v", event.Trouble)
	}
	challenge := plan.Row{Challenge: &plan.Challenge{Name: "shop", Authority: "first", Solver: "web", Type: "http-01", Token: "t", Identifier: "a.example.org"}}
	if event := world.executor.Do(t.Context(), challenge, plan.Effect{Kind: plan.Clean}); event.Trouble == nil || event.Trouble.Class != plan.SolverFault {
		t.Errorf("clean: %+v", event.Trouble)
	}
	challenge.Challenge.Solver = "gone"
	if event := world.executor.Do(t.Context(), challenge, plan.Effect{Kind: plan.Clean}); event.Trouble == nil || !strings.Contains(event.Trouble.Summary, "not configured") {
		t.Errorf("gone: %+v", event.Trouble)
	}
}

// TestEffectWithoutItsAttempt is trouble, not a panic.
func TestEffectWithoutItsAttempt(t *testing.T) {
	world := newWorld(t, authority.Config{})
	for _, kind := range []plan.EffectKind{plan.NewOrder, plan.Collect, "unknown"} {
		if event := world.do(plan.Effect{Kind: kind}); event.Trouble == nil || event.Trouble.Class != plan.Dead {
			t.Errorf("%s: %+v", kind, event.Trouble)
		}
	}
	world.row.Certificate.Attempt = &plan.Attempt{Authority: "gone"}
	if event := world.do(plan.Effect{Kind: plan.NewOrder}); event.Trouble == nil || event.Trouble.Class != plan.Setup {
		t.Errorf("%+v", event.Trouble)
	}
}
