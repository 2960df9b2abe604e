// Package nameserver is a small authoritative DNS server for tests, drills and
// the demonstration.
//
// Promise: it answers on UDP and TCP at one loopback port from zones in memory,
// takes updates (RFC 2136) only when they are signed with a known TSIG key (RFC
// 8945), and misbehaves only when told to: fail, refuse, drop, show new records
// late. Several servers may share one set of zones, each with its own faults.
//
// Limits: no DNSSEC, no transfers, no recursion beyond CNAMEs inside its own
// zones, no wildcards besides the default address of a zone.
package nameserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Config is what a server is made from.
type Config struct {
	Listen string // 127.0.0.1:0 when empty; UDP and TCP share the port
	Zones  []Zone
	Keys   []Key // that may update
}

// Zone is one zone and where its unknown names point.
type Zone struct {
	Name        string     // such as "example.org"; "." for all names
	Default     netip.Addr // address of names that are not there; none: NXDOMAIN
	Nameservers []string   // names of its NS records; "ns1." + zone when empty
	Records     []string   // in zone file form: "a.example.org. 60 IN A 192.0.2.1"
}

// Key signs updates.
type Key struct {
	Name      string
	Algorithm string // hmac-sha256 (default) or hmac-sha512; others are refused
	Secret    string // base64
}

// Server answers at one address.
type Server struct {
	zones   *zones
	keys    map[string]string // canonical name -> algorithm
	secrets map[string]string
	address netip.AddrPort
	stop    []func()
	done    sync.WaitGroup

	mutex   sync.Mutex
	faults  []*fault
	queries map[question]int
	updates int
}

type question struct {
	name string // canonical
	kind uint16
}

// Start runs a server. The caller must Close it.
func Start(config Config) (*Server, error) {
	zones, err := newZones(config.Zones)
	if err != nil {
		return nil, fmt.Errorf("nameserver: %w", err)
	}
	server := &Server{zones: zones, keys: map[string]string{}, secrets: map[string]string{}, queries: map[question]int{}}
	for _, key := range config.Keys {
		if err := server.allow(key); err != nil {
			return nil, fmt.Errorf("nameserver: %w", err)
		}
	}
	if err := server.listen(config.Listen); err != nil {
		return nil, fmt.Errorf("nameserver: %w", err)
	}
	return server, nil
}

// Another starts a second server with the same zones and keys on a port of its
// own. Records added with Set or an update at either are seen at both; faults
// and delays are each server's own.
func (server *Server) Another() (*Server, error) {
	other := &Server{zones: server.zones, keys: server.keys, secrets: server.secrets, queries: map[question]int{}}
	if err := other.listen(""); err != nil {
		return nil, fmt.Errorf("nameserver: %w", err)
	}
	return other, nil
}

func (server *Server) allow(key Key) error {
	algorithm := map[string]string{"": dns.HmacSHA256, "hmac-sha256": dns.HmacSHA256, "hmac-sha512": dns.HmacSHA512}[key.Algorithm]
	if algorithm == "" {
		return fmt.Errorf("TSIG algorithm %q is not supported", key.Algorithm)
	}
	name := dns.CanonicalName(key.Name)
	server.keys[name], server.secrets[name] = algorithm, key.Secret
	return nil
}

// listen finds a port that is free for UDP and TCP alike.
func (server *Server) listen(address string) error {
	if address == "" {
		address = "127.0.0.1:0"
	}
	var failures []error
	for range 10 {
		packets, err := net.ListenPacket("udp", address)
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", packets.LocalAddr().String())
		if err != nil { // somebody has this port for TCP: ask for another
			packets.Close()
			failures = append(failures, err)
			continue
		}
		server.address = packets.LocalAddr().(*net.UDPAddr).AddrPort()
		server.serve(&dns.Server{PacketConn: packets})
		server.serve(&dns.Server{Listener: listener})
		return nil
	}
	return errors.Join(failures...)
}

func (server *Server) serve(one *dns.Server) {
	one.Handler = dns.HandlerFunc(server.handle)
	one.TsigSecret = server.secrets
	one.MsgAcceptFunc = accept
	one.ReadTimeout, one.WriteTimeout = 10*time.Second, 10*time.Second
	started := make(chan struct{})
	one.NotifyStartedFunc = func() { close(started) }
	server.done.Add(1)
	go func() {
		defer server.done.Done()
		one.ActivateAndServe()
	}()
	<-started // a Shutdown before the start would be lost
	server.stop = append(server.stop, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		one.ShutdownContext(ctx)
	})
}

// accept lets updates in, which the library's default refuses.
func accept(header dns.Header) dns.MsgAcceptAction {
	opcode := int(header.Bits>>11) & 0xf
	isResponse := header.Bits&(1<<15) != 0
	switch {
	case isResponse:
		return dns.MsgIgnore
	case opcode != dns.OpcodeQuery && opcode != dns.OpcodeUpdate:
		return dns.MsgRejectNotImplemented
	case header.Qdcount != 1:
		return dns.MsgReject
	}
	return dns.MsgAccept
}

// Address is where it answers, over UDP and TCP.
func (server *Server) Address() netip.AddrPort { return server.address }

// Close ends the server and waits for it. Calling it twice is harmless.
func (server *Server) Close() error {
	for _, stop := range server.stop {
		stop()
	}
	server.done.Wait()
	return nil
}

// Set adds records in zone file form. Records that exist are not doubled.
func (server *Server) Set(records ...string) error { return server.zones.set(records) }

// Remove deletes all records of a name and type such as "TXT".
func (server *Server) Remove(name, kind string) {
	server.zones.remove(dns.CanonicalName(name), dns.StringToType[kind])
}

// Records are the values of a name and type as they stand in a zone file, TXT
// without quotes, sorted; hidden ones included.
func (server *Server) Records(name, kind string) []string {
	var values []string
	for _, record := range server.zones.all(dns.CanonicalName(name), dns.StringToType[kind]) {
		values = append(values, valueOf(record))
	}
	slices.Sort(values)
	return values
}

// Queries is how often a name and type were asked, lost and failed ones
// included.
func (server *Server) Queries(name, kind string) int {
	server.mutex.Lock()
	defer server.mutex.Unlock()
	return server.queries[question{dns.CanonicalName(name), dns.StringToType[kind]}]
}

// Updates is how many updates were carried out here.
func (server *Server) Updates() int {
	server.mutex.Lock()
	defer server.mutex.Unlock()
	return server.updates
}
