package tlsprobe

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/audit"
	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/cert/certtest"
)

// plantedDay is the instant by which everything below is made and judged.
var plantedDay = certtest.Now

// plantation makes certificates with OpenSSL alone, so that neither Go's
// encoder nor our own ideas stand on both sides of the comparison.
type plantation struct {
	t      testing.TB
	folder string
}

func plant(t testing.TB) *plantation {
	p := &plantation{t: t, folder: t.TempDir()}
	write(t, p.folder, "ca.cnf", []byte(`[ca]
default_ca = d
[d]
database = index.txt
new_certs_dir = .
unique_subject = no
default_md = sha256
policy = any
rand_serial = yes
email_in_dn = no
[any]
commonName = optional
[req]
distinguished_name = dn
[dn]
`))
	write(t, p.folder, "index.txt", nil)
	return p
}

// wanted says how a certificate is to be made; the zero value is a sound
// server certificate of 90 days, 30 days old.
type wanted struct {
	name       string // common name
	key        string // arguments of genpkey; P-256 by default
	reuse      string // take the key of this one
	issuer     string // "" for self-signed
	from, to   string // dates as OpenSSL writes them, or days counted from plantedDay
	extensions []string
	digest     string
}

func (p *plantation) date(text, standard string) string {
	if text == "" {
		text = standard
	}
	var days int
	if _, err := fmt.Sscanf(text, "%dd", &days); err == nil {
		return plantedDay.AddDate(0, 0, days).Format("20060102150405Z")
	}
	return text
}

// make writes NAME.pem and NAME.key.
func (p *plantation) make(file string, w wanted) {
	p.t.Helper()
	key := w.key
	if key == "" {
		key = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"
	}
	if w.reuse != "" {
		content, err := os.ReadFile(p.folder + "/" + w.reuse + ".key")
		if err != nil {
			p.t.Fatal(err)
		}
		write(p.t, p.folder, file+".key", content)
	} else {
		openssl(p.t, p.folder, append([]string{"genpkey", "-out", file + ".key"}, strings.Fields(key)...)...)
	}
	openssl(p.t, p.folder, "req", "-new", "-config", "ca.cnf", "-key", file+".key", "-subj", "/CN="+w.name, "-out", file+".csr")
	write(p.t, p.folder, file+".ext", []byte(strings.Join(w.extensions, "\n")+"\n"))
	arguments := []string{"ca", "-batch", "-config", "ca.cnf", "-notext", "-in", file + ".csr", "-out", file + ".pem", "-extfile", file + ".ext",
		"-startdate", p.date(w.from, "-30d"), "-enddate", p.date(w.to, "60d")}
	if w.digest != "" {
		arguments = append(arguments, "-md", w.digest)
	}
	if w.issuer == "" {
		arguments = append(arguments, "-selfsign", "-keyfile", file+".key")
	} else {
		arguments = append(arguments, "-cert", w.issuer+".pem", "-keyfile", w.issuer+".key")
	}
	openssl(p.t, p.folder, arguments...)
}

func (p *plantation) read(files ...string) (text []byte) {
	for _, file := range files {
		content, err := os.ReadFile(p.folder + "/" + file + ".pem")
		if err != nil {
			p.t.Fatal(err)
		}
		text = append(text, content...)
	}
	return text
}

var (
	authority = []string{"basicConstraints = critical, CA:TRUE", "keyUsage = critical, keyCertSign, cRLSign"}
	server    = []string{"basicConstraints = critical, CA:FALSE", "extendedKeyUsage = serverAuth"}
)

func named(names string) []string {
	return append(append([]string{}, server...), "subjectAltName = "+names)
}

