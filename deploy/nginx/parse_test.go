package nginx

import (
	"path/filepath"
	"testing"
)

const debian = `nginx version: nginx/1.22.1
configure arguments: --with-cc-opt='-g -O2 --prefix=/no' --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf --pid-path=/run/nginx.pid --without-http_fastcgi_module
`

func TestParseBuild(t *testing.T) {
	built := parseBuild(debian, "", "")
	if built.prefix != "/usr/share/nginx" || built.main != "/etc/nginx/nginx.conf" || built.pid != "/run/nginx.pid" || !built.without["http_fastcgi"] || built.without["http_proxy"] {
		t.Errorf("%+v", built)
	}
	built = parseBuild("configure arguments: --pid-path=run/pid", "/srv", "my.conf")
	if built.main != "/srv/my.conf" || built.pid != "/srv/run/pid" {
		t.Errorf("%+v", built)
	}
	if built = parseBuild("", "", ""); built.main != "/usr/local/nginx/conf/nginx.conf" {
		t.Errorf("%+v", built)
	}
}

func TestMasterOptions(t *testing.T) {
	for _, row := range []struct{ title, prefix, main string }{
		{"/usr/sbin/nginx", "", ""},
		{"/usr/sbin/nginx -g daemon on; master_process on;", "", ""},
		{"nginx -c /a/b.conf -p /c", "/c", "/a/b.conf"},
		{"nginx -p/c -c/a/b.conf", "/c", "/a/b.conf"},
		{"nginx -qc /a/b.conf -g daemon off; -p /c", "/c", "/a/b.conf"},
		{"nginx -c", "", ""},
	} {
		if prefix, main := masterOptions(row.title); prefix != row.prefix || main != row.main {
			t.Errorf("%q: %q %q", row.title, prefix, main)
		}
	}
}

func FuzzForeignText(f *testing.F) {
	f.Add(debian, "nginx -c /a -p /b")
	f.Fuzz(func(t *testing.T, said, title string) {
		if built := parseBuild(said, "/srv", ""); !filepath.IsAbs(built.main) || !filepath.IsAbs(built.pid) {
			t.Errorf("%q: %+v", said, built)
		}
		masterOptions(title)
	})
}

func FuzzAnswering(f *testing.F) {
	f.Add("a.example *.b.example ~^c", "www.b.example")
	f.Fuzz(func(t *testing.T, written, name string) {
		listen := Listen{Address: "0.0.0.0:443", TLS: true, Default: true}
		configuration := Configuration{Servers: []Server{{Module: "http", Listens: []Listen{listen}, Names: []string{written}}}}
		if index := configuration.answering("http", listen, name); index < -1 || index > 0 {
			t.Errorf("%q, %q: %d", written, name, index)
		}
		for _, plain := range configuration.Servers[0].plainNames() {
			if plain == "" {
				t.Errorf("%q: an empty name", written)
			}
		}
	})
}
