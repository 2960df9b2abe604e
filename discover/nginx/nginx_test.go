package nginx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/cert/certtest"
	"github.com/backstay/backstay/discover/nginx"
)

// tree writes files into a folder of the test; FOLDER in a text is its path.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "FOLDER", folder)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// read parses one text as a whole configuration in /etc/nginx.
func read(t *testing.T, text string) nginx.Configuration {
	t.Helper()
	configuration, err := nginx.ParseDump([]byte("# configuration file /etc/nginx/nginx.conf:\n" + text + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return configuration
}

// lines writes declarations as short lines.
func lines(configuration nginx.Configuration) []string {
	var list []string
	for _, record := range configuration.Declarations() {
		line := fmt.Sprintf("%s:%d %s %q %s %s", filepath.Base(record.File), record.Line, record.Listen, record.Name, record.Certificate, record.Key)
		if record.DecidedAtRunTime {
			line += " runtime"
		}
		if record.Kind != "declaration" || record.Schema != 1 || record.Server != "nginx" {
			line += " WRONG"
		}
		list = append(list, line)
	}
	return list
}

func TestDeclarations(t *testing.T) {
	for _, row := range []struct {
		name string
		text string
		want []string
	}{
		{"the usual", "http {\n server {\n  listen 443 ssl;\n  server_name A.example b.example;\n  ssl_certificate /c;\n  ssl_certificate_key /k;\n }\n}", []string{
			`nginx.conf:5 0.0.0.0:443 "a.example" /c /k`, `nginx.conf:5 0.0.0.0:443 "b.example" /c /k`,
		}},
		{"several certificates", `http { server { listen 443 ssl; server_name a; ssl_certificate r; ssl_certificate_key rk; ssl_certificate e; ssl_certificate_key ek; } }`, []string{
			`nginx.conf:1 0.0.0.0:443 "a" /etc/nginx/r /etc/nginx/rk`, `nginx.conf:1 0.0.0.0:443 "a" /etc/nginx/e /etc/nginx/ek`,
		}},
		{"inherited, also from below the server", `http { server { listen 443 ssl; server_name a; } ssl_certificate /c; ssl_certificate_key /k; }`, []string{
			`nginx.conf:1 0.0.0.0:443 "a" /c /k`,
		}},
		{"a list is inherited whole or not at all", `http { ssl_certificate /c; ssl_certificate_key /k; server { listen 443 ssl; server_name a; ssl_certificate /own; } }`, []string{
			`nginx.conf:1 0.0.0.0:443 "a" /own /k`, `nginx.conf:1  "" /c /k`,
		}},
		{"the default server", `http { server { listen 443 ssl default_server; server_name _; ssl_certificate /c; ssl_certificate_key /k; } server { listen 443 ssl; ssl_certificate /d; ssl_certificate_key /k; } }`, []string{
			`nginx.conf:1 0.0.0.0:443 "" /c /k`, `nginx.conf:1 0.0.0.0:443 "" /d /k`,
		}},
		{"a default server with a name", `http { server { listen 443 ssl default; server_name a; ssl_certificate /c; ssl_certificate_key /k; } }`, []string{
			`nginx.conf:1 0.0.0.0:443 "" /c /k`, `nginx.conf:1 0.0.0.0:443 "a" /c /k`,
		}},
		{"forms of listen", `http { server { server_name a; ssl_certificate /c; ssl_certificate_key /k;
			listen [::]:443 ssl ipv6only=off; listen 192.0.2.1:8443 ssl http2; listen [2001:DB8::1]:443 ssl; listen unix:/run/x.sock ssl; listen localhost:444 ssl; listen *:445 ssl; listen 80; listen [::1] ssl; listen 446-447 ssl; listen 443 quic reuseport; listen 443 ssl; } }`, []string{
			`nginx.conf:1 [::]:443 "a" /c /k`, `nginx.conf:1 192.0.2.1:8443 "a" /c /k`, `nginx.conf:1 [2001:db8::1]:443 "a" /c /k`, `nginx.conf:1 unix:/run/x.sock "a" /c /k`,
			`nginx.conf:1 localhost:444 "a" /c /k`, `nginx.conf:1 0.0.0.0:445 "a" /c /k`, `nginx.conf:1 [::1]:80 "a" /c /k`, `nginx.conf:1 0.0.0.0:446 "a" /c /k`, `nginx.conf:1 0.0.0.0:447 "a" /c /k`,
			`nginx.conf:1 0.0.0.0:443 "a" /c /k`,
		}},
		{"ssl said by another server of the socket", `http { server { listen 443; server_name a; ssl_certificate /c; ssl_certificate_key /k; } server { listen 0.0.0.0:443 ssl; server_name b; ssl_certificate /d; ssl_certificate_key /k; } }`, []string{
			`nginx.conf:1 0.0.0.0:443 "a" /c /k`, `nginx.conf:1 0.0.0.0:443 "b" /d /k`,
		}},
		{"ssl on", `http { server { ssl on; listen 443; server_name a; ssl_certificate /c; ssl_certificate_key /k; } }`, []string{`nginx.conf:1 0.0.0.0:443 "a" /c /k`}},
		{"names", `http { server { listen 443 ssl; server_name .a.example *.b.example ~^c\d+$ "" d.*; ssl_certificate /c; ssl_certificate_key /k; } }`, []string{
			`nginx.conf:1 0.0.0.0:443 "a.example" /c /k`, `nginx.conf:1 0.0.0.0:443 "*.a.example" /c /k`, `nginx.conf:1 0.0.0.0:443 "*.b.example" /c /k`, `nginx.conf:1 0.0.0.0:443 "~^c\\d+$" /c /k`, `nginx.conf:1 0.0.0.0:443 "d.*" /c /k`,
		}},
		{"decided at run time", `http { server { listen 443 ssl; server_name a; ssl_certificate /c/$ssl_server_name.pem; ssl_certificate_key /c/$ssl_server_name.key; } }`, []string{
			`nginx.conf:1 0.0.0.0:443 "a" /c/$ssl_server_name.pem /c/$ssl_server_name.key runtime`,
		}},
		{"keys that are no files", `http { server { listen 443 ssl; server_name a; ssl_certificate data:$c; ssl_certificate_key engine:pkcs11:x; } }`, []string{
			`nginx.conf:1 0.0.0.0:443 "a" data:$c engine:pkcs11:x runtime`,
		}},
		{"quotes, escapes and comments", "http { server { listen '443' ssl; # }\n server_name \"a\"; ssl_certificate '/c d/{x};'; ssl_certificate_key \"/k\\\"\"; location ~ \"^/{2}\" { return 200 \"}\"; } } }", []string{
			`nginx.conf:2 0.0.0.0:443 "a" /c d/{x}; /k"`,
		}},
		{"beside Lua", "http { init_by_lua_block { local s = '}' -- }\n } server { listen 443 ssl; server_name a; ssl_certificate_by_lua_block { if x then y = {[1] = \"}\"} end } ssl_certificate /c; ssl_certificate_key /k; } }", []string{
			`nginx.conf:2 0.0.0.0:443 "a" /c /k`,
		}},
		{"stream and mail", `stream { upstream u { server 192.0.2.1:5; } server { listen 853 ssl; ssl_certificate /s; ssl_certificate_key /k; proxy_pass u; } server { listen 53 udp; } } mail { ssl_certificate /m; ssl_certificate_key /k; starttls on; server { listen 143; protocol imap; server_name greeting; } }`, []string{
			`nginx.conf:1 0.0.0.0:853 "" /s /k`, `nginx.conf:1 0.0.0.0:143 "" /m /k`,
		}},
		{"client certificates and leftovers", `http { server { listen 80; ssl_certificate /left; ssl_certificate_key /k; location / { proxy_ssl_certificate /client; proxy_ssl_certificate_key /ck; proxy_pass https://x; } location /y { proxy_ssl_certificate ""; } } }`, []string{
			`nginx.conf:1  "" /client /ck`, `nginx.conf:1  "" /left /k`,
		}},
		{"no TLS at all", `http { server { server_name a; } }`, nil},
	} {
		configuration := read(t, row.text)
		if got := lines(configuration); !slices.Equal(got, row.want) || len(configuration.Problems) > 0 {
			t.Errorf("%s: %v\n got %s\nwant %s", row.name, configuration.Problems, strings.Join(got, "\n     "), strings.Join(row.want, "\n     "))
		}
	}
}

func TestServers(t *testing.T) {
	configuration := read(t, `
pid run/nginx.pid;
http {
	include conf.d/*.conf;
	server { listen 80; server_name a; return 301 https://$host$request_uri; }
	server { listen 80; server_name b; location / { if ($x) { return 302 https://b/; } } }
	server { listen 80; server_name c; location /old { return 301 https://c/new; } include snippets/c.conf; }
	server { listen 443 ssl; server_name d; }
	server { listen 443 ssl default_server proxy_protocol; server_name e; }
}`)
	if configuration.PIDFile != "run/nginx.pid" || !slices.Equal(configuration.Includes, []string{"/etc/nginx/conf.d/*.conf"}) {
		t.Errorf("%+v", configuration)
	}
	if len(configuration.Servers) != 5 {
		t.Fatalf("%d servers", len(configuration.Servers))
	}
	for index, want := range []bool{true, true, false, false, false} {
		if configuration.Servers[index].ToTLS != want {
			t.Errorf("server %d: ToTLS is %v", index, !want)
		}
	}
	if got := configuration.Servers[2]; got.Line != 7 || !slices.Equal(got.Includes, []string{"/etc/nginx/snippets/c.conf"}) {
		t.Errorf("%+v", got)
	}
	first, second := configuration.Servers[3].Listens[0], configuration.Servers[4].Listens[0]
	if first.Default || !second.Default || !first.ProxyProtocol || first.DefaultWritten {
		t.Errorf("%+v, %+v", first, second)
	}
	if !configuration.Servers[0].Listens[0].Default {
		t.Error("the first server of a socket is its default")
	}
	if len(configuration.Problems) != 1 || configuration.Problems[0].Line != 7 {
		t.Errorf("the include that is not there: %+v", configuration.Problems)
	}
}

// The same tree through nginx -T and from disk is the same configuration.
func TestDumpAndDiskAgree(t *testing.T) {
	binary, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed")
	}
	pair := certtest.SelfSigned(t, []string{"a"})
	folder := tree(t, map[string]string{
		"c/c.pem": string(certtest.PEM(pair)), "c/k.pem": string(pair.KeyPEM(t)),
		"nginx.conf":             "pid FOLDER/nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\n access_log off;\n client_body_temp_path FOLDER/b; proxy_temp_path FOLDER/p; fastcgi_temp_path FOLDER/f; uwsgi_temp_path FOLDER/u; scgi_temp_path FOLDER/s;\n include conf.d/*.conf;\n include FOLDER/sites/[!x]*;\n}\n",
		"conf.d/b.conf":          "server { listen unix:FOLDER/b.sock; server_name b; include snippets/*.inc; }",
		"conf.d/a.conf":          "# configuration file with a tail\nserver { listen unix:FOLDER/a.sock; server_name a; include snippets/tls.inc; }\n",
		"conf.d/.hidden.conf":    "server { nonsense; }",
		"conf.d/c.conf.disabled": "server { nonsense; }",
		"sites/site":             "server { listen unix:FOLDER/s.sock; }",
		"sites/xsite":            "nonsense",
		"snippets/tls.inc":       "ssl_certificate_key c/k.pem;\nssl_certificate c/c.pem;\n",
		"snippets/z.inc":         "keepalive_timeout 5;",
	})
	command := exec.Command(binary, "-T", "-p", folder, "-c", filepath.Join(folder, "nginx.conf"))
	var said bytes.Buffer
	command.Stderr = &said
	output, err := command.Output()
	if err != nil {
		t.Fatalf("nginx -T: %v: %s", err, &said)
	}
	dumped, err := nginx.ParseDump(output)
	if err != nil {
		t.Fatal(err)
	}
	disk, err := nginx.ReadFiles(context.Background(), filepath.Join(folder, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if len(disk.Problems) > 0 || len(disk.Servers) != 3 || len(disk.Files) != 6 || !reflect.DeepEqual(dumped, disk) {
		t.Errorf("the dump and the disk differ:\n%+v\n%+v", dumped, disk)
	}
	found := disk.Servers[0].Pairs[0]
	want := []string{filepath.Join(folder, "conf.d/a.conf"), filepath.Join(folder, "snippets/tls.inc")}
	if found.Line != 2 || found.Certificate != filepath.Join(folder, "c/c.pem") || !slices.Equal(found.Through, want) || found.File != want[1] {
		t.Errorf("%+v", found)
	}
	text, _ := os.ReadFile(disk.Main)
	if disk.HTTPEnd != strings.LastIndex(string(text), "}") {
		t.Errorf("http ends at %d", disk.HTTPEnd)
	}
}

func TestProblemsHideNothing(t *testing.T) {
	good := "server { listen 443 ssl; server_name NAME; ssl_certificate /c; ssl_certificate_key /k; }\n"
	folder := tree(t, map[string]string{
		"nginx.conf":    "http {\n include conf.d/*;\n include absent.conf;\n include circle.conf;\n " + strings.ReplaceAll(good, "NAME", "last") + "}\n",
		"circle.conf":   "include circle.conf;",
		"conf.d/1.conf": strings.ReplaceAll(good, "NAME", "first") + "server { listen 443 ssl; \x1b[31m\n\n\"x\"y; }\n",
		"conf.d/2.conf": strings.ReplaceAll(good, "NAME", "second") + "server { listen nowhere:x; }",
	})
	if err := os.Mkdir(filepath.Join(folder, "conf.d", "3.conf"), 0o755); err != nil {
		t.Fatal(err)
	}
	configuration, err := nginx.ReadFiles(context.Background(), filepath.Join(folder, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, record := range configuration.Declarations() {
		names = append(names, record.Name)
	}
	if !slices.Equal(names, []string{"first", "second", "last"}) {
		t.Errorf("found %v", names)
	}
	var places []string
	for _, problem := range configuration.Problems {
		places = append(places, fmt.Sprintf("%s:%d", filepath.Base(problem.File), problem.Line))
		if strings.ContainsAny(problem.Text, "\x1b\n") {
			t.Errorf("outside text is shown raw: %q", problem.Text)
		}
	}
	if !slices.Equal(places, []string{"1.conf:4", "nginx.conf:2", "nginx.conf:3", "circle.conf:1", "2.conf:2"}) {
		t.Errorf("problems: %v", configuration.Problems)
	}
}

func TestReadingEnds(t *testing.T) {
	folder := tree(t, map[string]string{"nginx.conf": "http { include more/*; }", "more/a.conf": "server {}"})
	for depth := range 40 { // each file includes the next one twice: 2^40 places
		text := fmt.Sprintf("include %d; include %d;", depth+1, depth+1)
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(depth)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configuration, err := nginx.ReadFiles(context.Background(), filepath.Join(folder, "0"))
	if err != nil || len(configuration.Problems) == 0 {
		t.Errorf("a bomb of includes: %v, %v", configuration.Problems, err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := nginx.ReadFiles(cancelled, filepath.Join(folder, "nginx.conf")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := nginx.ReadFiles(context.Background(), filepath.Join(folder, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	if _, err := nginx.ParseDump([]byte("nginx: [emerg] no\n")); err == nil {
		t.Error("text that is no dump was accepted")
	}
}
