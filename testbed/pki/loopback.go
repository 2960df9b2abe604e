package pki

import (
	"crypto/x509"
	"net"
	"time"
)

// Loopback makes a root and a pair for a server of the testbed itself: for host
// ("" for none), localhost and the loopback addresses. It is valid for all the
// time any clock here may show: the dates of this certificate are never what is
// rehearsed.
func Loopback(host string) (*Pair, *x509.Certificate, error) {
	options := Options{
		CommonName: "Backstay testbed HTTPS root",
		NotBefore:  time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:   time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	root, err := Root(options)
	if err != nil {
		return nil, nil, err
	}
	options.CommonName = ""
	options.Names = []string{"localhost"}
	options.IPs = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if ip := net.ParseIP(host); ip != nil {
		options.IPs = append(options.IPs, ip)
	} else if host != "" {
		options.Names = append(options.Names, host)
	}
	pair, err := root.Leaf(options)
	if err != nil {
		return nil, nil, err
	}
	return pair, root.Certificate, nil
}
