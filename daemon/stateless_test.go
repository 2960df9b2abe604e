package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/testbed/authority"
	"github.com/backstay/backstay/testbed/nginx"
)

// statelessNginx is a real nginx with the snippet, among neighbours that deny
// hidden files and send everybody elsewhere.
func statelessNginx(t *testing.T, thumbprint string) *nginx.Server {
	t.Helper()
	server, err := nginx.Start(context.Background(), nginx.Config{Folder: t.TempDir(), Ports: 1, Servers: func(server *nginx.Server) string {
		return fmt.Sprintf("server { listen %s;\nlocation ~ /\\. { deny all; }\n%slocation / { return 301 https://$host$request_uri; } }", server.Address(0), NginxSnippet(thumbprint))
	}})
	if errors.Is(err, nginx.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	return server
}

// TestSnippet: nginx answers any token, and nothing else.
func TestSnippet(t *testing.T) {
	server := statelessNginx(t, "THUMBPRINT")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, want := range map[string]string{
		"/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA": "200 text/plain evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.THUMBPRINT",
		"/.well-known/acme-challenge/a":                                           "200 text/plain a.THUMBPRINT",
		"/.well-known/acme-challenge/_-":                                          "200 text/plain _-.THUMBPRINT",
		"/.well-known/acme-challenge/":                                            "404",
		"/.well-known/acme-challenge/a.b":                                         "404",
		"/.well-known/acme-challenge/a/b":                                         "404",
		"/.well-known/acme-challenge/%3Cscript%3E":                                "404",
		"/.well-known/acme-challenge/a%0d%0aSet-Cookie:%20x":                      "404",
		"/.well-known/acme-challenge/..%2f..%2f.htpasswd":                         "403",
		"/.well-known/other":                                                      "403",
		"/":                                                                       "301",
	} {
		response, err := client.Get("http://" + server.Address(0) + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		got := fmt.Sprintf("%d %s %s", response.StatusCode, response.Header.Get("Content-Type"), body)
		if response.StatusCode != 200 {
			got = got[:3]
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// TestStateless issues with a solver that sets nothing: a real nginx answers with
// the thumbprint of the shared account key, and the CA is convinced.
func TestStateless(t *testing.T) {
	rig := newRig(t, nil)
	thumbprint, err := Thumbprint(context.Background(), rig.State(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Thumbprint(context.Background(), rig.State(), nil); err != nil || again != thumbprint {
		t.Fatalf("asked again: %q, %v; first %q", again, err, thumbprint)
	}
	server := statelessNginx(t, thumbprint)
	rig.Authority.Close()
	if rig.Authority, err = authority.New(authority.Config{HTTPPort: server.Port(0)}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(rig.Write("ca-roots.pem", rig.Authority.Roots()), rig.Write("ca-https.pem", rig.Authority.HTTPSRoots())); err != nil {
		t.Fatal(err)
	}
	rig.load("www: www.example.com shop.example.com")
	text, err := os.ReadFile(rig.Path("backstay.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	written := fmt.Sprintf("webroot: %s, port: %d", rig.Webroot, rig.HTTPPort)
	changed := strings.Replace(string(text), written, fmt.Sprintf("stateless: true, port: %d", server.Port(0)), 1)
	if changed == string(text) {
		t.Fatalf("no %q in\n%s", written, text)
	}
	if err := rig.Write("backstay.yaml", []byte(changed)); err != nil {
		t.Fatal(err)
	}
	configuration, problems, err := config.Load(rig.Path("backstay.yaml"), config.Options{})
	if err != nil || configuration == nil {
		t.Fatalf("%v %v", problems, err)
	}
	report := rig.run(configuration, Selection{})
	if len(report.Issued) != 1 || len(report.Served) != 1 || len(report.Left) != 0 {
		t.Fatalf("%+v\n%+v", report, rig.findings)
	}
	if left := rig.ChallengeFiles(); len(left) > 0 {
		t.Errorf("files in the document folder: %v", left)
	}
}
