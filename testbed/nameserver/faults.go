package nameserver

import (
	"sync"

	"github.com/miekg/dns"
)

// What is a way to misbehave.
type What string

// The ways to misbehave.
const (
	ServerFailure What = "servfail"
	Refuse        What = "refused"
	Drop          What = "drop" // no answer at all
)

// Fault makes some queries fail. An update counts as a query for the SOA of its
// zone.
type Fault struct {
	Name  string // this name and all below; "" for every name
	Type  string // such as "TXT"; "" for every type
	Times int    // 0 for always
	What  What
}

type fault struct {
	Fault
	hits int
}

// AddFault switches a fault on and returns the function that switches it off.
// The first one that matches decides.
func (server *Server) AddFault(wanted Fault) (remove func()) {
	added := &fault{Fault: wanted}
	server.mutex.Lock()
	defer server.mutex.Unlock()
	server.faults = append(server.faults, added)
	return sync.OnceFunc(func() {
		server.mutex.Lock()
		defer server.mutex.Unlock()
		for index, one := range server.faults {
			if one == added {
				server.faults = append(server.faults[:index:index], server.faults[index+1:]...)
				return
			}
		}
	})
}

// ShowLate hides records that updates bring from now on, at this server, for
// so many queries each: propagation that takes its time.
func (server *Server) ShowLate(queries int) {
	server.zones.mutex.Lock()
	defer server.zones.mutex.Unlock()
	if server.zones.late == nil {
		server.zones.late = map[*Server]int{}
	}
	server.zones.late[server] = queries
}

// zonesHidden is what a new record is hidden for, at each server. The caller
// holds the zones' lock.
func (server *Server) zonesHidden() map[*Server]int {
	hidden := map[*Server]int{}
	for one, queries := range server.zones.late {
		hidden[one] = queries
	}
	return hidden
}

// take counts a query and returns the fault that decides it, "" for none.
func (server *Server) take(wanted question) What {
	server.mutex.Lock()
	defer server.mutex.Unlock()
	server.queries[wanted]++
	for _, one := range server.faults {
		if one.Name != "" && !dns.IsSubDomain(dns.CanonicalName(one.Name), wanted.name) {
			continue
		}
		if one.Type != "" && dns.StringToType[one.Type] != wanted.kind {
			continue
		}
		if one.Times > 0 && one.hits >= one.Times {
			continue
		}
		one.hits++
		return one.What
	}
	return ""
}
