package authority

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// look is everything a validation needs to know; it shares no memory with the
// state.
type look struct {
	kind     string
	name     Identifier
	wildcard bool
	token    string
	expected string // the key authorization (RFC 8555 section 8.1)
}

func (look look) digest() []byte {
	sum := sha256.Sum256([]byte(look.expected))
	return sum[:]
}

// lookHTTP is RFC 8555 section 8.3.
func (authority *Authority) lookHTTP(ctx context.Context, look look) *problem {
	host := look.name.Value
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	url := "http://" + host + "/.well-known/acme-challenge/" + look.token
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return malformed("the challenge has no usable URL: %v", err)
	}
	transport := &http.Transport{
		DialContext:       authority.dialName,
		DisableKeepAlives: true,
		// A redirect to HTTPS is followed whatever certificate is there: the
		// point is to get the first one.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return connectionProblem(err, "fetching %s: %v", url, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return connectionProblem(err, "reading %s: %v", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return unauthorized("%s answered with status %d", url, response.StatusCode)
	}
	if got := strings.TrimRight(string(body), " \t\r\n"); got != look.expected {
		return unauthorized("%s holds %.80q, not the key authorization", url, got)
	}
	return nil
}

// dialName connects to a host by name. The standard port 80 stands for the
// configured one, as in Pebble; a port written in a redirect is kept.
func (authority *Authority) dialName(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	switch port {
	case "80":
		port = strconv.Itoa(authority.config.HTTPPort)
	case "443":
		port = strconv.Itoa(authority.config.TLSPort)
	}
	addresses := []netip.Addr{}
	if ip, err := netip.ParseAddr(host); err == nil {
		addresses = append(addresses, ip)
	} else if addresses, err = authority.config.Network.LookupIP(ctx, host); err != nil {
		return nil, &lookupError{host, err}
	}
	if len(addresses) == 0 {
		return nil, &lookupError{host, errors.New("no address")}
	}
	// IPv6 first, and the next address when one does not answer (RFC 8555 leaves
	// this to the CA; it is what Let's Encrypt does).
	slices.SortFunc(addresses, func(one, other netip.Addr) int { return other.BitLen() - one.BitLen() })
	var first error
	for _, ip := range addresses {
		connection, err := authority.config.Network.Dial(ctx, network, net.JoinHostPort(ip.String(), port))
		if err == nil {
			return connection, nil
		}
		first = cmpError(first, err)
	}
	return nil, first
}

func cmpError(first, next error) error {
	if first != nil {
		return first
	}
	return next
}

type lookupError struct {
	name string
	err  error
}

func (failure *lookupError) Error() string {
	return "looking up " + failure.name + ": " + failure.err.Error()
}
func (failure *lookupError) Unwrap() error { return failure.err }

func connectionProblem(err error, format string, arguments ...any) *problem {
	var lookup *lookupError
	if errors.As(err, &lookup) {
		return refuse(http.StatusBadRequest, "dns", format, arguments...)
	}
	return refuse(http.StatusBadRequest, "connection", format, arguments...)
}

// lookDNS is RFC 8555 section 8.4.
func (authority *Authority) lookDNS(ctx context.Context, look look) *problem {
	name := "_acme-challenge." + look.name.Value
	values, err := authority.config.Network.LookupTXT(ctx, name)
	if err != nil {
		return refuse(http.StatusBadRequest, "dns", "looking up TXT of %s: %v", name, err)
	}
	if len(values) == 0 {
		return unauthorized("%s has no TXT record", name)
	}
	if !slices.Contains(values, base64.RawURLEncoding.EncodeToString(look.digest())) {
		return unauthorized("none of the %d TXT values of %s is the right one", len(values), name)
	}
	return nil
}

// acmeIdentifier is id-pe-acmeIdentifier (RFC 8737 section 6.1).
var acmeIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

// lookTLS is RFC 8737 section 3, RFC 8738 section 6 for addresses.
func (authority *Authority) lookTLS(ctx context.Context, look look) *problem {
	connection, err := authority.dialName(ctx, "tcp", net.JoinHostPort(look.name.Value, "443"))
	if err != nil {
		return connectionProblem(err, "connecting to %s: %v", look.name.Value, err)
	}
	defer connection.Close()
	client := tls.Client(connection, &tls.Config{
		ServerName: serverName(look.name), NextProtos: []string{"acme-tls/1"}, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true,
	})
	if err := client.HandshakeContext(ctx); err != nil {
		return refuse(http.StatusBadRequest, "tls", "handshake with %s: %v", look.name.Value, err)
	}
	shown := client.ConnectionState()
	if shown.NegotiatedProtocol != "acme-tls/1" {
		return unauthorized("%s did not negotiate acme-tls/1", look.name.Value)
	}
	if err := checkChallengeCertificate(shown.PeerCertificates[0], look); err != nil {
		return unauthorized("%s: %v", look.name.Value, err)
	}
	return nil
}

func checkChallengeCertificate(shown *x509.Certificate, look look) error {
	if look.name.Type == "ip" {
		if len(shown.DNSNames) != 0 || len(shown.IPAddresses) != 1 || shown.IPAddresses[0].String() != look.name.Value {
			return errors.New("the certificate's only name is not the address")
		}
	} else if len(shown.IPAddresses) != 0 || len(shown.DNSNames) != 1 || !strings.EqualFold(shown.DNSNames[0], look.name.Value) {
		return errors.New("the certificate's only name is not the one asked for")
	}
	for _, extension := range shown.Extensions {
		if !extension.Id.Equal(acmeIdentifier) {
			continue
		}
		var digest []byte
		rest, err := asn1.Unmarshal(extension.Value, &digest)
		if !extension.Critical || err != nil || len(rest) > 0 || !bytes.Equal(digest, look.digest()) {
			return errors.New("the acmeIdentifier extension is not the right one")
		}
		return nil
	}
	return errors.New("the certificate has no acmeIdentifier extension")
}

// serverName is the SNI for a name; an address has its reverse DNS name there.
func serverName(name Identifier) string {
	if name.Type != "ip" {
		return name.Value
	}
	ip, err := netip.ParseAddr(name.Value)
	if err != nil {
		return name.Value
	}
	var labels []string
	if ip.Is4() {
		for _, octet := range ip.As4() {
			labels = append(labels, strconv.Itoa(int(octet)))
		}
		slices.Reverse(labels)
		return strings.Join(labels, ".") + ".in-addr.arpa"
	}
	for _, octet := range ip.As16() {
		labels = append(labels, fmt.Sprintf("%x", octet>>4), fmt.Sprintf("%x", octet&15))
	}
	slices.Reverse(labels)
	return strings.Join(labels, ".") + ".ip6.arpa"
}
