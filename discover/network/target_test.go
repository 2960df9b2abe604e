package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/cert"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, want string }{ // HOST|PREFIX NAME PORTS TRANSPORT
		{"example.com", "example.com - 443 tcp"},
		{"EXAMPLE.com.", "example.com - 443 tcp"},
		{"bücher.example", "xn--bcher-kva.example - 443 tcp"},
		{"localhost:8443", "localhost - 8443 tcp"},
		{"nginx:8443", "nginx - 8443 tcp"},
		{"example.com:8000-8100", "example.com - 8000-8100 tcp"},
		{"example.com:443,8443,9000-9001", "example.com - 443,8443,9000-9001 tcp"},
		{"192.0.2.1", "192.0.2.1/32 - 443 tcp"},
		{"192.0.2.0/28:443,8443", "192.0.2.0/28* - 443,8443 tcp"},
		{"192.0.2.77/28", "192.0.2.64/28* - 443 tcp"},
		{"[2001:db8::1]:443", "2001:db8::1/128 - 443 tcp"},
		{"2001:db8::1", "2001:db8::1/128 - 443 tcp"},
		{"[2001:db8::1]", "2001:db8::1/128 - 443 tcp"},
		{"[2001:db8::]/120:8443", "2001:db8::/120* - 8443 tcp"},
		{"[2001:db8::/120]:8443", "2001:db8::/120* - 8443 tcp"},
		{"2001:db8::/120", "2001:db8::/120* - 443 tcp"},
		{"::ffff:192.0.2.1", "192.0.2.1/32 - 443 tcp"},
		{"www.example.com@192.0.2.1:8443", "192.0.2.1/32 www.example.com 8443 tcp"},
		{"www.example.com@[2001:db8::1]:8443", "2001:db8::1/128 www.example.com 8443 tcp"},
		{"www.example.com@lb.example.com", "lb.example.com www.example.com 443 tcp"},
		{"smtp://mail.example.com", "mail.example.com - 25 smtp"},
		{"smtp://mail.example.com:587", "mail.example.com - 587 smtp"},
		{"xmpp-server://x.example", "x.example - 5269 xmpp-server"},
		{"imaps://mail.example.com", "mail.example.com - 993 tcp"},
		{"https://example.com/path?q", "example.com - 443 tcp"},
		{"quic://example.com", "example.com - 443 quic"},
		{"_dmarc.example.com", "_dmarc.example.com - 443 tcp"},
	} {
		spec, err := Parse(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := show(spec); got != c.want || spec.Text != c.in {
			t.Errorf("%s: %q, want %q", c.in, got, c.want)
		}
	}
	for _, bad := range []string{
		"", ":443", "example.com:", "example.com:0", "example.com:65536", "example.com:x", "example.com:+1", "example.com:-1",
		"example.com:90-80", "example.com:1-", "example.com:,", "exa mple.com", "*.example.com", "a..b", "-a.test", "192.0.2.256", "192.0.2",
		"1.2.3.4.5", "192.0.2.0/33", "[2001:db8::1", "[2001:db8::1]x", "[192.0.2.1]:443", "gopher://x", "smtp://", "@192.0.2.1", "a@192.0.2.0/28",
		"192.0.2.1@example.com", "fe80::1%eth0", "a\x00b", "a\nb", "2001:db8:::1", strings.Repeat("a", 2000),
	} {
		if spec, err := Parse(bad); err == nil {
			t.Errorf("%q was read as %s", bad, show(spec))
		}
	}
}

func show(spec Spec) string {
	host := spec.Host
	if host == "" {
		host = spec.Prefix.String()
	}
	if spec.Range {
		host += "*"
	}
	var ports []string
	for _, each := range spec.Ports {
		text := fmt.Sprint(each.From)
		if each.To != each.From {
			text += fmt.Sprintf("-%d", each.To)
		}
		ports = append(ports, text)
	}
	name := spec.Name
	if name == "" {
		name = "-"
	}
	return host + " " + name + " " + strings.Join(ports, ",") + " " + spec.Transport
}

func TestKindOf(t *testing.T) {
	for text, want := range map[string]Kind{
		"-": KindStdin, "example.com": KindNetwork, "example.com:443": KindNetwork, "192.0.2.0/28:443,8443": KindNetwork,
		"192.0.2.0/28": KindNetwork, "2001:db8::/64": KindNetwork, "[2001:db8::]/64:443": KindNetwork, "smtp://mail.example.com": KindNetwork,
		"/etc/ssl": KindPath, "./a.pem": KindPath, "certs/a.pem": KindPath, ".": KindPath, "/etc/a:b": KindPath,
		"nginx:/etc/nginx/nginx.conf": KindServer, "nginx:nginx.conf": KindServer, "nginx:443": KindNetwork, "haproxy:x": KindServer,
	} {
		if got := KindOf(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func expand(t *testing.T, text string, seed uint64, addresses ...string) (places []cert.Place) {
	t.Helper()
	spec, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var resolved []netip.Addr
	for _, each := range addresses {
		resolved = append(resolved, netip.MustParseAddr(each))
	}
	return slices.Collect(spec.places(resolved, seed))
}

func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		text      string
		addresses string
		want      string // sorted; TARGET(name,sni)@ADDRESS, "!" for named
	}{
		{"example.com", "192.0.2.1 2001:db8::1", "!example.com(example.com,example.com)@192.0.2.1:443 !example.com(example.com,example.com)@[2001:db8::1]:443"},
		{"a.test:1,3-4", "192.0.2.1", "!a.test:1(a.test,a.test)@192.0.2.1:1 a.test:3(a.test,a.test)@192.0.2.1:3 a.test:4(a.test,a.test)@192.0.2.1:4"},
		{"192.0.2.1", "", "!192.0.2.1(192.0.2.1,)@192.0.2.1:443"},
		{"192.0.2.0/31:1,2", "", "192.0.2.0:1(,)@192.0.2.0:1 192.0.2.0:2(,)@192.0.2.0:2 192.0.2.1:1(,)@192.0.2.1:1 192.0.2.1:2(,)@192.0.2.1:2"},
		{"2001:db8::fe/127", "", "[2001:db8::fe]:443(,)@[2001:db8::fe]:443 [2001:db8::ff]:443(,)@[2001:db8::ff]:443"},
		{"a.test@192.0.2.1:5", "", "!a.test@192.0.2.1:5(a.test,a.test)@192.0.2.1:5"},
		{"a.test@lb.test:5", "192.0.2.1", "!a.test@lb.test:5(a.test,a.test)@192.0.2.1:5"},
	} {
		var got []string
		for _, place := range expand(t, c.text, 1, strings.Fields(c.addresses)...) {
			text := fmt.Sprintf("%s(%s,%s)@%s", place.Target, place.Name, place.ServerName, place.Address)
			if place.Named {
				text = "!" + text
			}
			got = append(got, text)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.text, strings.Join(got, " "), c.want)
		}
	}
}

