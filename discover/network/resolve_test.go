package network

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// nameserver answers on loopback from zone data and returns its address.
func nameserver(t *testing.T, zone ...string) netip.AddrPort {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	records := map[string][]dns.RR{}
	for _, line := range zone {
		record, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		records[record.Header().Name] = append(records[record.Header().Name], record)
	}
	server := &dns.Server{PacketConn: socket, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg).SetReply(question)
		found := records[question.Question[0].Name]
		if found == nil {
			answer.Rcode = dns.RcodeNameError
		}
		for _, record := range found {
			if record.Header().Rrtype == question.Question[0].Qtype {
				answer.Answer = append(answer.Answer, record)
			}
		}
		w.WriteMsg(answer)
	})}
	go server.ActivateAndServe()
	t.Cleanup(func() { server.Shutdown() })
	return netip.MustParseAddrPort(socket.LocalAddr().String())
}

func TestNewResolverAsksItsServer(t *testing.T) {
	resolver := NewResolver(nameserver(t, "two.test. A 192.0.2.9", "two.test. A 192.0.2.1", "two.test. AAAA 2001:db8::1", "six.test. AAAA 2001:db8::2", "text.test. TXT x"))
	for _, c := range []struct{ host, want string }{
		{"two.test", "[192.0.2.1 192.0.2.9 2001:db8::1]"}, {"six.test", "[2001:db8::2]"}, {"text.test", ""}, {"gone.test", ""},
	} {
		addresses, err := resolver.Addresses(context.Background(), c.host)
		if (err != nil) != (c.want == "") {
			t.Errorf("%s: %v", c.host, err)
			continue
		}
		got := "["
		for i, address := range addresses {
			if i > 0 {
				got += " "
			}
			got += address.String()
		}
		if got += "]"; c.want != "" && got != c.want {
			t.Errorf("%s: %s", c.host, got)
		}
	}
}
