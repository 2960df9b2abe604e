package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the expected messages under testdata")

// generated are the codes whose fixture would be too large to keep.
var generated = map[Code]func(t *testing.T) (path string, options Options){
	FileTooLarge: func(t *testing.T) (string, Options) {
		return write(t, "version: 1\n"+strings.Repeat("# filler\n", MaxFileSize/9+1)), Options{}
	},
	TooManyProblems: func(t *testing.T) (string, Options) {
		return write(t, "version: 1\na: 1\nb: 1\nserve: {}\nc: 1\n"), Options{MaxProblems: 2}
	},
}

// TestMistakes loads every fixture under testdata/mistakes and compares all
// that is said with its file "want". The folder is named after the code that
// it shows, perhaps with a number behind.
func TestMistakes(t *testing.T) {
	folders, err := os.ReadDir("testdata/mistakes")
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[Code]bool)
	for _, folder := range folders {
		t.Run(folder.Name(), func(t *testing.T) {
			base := filepath.Join("testdata", "mistakes", folder.Name())
			loaded, problems, err := Load(filepath.Join(base, "backstay.yaml"), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if (loaded == nil) != (Errors(problems) > 0) {
				t.Errorf("configuration present: %v, errors: %d", loaded != nil, Errors(problems))
			}
			got := strings.ReplaceAll(render(problems), base+"/", "")
			if strings.Contains(got, "canary") {
				t.Errorf("a secret is shown:\n%s", got)
			}
			if strings.Contains(got, "%!") {
				t.Errorf("a message and its arguments do not fit:\n%s", got)
			}
			want := filepath.Join(base, "want")
			if *update {
				if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			wanted, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(wanted) {
				t.Errorf("got:\n%s\nwant:\n%s", got, wanted)
			}
			for _, problem := range problems {
				if strings.HasPrefix(folder.Name(), string(problem.Code)) {
					shown[problem.Code] = true
				}
			}
		})
	}
	for code, prepare := range generated {
		path, options := prepare(t)
		loaded, problems, err := Load(path, options)
		if err != nil || loaded != nil || !strings.Contains(fmt.Sprint(codes(problems)), string(code)) {
			t.Errorf("%s: got %v, %v", code, codes(problems), err)
		}
		shown[code] = true
	}
	for code := range messages {
		if !shown[code] {
			t.Errorf("no fixture shows %s", code)
		}
	}
}

func render(problems []Problem) string {
	var text strings.Builder
	for _, problem := range problems {
		fmt.Fprintf(&text, "%s [%s]\n", problem, problem.Code)
	}
	return text.String()
}

func codes(problems []Problem) []Code {
	found := make([]Code, 0, len(problems))
	for _, problem := range problems {
		found = append(found, problem.Code)
	}
	return found
}

// write puts a configuration into a new folder.
func write(t testing.TB, content string) string {
	path := filepath.Join(t.TempDir(), "backstay.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadComplete(t *testing.T) {
	loaded, problems, err := Load("testdata/complete/backstay.yaml", Options{})
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v\n%s", err, render(problems))
	}
	base, _ := filepath.Abs("testdata/complete")
	var names []string
	for _, authority := range loaded.Authorities {
		names = append(names, authority.Name)
	}
	check(t, "order of authorities", names, []string{"letsencrypt", "google", "corp", "another"})
	check(t, "known directory", loaded.Authorities[0].Directory, "https://acme-v02.api.letsencrypt.org/directory")
	check(t, "EAB file", loaded.Authorities[1].EAB.KeyID.File, filepath.Join(base, "gts.kid"))
	check(t, "EAB credential", loaded.Authorities[1].EAB.HMAC.Credential, "gts-hmac")
	check(t, "directory_roots", loaded.Authorities[2].DirectoryRoots, filepath.Join(base, "corp-https.pem"))
	check(t, "tsig algorithm", loaded.Solvers["zone"].TSIG.Algorithm, "hmac-sha256")
	check(t, "check_at", loaded.Solvers["zone"].CheckAt, []string{"192.0.2.53:53"})
	check(t, "reload unit", loaded.Targets["mail"].Reload, Reload{Unit: "postfix.service"})
	check(t, "reload argv", loaded.Targets["edge"].Reload, Reload{Argv: []string{"/usr/bin/systemctl", "reload", "nginx"}})
	check(t, "reload_every", loaded.Targets["edge"].ReloadEvery, 36*time.Hour)
	check(t, "reload_every by default", loaded.Targets["mail"].ReloadEvery, 30*time.Second)
	check(t, "mode", loaded.Targets["mail"].Mode, "0640")
	check(t, "resolvers", loaded.Resolvers, []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")})
	check(t, "fetch", loaded.Fetch.Allow, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})

	byName := make(map[string]Certificate)
	names = nil
	for _, certificate := range loaded.Certificates {
		byName[certificate.Name] = certificate
		names = append(names, certificate.Name)
	}
	check(t, "certificates by name", names, []string{"_wildcard.example.org", "address", "api.example.com", "www", "xn--caf-dma.example"})
	www := byName["www"]
	check(t, "domains", www.Domains, []string{"example.com", "www.example.com"})
	check(t, "defaults: authorities", www.Authorities, []string{"letsencrypt", "google"})
	check(t, "defaults: solvers", www.Solvers, []string{"web"})
	check(t, "defaults: key", www.Key, "ecdsa-p256")
	check(t, "tier", www.Tier, 1)
	check(t, "position", www.Position, Position{"testdata/complete/backstay.yaml", 22, 5})
	check(t, "own wishes", byName["_wildcard.example.org"].Solvers, []string{"zone"})
	check(t, "own key", byName["_wildcard.example.org"].Key, "rsa-3072")
	check(t, "renew", byName["_wildcard.example.org"].Renew, "1/3")
	check(t, "address", byName["address"].Domains, []string{"192.0.2.7", "2001:db8::1"})
	check(t, "hooks", byName["api.example.com"].Hooks.Deploy, []string{"/usr/local/bin/hook", ""})
	check(t, "no deploy", byName["api.example.com"].Deploy, []string{})
	check(t, "files", len(loaded.Files), 2)

	hash, files, err := Hash("testdata/complete/backstay.yaml")
	if err != nil {
		t.Fatal(err)
	}
	check(t, "hash", hash, loaded.Hash())
	check(t, "hashed files", files, loaded.Files)
}

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %#v, want %#v", what, got, want)
	}
}

