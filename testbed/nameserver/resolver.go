package nameserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Resolver is a standard resolver that asks this server only.
func (server *Server) Resolver() *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			dialer := net.Dialer{Timeout: 5 * time.Second}
			return dialer.DialContext(ctx, network, server.address.String())
		},
	}
}

// ask answers a question in memory, faults and counters included. A name outside
// our zones is not there: on the wire that is REFUSED, but here we are the whole
// world's DNS.
func (server *Server) ask(name string, kind uint16) ([]dns.RR, error) {
	server.zones.mutex.RLock()
	zone := server.zones.find(dns.CanonicalName(name))
	server.zones.mutex.RUnlock()
	if zone == nil {
		return nil, nil
	}
	request := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	reply := server.answer(request)
	switch {
	case reply == nil:
		return nil, fmt.Errorf("%s: no answer", name)
	case reply.Rcode == dns.RcodeNameError:
		return nil, nil
	case reply.Rcode != dns.RcodeSuccess:
		return nil, fmt.Errorf("%s: %s", name, dns.RcodeToString[reply.Rcode])
	}
	return reply.Answer, nil
}

// The methods below make a Server the authority's Network: names come from the
// zones, connections are real.

// Dial opens a real connection.
func (server *Server) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, address)
}

// LookupIP returns the addresses of a name, without a socket.
func (server *Server) LookupIP(_ context.Context, name string) ([]netip.Addr, error) {
	var addresses []netip.Addr
	for _, kind := range []uint16{dns.TypeAAAA, dns.TypeA} {
		records, err := server.ask(name, kind)
		if err != nil {
			return nil, err
		}
		for _, record := range records {
			var ip net.IP
			switch record := record.(type) {
			case *dns.A:
				ip = record.A
			case *dns.AAAA:
				ip = record.AAAA
			default:
				continue
			}
			if address, ok := netip.AddrFromSlice(ip); ok {
				addresses = append(addresses, address.Unmap())
			}
		}
	}
	return addresses, nil
}

// LookupTXT returns the TXT values of a name, without a socket.
func (server *Server) LookupTXT(_ context.Context, name string) ([]string, error) {
	records, err := server.ask(name, dns.TypeTXT)
	var values []string
	for _, record := range records {
		if text, isTXT := record.(*dns.TXT); isTXT {
			values = append(values, valueOf(text))
		}
	}
	return values, err
}

// LookupCAA returns the CAA records of exactly this name as "TAG VALUE",
// without a socket.
func (server *Server) LookupCAA(_ context.Context, name string) ([]string, error) {
	records, err := server.ask(name, dns.TypeCAA)
	var values []string
	for _, record := range records {
		if caa, isCAA := record.(*dns.CAA); isCAA {
			values = append(values, caa.Tag+" "+caa.Value)
		}
	}
	return values, err
}
