package nameserver

import (
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// handle is called for every message, from any goroutine.
func (server *Server) handle(writer dns.ResponseWriter, request *dns.Msg) {
	var reply *dns.Msg
	if request.Opcode == dns.OpcodeUpdate {
		reply = server.update(writer, request)
	} else {
		reply = server.answer(request)
	}
	if reply == nil { // dropped by a fault
		return
	}
	if _, isUDP := writer.RemoteAddr().(*net.UDPAddr); isUDP {
		size := dns.MinMsgSize
		if extended := request.IsEdns0(); extended != nil {
			size = int(extended.UDPSize())
		}
		reply.Truncate(size)
	}
	writer.WriteMsg(reply)
}

// answer is one query, with the faults of this server; nil for no answer.
func (server *Server) answer(request *dns.Msg) *dns.Msg {
	asked := request.Question[0]
	wanted := question{dns.CanonicalName(asked.Name), asked.Qtype}
	reply := new(dns.Msg).SetReply(request)
	if extended := request.IsEdns0(); extended != nil {
		reply.SetEdns0(dns.DefaultMsgSize, false)
	}
	switch server.take(wanted) {
	case ServerFailure:
		reply.Rcode = dns.RcodeServerFailure
		return reply
	case Refuse:
		reply.Rcode = dns.RcodeRefused
		return reply
	case Drop:
		return nil
	}
	if asked.Qclass != dns.ClassINET {
		reply.Rcode = dns.RcodeRefused
		return reply
	}
	server.zones.mutex.Lock() // not RLock: hidden records count down
	defer server.zones.mutex.Unlock()
	server.fill(reply, wanted)
	return reply
}

// fill looks up a question and follows CNAMEs as far as our zones go.
func (server *Server) fill(reply *dns.Msg, wanted question) {
	for range 8 { // a loop of CNAMEs ends here
		zone := server.zones.find(wanted.name)
		if zone == nil {
			if len(reply.Answer) == 0 {
				reply.Rcode = dns.RcodeRefused
			}
			return
		}
		reply.Authoritative = true
		found, alias, exists := server.lookup(zone, wanted)
		reply.Answer = append(reply.Answer, found...)
		if alias == "" {
			if len(found) == 0 {
				reply.Ns = append(reply.Ns, dns.Copy(zone.soa))
				if !exists {
					reply.Rcode = dns.RcodeNameError
				}
			}
			return
		}
		wanted.name = alias
	}
}

// lookup returns the records of one name, the target when it is an alias, and
// whether the name exists at all.
func (server *Server) lookup(zone *zone, wanted question) (found []dns.RR, alias string, exists bool) {
	exists = wanted.name == zone.name
	if exists && wanted.kind == dns.TypeSOA {
		return []dns.RR{dns.Copy(zone.soa)}, "", true
	}
	hasAddress := false
	for _, one := range zone.records {
		header := one.Header()
		if header.Name != wanted.name {
			exists = exists || dns.IsSubDomain(wanted.name, header.Name) // an empty non-terminal
			continue
		}
		matches := header.Rrtype == wanted.kind || wanted.kind == dns.TypeANY
		isAlias := header.Rrtype == dns.TypeCNAME
		if one.hidden[server] > 0 {
			if matches || isAlias {
				one.hidden[server]--
			}
			continue
		}
		exists = true
		hasAddress = hasAddress || isAlias || header.Rrtype == dns.TypeA || header.Rrtype == dns.TypeAAAA
		if matches || isAlias {
			found = append(found, dns.Copy(one.RR))
		}
		if isAlias && !matches {
			alias = dns.CanonicalName(one.RR.(*dns.CNAME).Target)
		}
	}
	if zone.standard.IsValid() && !hasAddress {
		// A name keeps the default while only a challenge's TXT stands at or
		// below it.
		return append(found, standardAnswer(zone.standard, wanted)...), "", true
	}
	return found, alias, exists
}

// standardAnswer is the zone's default address, when its family was asked for.
func standardAnswer(address netip.Addr, wanted question) []dns.RR {
	header := dns.RR_Header{Name: wanted.name, Rrtype: wanted.kind, Class: dns.ClassINET, Ttl: 5}
	switch {
	case wanted.kind == dns.TypeA && address.Is4():
		return []dns.RR{&dns.A{Hdr: header, A: net.IP(address.AsSlice())}}
	case wanted.kind == dns.TypeAAAA && address.Is6():
		return []dns.RR{&dns.AAAA{Hdr: header, AAAA: net.IP(address.AsSlice())}}
	}
	return nil
}
