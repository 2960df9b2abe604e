package daemon

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/backstay/backstay/inventory"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// Overview joins what is managed with what was seen: the lines of `ls`. It
// looks at the state only. After every run the endpoints that were verified are
// known as well, so that a certificate needs no scan to be known as served.
func Overview(ctx context.Context, state *store.Store, filter inventory.Filter, now time.Time, timing plan.Timing) (inventory.Joined, error) {
	managed, err := Managed(ctx, state, timing)
	if err != nil {
		return inventory.Joined{}, err
	}
	entries, err := wholeInventory(ctx, Inventory(state), filter)
	if err != nil {
		return inventory.Joined{}, err
	}
	return inventory.Join(managed, entries, inventory.Options{Now: now}), nil
}

// wholeInventory reads page after page: where a certificate was seen last may
// stand on any of them.
func wholeInventory(ctx context.Context, from inventory.Store, filter inventory.Filter) (all []inventory.Entry, err error) {
	filter.Limit = 5000
	for {
		page, err := from.List(ctx, filter)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < filter.Limit {
			return all, nil
		}
		filter.After = page[len(page)-1].Object.Certificate.SHA256
	}
}

// Managed lists the managed certificates with what is held and where it must be
// served.
func Managed(ctx context.Context, state *store.Store, timing plan.Timing) ([]inventory.Managed, error) {
	seed, err := state.Fact(ctx, "seed")
	if err != nil {
		return nil, err
	}
	rules := plan.Rules{Timing: timing, Seed: decodeSeed(seed)}
	works, err := state.OfKind(ctx, plan.KindCertificate)
	if err != nil {
		return nil, err
	}
	deployments, err := state.OfKind(ctx, plan.KindDeployment)
	if err != nil {
		return nil, err
	}
	byName := map[string][]*plan.Deployment{}
	for _, work := range deployments {
		byName[work.Row.Deployment.Name] = append(byName[work.Row.Deployment.Name], work.Row.Deployment)
	}
	older, err := olderGenerations(ctx, state)
	if err != nil {
		return nil, err
	}
	all := make([]inventory.Managed, 0, len(works))
	for _, work := range works {
		all = append(all, managedOf(rules, work.Row.Certificate, byName[work.Row.Certificate.Name], older[work.Row.Certificate.Name]))
	}
	return all, nil
}

func managedOf(rules plan.Rules, row *plan.Certificate, deployments []*plan.Deployment, older []string) inventory.Managed {
	managed := inventory.Managed{
		Name: row.Name, Deployed: len(row.Want.Deploy) > 0, Renewing: row.Attempt != nil,
		Failing: row.History.Failures > 0, Owner: row.Want.Owner, Tier: row.Want.Tier, Retired: row.Retired,
	}
	if last := row.History.Last; last != nil {
		managed.LastError, managed.NextStep = last.Summary, last.Next
	}
	if held := row.Held; held != nil {
		managed.Newest = &inventory.Held{SHA256: held.SHA256, NotBefore: held.NotBefore, NotAfter: held.NotAfter, Authority: held.Authority}
		managed.RenewAt, _ = rules.RenewAt(row)
		for _, sha256 := range older {
			if sha256 != held.SHA256 {
				managed.Older = append(managed.Older, sha256)
			}
		}
	}
	for _, deployment := range deployments {
		if managed.LastError == "" && deployment.History.Failures > 0 && deployment.History.Last != nil {
			managed.LastError, managed.NextStep = deployment.History.Last.Summary, deployment.History.Last.Next
		}
		for _, listener := range deployment.Listeners {
			if endpoint, ok := endpointOf(listener); ok {
				managed.Endpoints = append(managed.Endpoints, endpoint)
			}
		}
	}
	return managed
}

func endpointOf(listener plan.Listener) (inventory.Endpoint, bool) {
	host, port, err := net.SplitHostPort(listener.Address)
	if err != nil {
		return inventory.Endpoint{}, false
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return inventory.Endpoint{}, false
	}
	number, err := strconv.Atoi(port)
	return inventory.Endpoint{Address: host, Port: number, ServerName: listener.ServerName}, err == nil
}

func olderGenerations(ctx context.Context, state *store.Store) (map[string][]string, error) {
	rows, err := state.Query(ctx, `SELECT name, sha256 FROM generation ORDER BY name, number`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string][]string{}
	for rows.Next() {
		var name, sha256 string
		if err := rows.Scan(&name, &sha256); err != nil {
			return nil, err
		}
		all[name] = append(all[name], sha256)
	}
	return all, rows.Err()
}
