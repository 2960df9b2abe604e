package network

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backstay/backstay/cert"
)

type book map[string]string // host to addresses

func (b book) Addresses(_ context.Context, host string) (addresses []netip.Addr, err error) {
	for _, each := range strings.Fields(b[host]) {
		addresses = append(addresses, netip.MustParseAddr(each))
	}
	if len(addresses) == 0 {
		return nil, errors.New("no such host")
	}
	return addresses, nil
}

func specs(t *testing.T, targets ...string) (list []Spec) {
	t.Helper()
	for _, text := range targets {
		spec, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, spec)
	}
	return list
}

func echo(_ context.Context, place cert.Place) cert.Observation {
	return cert.Observation{Target: place.Target, Address: place.Address, Status: cert.StatusOK}
}

func TestRunLooksEverywhere(t *testing.T) {
	names := book{"a.test": "192.0.2.1 2001:db8::1", "b.test": "192.0.2.2"}
	var got []string
	err := Run(context.Background(), slices.Values(specs(t, "a.test", "b.test:1,2", "gone.test", "10.0.0.0/30", "8.0.0.0/8")), Config{Look: echo, Resolver: names, Concurrency: 3},
		func(seen cert.Observation) {
			got = append(got, seen.Target+"="+seen.Status)
		})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	want := "10.0.0.0:443=ok 10.0.0.1:443=ok 10.0.0.2:443=ok 10.0.0.3:443=ok 8.0.0.0/8=error a.test=ok a.test=ok b.test:1=ok b.test:2=ok gone.test=resolve_failed"
	if strings.Join(got, " ") != want {
		t.Errorf(" got %s\nwant %s", strings.Join(got, " "), want)
	}
}

// In a bubble the clock moves only when all are waiting, so the numbers are exact.
func TestRunKeepsItsLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mutex sync.Mutex
		perAddress, most, all, mostAll, looks := map[netip.Addr]int{}, 0, 0, 0, 0
		look := func(ctx context.Context, place cert.Place) cert.Observation {
			mutex.Lock()
			perAddress[place.Address.Addr()]++
			all++
			looks++
			most, mostAll = max(most, perAddress[place.Address.Addr()]), max(mostAll, all)
			mutex.Unlock()
			time.Sleep(time.Second) // virtual
			mutex.Lock()
			perAddress[place.Address.Addr()]--
			all--
			mutex.Unlock()
			return cert.Observation{}
		}
		// Two names on one address share its limit; a range of ports is one host.
		names := book{"a.test": "192.0.2.1", "b.test": "192.0.2.1"}
		start := time.Now()
		if err := Run(t.Context(), slices.Values(specs(t, "a.test:1-10", "b.test:1-10", "10.0.0.0/29")), Config{Look: look, Resolver: names, Concurrency: 5}, func(cert.Observation) {}); err != nil {
			t.Fatal(err)
		}
		if most != perHost || mostAll != 5 || looks != 28 {
			t.Errorf("%d at one host, %d at all, %d looks", most, mostAll, looks)
		}
		if spent := time.Since(start); spent < 10*time.Second || spent > 11*time.Second {
			t.Errorf("twenty looks at one host, two at a time, took %v", spent)
		}
		start = time.Now()
		if err := Run(t.Context(), slices.Values(specs(t, "10.0.0.0/27")), Config{Look: echo, Rate: 10}, func(cert.Observation) {}); err != nil {
			t.Fatal(err)
		}
		if spent := time.Since(start); spent < 3100*time.Millisecond || spent > 3300*time.Millisecond {
			t.Errorf("32 looks at 10 a second took %v", spent)
		}
	})
}

func TestRunHoldsLittleForABusyHost(t *testing.T) {
	count := 0
	if err := Run(context.Background(), slices.Values(specs(t, "192.0.2.1:1-20000")), Config{Look: echo, Concurrency: 50}, func(cert.Observation) { count++ }); err != nil {
		t.Fatal(err)
	}
	if count != 20_000 {
		t.Errorf("%d of 20000", count)
	}
}

func TestRunStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		look := func(ctx context.Context, place cert.Place) cert.Observation {
			<-ctx.Done()
			return cert.Observation{}
		}
		time.AfterFunc(time.Minute, cancel)
		err := Run(ctx, slices.Values(specs(t, "10.0.0.0/12")), Config{Look: look}, func(cert.Observation) { t.Error("emitted after the end") })
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	if err := Run(context.Background(), slices.Values([]Spec(nil)), Config{}, nil); err == nil {
		t.Error("no Look, no error")
	}
}

// A list that comes slowly does not hold back what is known already.
func TestRunDoesNotWaitForTheList(t *testing.T) {
	emitted := make(chan struct{})
	list := specs(t, "192.0.2.1", "192.0.2.2")
	err := Run(context.Background(), func(yield func(Spec) bool) {
		if yield(list[0]) {
			<-emitted
			yield(list[1])
		}
	}, Config{Look: echo}, func(seen cert.Observation) {
		if seen.Target == "192.0.2.1" {
			close(emitted)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
