// Package dns01 answers dns-01 challenges (RFC 8555 section 8.4) by dynamic
// updates (RFC 2136) signed with TSIG (RFC 8945).
//
// Promise: a TXT value is added beside whatever is there and removed alone;
// records of others are never touched. Check asks every authoritative server
// for the value, not a recursive resolver that may remember an older answer.
//
// Limits: one update server. Whether the CA reaches the same servers as we do
// is not known from here.
package dns01

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/issue"
)

// timeToLive of the records, seconds: they live for a minute or two.
const timeToLive = 60

// Config of one update server.
type Config struct {
	Server    string // ADDRESS:PORT that takes updates
	Zone      string // "" to find it by asking the server for SOA records
	KeyName   string // of the TSIG key; "" for unsigned updates
	Algorithm string // hmac-sha256 and its kin
	Secret    func(ctx context.Context) (string, error)
	CheckAt   []string // ADDRESS:PORT; empty: the zone's name servers
	Resolvers []string // ADDRESS:PORT used to find those; empty: /etc/resolv.conf
	Timeout   time.Duration
}

// Solver adds and removes TXT records.
type Solver struct{ cfg Config }

// New checks the configuration.
func New(cfg Config) (*Solver, error) {
	if cfg.Server == "" {
		return nil, errors.New("dns01: Config.Server is required")
	}
	if cfg.KeyName != "" && cfg.Secret == nil {
		return nil, errors.New("dns01: Config.Secret is required with a key name")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Algorithm == "" {
		cfg.Algorithm = "hmac-sha256"
	}
	return &Solver{cfg}, nil
}

// record is the TXT record of an answer (RFC 8555 section 8.4).
func record(answer issue.Answer) *dns.TXT {
	sum := sha256.Sum256([]byte(answer.KeyAuthorization))
	return &dns.TXT{
		Hdr: dns.RR_Header{Name: dns.Fqdn("_acme-challenge." + answer.Identifier), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: timeToLive},
		Txt: []string{base64.RawURLEncoding.EncodeToString(sum[:])},
	}
}

// Set adds the value. Adding a value that is there changes nothing (RFC 2136
// section 3.4.2.2), so a repetition after a kill is harmless.
func (solver *Solver) Set(ctx context.Context, answer issue.Answer) error {
	return solver.update(ctx, answer, func(message *dns.Msg, one dns.RR) { message.Insert([]dns.RR{one}) })
}

// Clean removes this value only; removing one that is gone changes nothing.
func (solver *Solver) Clean(ctx context.Context, answer issue.Answer) error {
	return solver.update(ctx, answer, func(message *dns.Msg, one dns.RR) { message.Remove([]dns.RR{one}) })
}

func (solver *Solver) update(ctx context.Context, answer issue.Answer, change func(*dns.Msg, dns.RR)) error {
	one := record(answer)
	zone, err := solver.zone(ctx, one.Hdr.Name)
	if err != nil {
		return err
	}
	message := new(dns.Msg)
	message.SetUpdate(zone)
	change(message, one)
	response, err := solver.exchange(ctx, message, solver.cfg.Server, true)
	if err != nil {
		return fmt.Errorf("update of %s at %s: %w", zone, solver.cfg.Server, err)
	}
	durable.Point("dns-update", one.Hdr.Name)
	if response.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("%s refused the update of %s: %s", solver.cfg.Server, zone, dns.RcodeToString[response.Rcode])
	}
	return nil
}

// exchange sends one message, by TCP if the answer was cut.
func (solver *Solver) exchange(ctx context.Context, message *dns.Msg, server string, signed bool) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, solver.cfg.Timeout)
	defer cancel()
	client := &dns.Client{Net: "udp", Timeout: solver.cfg.Timeout}
	if signed && solver.cfg.KeyName != "" {
		secret, err := solver.cfg.Secret(ctx)
		if err != nil {
			return nil, err
		}
		name := dns.Fqdn(strings.ToLower(solver.cfg.KeyName))
		client.TsigSecret = map[string]string{name: strings.TrimSpace(secret)}
		message.SetTsig(name, dns.Fqdn(solver.cfg.Algorithm), 300, time.Now().Unix())
	}
	response, _, err := client.ExchangeContext(ctx, message, server)
	if err == nil && response.Truncated {
		client.Net = "tcp"
		response, _, err = client.ExchangeContext(ctx, message, server)
	}
	return response, err
}

