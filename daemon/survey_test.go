package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/testbed/pki"
)

// surveyed writes an nginx configuration and the pairs a, b and c, and surveys it.
func surveyed(t *testing.T, servers string) (*Survey, string) {
	t.Helper()
	folder := t.TempDir()
	pair, err := pki.SelfSigned(pki.Options{CommonName: "An old CA", Names: []string{"old.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"nginx.conf": "events {}\nhttp {\n" + strings.ReplaceAll(servers, "FOLDER", folder) + "\n}\n", "noise.pem": "nothing"}
	for _, name := range []string{"a", "b", "c"} {
		texts[name+".pem"] = string(pair.FullchainPEM())
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(folder, "www"), 0o755); err != nil {
		t.Fatal(err)
	}
	survey, err := SurveyNginx(context.Background(), filepath.Join(folder, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	return survey, folder
}

// tlsBlock is a server block that serves names with the pair of that name.
func tlsBlock(pair, names string) string {
	return fmt.Sprintf("server { listen 443 ssl; server_name %s; ssl_certificate %s.pem; ssl_certificate_key %s.key; }\n", names, pair, pair)
}

func TestSurveyGroups(t *testing.T) {
	for _, row := range []struct{ name, servers, groups, left string }{
		{"no TLS", "server { listen 80; server_name a.example.com; }", "", ""},
		{"one", tlsBlock("a", "a.example.com"), "a: a.example.com", ""},
		{"by certificate", tlsBlock("a", "a.example.com") + tlsBlock("b", "b.example.com") + tlsBlock("a", "c.example.com a.example.com"), "a: a.example.com c.example.com; b: b.example.com", ""},
		{"inherited", "ssl_certificate a.pem; ssl_certificate_key a.key; server { listen 443 ssl; server_name a.example.com; } server { listen 443 ssl; server_name b.example.com; }", "a: a.example.com b.example.com", ""},
		{"as certificates write them", tlsBlock("a", "A.Example.COM bücher.example.com"), "a: a.example.com xn--bcher-kva.example.com", ""},
		{"wildcards", tlsBlock("a", ".example.com *.sub.example.com"), "a: example.com | *.example.com *.sub.example.com", ""},
		{"names that are none", tlsBlock("a", `_ "" a.example.com`), "a: a.example.com", ""},
		{"nothing but those", tlsBlock("a", "_"), "", ""},
		{"left out", tlsBlock("a", `localhost 192.0.2.1 ~^x www.* intern.local under_score.example.com a.example.com $hostname`), "a: a.example.com", "localhost 192.0.2.1 ~^x www.* intern.local under_score.example.com $hostname"},
		{"said once", tlsBlock("a", "localhost") + tlsBlock("a", "localhost a.example.com"), "a: a.example.com", "localhost"},
		{"at run time", "server { listen 443 ssl; server_name a.example.com; ssl_certificate $ssl_server_name.pem; ssl_certificate_key x.key; }", "", "a.example.com"},
		{"refuses all", "server { listen 443 ssl; server_name a.example.com; ssl_reject_handshake on; }", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			survey, folder := surveyed(t, row.servers)
			var groups, left []string
			for _, group := range survey.Groups {
				text := strings.TrimSuffix(filepath.Base(group.Certificate), ".pem") + ": " + strings.Join(group.Names, " ")
				if len(group.Wildcards) > 0 {
					text += " | " + strings.Join(group.Wildcards, " ")
				}
				groups = append(groups, text)
				if group.Present == nil || group.Unread != "" || group.File != filepath.Join(folder, "nginx.conf") || group.Line < 3 {
					t.Errorf("%+v", group)
				}
			}
			for _, one := range survey.Left {
				left = append(left, one.What)
				if one.Why == "" || one.Line == 0 {
					t.Errorf("%+v", one)
				}
			}
			if got := strings.Join(groups, "; "); got != row.groups {
				t.Errorf("groups %q, want %q", got, row.groups)
			}
			if got := strings.Join(left, " "); got != row.left {
				t.Errorf("left out %q, want %q", got, row.left)
			}
		})
	}
}

// TestSurveyPlain: how names answer at port 80.
func TestSurveyPlain(t *testing.T) {
	for _, row := range []struct {
		name, plain, webroot string
		blocks               int
		first                bool
		why                  string
	}{
		{"served from a folder", "server { listen 80; server_name a.example.com b.example.com; root FOLDER/www; }", "www", 1, false, ""},
		{"by the default server", "server { listen 80; root FOLDER/www; }", "www", 1, false, ""},
		{"by a wildcard", "server { listen 80; } server { listen 80; server_name *.example.com; root FOLDER/www; }", "www", 1, false, ""},
		{"by its own block", "server { listen 80; server_name a.example.com; root FOLDER/www; }\nserver { listen 80; server_name .example.com; root FOLDER/www; }", "www", 2, false, ""},
		{"from two folders", "server { listen 80; server_name a.example.com; root FOLDER/www; }\nserver { listen 80 default_server; root FOLDER; }", "", 2, false, ""},
		{"nowhere", "", "", 2, false, "no server block answers a.example.com at port 80"},
		{"on another port", "server { listen 8080; root FOLDER/www; }", "", 2, false, "at port 80"},
		{"TLS on port 80", "server { listen 80 ssl; root FOLDER/www; ssl_certificate a.pem; ssl_certificate_key a.key; }", "", 2, false, "at port 80"},
		{"redirected", "server { listen 80; return 301 https://$host; }", "", 1, true, "answers by itself"},
		{"redirected below", "server { listen 80; root FOLDER/www; location / { return 301 https://$host; } }", "", 1, false, "answers such requests"},
		{"a folder that is not there", "server { listen 80; root FOLDER/gone; }", "", 1, false, "is no folder"},
	} {
		t.Run(row.name, func(t *testing.T) {
			survey, folder := surveyed(t, tlsBlock("b", "a.example.com b.example.com")+row.plain)
			index := slices.IndexFunc(survey.Groups, func(group Group) bool { return filepath.Base(group.Certificate) == "b.pem" })
			group, want := survey.Groups[index], row.webroot
			if want != "" {
				want = filepath.Join(folder, want)
			}
			if group.Webroot != want || len(group.Plain) != row.blocks {
				t.Fatalf("%q %+v", group.Webroot, group.Plain)
			}
			if block := group.Plain[0]; block.AnswersFirst != row.first || !strings.Contains(block.Why, row.why) {
				t.Errorf("%+v", block)
			}
		})
	}
}

func TestSurveyWhatIsThere(t *testing.T) {
	survey, _ := surveyed(t, tlsBlock("noise", "a.example.com")+tlsBlock("gone", "b.example.com")+"include nothing;\n")
	if len(survey.Groups) != 2 || survey.Groups[0].Unread != "it cannot be read as a certificate" || survey.Groups[1].Unread != "it is not there" {
		t.Errorf("%+v", survey.Groups)
	}
	if len(survey.Problems) != 1 || !strings.Contains(survey.Problems[0], "nothing") {
		t.Errorf("%q", survey.Problems)
	}
	if _, err := SurveyNginx(context.Background(), filepath.Join(t.TempDir(), "nginx.conf")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// FuzzSurvey: whatever a configuration says, there is an answer, and every name
// in it could stand in a certificate.
func FuzzSurvey(f *testing.F) {
	f.Add(tlsBlock("a", "a.example.com .b.example.com *.c.example.com ~x _ \"\""))
	f.Add("server { listen 80 443 ssl; server_name $a *.*.* -.; ssl_certificate x; location ~ ( { } }")
	f.Fuzz(func(t *testing.T, servers string) {
		path := filepath.Join(t.TempDir(), "nginx.conf")
		if err := os.WriteFile(path, []byte("http {\n"+servers+"\n}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		survey, err := SurveyNginx(context.Background(), path)
		if err != nil {
			return
		}
		for _, group := range survey.Groups {
			for _, name := range append(group.Names, group.Wildcards...) {
				if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.*") != "" || !strings.Contains(name, ".") {
					t.Errorf("%q", name)
				}
			}
		}
	})
}
