package cert

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// maxCommonName is ub-common-name of RFC 5280 appendix A.1.
const maxCommonName = 64

// Request makes a certificate request (PKCS#10, DER) for domains: host names,
// wildcards and IP addresses, all as subject alternative names. The subject is
// empty: nobody reads the common name any more and some authorities refuse one.
// There is no must-staple: authorities have stopped serving OCSP.
func Request(signer crypto.Signer, domains []string, random io.Reader) (csr []byte, err error) {
	return request(signer, domains, random, false)
}

// RequestWithCommonName is Request with the first domain that is a host name of
// at most 64 bytes as common name, for authorities that insist on one. Where no
// domain fits, there is none.
func RequestWithCommonName(signer crypto.Signer, domains []string, random io.Reader) (csr []byte, err error) {
	return request(signer, domains, random, true)
}

func request(signer crypto.Signer, domains []string, random io.Reader, common bool) ([]byte, error) {
	if len(domains) == 0 {
		return nil, errors.New("a certificate request needs a name")
	}
	template := &x509.CertificateRequest{}
	seen := map[string]bool{}
	for _, domain := range domains {
		if address, ok := parseAddress(domain); ok {
			if !seen[address.String()] {
				seen[address.String()] = true
				template.IPAddresses = append(template.IPAddresses, net.IP(address.AsSlice()))
			}
			continue
		}
		host, err := requestName(domain)
		if err != nil {
			return nil, err
		}
		if seen[host] {
			continue
		}
		seen[host] = true
		template.DNSNames = append(template.DNSNames, host)
		if common && template.Subject.CommonName == "" && len(host) <= maxCommonName {
			template.Subject = pkix.Name{CommonName: host}
		}
	}
	return x509.CreateCertificateRequest(random, template, signer)
}

// requestName is HostName for a name that may be a wildcard.
func requestName(domain string) (string, error) {
	rest, wildcard := strings.CutPrefix(domain, "*.")
	host, err := HostName(rest)
	if err != nil {
		return "", fmt.Errorf("%q cannot be a name of a certificate", domain)
	}
	if wildcard {
		return "*." + host, nil
	}
	return host, nil
}
