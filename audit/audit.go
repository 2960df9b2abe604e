// Package audit judges: facts and limits in, findings out.
//
// Promise: the same facts give the same findings, in the same order. A rule is
// one file, names its source and, where it changes with dates, holds every
// limit with the date from which it applies. An error is never judged as a
// fact: what could not be looked at raises probe-unreachable and nothing else.
// Of the chain codes and cert-self-signed an endpoint gets at most one.
//
// Limits: pure; no I/O and no clock. Revocation, certificate transparency,
// protocols and HTTP are not judged here yet; neither is the list of Debian's
// weak keys, which is data that is not shipped.
package audit

import (
	"crypto/x509"
	"time"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/finding"
)

// Options is what observations are judged against.
type Options struct {
	Now     time.Time
	Trust   *cert.Trust         // nil for Mozilla's store
	Stores  []*cert.Trust       // further stores, reported in Endpoint.Stores
	Known   []*x509.Certificate // intermediates seen elsewhere; a path through one of them is a path
	Managed *Managed            // nil for a certificate that is not ours to renew
}

// Managed is what the plan says about a certificate that we renew.
type Managed struct {
	Name    string
	RenewAt time.Time
}

// facts is one certificate with all that rules look at.
type facts struct {
	observation cert.Observation
	leaf        *x509.Certificate
	trust       cert.Evaluation
	now         time.Time
	managed     *Managed
}

// rule looks at one thing. Source cites what it follows.
type rule struct {
	name   string
	source string
	check  func(facts) []finding.Finding
}

// certificateRules need a certificate; they are in the order in which a reader
// would ask. Listed here, not registered by init functions, so that an omission
// shows.
var certificateRules = []rule{
	{"dates", "RFC 5280 section 4.1.2.5", checkDates},
	{"expiring", "limits of our own, scaled to the certificate's life", checkExpiring},
	{"validity", "Baseline Requirements section 6.3.2", checkValidity},
	{"names", "RFC 9525 section 6", checkNames},
	{"chain", "RFC 5280 section 6", checkChain},
	{"usage", "RFC 5280 section 4.2.1.12", checkUsage},
	{"key", "Baseline Requirements sections 6.1.1.3 and 6.1.5", checkKeys},
	{"signature", "Baseline Requirements section 7.1.3.2", checkSignatures},
}

// endpointRules look at the look itself.
var endpointRules = []rule{
	{"unparseable", "RFC 5280 section 4.1", checkParseable},
	{"unreachable", "ours", checkReachable},
}

// Assess makes the whole record of one look, with its findings.
func Assess(observation cert.Observation, options Options) cert.Endpoint {
	record := endpoint(observation)
	if len(observation.Chain) > 0 {
		record.Chain = cert.DescribeChain(observation.Chain)
		record.Certificate = &record.Chain[0]
	}
	looked := facts{observation: observation, now: options.Now, managed: options.Managed}
	judge := endpointRules
	if len(observation.Chain) > 0 {
		looked.leaf = observation.Chain[0]
		looked.trust = store(options.Trust).Evaluate(observation.Chain, options.Known, options.Now)
		trusted := looked.trust.Verdict == cert.Yes
		record.Trusted, record.TrustError = &trusted, looked.trust.Error
		for _, other := range options.Stores {
			if record.Stores == nil {
				record.Stores = map[string]bool{}
			}
			record.Stores[other.Name()] = other.Evaluate(observation.Chain, options.Known, options.Now).Verdict == cert.Yes
		}
		judge = append(append([]rule{}, endpointRules...), certificateRules...)
	}
	record.Findings = run(judge, looked)
	for i := range record.Findings {
		record.Findings[i].Affects = []string{finding.Text(observation.Target)}
	}
	return record
}

func run(rules []rule, looked facts) []finding.Finding {
	found := []finding.Finding{} // an empty list, not null, in JSON
	for _, each := range rules {
		found = append(found, each.check(looked)...)
	}
	finding.Sort(found)
	return found
}

func store(trust *cert.Trust) *cert.Trust {
	if trust == nil {
		return cert.Mozilla()
	}
	return trust
}

func endpoint(o cert.Observation) cert.Endpoint {
	record := cert.Endpoint{
		Kind: "endpoint", Schema: 1, Target: o.Target, ServerName: o.ServerName, Transport: o.Transport,
		Status: o.Status, Error: o.Error, ObservedAt: o.ObservedAt.UTC(), View: o.View, Possession: o.Possession,
		Protocol: o.Protocol, CipherSuite: o.CipherSuite, Group: o.Group, ALPN: o.ALPN,
		ClientCertificateRequested: o.ClientCertificateRequested,
	}
	if o.Address.IsValid() {
		record.Address, record.Port = o.Address.Addr().String(), int(o.Address.Port())
	}
	return record
}

func one(made finding.Finding) []finding.Finding { return []finding.Finding{made} }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
