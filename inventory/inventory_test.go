package inventory

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/cert"
	. "github.com/backstay/backstay/cert/certtest"
)

func endpoint(sha256, address, name string, ago time.Duration) Sighting {
	return Sighting{SHA256: sha256, Kind: KindEndpoint, Address: address, Port: 443, ServerName: name, Transport: "tcp", SeenAt: Now.Add(-ago)}
}

func entry(sha256 string, sightings ...Sighting) Entry {
	return Entry{Object: Object{Certificate: cert.Certificate{SHA256: sha256, DNSNames: []string{sha256 + ".test"}, NotAfter: Now.Add(60 * Day)}}, Sightings: sightings}
}

func summary(joined Joined) string {
	var words []string
	for _, state := range joined.States {
		words = append(words, state.Name+"="+state.State)
	}
	for _, each := range joined.Findings {
		words = append(words, string(each.Code)+"@"+strings.Join(each.Affects, ","))
	}
	return strings.Join(words, " ")
}

func TestJoin(t *testing.T) {
	held := &Held{SHA256: "new", NotBefore: Now.Add(-30 * Day), NotAfter: Now.Add(60 * Day), Authority: "ca"}
	at := []Endpoint{{"192.0.2.1", 443, "www.test"}}
	www := func(change func(*Managed)) []Managed {
		managed := Managed{Name: "www", Newest: held, Older: []string{"old"}, Endpoints: at, Deployed: true, RenewAt: Now.Add(30 * Day)}
		if change != nil {
			change(&managed)
		}
		return []Managed{managed}
	}
	served := entry("new", endpoint("new", "192.0.2.1", "www.test", time.Minute))
	stale := entry("old", endpoint("old", "192.0.2.1", "www.test", time.Minute))
	const hour = time.Hour
	for _, c := range []struct {
		name    string
		managed []Managed
		entries []Entry
		want    string
	}{
		{"served", www(nil), []Entry{served}, "www=ok"},
		{"never looked", www(nil), nil, "www=unverified"},
		{"looked too long ago", www(nil), []Entry{entry("new", endpoint("new", "192.0.2.1", "www.test", 26*hour))}, "www=unverified"},
		{"old one seen too long ago", www(nil), []Entry{entry("old", endpoint("old", "192.0.2.1", "www.test", 26*hour))}, "www=unverified"},
		{"old one served", www(nil), []Entry{stale}, "www=not_served serve-not-newest@192.0.2.1:443/www.test"},
		{"the latest look counts", www(nil), []Entry{entry("old", endpoint("old", "192.0.2.1", "www.test", 2*hour)), served}, "www=ok"},
		{"the latest look counts, the other way", www(nil), []Entry{entry("new", endpoint("new", "192.0.2.1", "www.test", 2*hour)), stale}, "www=not_served serve-not-newest@192.0.2.1:443/www.test"},
		{"a stranger's certificate", www(nil), []Entry{entry("else", endpoint("else", "192.0.2.1", "www.test", 0))}, "www=not_served else.test=found serve-not-newest@192.0.2.1:443/www.test"},
		{"old one elsewhere", www(nil), []Entry{served, entry("old", endpoint("old", "192.0.2.9", "other.test", 0))}, "www=not_served serve-not-newest@192.0.2.9:443/other.test"},
		{"not ours to serve", www(func(m *Managed) { m.Endpoints, m.Deployed = nil, false }), nil, "www=ok"},
		{"deployed, nobody knows where", www(func(m *Managed) { m.Endpoints = nil }), nil, "www=unverified"},
		{"nothing held", www(func(m *Managed) { m.Newest = nil }), nil, "www=pending"},
		{"nothing held, and failing", www(func(m *Managed) { m.Newest = nil; m.Failing = true }), nil, "www=failing"},
		{"due", www(func(m *Managed) { m.RenewAt = Now }), []Entry{served}, "www=due"},
		{"renewing", www(func(m *Managed) { m.RenewAt = Now; m.Renewing = true }), []Entry{served}, "www=renewing"},
		{"failing", www(func(m *Managed) { m.RenewAt = Now; m.Failing = true }), []Entry{served}, "www=failing"},
		{"overdue", www(func(m *Managed) { m.RenewAt = Now.Add(-8 * Day); m.Failing = true }), []Entry{served}, "www=overdue"},
		{"not overdue yet", www(func(m *Managed) { m.RenewAt = Now.Add(-7 * Day) }), []Entry{served}, "www=due"},
		{"expired", www(func(m *Managed) {
			m.Newest = &Held{SHA256: "new", NotBefore: Now.Add(-90 * Day), NotAfter: Now.Add(-1)}
		}), []Entry{served}, "www=expired"},
		{"retired", www(func(m *Managed) { m.Retired = true }), []Entry{served}, "new.test=found"},
		{"two nodes alike", nil, []Entry{entry("a", endpoint("a", "192.0.2.1", "x.test", 0), endpoint("a", "2001:db8::1", "x.test", 0))}, "a.test=found"},
		{"two nodes differ", nil, []Entry{entry("a", endpoint("a", "192.0.2.1", "x.test", 0)), entry("b", endpoint("b", "2001:db8::1", "x.test", 0))},
			"a.test=found b.test=found serve-nodes-differ@192.0.2.1:443/x.test,[2001:db8::1]:443/x.test"},
		{"two names differ", nil, []Entry{entry("a", endpoint("a", "192.0.2.1", "x.test", 0)), entry("b", endpoint("b", "192.0.2.1", "y.test", 0))}, "a.test=found b.test=found"},
		{"no name, no comparison", nil, []Entry{entry("a", endpoint("a", "192.0.2.1", "", 0)), entry("b", endpoint("b", "192.0.2.2", "", 0))}, "a.test=found b.test=found"},
		{"a renewal in between", nil, []Entry{entry("a", endpoint("a", "192.0.2.1", "x.test", 2*hour)), entry("b", endpoint("b", "192.0.2.2", "x.test", 0))}, "a.test=found b.test=found"},
		{"a file is no endpoint", www(nil), []Entry{served, entry("old", Sighting{SHA256: "old", Kind: KindFile, Path: "/etc/a.pem", SeenAt: Now})}, "www=ok"},
	} {
		for turn := range 2 { // the order of rows must not matter
			if turn == 1 && len(c.entries) > 1 {
				c.entries = []Entry{c.entries[1], c.entries[0]}
			}
			if got := summary(Join(c.managed, c.entries, Options{Now: Now})); got != c.want {
				t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
			}
		}
	}
}