func TestOrderFollowsFromTheSeed(t *testing.T) {
	one, again, other := expand(t, "10.0.0.0/22:443,8443", 7), expand(t, "10.0.0.0/22:443,8443", 7), expand(t, "10.0.0.0/22:443,8443", 8)
	if !slices.Equal(one, again) || slices.Equal(one, other) {
		t.Error("the order is not the seed's")
	}
	seen := map[netip.AddrPort]bool{}
	inOrder := 0
	for i, place := range one {
		seen[place.Address] = true
		if i > 0 && one[i-1].Address.Addr().Next() == place.Address.Addr() {
			inOrder++
		}
	}
	if len(one) != 2048 || len(seen) != 2048 || inOrder > 50 {
		t.Errorf("%d places, %d different, %d in order", len(one), len(seen), inOrder)
	}
	for _, count := range []uint64{0, 1, 2, 3, 5, 17, 1000, 65537} {
		hit := make([]bool, count)
		for n := range shuffled(count, 3) {
			if hit[n] {
				t.Fatalf("%d twice of %d", n, count)
			}
			hit[n] = true
		}
		if slices.Contains(hit, false) {
			t.Fatalf("not all of %d", count)
		}
	}
}

// A /12 must be walked, never held.
func TestWideRangesAreNotAllocated(t *testing.T) {
	spec, err := Parse("10.16.0.0/12:1-65535")
	if err != nil {
		t.Fatal(err)
	}
	allocations := testing.AllocsPerRun(3, func() {
		count := 0
		for range spec.places(nil, 1) {
			if count++; count == 10_000 {
				break
			}
		}
	})
	if allocations > 3*10_000+1000 { // a few small strings for each place, nothing for the range
		t.Errorf("%.0f allocations for ten thousand places", allocations)
	}
}

func TestPermit(t *testing.T) {
	for _, c := range []struct {
		text                 string
		asked, whenConfirmed bool
	}{
		{"8.8.8.8", true, true}, {"8.8.0.0/20", true, true}, {"8.8.0.0/19", false, true}, {"8.0.0.0/8", false, true}, {"8.0.0.0/7", false, false},
		{"10.0.0.0/8", true, true}, {"172.16.0.0/12", true, true}, {"172.0.0.0/9", false, true}, {"172.0.0.0/10", false, true}, {"192.168.0.0/16", true, true}, {"127.0.0.0/8", true, true},
		{"2001:db8::/116", true, true}, {"2001:db8::/115", false, true}, {"2001:db8::/104", false, true}, {"2001:db8::/64", false, false},
		{"fd00::/104", true, true}, {"fd00::/64", false, false}, {"example.com:1-65535", true, true},
	} {
		spec, err := Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]bool{false: c.asked, true: c.whenConfirmed}
		for confirmed, allowed := range want {
			if got := spec.Permit(confirmed) == nil; got != allowed {
				t.Errorf("%s, confirmed %v: %v", c.text, confirmed, got)
			}
		}
	}
}

func TestLines(t *testing.T) {
	var got []string
	for line, err := range Lines(strings.NewReader("a.test\r\n\n # comment\n  b.test  \nc.test")) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, line)
	}
	if strings.Join(got, " ") != "a.test b.test c.test" {
		t.Error(got)
	}
	failed := false
	for _, err := range Lines(strings.NewReader("a.test\n" + strings.Repeat("x", 10_000))) {
		failed = failed || err != nil
	}
	if !failed {
		t.Error("an endless line was accepted")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"example.com:1-2,3", "[2001:db8::]/64:443", "a@b:1", "smtp://x", "192.0.2.0/28"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		KindOf(text)
		spec, err := Parse(text)
		if err != nil {
			return
		}
		if (spec.Host == "") == !spec.Prefix.IsValid() || len(spec.Ports) == 0 {
			t.Fatalf("%q: %+v", text, spec)
		}
		if spec.Permit(true) == nil {
			for place := range spec.places([]netip.Addr{netip.MustParseAddr("192.0.2.1")}, 1) {
				if !place.Address.IsValid() || place.Address.Port() == 0 {
					t.Fatalf("%q: %+v", text, place)
				}
				break
			}
		}
	})
}