// TestFallbacks: without defaults every authority and solver is used in the
// order written.
func TestFallbacks(t *testing.T) {
	path := write(t, `version: 1
authorities: {zerossl: {}, letsencrypt: null, google:}
solvers: {z: {type: tls-alpn-01, listen: ":443"}, a: {type: http-01, stateless: true}}
certificates: [{domains: [example.com]}]
`)
	loaded, problems, err := Load(path, Options{})
	if err != nil || loaded == nil {
		t.Fatalf("%v\n%s", err, render(problems))
	}
	check(t, "authorities", loaded.Certificates[0].Authorities, []string{"zerossl", "letsencrypt", "google"})
	check(t, "solvers", loaded.Certificates[0].Solvers, []string{"z", "a"})
	check(t, "deploy", loaded.Certificates[0].Deploy, []string(nil))
	check(t, "on_dead_name", loaded.Certificates[0].OnDeadName, "hold")
}

func TestLoadUnreadable(t *testing.T) {
	if _, _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, _, err := Load(t.TempDir(), Options{}); err == nil {
		t.Error("a folder was loaded")
	}
	path := write(t, "version: 1\n")
	if err := os.MkdirAll(filepath.Join(filepath.Dir(path), "conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(filepath.Dir(path), "conf.d", "10.yaml")
	if err := os.Symlink("nowhere", dangling); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(path, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file of conf.d that cannot be read must not be left out: %v", err)
	}
	if _, _, err := Hash(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Hash of the same: %v", err)
	}
}

// TestManyWarnings: however many, warnings do not refuse a configuration.
func TestManyWarnings(t *testing.T) {
	path := write(t, "version: 1\nserve: {}\nalerts: {}\nmonitor: {}\n")
	loaded, problems, err := Load(path, Options{MaxProblems: 1})
	if err != nil || loaded == nil || len(problems) != 2 || problems[1].Code != TooManyProblems {
		t.Errorf("%v\n%s", err, render(problems))
	}
}

// TestLongValue: a message repeats only the beginning of a long text.
func TestLongValue(t *testing.T) {
	path := write(t, "version: 1\ncontact: "+strings.Repeat("é", 1<<20)+"\n")
	_, problems, err := Load(path, Options{})
	if err != nil || len(problems) != 1 || len(problems[0].String()) > 1000 {
		t.Errorf("%v, %d problems", err, len(problems))
	}
}

func TestHashChanges(t *testing.T) {
	path := write(t, "version: 1\n")
	seen := make(map[string]string)
	step := func(what string) {
		t.Helper()
		hash, _, err := Hash(path)
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := seen[hash]; taken {
			t.Errorf("%s and %s have one hash", what, other)
		}
		seen[hash] = what
	}
	step("one file")
	folder := filepath.Join(filepath.Dir(path), "conf.d")
	for name, content := range map[string]string{"a.yaml": "", "b.yaml": "version: 1\n", ".hidden.yaml": "x"} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if name != ".hidden.yaml" {
			step(name)
		}
	}
	if err := os.Rename(filepath.Join(folder, "a.yaml"), filepath.Join(folder, "c.yaml")); err != nil {
		t.Fatal(err)
	}
	step("renamed")
}

func TestParseDuration(t *testing.T) {
	for written, want := range map[string]time.Duration{
		"90d": 90 * 24 * time.Hour, "1d12h": 36 * time.Hour, "-1d": -24 * time.Hour, "-1d12h": -36 * time.Hour, "6h": 6 * time.Hour, "0d": 0, "0d1s": time.Second,
	} {
		if got, err := ParseDuration(written); err != nil || got != want {
			t.Errorf("%s: %v, %v", written, got, err)
		}
	}
	for _, written := range []string{"", "d", "1.5d", "1d-2h", "1d1d", "106752d", "-106752d", "106751d24h", "99999999999999999999d", "5", "1 d"} {
		if got, err := ParseDuration(written); err == nil {
			t.Errorf("%q was taken for %v", written, got)
		}
	}
}

func TestNearest(t *testing.T) {
	candidates := []string{"domains", "deploy", "name", "key"}
	for word, want := range map[string]string{"domans": "domains", "domians": "domains", "nmae": "name", "keys": "key", "xyz": "", "": "", "domain": "domains", strings.Repeat("a", 1000): ""} {
		if got := Nearest(word, candidates); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// fleet is a configuration with many certificates.
func fleet(count int) string {
	var text bytes.Buffer
	text.WriteString("version: 1\nauthorities: {letsencrypt: {}, google: {}}\nsolvers: {web: {type: http-01, stateless: true}}\ntargets: {edge: {kind: nginx}}\ncertificates:\n")
	for index := range count {
		fmt.Fprintf(&text, "  - {name: www-%d, domains: [host-%d.example.com, www.host-%d.example.com], deploy: [edge], owner: web-team, tier: 1}\n", index, index, index)
	}
	return text.String()
}

func BenchmarkLoadThousand(b *testing.B) {
	path := write(b, fleet(1000))
	for b.Loop() {
		if loaded, problems, err := Load(path, Options{}); err != nil || loaded == nil || len(loaded.Certificates) != 1000 {
			b.Fatal(err, render(problems))
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/mistakes/*/backstay.yaml", "testdata/complete/backstay.yaml"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(content)
		}
	}
	f.Add([]byte("a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\ncertificates: [*c]\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > 1<<16 {
			return // the parser's cost grows with the square of some inputs
		}
		path := write(t, string(content))
		loaded, problems, err := Load(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if (loaded == nil) != (Errors(problems) > 0) {
			t.Error("a configuration with errors, or none without")
		}
		for _, problem := range problems {
			if strings.ContainsFunc(strings.ReplaceAll(problem.String(), "\n", ""), isControl) {
				t.Errorf("control character shown: %q", problem.String())
			}
			if problem.Position.Line > bytes.Count(content, []byte("\n"))+bytes.Count(content, []byte("\r"))+2 {
				t.Errorf("line %d is behind the end", problem.Position.Line)
			}
		}
		if loaded == nil {
			return
		}
		for _, certificate := range loaded.Certificates {
			if certificate.Name == "" || len(certificate.Domains) == 0 || len(certificate.Authorities) == 0 || len(certificate.Solvers) == 0 {
				t.Errorf("incomplete: %+v", certificate)
			}
		}
	})
}
