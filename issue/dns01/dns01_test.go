package dns01_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/issue"
	"github.com/backstay/backstay/issue/dns01"
	"github.com/backstay/backstay/testbed/authority"
	"github.com/backstay/backstay/testbed/nameserver"
)

const secret = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U="

func start(t *testing.T) *nameserver.Server {
	t.Helper()
	server, err := nameserver.Start(nameserver.Config{
		Zones: []nameserver.Zone{
			{Name: "example.org", Records: []string{`_acme-challenge.a.example.org. 60 IN TXT "foreign"`, "ns1.example.org. 60 IN A 127.0.0.1"}},
			{Name: "sub.example.org"},
		},
		Keys: []nameserver.Key{{Name: "backstay", Secret: secret}, {Name: "strong", Algorithm: "hmac-sha512", Secret: secret}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

func config(server *nameserver.Server) dns01.Config {
	return dns01.Config{
		Server: server.Address().String(), KeyName: "Backstay", CheckAt: []string{server.Address().String()}, Timeout: 2 * time.Second,
		Secret: func(context.Context) (string, error) { return secret + "\n", nil },
	}
}

func solver(t *testing.T, config dns01.Config) *dns01.Solver {
	t.Helper()
	made, err := dns01.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func answer(identifier, text string) issue.Answer {
	return issue.Answer{Identifier: identifier, Type: "dns-01", Token: text, KeyAuthorization: text}
}

// value is RFC 8555 section 8.4.
func value(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func sorted(values ...string) []string { slices.Sort(values); return values }

func TestNewChecksItsConfiguration(t *testing.T) {
	if _, err := dns01.New(dns01.Config{}); err == nil || !strings.Contains(err.Error(), "Server") {
		t.Errorf("%v", err)
	}
	if _, err := dns01.New(dns01.Config{Server: "127.0.0.1:53", KeyName: "k"}); err == nil || !strings.Contains(err.Error(), "Secret") {
		t.Errorf("%v", err)
	}
}

// TestValuesOfOthersStay: ours is added beside them and taken away alone, also
// when a name and its wildcard need two at once.
func TestValuesOfOthersStay(t *testing.T) {
	server := start(t)
	ours := solver(t, config(server))
	const name = "_acme-challenge.a.example.org."
	for range 2 {
		if err := ours.Set(t.Context(), answer("a.example.org", "one")); err != nil {
			t.Fatal(err)
		}
	}
	if err := ours.Set(t.Context(), answer("a.example.org", "two")); err != nil {
		t.Fatal(err)
	}
	if got := server.Records(name, "TXT"); !slices.Equal(got, sorted("foreign", value("one"), value("two"))) {
		t.Errorf("set: %q", got)
	}
	for _, text := range []string{"one", "two"} {
		if err := ours.Check(t.Context(), answer("a.example.org", text)); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		if err := ours.Clean(t.Context(), answer("a.example.org", "one")); err != nil {
			t.Fatal(err)
		}
	}
	if got := server.Records(name, "TXT"); !slices.Equal(got, sorted("foreign", value("two"))) {
		t.Errorf("cleaned: %q", got)
	}
	if err := ours.Check(t.Context(), answer("a.example.org", "one")); err == nil {
		t.Error("seen although it was taken away")
	}
	if err := ours.Clean(t.Context(), answer("never.example.org", "x")); err != nil {
		t.Errorf("nothing to clean: %v", err)
	}
}

// TestZoneIsFound: the longest that the server has, whatever the name.
func TestZoneIsFound(t *testing.T) {
	server := start(t)
	ours := solver(t, config(server))
	for identifier, name := range map[string]string{
		"example.org": "_acme-challenge.example.org.", "deep.er.example.org": "_acme-challenge.deep.er.example.org.", "x.sub.example.org": "_acme-challenge.x.sub.example.org.",
	} {
		if err := ours.Set(t.Context(), answer(identifier, "x")); err != nil {
			t.Errorf("%s: %v", identifier, err)
		}
		if got := server.Records(name, "TXT"); !slices.Equal(got, []string{value("x")}) {
			t.Errorf("%s: %q", identifier, got)
		}
	}
	if err := ours.Set(t.Context(), answer("a.example.net", "x")); err == nil || !strings.Contains(err.Error(), "no zone") {
		t.Errorf("a name of nobody: %v", err)
	}
	named := config(server)
	named.Zone = "example.org"
	if err := solver(t, named).Set(t.Context(), answer("y.example.org", "x")); err != nil {
		t.Errorf("a zone by name: %v", err)
	}
}

func TestUpdateRefused(t *testing.T) {
	server := start(t)
	for name, change := range map[string]func(*dns01.Config){
		"unknown key":     func(config *dns01.Config) { config.KeyName = "stranger" },
		"wrong secret":    func(config *dns01.Config) { config.Secret = give("d3Jvbmd3cm9uZ3dyb25nd3Jvbmc=", nil) },
		"wrong algorithm": func(config *dns01.Config) { config.Algorithm = "hmac-sha512" },
		"unsigned":        func(config *dns01.Config) { config.KeyName = "" },
		"no secret":       func(config *dns01.Config) { config.Secret = give("", errors.New("the file is gone")) },
	} {
		changed := config(server)
		change(&changed)
		err := solver(t, changed).Set(t.Context(), answer("b.example.org", "x"))
		if err == nil {
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "d3Jvbmd3") {
			t.Errorf("%s: the secret is told: %v", name, err)
		}
	}
	if server.Updates() != 0 || len(server.Records("_acme-challenge.b.example.org.", "TXT")) != 0 {
		t.Errorf("%d updates", server.Updates())
	}
	strong := config(server)
	strong.KeyName, strong.Algorithm = "strong", "hmac-sha512"
	if err := solver(t, strong).Set(t.Context(), answer("b.example.org", "x")); err != nil {
		t.Errorf("another algorithm: %v", err)
	}
}

func give(text string, err error) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return text, err }
}

func TestServerFaults(t *testing.T) {
	for _, what := range []nameserver.What{nameserver.ServerFailure, nameserver.Refuse, nameserver.Drop} {
		server := start(t)
		changed := config(server)
		changed.Timeout = 200 * time.Millisecond
		ours := solver(t, changed)
		remove := server.AddFault(nameserver.Fault{What: what})
		if err := ours.Set(t.Context(), answer("b.example.org", "x")); err == nil {
			t.Errorf("%s: set", what)
		}
		if err := ours.Check(t.Context(), answer("b.example.org", "x")); err == nil {
			t.Errorf("%s: seen", what)
		}
		remove()
		if err := ours.Set(t.Context(), answer("b.example.org", "x")); err != nil {
			t.Errorf("%s: afterwards: %v", what, err)
		}
	}
}

// TestEveryServerIsAsked: one that lags is one that a CA may ask.
func TestEveryServerIsAsked(t *testing.T) {
	server := start(t)
	late, err := server.Another()
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	late.ShowLate(2)
	both := config(server)
	both.CheckAt = append(both.CheckAt, late.Address().String())
	ours := solver(t, both)
	if err := ours.Set(t.Context(), answer("b.example.org", "x")); err != nil {
		t.Fatal(err)
	}
	for look := 1; look <= 3; look++ {
		err := ours.Check(t.Context(), answer("b.example.org", "x"))
		if seen := look == 3; seen != (err == nil) || !seen && !strings.Contains(err.Error(), late.Address().String()) {
			t.Errorf("look %d: %v", look, err)
		}
	}
	if asked := late.Queries("_acme-challenge.b.example.org", "TXT"); asked != 3 {
		t.Errorf("the late server was asked %d times", asked)
	}
}

// TestValidatedByACA, a wildcard and its name together.
func TestValidatedByACA(t *testing.T) {
	server := start(t)
	ca, err := authority.New(authority.Config{Network: server})
	if err != nil {
		t.Fatal(err)
	}
	defer ca.Close()
	ours := solver(t, config(server))
	key, err := cert.GenerateKey("ecdsa-p256", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	client := &acme.Client{Directory: ca.URL(), HTTPClient: ca.Client(), PollInterval: time.Millisecond, PollTimeout: 5 * time.Second}
	account, err := client.NewAccount(t.Context(), acme.Account{PrivateKey: key})
	if err != nil {
		t.Fatal(err)
	}
	order, err := client.NewOrder(t.Context(), account, acme.Order{Identifiers: []acme.Identifier{{Type: "dns", Value: "a.example.org"}, {Type: "dns", Value: "*.a.example.org"}}})
	if err != nil {
		t.Fatal(err)
	}
	var challenges []acme.Challenge
	var answers []issue.Answer
	for _, url := range order.Authorizations {
		authorization, err := client.GetAuthorization(t.Context(), account, url)
		if err != nil {
			t.Fatal(err)
		}
		for _, challenge := range authorization.Challenges {
			if challenge.Type == "dns-01" {
				challenges = append(challenges, challenge)
				answers = append(answers, issue.Answer{Identifier: authorization.Identifier.Value, Type: "dns-01", Token: challenge.Token, KeyAuthorization: challenge.KeyAuthorization})
			}
		}
	}
	if len(answers) != 2 || answers[0].Identifier != "a.example.org" || answers[1].Identifier != "a.example.org" {
		t.Fatalf("%+v", answers)
	}
	for _, one := range answers {
		if err := ours.Set(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		if err := ours.Check(t.Context(), one); err != nil {
			t.Error(err)
		}
	}
	for _, challenge := range challenges {
		if _, err := client.InitiateChallenge(t.Context(), account, challenge); err != nil {
			t.Fatal(err)
		}
	}
	if order, err = client.GetOrder(t.Context(), account, order); err != nil || order.Status != "ready" {
		t.Errorf("%s, %v", order.Status, err)
	}
	for _, one := range answers {
		if err := ours.Clean(t.Context(), one); err != nil {
			t.Error(err)
		}
	}
	if left := server.Records("_acme-challenge.a.example.org", "TXT"); !slices.Equal(left, []string{"foreign"}) {
		t.Errorf("left: %q", left)
	}
}
