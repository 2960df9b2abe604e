package cert

import (
	"crypto/rand"
	"crypto/x509"
	"testing"
)

func TestKeysAndRequests(t *testing.T) {
	for _, kind := range KeyKinds {
		if testing.Short() && kind == "rsa-4096" {
			continue
		}
		key, err := GenerateKey(kind, rand.Reader)
		if err != nil {
			t.Fatal(kind, err)
		}
		text, err := MarshalKey(key)
		if err != nil {
			t.Fatal(kind, err)
		}
		back, err := ParseKey(text)
		if err != nil {
			t.Fatal(kind, err)
		}
		csr, err := Request(back, []string{"example.com", "*.Example.com", "192.0.2.1", "2001:db8::1", "example.com"}, rand.Reader)
		if err != nil {
			t.Fatal(kind, err)
		}
		request, err := x509.ParseCertificateRequest(csr)
		if err != nil || request.CheckSignature() != nil {
			t.Fatal(kind, err)
		}
		if len(request.DNSNames) != 2 || request.DNSNames[1] != "*.example.com" || len(request.IPAddresses) != 2 || request.Subject.CommonName != "" {
			t.Errorf("%s: names %v %v, common name %q", kind, request.DNSNames, request.IPAddresses, request.Subject.CommonName)
		}
	}
	if _, err := GenerateKey("rsa-1024", rand.Reader); err == nil {
		t.Error("a weak key was made")
	}
}
