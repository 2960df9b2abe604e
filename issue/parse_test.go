package issue

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/plan"
)

// FuzzAnswers: whatever a CA sends is read or refused, never a panic; what is
// kept of it is bounded.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"status":"pending","authorizations":["https://ca.test/a"],"finalize":"https://ca.test/f"}`), "60")
	f.Add([]byte(`{"status":"invalid","error":{"type":"urn:ietf:params:acme:error:dns","subproblems":[{"identifier":{"value":"x"}}]}}`), "")
	f.Add([]byte(`{"suggestedWindow":{"start":"2031-01-01T00:00:00Z","end":"2031-01-02T00:00:00Z"}}`), "Sat, 01 Mar 2031 13:00:00 GMT")
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"), "99999999999999999999")
	f.Add([]byte(`null`), "-1")
	now := time.Date(2031, 3, 1, 12, 0, 0, 0, time.UTC)
	at := &client{executor: &Executor{cfg: Config{Now: func() time.Time { return now }}}, authority: Authority{Name: "first"}}
	f.Fuzz(func(t *testing.T, body []byte, retry string) {
		one := &call{status: 200, header: http.Header{"Retry-After": {retry}, "Location": {"https://ca.test/order"}, "Link": {string(body)}}, body: body}
		resource, trouble := at.order(one, "")
		if (resource == nil) == (trouble == nil) {
			t.Fatal("an order is read or refused")
		}
		if resource != nil && resource.RetryAfter.After(now.Add(retryAfterLimit)) {
			t.Fatalf("come back at %s", resource.RetryAfter)
		}
		info, trouble := at.readRenewalInfo(one)
		if (info == nil) == (trouble == nil) || info != nil && !info.Start.Before(info.End) {
			t.Fatal("a window is usable or refused")
		}
		if chain, trouble := at.check(body, nil, &plan.Attempt{Domains: []string{"a.test"}}); trouble == nil || chain != nil {
			t.Fatal("a certificate for no key was taken")
		}
		nextLink(one.header)
		if token := string(body); isToken(token) && (len(token) > tokenLengthLimit || strings.ContainsAny(token, "/.\\\x00 =+")) {
			t.Fatalf("taken for a token: %q", token)
		}
	})
}

func TestIsToken(t *testing.T) {
	for token, want := range map[string]bool{
		"LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0": true, "a-b_C9": true,
		"": false, "../x": false, "a/b": false, "a.b": false, "a=": false, "a b": false, "a\x00": false, "ä": false, strings.Repeat("a", 257): false,
	} {
		if isToken(token) != want {
			t.Errorf("%q: %t", token, !want)
		}
	}
}

// TestIsPinned: every request stays on the directory's host and scheme.
func TestIsPinned(t *testing.T) {
	table := []struct {
		directory string
		insecure  bool
		target    string
		allowed   bool
	}{
		{"https://ca.example/dir", false, "https://ca.example/order/1", true},
		{"https://ca.example/dir", false, "http://ca.example/order/1", false},
		{"https://ca.example/dir", true, "http://ca.example/order/1", false},
		{"https://ca.example/dir", false, "https://ca.example:8443/order/1", false},
		{"https://ca.example/dir", false, "https://evil.example/order/1", false},
		{"https://ca.example/dir", false, "https://ca.example.evil.example/", false},
		{"https://ca.example/dir", false, "https://127.0.0.1/", false},
		{"https://ca.example/dir", false, "file:///etc/passwd", false},
		{"https://127.0.0.1:1400/dir", false, "https://127.0.0.1:1500/order", true},
		{"https://127.0.0.1:1400/dir", false, "http://127.0.0.1:1400/order", false},
		{"http://127.0.0.1:1400/dir", true, "http://127.0.0.1:1400/order", true},
		{"http://localhost:1400/dir", true, "http://192.0.2.1/order", false},
	}
	for _, test := range table {
		request, err := http.NewRequest(http.MethodGet, test.target, nil)
		if err != nil {
			t.Fatal(err)
		}
		directory, err := http.NewRequest(http.MethodGet, test.directory, nil)
		if err != nil {
			t.Fatal(err)
		}
		pinned := &transport{directory: directory.URL, insecure: test.insecure}
		if err := pinned.allow(request.URL); (err == nil) != test.allowed {
			t.Errorf("%s from %s: %v", test.target, test.directory, err)
		}
	}
}
