package nginx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/discover/nginx"
	running "github.com/backstay/backstay/testbed/nginx"
)

// challengeBlocks are server blocks, and where a webroot for them would be:
// "www" or "acme" of the test's folder, "" for nowhere.
var challengeBlocks = []struct {
	name, block, folder string
	first               bool
}{
	{"a root", "root FOLDER/www;", "www", false},
	{"a root of a location", "location / { root FOLDER/www; }", "www", false},
	{"the location's own root wins", "root FOLDER/acme; location / { root FOLDER/www; }", "www", false},
	{"a location for challenges", "root FOLDER/www; location /.well-known/acme-challenge/ { root FOLDER/acme; } location / { return 301 https://$host$request_uri; }", "acme", false},
	{"files first", "root FOLDER/www; location / { try_files $uri $uri/ =404; }", "www", false},
	{"an exact location", "root FOLDER/www; location = /.well-known/acme-challenge/ { return 404; }", "www", false},
	{"an expression elsewhere", `root FOLDER/www; location ~ \.php$ { return 404; }`, "www", false},
	{"no expressions asked", `root FOLDER/www; location ^~ /.well-known/ { } location ~ /\. { deny all; }`, "www", false},
	{"nested", "root FOLDER/www; location /.well-known/ { location /.well-known/acme-challenge/ { root FOLDER/acme; } }", "acme", false},
	{"a rewrite of others", "root FOLDER/www; rewrite ^/old/ /new/;", "www", false},

	{"a server that only redirects", "root FOLDER/www; return 301 https://$host$request_uri;", "", true},
	{"redirects some", "root FOLDER/www; if ($host = localhost) { return 301 https://$host$request_uri; }", "", true},
	{"rewrites all", "root FOLDER/www; rewrite ^ /index.html;", "", true},
	{"redirects in a location", "root FOLDER/www; location / { return 301 https://$host$request_uri; }", "", false},
	{"hidden files denied", `root FOLDER/www; location ~ /\. { deny all; }`, "", false},
	{"hidden files denied, however written", `root FOLDER/www; location ~*/\.WELL { deny all; }`, "", false},
	{"a proxy", "root FOLDER/www; location / { proxy_pass http://127.0.0.1:9; }", "", false},
	{"nested expression", `root FOLDER/www; location / { location ~ well { return 404; } }`, "", false},
	{"an alias", "location /.well-known/acme-challenge/ { alias FOLDER/acme/; }", "", false},
	{"one page for all", "root FOLDER/www; try_files /index.html =404;", "", false},
	{"a password", "root FOLDER/www; auth_basic x; auth_basic_user_file FOLDER/nobody;", "", false},
	{"no root", "", "", false},
	{"a root that varies", "root FOLDER/$host;", "", false},
	{"an expression that only PCRE knows", `root FOLDER/www; location ~ "^/(?!x)" { root FOLDER/acme; }`, "", false},
}

func TestChallenges(t *testing.T) {
	text := "events {}\nhttp {\n"
	for _, row := range challengeBlocks {
		text += "server { listen 127.0.0.1:80; " + row.block + " }\n"
	}
	folder := tree(t, map[string]string{"nginx.conf": text + "}\n"})
	all, err := nginx.ReadChallenges(context.Background(), filepath.Join(folder, "nginx.conf"))
	if err != nil || len(all) != len(challengeBlocks) {
		t.Fatalf("%d blocks, %v", len(all), err)
	}
	for index, row := range challengeBlocks {
		want, got := row.folder, all[index]
		if want != "" {
			want = filepath.Join(folder, want)
		}
		if got.Folder != want || got.AnswersFirst != row.first || (got.Why == "") != (want != "") || got.Line != index+3 {
			t.Errorf("%s: %+v, want %q", row.name, got, want)
		}
	}
	if _, err := nginx.ReadChallenges(context.Background(), filepath.Join(folder, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestChallengesAsNginx asks a real nginx for a file in the folder that we named,
// and, where we named none, makes sure that we are not too timid by much: those
// blocks do not serve the usual folder either.
func TestChallengesAsNginx(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"www", "acme"} {
		path := filepath.Join(folder, name, ".well-known", "acme-challenge")
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "token"), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	server, err := running.Start(context.Background(), running.Config{Folder: folder, Ports: len(challengeBlocks), Servers: func(server *running.Server) (text string) {
		for index, row := range challengeBlocks {
			text += fmt.Sprintf("server { listen 127.0.0.1:%d; %s }\n", server.Port(index), expandFolder(row.block, folder))
		}
		return text
	}})
	if errors.Is(err, running.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for index, row := range challengeBlocks {
		response, err := client.Get("http://" + server.Address(index) + "/.well-known/acme-challenge/token")
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if served := response.StatusCode == 200 && string(body) == row.folder; row.folder != "" && !served {
			t.Errorf("%s: nginx answers %d %q, not from %s", row.name, response.StatusCode, body, row.folder)
		} else if timid := string(body) == "www"; row.folder == "" && timid && !row.first {
			t.Errorf("%s: nginx does serve the file", row.name)
		}
	}
}

func expandFolder(text, folder string) string { return strings.ReplaceAll(text, "FOLDER", folder) }