func TestJoinFillsTheLine(t *testing.T) {
	managed := Managed{Name: "b", Newest: &Held{SHA256: "new", NotBefore: Now.Add(-Day), NotAfter: Now.Add(Day), Authority: "ca"}, Owner: "team", Tier: 1, Spare: "spare", LastError: "e", NextStep: "n"}
	joined := Join([]Managed{managed, {Name: "a"}}, []Entry{entry("new", endpoint("new", "192.0.2.1", "www.test", 0))}, Options{Now: Now})
	line := joined.States[1]
	if joined.States[0].Name != "a" || line.Kind != "certificate_state" || line.Schema != 1 || line.Authority != "ca" || line.Owner != "team" || line.Tier != 1 ||
		line.RenewAt != nil || !line.NotAfter.Equal(Now.Add(Day)) || strings.Join(line.Served, " ") != "192.0.2.1:443/www.test" {
		t.Errorf("%+v", line)
	}
}

func TestFromLookAndFile(t *testing.T) {
	root := Root(t, "Root")
	leaf := root.Leaf(t, []string{"www.test"})
	objects, sightings := FromLook(cert.Observation{
		Target: "www.test", Name: "www.test", ServerName: "www.test", Address: netip.MustParseAddrPort("[2001:db8::1]:443"),
		Transport: "tcp", Status: cert.StatusOK, ObservedAt: Now, Chain: Chain(leaf, root),
	})
	if len(objects) != 2 || len(sightings) != 1 || sightings[0].Place() != "endpoint:[2001:db8::1]:443/www.test" ||
		sightings[0].SHA256 != cert.Fingerprint(leaf.Certificate.Raw) || !objects[1].Certificate.CA || !objects[0].LastSeen.Equal(Now) {
		t.Errorf("%+v", sightings)
	}
	if objects, sightings := FromLook(cert.Observation{Status: cert.StatusTimeout}); objects != nil || sightings != nil {
		t.Error("a look at nothing was recorded")
	}
	if _, sightings := FromFile(cert.FileObservation{Path: "/a.pem", Certificate: leaf.Certificate}, Now); len(sightings) != 1 || sightings[0].Place() != "file:/a.pem" {
		t.Errorf("%+v", sightings)
	}
	if objects, _ := FromFile(cert.FileObservation{Path: "/a.pem", Error: "x"}, Now); objects != nil {
		t.Error("an unreadable file was recorded")
	}
}

func TestManyPlacesAreNotListedWhole(t *testing.T) {
	var sightings []Sighting
	var endpoints []Endpoint
	for i := range 100 {
		address := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).String()
		sightings = append(sightings, endpoint("old", address, "www.test", 0))
		endpoints = append(endpoints, Endpoint{address, 443, "www.test"})
	}
	held := &Held{SHA256: "new", NotBefore: Now.Add(-Day), NotAfter: Now.Add(90 * Day)}
	joined := Join([]Managed{{Name: "www", Newest: held, Older: []string{"old"}, Endpoints: endpoints}}, []Entry{entry("old", sightings...)}, Options{Now: Now})
	if len(joined.Findings) != 1 || !strings.HasSuffix(joined.Findings[0].Summary, "and 95 more") || len(joined.Findings[0].Affects) != 100 {
		t.Errorf("%+v", joined.Findings)
	}
}
