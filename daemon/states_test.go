package daemon

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/inventory"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// TestOverviewBeyondOnePage: thousands of certificates that end earlier do not
// hide where ours was seen, and all of them are listed.
func TestOverviewBeyondOnePage(t *testing.T) {
	rig := newRig(t, nil)
	rig.run(rig.load("www: www.example.com"), Selection{})
	ctx, now := context.Background(), time.Now()
	state, err := store.Open(ctx, store.Config{Folder: rig.State()})
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	const others = 5600 // more than one page of whatever reads them
	var objects []inventory.Object
	for index := range others {
		made := cert.Certificate{SHA256: fmt.Sprintf("%064x", index), DNSNames: []string{fmt.Sprintf("n%d.example.org", index)}, NotAfter: now.AddDate(0, 0, 20)}
		objects = append(objects, inventory.Object{Certificate: made, FirstSeen: now, LastSeen: now})
	}
	if err := Inventory(state).Record(ctx, objects, nil); err != nil {
		t.Fatal(err)
	}
	joined, err := Overview(ctx, state, inventory.Filter{}, now, plan.DefaultTiming())
	if err != nil {
		t.Fatal(err)
	}
	if len(joined.States) != others+1 {
		t.Errorf("%d lines, want %d", len(joined.States), others+1)
	}
	index := slices.IndexFunc(joined.States, func(one cert.State) bool { return one.Name == "www" })
	if index < 0 || joined.States[index].State != inventory.StateOK || len(joined.States[index].Served) != 1 {
		t.Errorf("%+v", joined.States[max(index, 0)])
	}
}
