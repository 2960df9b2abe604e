package nameserver

import (
	"time"

	"github.com/miekg/dns"
)

// update is RFC 2136: signed by a known key, inside one zone, all or nothing.
func (server *Server) update(writer dns.ResponseWriter, request *dns.Msg) *dns.Msg {
	reply := new(dns.Msg).SetReply(request)
	signature := request.IsTsig()
	if signature == nil {
		reply.Rcode = dns.RcodeRefused
		return reply
	}
	name := dns.CanonicalName(signature.Hdr.Name)
	algorithm := dns.CanonicalName(signature.Algorithm)
	if writer.TsigStatus() != nil || server.keys[name] != algorithm {
		// RFC 8945 section 5.2: NOTAUTH, unsigned, for a bad key or signature.
		reply.Rcode = dns.RcodeNotAuth
		return reply
	}
	switch server.take(question{dns.CanonicalName(request.Question[0].Name), dns.TypeSOA}) {
	case Drop:
		return nil
	case ServerFailure:
		reply.Rcode = dns.RcodeServerFailure
	case Refuse:
		reply.Rcode = dns.RcodeRefused
	default:
		reply.Rcode = server.apply(request)
	}
	reply.SetTsig(signature.Hdr.Name, signature.Algorithm, 300, time.Now().Unix())
	return reply
}

// apply checks everything, then changes. It returns the response code.
func (server *Server) apply(request *dns.Msg) int {
	server.zones.mutex.Lock()
	defer server.zones.mutex.Unlock()
	zone := server.zones.find(dns.CanonicalName(request.Question[0].Name))
	if zone == nil || zone.name != dns.CanonicalName(request.Question[0].Name) {
		return dns.RcodeNotAuth
	}
	for _, wanted := range request.Answer {
		if code := zone.prerequisite(wanted); code != dns.RcodeSuccess {
			return code
		}
	}
	for _, change := range request.Ns {
		if !dns.IsSubDomain(zone.name, dns.CanonicalName(change.Header().Name)) {
			return dns.RcodeNotZone
		}
	}
	for _, change := range request.Ns {
		server.change(zone, change)
	}
	server.mutex.Lock()
	server.updates++
	server.mutex.Unlock()
	return dns.RcodeSuccess
}

// prerequisite is RFC 2136 section 3.2.
func (zone *zone) prerequisite(wanted dns.RR) int {
	header := wanted.Header()
	name := dns.CanonicalName(header.Name)
	named, typed, same := false, false, false
	for _, one := range zone.records {
		if one.Header().Name != name {
			continue
		}
		named = true
		typed = typed || one.Header().Rrtype == header.Rrtype
		if header.Class == dns.ClassINET {
			same = same || dns.IsDuplicate(one.RR, wanted)
		}
	}
	switch {
	case header.Class == dns.ClassANY && header.Rrtype == dns.TypeANY && !named:
		return dns.RcodeNameError
	case header.Class == dns.ClassANY && header.Rrtype != dns.TypeANY && !typed:
		return dns.RcodeNXRrset
	case header.Class == dns.ClassNONE && header.Rrtype == dns.TypeANY && named:
		return dns.RcodeYXDomain
	case header.Class == dns.ClassNONE && header.Rrtype != dns.TypeANY && typed:
		return dns.RcodeYXRrset
	case header.Class == dns.ClassINET && !same:
		return dns.RcodeNXRrset
	}
	return dns.RcodeSuccess
}

// change is RFC 2136 section 3.4.2: the class says what to do.
func (server *Server) change(zone *zone, change dns.RR) {
	header := change.Header()
	name := dns.CanonicalName(header.Name)
	switch header.Class {
	case dns.ClassINET:
		zone.add(dns.Copy(change), server.zonesHidden())
	case dns.ClassANY:
		zone.drop(func(record dns.RR) bool {
			return record.Header().Name == name && (header.Rrtype == dns.TypeANY || record.Header().Rrtype == header.Rrtype) &&
				!zone.keeps(record)
		})
	case dns.ClassNONE:
		wanted := dns.Copy(change)
		wanted.Header().Class = dns.ClassINET
		wanted.Header().Name = name
		zone.drop(func(record dns.RR) bool { return dns.IsDuplicate(record, wanted) && !zone.keeps(record) })
	}
}

// keeps protects the NS records of the zone itself (RFC 2136 section 3.4.2.3).
func (zone *zone) keeps(record dns.RR) bool {
	return record.Header().Name == zone.name && record.Header().Rrtype == dns.TypeNS
}
