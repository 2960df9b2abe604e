package daemon

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"github.com/backstay/backstay/audit"
	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/discover/files"
	"github.com/backstay/backstay/discover/network"
	"github.com/backstay/backstay/finding"
	"github.com/backstay/backstay/inventory"
	tlsprobe "github.com/backstay/backstay/probe/tls"
	"github.com/backstay/backstay/store"
)

// Scan is one scan: where to look, and how.
type Scan struct {
	Targets        iter.Seq[network.Spec]
	Paths          []string
	Resolvers      []netip.AddrPort
	Concurrency    int
	Rate           float64
	ConnectTimeout time.Duration
	Confirmed      bool // wide public ranges
	Seed           uint64
	Now            func() time.Time
	Judge          audit.Options
	// State records what was seen; nil: nothing is recorded.
	State    *store.Store
	Managed  map[string]ManagedLeaf // by SHA-256; may be nil
	Endpoint func(cert.Endpoint)
	File     func(cert.File)
}

// recordEvery is how many sightings share one transaction.
const recordEvery = 200

// Run looks everywhere and hands each record on, one at a time. Error: the
// context's, or the store's.
func (scan Scan) Run(ctx context.Context) error {
	recorder := &recorder{ctx: ctx, state: scan.State}
	if len(scan.Paths) > 0 {
		err := files.Find(ctx, scan.Paths, func(seen cert.FileObservation) {
			recorder.add(inventory.FromFile(seen, scan.Now()))
			scan.File(audit.AssessFile(seen, scan.Judge))
		})
		if err != nil {
			return err
		}
	}
	if scan.Targets != nil {
		if err := scan.network(ctx, recorder); err != nil {
			return err
		}
	}
	return recorder.flush()
}

func (scan Scan) network(ctx context.Context, recorder *recorder) error {
	var resolver network.Resolver
	if len(scan.Resolvers) > 0 {
		resolver = network.NewResolver(scan.Resolvers[0])
	}
	options := tlsprobe.Options{Now: scan.Now, ConnectTimeout: scan.ConnectTimeout}
	return network.Run(ctx, scan.Targets, network.Config{
		Look: func(ctx context.Context, place cert.Place) cert.Observation {
			return tlsprobe.Look(ctx, place, options)
		},
		Resolver: resolver, Concurrency: scan.Concurrency, Rate: scan.Rate, Seed: scan.Seed, Confirmed: scan.Confirmed, Now: scan.Now,
	}, func(seen cert.Observation) {
		recorder.add(inventory.FromLook(seen))
		scan.Endpoint(scan.assess(seen))
	})
}

// ManagedLeaf is a certificate of ours, as a scan may meet it.
type ManagedLeaf struct {
	Name    string
	Newest  bool
	RenewAt time.Time
}

// ManagedLeaves are all generations of all managed certificates.
func ManagedLeaves(managed []inventory.Managed) map[string]ManagedLeaf {
	all := map[string]ManagedLeaf{}
	for _, one := range managed {
		if one.Newest == nil || one.Retired {
			continue
		}
		for _, sha256 := range one.Older {
			all[sha256] = ManagedLeaf{Name: one.Name, RenewAt: one.RenewAt}
		}
		all[one.Newest.SHA256] = ManagedLeaf{Name: one.Name, Newest: true, RenewAt: one.RenewAt}
	}
	return all
}

// assess judges a look; a certificate of ours by its plan, and by whether it is
// the newest.
func (scan Scan) assess(seen cert.Observation) cert.Endpoint {
	judge := scan.Judge
	if len(seen.Chain) == 0 {
		return audit.Assess(seen, judge)
	}
	ours, managed := scan.Managed[cert.Fingerprint(seen.Chain[0].Raw)]
	if managed {
		judge.Managed = &audit.Managed{Name: ours.Name, RenewAt: ours.RenewAt}
	}
	record := audit.Assess(seen, judge)
	if managed && !ours.Newest {
		found := finding.New(finding.ServeNotNewest, fmt.Sprintf("%s was renewed, and an older certificate is served here", ours.Name))
		found.Affects = []string{finding.Text(seen.Target)}
		record.Findings = append(record.Findings, found)
		finding.Sort(record.Findings)
	}
	return record
}

// recorder writes sightings in groups.
type recorder struct {
	ctx       context.Context
	state     *store.Store
	objects   []inventory.Object
	sightings []inventory.Sighting
	err       error
}

func (recorder *recorder) add(objects []inventory.Object, sightings []inventory.Sighting) {
	if recorder.state == nil || recorder.err != nil {
		return
	}
	recorder.objects = append(recorder.objects, objects...)
	recorder.sightings = append(recorder.sightings, sightings...)
	if len(recorder.sightings) >= recordEvery {
		recorder.err = recorder.flush()
	}
}

func (recorder *recorder) flush() error {
	if recorder.err != nil || recorder.state == nil || len(recorder.objects) == 0 {
		return recorder.err
	}
	err := Inventory(recorder.state).Record(recorder.ctx, recorder.objects, recorder.sightings)
	recorder.objects, recorder.sightings = nil, nil
	if err != nil {
		return fmt.Errorf("recording what was seen: %w", err)
	}
	return nil
}