// zone finds the zone that holds name, from the longest candidate to the
// shortest, at the update server itself.
func (solver *Solver) zone(ctx context.Context, name string) (string, error) {
	if solver.cfg.Zone != "" {
		return dns.Fqdn(solver.cfg.Zone), nil
	}
	var last error
	for _, start := range dns.Split(name) {
		candidate := name[start:]
		message := new(dns.Msg)
		message.SetQuestion(candidate, dns.TypeSOA)
		response, err := solver.exchange(ctx, message, solver.cfg.Server, false)
		if err != nil {
			return "", fmt.Errorf("looking for the zone of %s at %s: %w", name, solver.cfg.Server, err)
		}
		for _, one := range slices.Concat(response.Answer, response.Ns) {
			if soa, found := one.(*dns.SOA); found && dns.IsSubDomain(soa.Hdr.Name, name) {
				return soa.Hdr.Name, nil
			}
		}
		last = fmt.Errorf("%s knows no zone for %s (%s)", solver.cfg.Server, name, dns.RcodeToString[response.Rcode])
	}
	return "", last
}

// Check asks every authoritative server, or those of CheckAt, for the value.
func (solver *Solver) Check(ctx context.Context, answer issue.Answer) error {
	wanted := record(answer)
	servers := solver.cfg.CheckAt
	if len(servers) == 0 {
		var err error
		if servers, err = solver.nameServers(ctx, wanted.Hdr.Name); err != nil {
			return err
		}
	}
	// A server that does not answer us (no IPv6 here, a dead secondary) is not
	// known to be wrong; one that answers without the record is.
	seen := 0
	var silent error
	for _, server := range servers {
		err := solver.seenAt(ctx, server, wanted)
		var answered *lacking
		switch {
		case err == nil:
			seen++
		case errors.As(err, &answered):
			return err
		default:
			silent = err
		}
	}
	if seen == 0 {
		return silent
	}
	return nil
}

// lacking is a server that answered without the record.
type lacking struct{ server, name, code string }

func (lacking *lacking) Error() string {
	return fmt.Sprintf("%s does not show the new record of %s yet (%s)", lacking.server, lacking.name, lacking.code)
}

func (solver *Solver) seenAt(ctx context.Context, server string, wanted *dns.TXT) error {
	message := new(dns.Msg)
	message.SetQuestion(wanted.Hdr.Name, dns.TypeTXT)
	message.RecursionDesired = false
	response, err := solver.exchange(ctx, message, server, false)
	if err != nil {
		return fmt.Errorf("asking %s for %s: %w", server, wanted.Hdr.Name, err)
	}
	for _, one := range response.Answer {
		if txt, found := one.(*dns.TXT); found && slices.Equal(txt.Txt, wanted.Txt) {
			return nil
		}
	}
	return &lacking{server, wanted.Hdr.Name, dns.RcodeToString[response.Rcode]}
}

// nameServers are all addresses of all name servers of the zone of name.
func (solver *Solver) nameServers(ctx context.Context, name string) ([]string, error) {
	zone, err := solver.zone(ctx, name)
	if err != nil {
		return nil, err
	}
	resolvers, err := solver.resolvers()
	if err != nil {
		return nil, err
	}
	answers, err := solver.ask(ctx, resolvers, zone, dns.TypeNS)
	if err != nil {
		return nil, err
	}
	var servers []string
	for _, one := range answers {
		server, found := one.(*dns.NS)
		if !found {
			continue
		}
		for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
			addresses, err := solver.ask(ctx, resolvers, server.Ns, kind)
			if err != nil {
				return nil, err
			}
			for _, address := range addresses {
				switch address := address.(type) {
				case *dns.A:
					servers = append(servers, net.JoinHostPort(address.A.String(), "53"))
				case *dns.AAAA:
					servers = append(servers, net.JoinHostPort(address.AAAA.String(), "53"))
				}
			}
		}
	}
	if len(servers) == 0 {
		return nil, fmt.Errorf("no name server of %s was found", zone)
	}
	return servers, nil
}

func (solver *Solver) resolvers() ([]string, error) {
	if len(solver.cfg.Resolvers) > 0 {
		return solver.cfg.Resolvers, nil
	}
	system, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil, err
	}
	var servers []string
	for _, server := range system.Servers {
		servers = append(servers, net.JoinHostPort(server, system.Port))
	}
	if len(servers) == 0 {
		return nil, errors.New("the system names no resolver")
	}
	return servers, nil
}

func (solver *Solver) ask(ctx context.Context, resolvers []string, name string, kind uint16) (answers []dns.RR, err error) {
	for _, resolver := range resolvers {
		message := new(dns.Msg)
		message.SetQuestion(dns.Fqdn(name), kind)
		var response *dns.Msg
		if response, err = solver.exchange(ctx, message, resolver, false); err == nil {
			return response.Answer, nil
		}
	}
	return nil, err
}
