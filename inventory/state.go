package inventory

import (
	"slices"
	"sort"
	"time"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/finding"
)

// The states of cert.State.
const (
	StateOK         = "ok"
	StateDue        = "due"
	StateRenewing   = "renewing"
	StateFailing    = "failing"
	StateOverdue    = "overdue"
	StateExpired    = "expired"
	StateNotServed  = "not_served"
	StateUnverified = "unverified"
	StatePending    = "pending"
	StateFound      = "found"
)

// overdueFraction of its life after renew_at a certificate is overdue.
const overdueFraction = 12

// Managed is a certificate that the configuration wants, with what is held.
type Managed struct {
	Name      string
	Newest    *Held      // the newest generation; nil while there is none
	Older     []string   // SHA-256 of earlier generations
	Endpoints []Endpoint // where it must be served
	Deployed  bool       // it has targets, so it must be served somewhere
	RenewAt   time.Time  // zero when not known
	Renewing  bool       // an attempt is under way
	Failing   bool       // the last attempt failed
	LastError string
	NextStep  string
	Owner     string
	Tier      int
	Spare     string
	Retired   bool // no longer in the configuration
}

// Held is one generation.
type Held struct {
	SHA256    string
	NotBefore time.Time
	NotAfter  time.Time
	Authority string
}

// Endpoint is where a certificate must be served.
type Endpoint struct {
	Address    string // IP address
	Port       int
	ServerName string
}

// Options of Join. The zero values of the durations have defaults.
type Options struct {
	Now time.Time
	// FreshFor is how old the last sighting of an endpoint may be before it says
	// nothing any more; 0 for 25 hours, a little over a daily scan.
	FreshFor time.Duration
	// SameTime is how far apart two sightings of one name may be to be compared
	// with each other; 0 for an hour. A renewal in between is no difference.
	SameTime time.Duration
}

// Joined is what is known of everything.
type Joined struct {
	States   []cert.State // managed ones by name, then found ones by end of life
	Findings []finding.Finding
}

// Join puts together what is wanted, what is held and what was seen. entries may
// be in any order and hold any number of sightings of one place; the latest
// speaks.
func Join(managed []Managed, entries []Entry, options Options) Joined {
	if options.FreshFor <= 0 {
		options.FreshFor = 25 * time.Hour
	}
	if options.SameTime <= 0 {
		options.SameTime = time.Hour
	}
	latest := latestByPlace(entries)
	var joined Joined
	ours := map[string]bool{}
	managed = slices.Clone(managed)
	sort.Slice(managed, func(i, j int) bool { return managed[i].Name < managed[j].Name })
	for _, each := range managed {
		if each.Retired {
			continue
		}
		if each.Newest != nil {
			ours[each.Newest.SHA256] = true
		}
		for _, older := range each.Older {
			ours[older] = true
		}
		view := viewOf(each, latest, options)
		joined.States = append(joined.States, view.state(each, options))
		joined.Findings = append(joined.Findings, view.findings(each)...)
	}
	joined.States = append(joined.States, foundStates(entries, latest, ours)...)
	joined.Findings = append(joined.Findings, nodesDiffer(latest, options)...)
	finding.Sort(joined.Findings)
	return joined
}

// latestByPlace keeps the latest sighting of each place, sorted by place.
func latestByPlace(entries []Entry) []Sighting {
	byPlace := map[string]Sighting{}
	for _, entry := range entries {
		for _, sighting := range entry.Sightings {
			known, present := byPlace[sighting.Place()]
			if !present || sighting.SeenAt.After(known.SeenAt) ||
				sighting.SeenAt.Equal(known.SeenAt) && sighting.SHA256 < known.SHA256 {
				byPlace[sighting.Place()] = sighting
			}
		}
	}
	latest := make([]Sighting, 0, len(byPlace))
	for _, sighting := range byPlace {
		latest = append(latest, sighting)
	}
	sort.Slice(latest, func(i, j int) bool { return latest[i].Place() < latest[j].Place() })
	return latest
}

// foundStates are the lines of certificates that nobody manages. Authorities'
// own certificates are in the inventory and not among the lines.
func foundStates(entries []Entry, latest []Sighting, ours map[string]bool) (states []cert.State) {
	places := map[string][]string{}
	for _, sighting := range latest {
		if sighting.Kind == KindEndpoint {
			places[sighting.SHA256] = append(places[sighting.SHA256], sighting.where())
		}
	}
	seen := map[string]bool{}
	for _, entry := range entries {
		record := entry.Object.Certificate
		if ours[record.SHA256] || record.CA || seen[record.SHA256] {
			continue
		}
		seen[record.SHA256] = true
		ends := record.NotAfter
		states = append(states, cert.State{
			Kind: "certificate_state", Schema: 1, Name: displayName(record), State: StateFound,
			NotAfter: &ends, Authority: record.Issuer, Served: places[record.SHA256],
		})
	}
	sort.SliceStable(states, func(i, j int) bool {
		a, b := states[i], states[j]
		if !a.NotAfter.Equal(*b.NotAfter) {
			return a.NotAfter.Before(*b.NotAfter)
		}
		return a.Name < b.Name
	})
	return states
}

func displayName(record cert.Certificate) string {
	switch {
	case len(record.DNSNames) > 0:
		return record.DNSNames[0]
	case len(record.IPAddresses) > 0:
		return record.IPAddresses[0]
	case record.Subject != "":
		return record.Subject
	}
	return record.SHA256
}
