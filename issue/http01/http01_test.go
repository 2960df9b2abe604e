package http01_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/issue"
	"github.com/backstay/backstay/issue/http01"
)

func answer(token string) issue.Answer {
	return issue.Answer{Identifier: "a.example.org", Type: "http-01", Token: token, KeyAuthorization: token + ".thumbprint"}
}

const wellKnown = "/.well-known/acme-challenge/"

// resolver knows addresses of every name.
type resolver []netip.Addr

func (addresses resolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return addresses, nil
}

var loopback = resolver{netip.MustParseAddr("127.0.0.1")}

func TestWebroot(t *testing.T) {
	root := t.TempDir()
	web := http01.Webroot{Folder: root}
	folder := filepath.Join(root, ".well-known", "acme-challenge")
	for range 2 { // a repetition after a kill
		if err := web.Set(t.Context(), answer("token-1")); err != nil {
			t.Fatal(err)
		}
	}
	if err := web.Set(t.Context(), answer("token-2")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, "token-1"))
	info, _ := os.Stat(filepath.Join(folder, "token-1"))
	if err != nil || string(text) != "token-1.thumbprint" || info.Mode().Perm() != 0o644 {
		t.Errorf("%q %v %v", text, info, err)
	}
	for _, one := range []string{folder, filepath.Dir(folder)} {
		if info, err := os.Stat(one); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v %v", one, info, err)
		}
	}
	foreign := filepath.Join(folder, "of-another-client")
	if err := os.WriteFile(foreign, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := web.Clean(t.Context(), answer("token-1")); err != nil {
			t.Fatal(err)
		}
	}
	entries, _ := os.ReadDir(folder)
	if len(entries) != 2 || entries[0].Name() != "of-another-client" || entries[1].Name() != "token-2" {
		t.Errorf("left: %v", entries)
	}
	if err := (http01.Webroot{Folder: filepath.Join(root, "missing")}).Set(t.Context(), answer("t")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing webroot: %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, "missing")); err == nil {
		t.Error("a missing webroot was made")
	}
	if err := (http01.Webroot{Folder: t.TempDir()}).Clean(t.Context(), answer("t")); err != nil {
		t.Errorf("nothing to clean: %v", err)
	}
}

// TestWebrootIsNotLeft: whoever may write into the web server's folder must not
// make us write or delete elsewhere.
func TestWebrootIsNotLeft(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(outside, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept := func(t *testing.T) {
		t.Helper()
		if text, err := os.ReadFile(outside); err != nil || string(text) != "theirs" {
			t.Errorf("the file outside: %q, %v", text, err)
		}
		if entries, _ := os.ReadDir(filepath.Dir(outside)); len(entries) != 1 {
			t.Errorf("written beside it: %v", entries)
		}
	}
	webroot := func(t *testing.T) (http01.Webroot, string) {
		root := t.TempDir()
		folder := filepath.Join(root, ".well-known", "acme-challenge")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		return http01.Webroot{Folder: root}, folder
	}
	t.Run("a link in the place of the file", func(t *testing.T) {
		web, folder := webroot(t)
		if err := os.Symlink(outside, filepath.Join(folder, "token")); err != nil {
			t.Fatal(err)
		}
		if err := web.Set(t.Context(), answer("token")); err == nil {
			t.Error("followed")
		}
		kept(t)
		web.Clean(t.Context(), answer("token"))
		kept(t)
	})
	t.Run("a token that is a path", func(t *testing.T) {
		web, folder := webroot(t)
		relative, err := filepath.Rel(folder, outside)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{relative, outside, "../../x", ".."} {
			if err := web.Set(t.Context(), answer(token)); err == nil {
				t.Errorf("%s: written", token)
			}
			web.Clean(t.Context(), answer(token))
			kept(t)
		}
	})
	for _, link := range []string{".well-known", filepath.Join(".well-known", "acme-challenge")} {
		t.Run("a link in the place of "+link, func(t *testing.T) {
			root := t.TempDir()
			if err := os.MkdirAll(filepath.Dir(filepath.Join(root, link)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Dir(outside), filepath.Join(root, link)); err != nil {
				t.Fatal(err)
			}
			web := http01.Webroot{Folder: root}
			if err := web.Set(t.Context(), answer("token")); err == nil {
				t.Error("followed")
			}
			kept(t)
			web.Clean(t.Context(), answer("victim"))
			kept(t)
		})
	}
}

// TestWebrootLinkInside: a link that stays inside the folder is the operator's
// own arrangement.
func TestWebrootLinkInside(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "acme"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, ".well-known"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../acme", filepath.Join(root, ".well-known", "acme-challenge")); err != nil {
		t.Fatal(err)
	}
	web := http01.Webroot{Folder: root}
	if err := web.Set(t.Context(), answer("token")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "acme", "token")); err != nil {
		t.Error(err)
	}
	if err := web.Clean(t.Context(), answer("token")); err != nil {
		t.Error(err)
	}
}

