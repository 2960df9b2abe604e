package nameserver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// zones is the data, shared by all servers that answer from it.
type zones struct {
	mutex sync.RWMutex
	zones []*zone
	late  map[*Server]int // how long each server hides what updates bring
}

type zone struct {
	name     string // canonical
	standard netip.Addr
	soa      *dns.SOA
	records  []*entry
}

// entry is a record and how long each server still hides it.
type entry struct {
	dns.RR
	hidden map[*Server]int // queries until it is shown
}

func newZones(configured []Zone) (*zones, error) {
	made := &zones{}
	for _, one := range configured {
		name := dns.CanonicalName(one.Name)
		servers := one.Nameservers
		if len(servers) == 0 {
			servers = []string{strings.TrimPrefix("ns1."+strings.TrimPrefix(name, "."), ".")}
		}
		added := &zone{name: name, standard: one.Default}
		added.soa = &dns.SOA{
			Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60},
			Ns:  dns.CanonicalName(servers[0]), Mbox: "hostmaster." + strings.TrimPrefix(name, "."),
			Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 5,
		}
		for _, server := range servers {
			added.records = append(added.records, &entry{RR: &dns.NS{
				Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 60}, Ns: dns.CanonicalName(server),
			}})
		}
		made.zones = append(made.zones, added)
	}
	for _, one := range configured {
		if err := made.set(one.Records); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// find returns the zone with the longest matching name. The caller holds the
// lock.
func (zones *zones) find(name string) *zone {
	var best *zone
	for _, one := range zones.zones {
		if dns.IsSubDomain(one.name, name) && (best == nil || len(one.name) > len(best.name)) {
			best = one
		}
	}
	return best
}

func (zones *zones) set(texts []string) error {
	for _, text := range texts {
		record, err := dns.NewRR(text)
		if err != nil {
			return fmt.Errorf("record %q: %w", text, err)
		}
		if record == nil {
			return fmt.Errorf("record %q is empty", text)
		}
		zones.mutex.Lock()
		zone := zones.find(dns.CanonicalName(record.Header().Name))
		if zone != nil {
			zone.add(record, nil)
		}
		zones.mutex.Unlock()
		if zone == nil {
			return fmt.Errorf("record %q is in none of the zones", text)
		}
	}
	return nil
}

// add puts a record in unless it is there (the TTL aside). The caller holds the
// lock.
func (zone *zone) add(record dns.RR, hidden map[*Server]int) {
	record.Header().Name = dns.CanonicalName(record.Header().Name)
	for _, one := range zone.records {
		if dns.IsDuplicate(one.RR, record) {
			one.Header().Ttl = record.Header().Ttl
			return
		}
	}
	if soa, isSOA := record.(*dns.SOA); isSOA && soa.Hdr.Name == zone.name {
		zone.soa = soa
		return
	}
	zone.records = append(zone.records, &entry{RR: record, hidden: hidden})
	zone.soa.Serial++
}

// drop removes the records for which unwanted holds. The caller holds the lock.
func (zone *zone) drop(unwanted func(dns.RR) bool) {
	before := len(zone.records)
	zone.records = slices.DeleteFunc(zone.records, func(one *entry) bool { return unwanted(one.RR) })
	if len(zone.records) != before {
		zone.soa.Serial++
	}
}

func (zones *zones) remove(name string, kind uint16) {
	zones.mutex.Lock()
	defer zones.mutex.Unlock()
	if zone := zones.find(name); zone != nil {
		zone.drop(func(record dns.RR) bool { return record.Header().Name == name && record.Header().Rrtype == kind })
	}
}

func (zones *zones) all(name string, kind uint16) []dns.RR {
	zones.mutex.RLock()
	defer zones.mutex.RUnlock()
	var found []dns.RR
	if zone := zones.find(name); zone != nil {
		for _, one := range zone.records {
			if one.Header().Name == name && one.Header().Rrtype == kind {
				found = append(found, one.RR)
			}
		}
	}
	return found
}

// valueOf is what stands behind the type in a zone file.
func valueOf(record dns.RR) string {
	if text, isTXT := record.(*dns.TXT); isTXT {
		return strings.Join(text.Txt, "")
	}
	return strings.TrimPrefix(record.String(), record.Header().String())
}
