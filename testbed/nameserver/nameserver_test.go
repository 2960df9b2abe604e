package nameserver

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	keyName   = "update-key."
	keySecret = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U="
)

func start(t *testing.T) *Server {
	t.Helper()
	server, err := Start(Config{
		Zones: []Zone{
			{Name: "example.org", Default: netip.MustParseAddr("127.0.0.1"), Records: []string{
				"six.example.org. 60 IN AAAA ::1",
				"alias.example.org. 60 IN CNAME target.other.test.",
				`caa.example.org. 60 IN CAA 0 issue "ca.example"`,
			}},
			{Name: "sub.example.org"},
			{Name: "other.test", Records: []string{`target.other.test. 60 IN TXT "one" "two"`}},
		},
		Keys: []Key{{Name: keyName, Secret: keySecret}, {Name: "strong.", Algorithm: "hmac-sha512", Secret: keySecret}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

func ask(t *testing.T, server *Server, network, name string, kind uint16) *dns.Msg {
	t.Helper()
	client := &dns.Client{Net: network, Timeout: 5 * time.Second}
	reply, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, kind), server.Address().String())
	if err != nil {
		t.Fatalf("%s %s over %s: %v", name, dns.TypeToString[kind], network, err)
	}
	return reply
}

func TestAnswers(t *testing.T) {
	server := start(t)
	table := []struct {
		name      string
		kind      uint16
		code      int
		answers   []string // values, joined name and type apart
		authority string   // owner of the SOA in the authority section
	}{
		{"anything.example.org.", dns.TypeA, dns.RcodeSuccess, []string{"127.0.0.1"}, ""},
		{"Anything.EXAMPLE.org.", dns.TypeA, dns.RcodeSuccess, []string{"127.0.0.1"}, ""},
		{"anything.example.org.", dns.TypeAAAA, dns.RcodeSuccess, nil, "example.org."},
		{"six.example.org.", dns.TypeA, dns.RcodeSuccess, nil, "example.org."},
		{"six.example.org.", dns.TypeAAAA, dns.RcodeSuccess, []string{"::1"}, ""},
		{"caa.example.org.", dns.TypeA, dns.RcodeSuccess, []string{"127.0.0.1"}, ""},
		{"caa.example.org.", dns.TypeCAA, dns.RcodeSuccess, []string{`0 issue "ca.example"`}, ""},
		{"alias.example.org.", dns.TypeTXT, dns.RcodeSuccess, []string{"target.other.test.", "onetwo"}, ""},
		{"alias.example.org.", dns.TypeCNAME, dns.RcodeSuccess, []string{"target.other.test."}, ""},
		{"example.org.", dns.TypeNS, dns.RcodeSuccess, []string{"ns1.example.org."}, ""},
		{"_acme-challenge.a.example.org.", dns.TypeSOA, dns.RcodeSuccess, nil, "example.org."},
		{"_acme-challenge.a.sub.example.org.", dns.TypeSOA, dns.RcodeNameError, nil, "sub.example.org."},
		{"nothing.sub.example.org.", dns.TypeA, dns.RcodeNameError, nil, "sub.example.org."},
		{"elsewhere.net.", dns.TypeA, dns.RcodeRefused, nil, ""},
	}
	for _, row := range table {
		for _, network := range []string{"udp", "tcp"} {
			reply := ask(t, server, network, row.name, row.kind)
			var values []string
			for _, record := range reply.Answer {
				values = append(values, valueOf(record))
			}
			authority := ""
			if len(reply.Ns) > 0 {
				authority = reply.Ns[0].Header().Name
			}
			if reply.Rcode != row.code || !slices.Equal(values, row.answers) || authority != row.authority {
				t.Errorf("%s %s over %s: got %s %q %q, want %s %q %q", row.name, dns.TypeToString[row.kind], network,
					dns.RcodeToString[reply.Rcode], values, authority, dns.RcodeToString[row.code], row.answers, row.authority)
			}
		}
	}
	if got := server.Queries("anything.example.org", "A"); got != 4 {
		t.Errorf("counted %d queries, want 4: names are case-insensitive", got)
	}
}

// update sends one signed update; key "" sends it unsigned.
func update(t *testing.T, server *Server, key, algorithm, secret string, change func(*dns.Msg)) *dns.Msg {
	t.Helper()
	request := new(dns.Msg).SetUpdate("example.org.")
	change(request)
	client := &dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	if key != "" {
		client.TsigSecret = map[string]string{key: secret}
		request.SetTsig(key, algorithm, 300, time.Now().Unix())
	}
	reply, _, err := client.Exchange(request, server.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func text(t *testing.T, value string) dns.RR {
	t.Helper()
	record, err := dns.NewRR("_acme-challenge.a.example.org. 60 IN TXT " + value)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func TestUpdates(t *testing.T) {
	server := start(t)
	insert := func(value string) func(*dns.Msg) {
		return func(request *dns.Msg) { request.Insert([]dns.RR{text(t, value)}) }
	}
	table := []struct {
		what                   string
		key, algorithm, secret string
		change                 func(*dns.Msg)
		code                   int
		left                   string
	}{
		{"unsigned", "", "", "", insert("a"), dns.RcodeRefused, ""},
		{"wrong secret", keyName, dns.HmacSHA256, "d3Jvbmc=", insert("a"), dns.RcodeNotAuth, ""},
		{"unknown key", "stranger.", dns.HmacSHA256, keySecret, insert("a"), dns.RcodeNotAuth, ""},
		{"other algorithm", keyName, dns.HmacSHA512, keySecret, insert("a"), dns.RcodeNotAuth, ""},
		{"add", keyName, dns.HmacSHA256, keySecret, insert("a"), dns.RcodeSuccess, "a"},
		{"add again", keyName, dns.HmacSHA256, keySecret, insert("a"), dns.RcodeSuccess, "a"},
		{"add a second", "strong.", dns.HmacSHA512, keySecret, insert("b"), dns.RcodeSuccess, "a b"},
		{"prerequisite fails", keyName, dns.HmacSHA256, keySecret, func(request *dns.Msg) {
			request.RRsetNotUsed([]dns.RR{text(t, "a")})
			insert("c")(request)
		}, dns.RcodeYXRrset, "a b"},
		{"outside the zone", keyName, dns.HmacSHA256, keySecret, func(request *dns.Msg) {
			record, _ := dns.NewRR("x.other.test. 60 IN TXT y")
			request.Insert([]dns.RR{record})
		}, dns.RcodeNotZone, "a b"},
		{"remove one", keyName, dns.HmacSHA256, keySecret, func(request *dns.Msg) { request.Remove([]dns.RR{text(t, "a")}) }, dns.RcodeSuccess, "b"},
		{"remove the set", keyName, dns.HmacSHA256, keySecret, func(request *dns.Msg) { request.RemoveRRset([]dns.RR{text(t, "x")}) }, dns.RcodeSuccess, ""},
	}
	for _, row := range table {
		t.Run(row.what, func(t *testing.T) {
			reply := update(t, server, row.key, row.algorithm, row.secret, row.change)
			if reply.Rcode != row.code {
				t.Errorf("%s, want %s", dns.RcodeToString[reply.Rcode], dns.RcodeToString[row.code])
			}
			if left := strings.Join(server.Records("_acme-challenge.a.example.org", "TXT"), " "); left != row.left {
				t.Errorf("records %q, want %q", left, row.left)
			}
		})
	}
	if ip, err := server.LookupIP(t.Context(), "a.example.org"); err != nil || len(ip) != 1 {
		t.Errorf("a.example.org lost its default address: %v %v", ip, err)
	}
	if server.Updates() != 5 {
		t.Errorf("%d updates carried out, want 5", server.Updates())
	}
}

func TestFaults(t *testing.T) {
	server := start(t)
	remove := server.AddFault(Fault{Name: "sick.example.org", Type: "TXT", What: ServerFailure})
	if reply := ask(t, server, "udp", "a.sick.example.org.", dns.TypeTXT); reply.Rcode != dns.RcodeServerFailure {
		t.Error(dns.RcodeToString[reply.Rcode])
	}
	if reply := ask(t, server, "udp", "a.sick.example.org.", dns.TypeA); reply.Rcode != dns.RcodeSuccess {
		t.Error("another type must not suffer")
	}
	if _, err := server.LookupTXT(t.Context(), "a.sick.example.org"); err == nil {
		t.Error("the view in memory must suffer too")
	}
	remove()
	remove()
	server.AddFault(Fault{Times: 1, What: Refuse})
	if reply := ask(t, server, "udp", "a.example.org.", dns.TypeA); reply.Rcode != dns.RcodeRefused {
		t.Error(dns.RcodeToString[reply.Rcode])
	}
	if reply := ask(t, server, "udp", "a.example.org.", dns.TypeA); reply.Rcode != dns.RcodeSuccess {
		t.Error("once is once")
	}
	server.AddFault(Fault{Times: 1, What: Drop})
	client := &dns.Client{Timeout: 50 * time.Millisecond}
	if _, _, err := client.Exchange(new(dns.Msg).SetQuestion("a.example.org.", dns.TypeA), server.Address().String()); err == nil {
		t.Error("a dropped query was answered")
	}
}

func TestTwoServersThatDiffer(t *testing.T) {
	primary := start(t)
	secondary, err := primary.Another()
	if err != nil {
		t.Fatal(err)
	}
	defer secondary.Close()
	secondary.ShowLate(2)
	update(t, primary, keyName, dns.HmacSHA256, keySecret, func(request *dns.Msg) { request.Insert([]dns.RR{text(t, "a")}) })
	count := func(server *Server) int {
		return len(ask(t, server, "udp", "_acme-challenge.a.example.org.", dns.TypeTXT).Answer)
	}
	if count(primary) != 1 {
		t.Error("the primary must show it at once")
	}
	got := []int{count(secondary), count(secondary), count(secondary)}
	if !slices.Equal(got, []int{0, 0, 1}) {
		t.Errorf("the secondary showed %v, want it after two queries", got)
	}
}

func TestNetworkView(t *testing.T) {
	server := start(t)
	addresses, err := server.Resolver().LookupNetIP(t.Context(), "ip4", "anything.example.org")
	if err != nil || len(addresses) != 1 || addresses[0].Unmap() != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("%v %v", addresses, err)
	}
	if values, err := server.LookupTXT(t.Context(), "alias.example.org"); err != nil || !slices.Equal(values, []string{"onetwo"}) {
		t.Errorf("%v %v", values, err)
	}
	if values, err := server.LookupCAA(t.Context(), "caa.example.org"); err != nil || !slices.Equal(values, []string{"issue ca.example"}) {
		t.Errorf("%v %v", values, err)
	}
	if values, err := server.LookupCAA(t.Context(), "org"); err != nil || values != nil {
		t.Errorf("outside the zones: %v %v", values, err)
	}
}

func TestBadConfiguration(t *testing.T) {
	for _, config := range []Config{
		{Keys: []Key{{Name: "k", Algorithm: "hmac-md5", Secret: keySecret}}},
		{Zones: []Zone{{Name: "a.test", Records: []string{"b.test. IN A 127.0.0.1"}}}},
		{Zones: []Zone{{Name: "a.test", Records: []string{"a.test. IN A banana"}}}},
	} {
		if server, err := Start(config); err == nil {
			server.Close()
			t.Errorf("%+v must be refused", config)
		}
	}
}