// TestCheck looks at every address, as the CA may.
func TestCheck(t *testing.T) {
	root := t.TempDir()
	server := httptest.NewServer(http.FileServer(http.Dir(root)))
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	web := http01.Webroot{Folder: root, Looker: http01.Looker{Resolver: loopback, Port: port}}
	if err := web.Check(t.Context(), answer("token")); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("before it is set: %v", err)
	}
	if err := web.Set(t.Context(), answer("token")); err != nil {
		t.Fatal(err)
	}
	if err := web.Check(t.Context(), answer("token")); err != nil {
		t.Error(err)
	}
	other := answer("token")
	other.KeyAuthorization = "token.another"
	if err := web.Check(t.Context(), other); err == nil || !strings.Contains(err.Error(), "another answer") {
		t.Errorf("another answer: %v", err)
	}
	web.Looker.Resolver = resolver{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.9")}
	if err := web.Check(t.Context(), answer("token")); err == nil || !strings.Contains(err.Error(), "127.0.0.9") {
		t.Errorf("one address does not answer: %v", err)
	}
	web.Looker.Resolver = resolver{}
	if err := web.Check(t.Context(), answer("token")); err == nil {
		t.Error("a name without addresses was seen")
	}
	ip := answer("token")
	ip.Identifier = "127.0.0.1"
	if err := web.Check(t.Context(), ip); err != nil {
		t.Errorf("an IP address: %v", err)
	}
}

// TestStateless leaves everything to the web server.
func TestStateless(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		io.WriteString(writer, strings.TrimPrefix(request.URL.Path, wellKnown)+".thumbprint\n")
	}))
	defer server.Close()
	solver := http01.Stateless{Looker: http01.Looker{Resolver: loopback, Port: server.Listener.Addr().(*net.TCPAddr).Port}}
	if err := errors.Join(solver.Set(t.Context(), answer("x")), solver.Check(t.Context(), answer("x")), solver.Clean(t.Context(), answer("x"))); err != nil {
		t.Error(err)
	}
}

// freeAddress is one that nobody listens at, a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func get(t *testing.T, address, path string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + address + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

// TestListenerOpensAndCloses with the first answer and the last.
func TestListenerOpensAndCloses(t *testing.T) {
	address := freeAddress(t)
	own := &http01.Listener{Address: address}
	defer own.Close()
	var _ issue.Volatile = own
	if status, _ := get(t, address, "/"); status != 0 {
		t.Fatal("open before the first answer")
	}
	for range 2 { // twice: it opens again after it was closed
		for _, token := range []string{"one", "two"} {
			if err := own.Set(t.Context(), answer(token)); err != nil {
				t.Fatal(err)
			}
		}
		for path, want := range map[string]string{wellKnown + "one": "one.thumbprint", wellKnown + "two": "two.thumbprint"} {
			if status, body := get(t, address, path); status != 200 || body != want {
				t.Errorf("%s: %d %q", path, status, body)
			}
		}
		for _, path := range []string{"/", "/one", wellKnown, wellKnown + "three", wellKnown + "../one"} {
			if status, body := get(t, address, path); status != 404 || strings.Contains(body, "thumbprint") {
				t.Errorf("%s: %d %q", path, status, body)
			}
		}
		if err := own.Clean(t.Context(), answer("one")); err != nil {
			t.Error(err)
		}
		if status, _ := get(t, address, wellKnown+"two"); status != 200 {
			t.Errorf("closed while an answer is needed: %d", status)
		}
		for range 2 {
			if err := own.Clean(t.Context(), answer("two")); err != nil {
				t.Error(err)
			}
		}
		if status, _ := get(t, address, wellKnown+"two"); status != 0 {
			t.Errorf("open after the last answer: %d", status)
		}
	}
	if err := errors.Join(own.Close(), own.Close()); err != nil {
		t.Error(err)
	}
}

func TestListenerPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	own := &http01.Listener{Address: taken.Addr().String()}
	if err := own.Set(t.Context(), answer("t")); err == nil {
		t.Error("the port is somebody else's")
	}
	taken.Close()
	if err := own.Set(t.Context(), answer("t")); err != nil {
		t.Errorf("once it is free: %v", err)
	}
	own.Close()
}
