package daemon

import (
	"context"
	"crypto/x509"
	"sync"
	"time"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/plan"
)

// look carries out Look and Verify: what is there, and what is served.
func (deployer *deployer) look(ctx context.Context, turn *turn, kind plan.EffectKind) plan.Event {
	row := turn.work.Row.Deployment
	event := plan.Event{Effect: kind}
	pair, err := deploy.Read(deployer.state, row.Name, row.Generation)
	if err != nil {
		event.Trouble = &plan.Trouble{Class: plan.Local, Summary: "reading the stored generation: " + err.Error(), Next: "backstay doctor"}
		return event
	}
	if kind == plan.Verify {
		turn.leaf = pair.Chain[0]
		event.Wanted = cert.Fingerprint(pair.Chain[0].Raw)
		event.Verified = deployer.sights(ctx, row.Listeners)
		return event
	}
	standing, err := deployer.site.Target.Look(ctx, deployer.placement(row, row.Generation))
	if err != nil {
		event.Trouble = targetTrouble(deployer.site.Name, "look", err)
		return event
	}
	event.Seen = deployer.seen(ctx, row, standing, pair)
	return event
}

// seen turns what a target holds into the facts that a decision needs.
func (deployer *deployer) seen(ctx context.Context, row *plan.Deployment, standing deploy.Standing, pair deploy.Generation) *plan.Seen {
	now := deployer.engine.now()
	seen := &plan.Seen{Form: standing.Form, Generation: standing.Generation, DropIn: standing.DropInPath}
	stores := deployer.trust(deployer.authority(row.Name, row.Generation))
	seen.New = describePair(pair.Chain, pair.KeyMatches, row.Domains, stores, now)
	if len(standing.Chain) > 0 {
		seen.Old = describePair(standing.Chain, standing.KeyMatches, row.Domains, deployer.trust(""), now)
	}
	seen.Old.Revoked, seen.New.Revoked = deployer.revoked(row.Name, seen.Old.SHA256), deployer.revoked(row.Name, seen.New.SHA256)
	for _, listener := range standing.Listeners {
		seen.Listeners = append(seen.Listeners, plan.Listener{Address: listener.Address, ServerName: listener.ServerName, Transport: listener.Transport})
	}
	for index, sight := range deployer.sights(ctx, seen.Listeners) {
		seen.Listeners[index].Answered, seen.Listeners[index].SHA256 = sight.Answered, sight.SHA256
	}
	return seen
}

// sightsAtOnce bounds connections to one target.
const sightsAtOnce = 8

// sights makes a fresh handshake at every listener.
func (deployer *deployer) sights(ctx context.Context, listeners []plan.Listener) []plan.Sight {
	sights := make([]plan.Sight, len(listeners))
	slots := make(chan struct{}, sightsAtOnce)
	var group sync.WaitGroup
	for index, listener := range listeners {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			sight := plan.Sight{Address: listener.Address, ServerName: listener.ServerName}
			chain, err := deployer.handshake(ctx, listener)
			if err != nil {
				sight.Error = err.Error()
			} else {
				sight.Answered, sight.SHA256 = true, cert.Fingerprint(chain[0].Raw)
			}
			sights[index] = sight
		})
	}
	group.Wait()
	return sights
}

// describePair judges a pair against the wanted names and the stores that may
// know its root: trusted if any says so.
func describePair(chain []*x509.Certificate, keyMatches bool, domains []string, stores []*cert.Trust, now time.Time) plan.Pair {
	leaf := chain[0]
	pair := plan.Pair{
		Present: true, Loads: keyMatches, Covers: true, Trusted: plan.Unknown,
		NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(), SHA256: cert.Fingerprint(leaf.Raw),
	}
	for _, domain := range domains {
		if !coversName(leaf, domain) {
			pair.Covers, pair.Missing = false, domain
			break
		}
	}
	for _, store := range stores {
		evaluation := store.Evaluate(chain, nil, now)
		switch evaluation.Verdict {
		case cert.Yes:
			pair.Trusted, pair.WhyNot = plan.Yes, ""
			return pair
		case cert.No:
			// Its dates are judged apart, and a certificate that signs itself is
			// refused by every client.
			pair.Trusted, pair.WhyNot = plan.No, evaluation.Error
		default:
			if pair.WhyNot == "" {
				pair.WhyNot = evaluation.Error
			}
		}
	}
	return pair
}

// coversName: a wildcard is covered by the same wildcard.
func coversName(leaf *x509.Certificate, domain string) bool {
	for _, name := range leaf.DNSNames {
		if name == domain {
			return true
		}
	}
	return cert.MatchesName(leaf, domain)
}
