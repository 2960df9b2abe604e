package network

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"time"

	"github.com/backstay/backstay/cert"
)

// Config of a Run. Look is required; the rest has defaults.
type Config struct {
	// Look takes one look. It is called from several goroutines, must honour the
	// context, and returns a status rather than an error.
	Look           func(context.Context, cert.Place) cert.Observation
	Resolver       Resolver         // nil for the system's
	Concurrency    int              // looks and look-ups at a time; 0 for 200
	Rate           float64          // looks begun a second; 0 for no limit
	Seed           uint64           // of the order
	Confirmed      bool             // wide public ranges are allowed
	ResolveTimeout time.Duration    // 0 for 10 s
	Now            func() time.Time // for ObservedAt of what did not resolve; nil for time.Now
}

const (
	defaultConcurrency    = 200
	defaultResolveTimeout = 10 * time.Second
	// perHost is how many connections one host sees from us at a time; small
	// machines drop more, and the answer would be ours, not theirs.
	perHost = 2
	// maxWaiting is how many places are held back because their host is busy.
	maxWaiting = 4096
)

// Run looks at every place of every spec and hands each observation to emit,
// which is called from one goroutine at a time, in the order of completion. A
// name that does not resolve, and a range that is not permitted, is one
// observation. specs may block, as a list on standard input does; looks go on
// meanwhile. Error: the context's, after which emit is not called any more.
func Run(ctx context.Context, specs iter.Seq[Spec], config Config, emit func(cert.Observation)) error {
	if config.Look == nil {
		return errors.New("network: Config.Look is missing")
	}
	if config.Resolver == nil {
		config.Resolver = NewResolver(netip.AddrPort{})
	}
	if config.Concurrency <= 0 {
		config.Concurrency = defaultConcurrency
	}
	if config.ResolveTimeout <= 0 {
		config.ResolveTimeout = defaultResolveTimeout
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	// Whatever ends this call also ends what it started. The reader of specs may
	// stay blocked in its source until that yields once more.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{
		config: config, emit: emit,
		incoming: make(chan Spec), done: make(chan completion),
		inflight: map[netip.Addr]int{}, waiting: map[netip.Addr][]cert.Place{},
	}
	go func() {
		defer close(r.incoming)
		for spec := range specs {
			select {
			case r.incoming <- spec:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer r.stopSources()
	return r.loop(ctx)
}

// run is the state of one Run; only its own goroutine touches it. The others
// report through done.
type run struct {
	config   Config
	emit     func(cert.Observation)
	incoming chan Spec // nil when there is no more
	done     chan completion

	sources  []source // specs being walked, in turn
	active   int      // looks and look-ups under way
	inflight map[netip.Addr]int
	waiting  map[netip.Addr][]cert.Place // places whose host is busy
	held     int                         // how many are waiting
	ready    []cert.Place                // places whose host became free
	started  uint64                      // specs begun, for their seeds
	nextLook time.Time                   // not before, by the rate
}

type source struct {
	next func() (cert.Place, bool)
	stop func()
}

// completion is the end of a look, or of a look-up (spec is set).
type completion struct {
	place     cert.Place
	seen      cert.Observation
	spec      *Spec
	addresses []netip.Addr
	err       error
}

func (r *run) loop(ctx context.Context) error {
	for {
		pause := r.begin(ctx)
		if r.active == 0 && r.incoming == nil && len(r.sources) == 0 && len(r.ready) == 0 && r.held == 0 {
			return ctx.Err()
		}
		incoming := r.incoming
		if len(r.sources) > 0 || r.active >= r.config.Concurrency {
			incoming = nil // enough to do; the list waits
		}
		var tick <-chan time.Time
		if pause > 0 {
			tick = time.After(pause)
		}
		select {
		case <-ctx.Done():
			r.drain()
			return ctx.Err()
		case <-tick:
		case spec, more := <-incoming:
			if !more {
				r.incoming = nil
				continue
			}
			r.take(ctx, spec)
		case ended := <-r.done:
			r.finish(ended)
		}
	}
}

// drain waits for what is under way, which the cancelled context ends soon.
func (r *run) drain() {
	for ; r.active > 0; r.active-- {
		<-r.done
	}
}

// begin starts looks until something is in the way. It returns how long the
// rate asks to wait; 0 when something else is in the way.
func (r *run) begin(ctx context.Context) time.Duration {
	for r.active < r.config.Concurrency && ctx.Err() == nil {
		if r.config.Rate > 0 {
			if pause := time.Until(r.nextLook); pause > 0 {
				return pause
			}
		}
		place, ok := r.pick()
		if !ok {
			return 0
		}
		if r.config.Rate > 0 {
			r.nextLook = time.Now().Add(time.Duration(float64(time.Second) / r.config.Rate))
		}
		r.active++
		r.inflight[place.Address.Addr()]++
		go func() { r.done <- completion{place: place, seen: r.config.Look(ctx, place)} }()
	}
	return 0
}

// pick is the next place whose host is free. The sources take turns, so that a
// name does not wait for a range to end.
func (r *run) pick() (cert.Place, bool) {
	if len(r.ready) > 0 {
		place := r.ready[0]
		r.ready = r.ready[1:]
		return place, true
	}
	for len(r.sources) > 0 && r.held < maxWaiting {
		first := r.sources[0]
		r.sources = r.sources[1:]
		place, ok := first.next()
		if !ok {
			first.stop()
			continue
		}
		r.sources = append(r.sources, first)
		host := place.Address.Addr()
		if r.inflight[host] < perHost {
			return place, true
		}
		r.waiting[host] = append(r.waiting[host], place)
		r.held++
	}
	return cert.Place{}, false
}

// take begins a spec: a look-up for a name, a walk for addresses.
func (r *run) take(ctx context.Context, spec Spec) {
	if err := spec.Permit(r.config.Confirmed); err != nil {
		r.emit(r.without(spec, cert.StatusError, err))
		return
	}
	if spec.Host == "" {
		r.walk(spec, nil)
		return
	}
	r.active++
	go func() {
		ctx, cancel := context.WithTimeout(ctx, r.config.ResolveTimeout)
		defer cancel()
		addresses, err := r.config.Resolver.Addresses(ctx, spec.Host)
		r.done <- completion{spec: &spec, addresses: addresses, err: err}
	}()
}

func (r *run) walk(spec Spec, addresses []netip.Addr) {
	next, stop := iter.Pull(spec.places(addresses, r.config.Seed+r.started))
	r.started++
	r.sources = append(r.sources, source{next, stop})
}

func (r *run) stopSources() {
	for _, each := range r.sources {
		each.stop()
	}
}

func (r *run) finish(ended completion) {
	r.active--
	if ended.spec != nil {
		if ended.err != nil || len(ended.addresses) == 0 {
			r.emit(r.without(*ended.spec, cert.StatusResolveFailed, ended.err))
			return
		}
		r.walk(*ended.spec, ended.addresses)
		return
	}
	host := ended.place.Address.Addr()
	if r.inflight[host]--; r.inflight[host] == 0 {
		delete(r.inflight, host)
	}
	if queue := r.waiting[host]; len(queue) > 0 {
		r.ready = append(r.ready, queue[0])
		r.held--
		if r.waiting[host] = queue[1:]; len(queue) == 1 {
			delete(r.waiting, host)
		}
	}
	r.emit(ended.seen)
}

// without is the observation of a spec that led to no place.
func (r *run) without(spec Spec, status string, err error) cert.Observation {
	seen := cert.Observation{
		Target: spec.Text, Named: true, Name: spec.Host, ServerName: spec.Host, Transport: spec.Transport,
		Status: status, Error: "no address", ObservedAt: r.config.Now(),
	}
	if spec.Name != "" {
		seen.Name, seen.ServerName = spec.Name, spec.Name
	}
	if err != nil {
		seen.Error = err.Error()
	}
	return seen
}
