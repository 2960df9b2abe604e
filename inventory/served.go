package inventory

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/finding"
)

// view is where a managed certificate was seen.
type view struct {
	served  []string // places that show the newest generation
	behind  []string // places that show another certificate
	unknown []string // places that nobody looked at lately
}

// viewOf compares the endpoints at which a certificate must be served with what
// was seen there. Places elsewhere that still show one of its earlier
// generations are behind too: they serve what we replaced.
func viewOf(managed Managed, latest []Sighting, options Options) (seen view) {
	if managed.Newest == nil {
		return seen
	}
	earlier := map[string]bool{}
	for _, sha256 := range managed.Older {
		earlier[sha256] = sha256 != managed.Newest.SHA256
	}
	expected := map[string]bool{}
	for _, endpoint := range managed.Endpoints {
		expected[endpoint.place()] = true
	}
	looked := map[string]bool{}
	for _, sighting := range latest {
		place, fresh := sighting.Place(), options.Now.Sub(sighting.SeenAt) <= options.FreshFor
		if sighting.Kind != KindEndpoint || !fresh {
			continue
		}
		looked[place] = true
		switch {
		case sighting.SHA256 == managed.Newest.SHA256:
			seen.served = append(seen.served, sighting.where())
		case expected[place] || earlier[sighting.SHA256]:
			seen.behind = append(seen.behind, sighting.where())
		}
	}
	for _, endpoint := range managed.Endpoints {
		if !looked[endpoint.place()] {
			seen.unknown = append(seen.unknown, strings.TrimPrefix(endpoint.place(), KindEndpoint+":"))
		}
	}
	return seen
}

func (endpoint Endpoint) place() string {
	address := endpoint.Address
	if parsed, err := netip.ParseAddr(address); err == nil {
		address = parsed.Unmap().String()
	}
	return Sighting{Kind: KindEndpoint, Address: address, Port: endpoint.Port, ServerName: endpoint.ServerName}.Place()
}

// state is the line of a managed certificate. The worst that is true is told.
func (seen view) state(managed Managed, options Options) cert.State {
	line := cert.State{
		Kind: "certificate_state", Schema: 1, Name: managed.Name, Spare: managed.Spare, Served: seen.served,
		Owner: managed.Owner, Tier: managed.Tier, LastError: managed.LastError, NextStep: managed.NextStep,
	}
	if !managed.RenewAt.IsZero() {
		renewAt := managed.RenewAt.UTC()
		line.RenewAt = &renewAt
	}
	if managed.Newest == nil {
		line.State = StatePending
		if managed.Failing {
			line.State = StateFailing
		}
		return line
	}
	ends := managed.Newest.NotAfter.UTC()
	line.NotAfter, line.Authority = &ends, managed.Newest.Authority
	life := managed.Newest.NotAfter.Sub(managed.Newest.NotBefore) + time.Second
	due := !managed.RenewAt.IsZero() && !options.Now.Before(managed.RenewAt)
	switch {
	case options.Now.After(ends):
		line.State = StateExpired
	case due && !options.Now.Before(managed.RenewAt.Add(life/overdueFraction)):
		line.State = StateOverdue
	case len(seen.behind) > 0:
		line.State = StateNotServed
	case managed.Failing:
		line.State = StateFailing
	case managed.Renewing:
		line.State = StateRenewing
	case due:
		line.State = StateDue
	case len(seen.unknown) > 0, managed.Deployed && len(seen.served) == 0:
		line.State = StateUnverified
	default:
		line.State = StateOK
	}
	return line
}

func (seen view) findings(managed Managed) []finding.Finding {
	if len(seen.behind) == 0 {
		return nil
	}
	made := finding.New(finding.ServeNotNewest,
		"the newest certificate of "+managed.Name+" is not served at "+some(seen.behind),
		"certificate", managed.Name, "newest", managed.Newest.SHA256, "behind", some(seen.behind))
	for _, place := range seen.behind {
		made.Affects = append(made.Affects, finding.Text(place))
	}
	return []finding.Finding{made}
}

// placesShown is how many places a sentence lists.
const placesShown = 5

func some(places []string) string {
	if len(places) > placesShown {
		return strings.Join(places[:placesShown], ", ") + " and " + strconv.Itoa(len(places)-placesShown) + " more"
	}
	return strings.Join(places, ", ")
}
