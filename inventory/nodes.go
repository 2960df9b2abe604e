package inventory

import (
	"slices"
	"sort"
	"strconv"

	"github.com/backstay/backstay/finding"
)

// service is what several nodes offer together: one name at one port.
type service struct {
	name, transport string
	port            int
}

// nodesDiffer compares the addresses of each name. Only sightings that are fresh
// and of about the same time are compared, for a renewal between two looks is
// no difference. Without a name there is no telling what belongs together.
func nodesDiffer(latest []Sighting, options Options) (found []finding.Finding) {
	nodes := map[service][]Sighting{}
	for _, sighting := range latest {
		if sighting.Kind != KindEndpoint || sighting.ServerName == "" || options.Now.Sub(sighting.SeenAt) > options.FreshFor {
			continue
		}
		of := service{sighting.ServerName, sighting.Transport, sighting.Port}
		nodes[of] = append(nodes[of], sighting)
	}
	for of, sightings := range nodes {
		sort.SliceStable(sightings, func(i, j int) bool { return sightings[i].SeenAt.After(sightings[j].SeenAt) })
		newest := sightings[0].SeenAt
		sightings = slices.DeleteFunc(sightings, func(s Sighting) bool { return newest.Sub(s.SeenAt) > options.SameTime })
		if made, ok := differing(of, sightings); ok {
			found = append(found, made)
		}
	}
	return found // Join sorts; summaries are unique by name and port
}

func differing(of service, sightings []Sighting) (finding.Finding, bool) {
	shown := map[string][]string{} // SHA-256 to places
	for _, sighting := range sightings {
		shown[sighting.SHA256] = append(shown[sighting.SHA256], sighting.where())
	}
	if len(shown) < 2 {
		return finding.Finding{}, false
	}
	fingerprints := make([]string, 0, len(shown))
	for sha256, places := range shown {
		slices.Sort(places)
		fingerprints = append(fingerprints, sha256)
	}
	slices.Sort(fingerprints)
	evidence := []string{"name", of.name}
	var affects []string
	for _, sha256 := range fingerprints {
		evidence = append(evidence, sha256, some(shown[sha256]))
		for _, place := range shown[sha256] {
			affects = append(affects, finding.Text(place))
		}
	}
	made := finding.New(finding.ServeNodesDiffer, of.name+" at port "+strconv.Itoa(of.port)+" shows "+
		strconv.Itoa(len(shown))+" different certificates on its nodes", evidence...)
	made.Affects = affects
	return made, true
}