// TestPlantedFaults looks at real servers, each with one fault, and wants the
// findings of that fault and no other.
func TestPlantedFaults(t *testing.T) {
	p := plant(t)
	p.make("root", wanted{name: "Root", from: "-3000d", to: "3000d", extensions: authority})
	p.make("stranger", wanted{name: "Stranger", from: "-3000d", to: "3000d", extensions: authority})
	p.make("middle", wanted{name: "Middle", issuer: "root", from: "-1000d", to: "1000d", extensions: authority})
	p.make("oldmiddle", wanted{name: "Middle", reuse: "middle", issuer: "root", from: "-1000d", to: "-1d", extensions: authority})
	p.make("short", wanted{name: "Short", issuer: "root", from: "-1000d", to: "1000d", extensions: []string{"basicConstraints = critical, CA:TRUE, pathlen:0"}})
	p.make("below", wanted{name: "Below", issuer: "short", from: "-1000d", to: "1000d", extensions: authority})
	p.make("fenced", wanted{name: "Fenced", issuer: "root", from: "-1000d", to: "1000d", extensions: append([]string{"nameConstraints = critical, permitted;DNS:inside.test"}, authority...)})
	p.make("rsaroot", wanted{name: "RSA Root", key: "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", from: "-3000d", to: "3000d", extensions: authority, digest: "sha1"})
	p.make("weakmiddle", wanted{name: "WeakMiddle", issuer: "rsaroot", from: "-1000d", to: "1000d", extensions: authority, digest: "sha1"})
	p.make("strangemiddle", wanted{name: "Strange Middle", issuer: "stranger", from: "-1000d", to: "1000d", extensions: authority})
	roots, err := cert.ParseTrust("planted", p.read("root", "rsaroot"))
	if err != nil {
		t.Fatal(err)
	}
	good := named("DNS:good.test")
	const rsaKey = "-algorithm RSA -pkeyopt rsa_keygen_bits:"
	for _, c := range []struct {
		name  string
		leaf  wanted
		sent  string // certificates sent after the leaf
		asked string // "" for good.test
		flags string // of s_server
		want  string
	}{
		{name: "healthy", leaf: wanted{issuer: "middle", extensions: good}, sent: "middle"},
		{name: "healthy, RSA", leaf: wanted{key: rsaKey + "2048", issuer: "middle", extensions: good}, sent: "middle"},
		{name: "healthy, root sent", leaf: wanted{issuer: "middle", extensions: good}, sent: "middle root"},
		{name: "healthy, chain out of order", leaf: wanted{issuer: "middle", extensions: good}, sent: "root stranger middle"},
		{name: "healthy, directly below the root", leaf: wanted{issuer: "root", extensions: good}},
		{name: "healthy, TLS 1.2", leaf: wanted{issuer: "middle", extensions: good}, sent: "middle", flags: "-tls1_2"},
		{name: "healthy, wildcard", leaf: wanted{issuer: "middle", extensions: named("DNS:*.good.test")}, sent: "middle", asked: "a.good.test"},
		{name: "healthy, address", leaf: wanted{issuer: "middle", extensions: named("IP:127.0.0.1")}, sent: "middle", asked: "127.0.0.1"},
		{name: "healthy, client certificate demanded", leaf: wanted{issuer: "middle", extensions: good}, sent: "middle", flags: "-Verify 1"},
		{name: "healthy, client certificate demanded in TLS 1.2", leaf: wanted{issuer: "middle", extensions: good}, sent: "middle", flags: "-Verify 1 -verify_return_error -tls1_2"},
		{name: "expired", leaf: wanted{issuer: "middle", from: "-90d", to: "-1d", extensions: good}, sent: "middle", want: "cert-expired:critical"},
		{name: "of the future", leaf: wanted{issuer: "middle", from: "1d", to: "90d", extensions: good}, sent: "middle", want: "cert-not-yet-valid:critical"},
		{name: "expiring", leaf: wanted{issuer: "middle", from: "-65d", to: "25d", extensions: good}, sent: "middle", want: "cert-expiring:high"},
		{name: "expiring soon", leaf: wanted{issuer: "middle", from: "-80d", to: "10d", extensions: good}, sent: "middle", want: "cert-expiring:critical"},
		{name: "six days, five left", leaf: wanted{issuer: "middle", from: "-1d", to: "5d", extensions: good}, sent: "middle"},
		{name: "six days, under two left", leaf: wanted{issuer: "middle", from: "20261116000000Z", to: "20261122000000Z", extensions: good}, sent: "middle", want: "cert-expiring:high"},
		{name: "wrong name", leaf: wanted{issuer: "middle", extensions: named("DNS:other.test")}, sent: "middle", want: "cert-name-mismatch:critical"},
		{name: "wildcard of two labels", leaf: wanted{issuer: "middle", extensions: named("DNS:*.test")}, sent: "middle", asked: "a.good.test", want: "cert-name-mismatch:critical"},
		{name: "address as a DNS name", leaf: wanted{issuer: "middle", extensions: named("DNS:127.0.0.1")}, sent: "middle", asked: "127.0.0.1", want: "cert-name-mismatch:critical"},
		{name: "common name only", leaf: wanted{issuer: "middle", extensions: server}, sent: "middle", want: "cert-name-mismatch:critical cert-no-san:high"},
		{name: "self-signed", leaf: wanted{extensions: good}, want: "cert-self-signed:critical"},
		{name: "self-signed and expired", leaf: wanted{from: "-90d", to: "-1d", extensions: good}, want: "cert-expired:critical cert-self-signed:critical"},
		{name: "untrusted root sent", leaf: wanted{issuer: "stranger", extensions: good}, sent: "stranger", want: "chain-untrusted-root:critical"},
		{name: "untrusted root not sent", leaf: wanted{issuer: "strangemiddle", extensions: good}, sent: "strangemiddle", want: "chain-untrusted-root:critical"},
		{name: "incomplete chain", leaf: wanted{issuer: "middle", extensions: good}, want: "chain-incomplete:critical"},
		{name: "incomplete chain, wrong intermediate", leaf: wanted{issuer: "middle", extensions: good}, sent: "fenced", want: "chain-incomplete:critical"},
		{name: "expired intermediate", leaf: wanted{issuer: "middle", extensions: good}, sent: "oldmiddle", want: "chain-intermediate-expired:critical"},
		{name: "expired and valid intermediate", leaf: wanted{issuer: "middle", extensions: good}, sent: "oldmiddle middle"},
		{name: "name constraints", leaf: wanted{issuer: "fenced", extensions: good}, sent: "fenced", want: "chain-name-constraints:critical"},
		{name: "name constraints kept", leaf: wanted{issuer: "fenced", extensions: named("DNS:a.inside.test")}, sent: "fenced", asked: "a.inside.test"},
		{name: "path length", leaf: wanted{issuer: "below", extensions: good}, sent: "below short", want: "chain-path-length:critical"},
		{name: "RSA 1024", leaf: wanted{key: rsaKey + "1024", issuer: "middle", extensions: good}, sent: "middle", flags: "-cipher DEFAULT@SECLEVEL=0", want: "key-weak:critical"},
		{name: "RSA exponent 3", leaf: wanted{key: rsaKey + "2048 -pkeyopt rsa_keygen_pubexp:3", issuer: "middle", extensions: good}, sent: "middle", want: "key-weak:critical"},
		{name: "SHA-1", leaf: wanted{issuer: "rsaroot", digest: "sha1", extensions: good}, flags: "-cipher DEFAULT@SECLEVEL=0", want: "sig-weak:critical"},
		{name: "MD5", leaf: wanted{issuer: "rsaroot", digest: "md5", extensions: good}, flags: "-tls1_1 -cipher DEFAULT@SECLEVEL=0", want: "sig-weak:critical"},
		{name: "SHA-1 on the intermediate", leaf: wanted{issuer: "weakmiddle", extensions: good}, sent: "weakmiddle", flags: "-cipher DEFAULT@SECLEVEL=0", want: "sig-weak:critical"},
		{name: "SHA-1 on the root only", leaf: wanted{issuer: "rsaroot", extensions: good}, sent: "rsaroot", flags: "-cipher DEFAULT@SECLEVEL=0"},
		{name: "201 days", leaf: wanted{issuer: "middle", from: "20261101000000Z", to: "20270520235959Z", extensions: good}, sent: "middle", want: "cert-validity-too-long:medium"},
		{name: "200 days", leaf: wanted{issuer: "middle", from: "20261101000000Z", to: "20270519235959Z", extensions: good}, sent: "middle"},
		{name: "398 days of February 2026", leaf: wanted{issuer: "middle", from: "20260201000000Z", to: "20270305235959Z", extensions: good}, sent: "middle"},
		{name: "399 days of February 2026", leaf: wanted{issuer: "middle", from: "20260201000000Z", to: "20270306235959Z", extensions: good}, sent: "middle", want: "cert-validity-too-long:medium"},
		{name: "ten years under an unknown root", leaf: wanted{from: "-10d", to: "3650d", extensions: good}, want: "cert-self-signed:critical cert-validity-too-long:info"},
		{name: "for clients only", leaf: wanted{issuer: "middle", extensions: []string{"extendedKeyUsage = clientAuth", "subjectAltName = DNS:good.test"}}, sent: "middle", want: "cert-no-server-auth:critical"},
	} {
		// Made one after the other, for "openssl ca" keeps books in one file.
		file := strings.NewReplacer(" ", "-", ",", "").Replace(c.name)
		c.leaf.name = "good.test"
		p.make(file, c.leaf)
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			arguments := []string{"-cert", p.folder + "/" + file + ".pem", "-key", p.folder + "/" + file + ".key"}
			if c.sent != "" {
				arguments = append(arguments, "-cert_chain", write(t, p.folder, file+".chain.pem", p.read(strings.Fields(c.sent)...)))
			}
			arguments = append(arguments[:len(arguments):len(arguments)], strings.Fields(c.flags)...)
			asked := c.asked
			if asked == "" {
				asked = "good.test"
			}
			address := startOpenSSL(t, arguments...)
			sni := asked
			if asked == "127.0.0.1" {
				sni = ""
			}
			seen := Look(context.Background(), Target{Target: asked, Named: true, Name: asked, ServerName: sni, Address: address},
				Options{Now: func() time.Time { return plantedDay }, ConnectTimeout: 8 * time.Second})
			record := audit.Assess(seen, audit.Options{Now: plantedDay, Trust: roots})
			if record.Status != cert.StatusOK || len(record.Chain) != 1+len(strings.Fields(c.sent)) {
				t.Fatalf("%s %s, chain of %d", record.Status, record.Error, len(record.Chain))
			}
			var got []string
			for _, each := range record.Findings {
				got = append(got, string(each.Code)+":"+string(each.Severity))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%q, want %q (%s)", strings.Join(got, " "), c.want, record.TrustError)
			}
		})
	}
}
