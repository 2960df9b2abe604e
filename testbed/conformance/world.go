package conformance

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/mholt/acmez/v3/acme"

	"github.com/backstay/backstay/testbed/nameserver"
	"github.com/backstay/backstay/testbed/pki"
)

// World is what a CA looks at when it validates: every name is 127.0.0.1.
type World struct {
	HTTPPort int                // where http-01 is answered
	TLSPort  int                // where tls-alpn-01 is answered
	DNS      *nameserver.Server // every name, dns-01

	mutex sync.Mutex
	paths map[string]string           // http-01
	pairs map[string]*tls.Certificate // tls-alpn-01, by server name
}

func newWorld(t *testing.T) *World {
	t.Helper()
	world := &World{paths: map[string]string{}, pairs: map[string]*tls.Certificate{}}
	var err error
	world.DNS, err = nameserver.Start(nameserver.Config{Zones: []nameserver.Zone{{Name: ".", Default: netip.MustParseAddr("127.0.0.1")}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { world.DNS.Close() })
	web := httptest.NewServer(http.HandlerFunc(world.serve))
	t.Cleanup(web.Close)
	world.HTTPPort = web.Listener.Addr().(*net.TCPAddr).Port
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: world.pair, NextProtos: []string{"acme-tls/1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	world.TLSPort = listener.Addr().(*net.TCPAddr).Port
	go accept(listener)
	return world
}

func accept(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			connection.(*tls.Conn).Handshake()
		}()
	}
}

func (world *World) serve(writer http.ResponseWriter, request *http.Request) {
	world.mutex.Lock()
	answer, found := world.paths[request.URL.Path]
	world.mutex.Unlock()
	if !found {
		http.NotFound(writer, request)
		return
	}
	writer.Write([]byte(answer))
}

func (world *World) pair(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	world.mutex.Lock()
	defer world.mutex.Unlock()
	// A missing entry ends the handshake: nobody answers for that name.
	return world.pairs[strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))], nil
}

// present answers a challenge as it should be answered. key is its key
// authorization, which a test may have changed.
func (world *World) present(t *testing.T, challenge acme.Challenge) {
	t.Helper()
	switch challenge.Type {
	case "http-01":
		world.mutex.Lock()
		defer world.mutex.Unlock()
		world.paths[challenge.HTTP01ResourcePath()] = challenge.KeyAuthorization
	case "dns-01":
		if err := world.DNS.Set(challenge.DNS01TXTRecordName() + `. 1 IN TXT "` + challenge.DNS01KeyAuthorization() + `"`); err != nil {
			t.Fatal(err)
		}
	case "tls-alpn-01":
		pair := challengePair(t, challenge)
		name := challenge.Identifier.Value
		if ip, err := netip.ParseAddr(name); err == nil {
			name = reverseName(ip)
		}
		world.mutex.Lock()
		defer world.mutex.Unlock()
		world.pairs[name] = &pair
	}
}

// reverseName is the SNI for an IPv4 address (RFC 8738 section 6).
func reverseName(ip netip.Addr) string {
	octets := strings.Split(ip.String(), ".")
	return octets[3] + "." + octets[2] + "." + octets[1] + "." + octets[0] + ".in-addr.arpa"
}

// challengePair is the certificate of RFC 8737 section 3.
func challengePair(t *testing.T, challenge acme.Challenge) tls.Certificate {
	t.Helper()
	digest, err := base64.RawURLEncoding.DecodeString(challenge.DNS01KeyAuthorization()) // the same SHA-256
	if err != nil {
		t.Fatal(err)
	}
	value, err := asn1.Marshal(digest)
	if err != nil {
		t.Fatal(err)
	}
	identifier := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}, Critical: true, Value: value}
	options := pki.Options{Modify: func(template *x509.Certificate) {
		template.ExtraExtensions = append(template.ExtraExtensions, identifier)
	}}
	if ip := net.ParseIP(challenge.Identifier.Value); ip != nil {
		options.IPs = []net.IP{ip}
	} else {
		options.Names = []string{challenge.Identifier.Value}
	}
	pair, err := pki.SelfSigned(options)
	if err != nil {
		t.Fatal(err)
	}
	return pair.TLS()
}
