package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

func certificate(name, authority string) plan.Row {
	return plan.Row{Certificate: &plan.Certificate{Name: name, Since: start, Want: plan.Want{Domains: []string{name + ".test"}, Authorities: []string{authority}, Key: "ecdsa-p256"}}}
}

// save stores a new row that is due at next.
func save(t testing.TB, state *store.Store, row plan.Row, next, deadline time.Time) *store.Work {
	t.Helper()
	work := &store.Work{Row: row, Next: next, Deadline: deadline}
	write(t, state, func(tx *store.Tx) error { return tx.SaveWork(work, store.Lease{}) })
	return work
}

func ids(works []store.Work) string {
	var all []string
	for _, work := range works {
		all = append(all, work.Row.ID())
	}
	return strings.Join(all, " ")
}

func TestWorkComesBackAsItWas(t *testing.T) {
	state := open(t, t.TempDir())
	deadline, next := start.Add(time.Hour), start.Add(time.Minute+time.Microsecond)
	save(t, state, certificate("shop", "first"), next, deadline)
	work, err := state.Get(context.Background(), "certificate/shop")
	if err != nil || work.Version != 1 || !work.Next.Equal(next) || !work.Deadline.Equal(deadline) || work.Row.Certificate.Want.Domains[0] != "shop.test" {
		t.Errorf("%+v, %v", work, err)
	}
	if _, err := state.Get(context.Background(), "certificate/none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a missing row: %v", err)
	}
	save(t, state, certificate("never", "first"), time.Time{}, time.Time{})
	if work, err = state.Get(context.Background(), "certificate/never"); err != nil || !work.Next.IsZero() || !work.Deadline.IsZero() {
		t.Errorf("no times: %+v, %v", work, err)
	}
}

// TestCompareAndSwap: a row is saved over the version that was read, or not.
func TestCompareAndSwap(t *testing.T) {
	state := open(t, t.TempDir())
	save(t, state, certificate("shop", "first"), start, start)
	one, _ := state.Get(context.Background(), "certificate/shop")
	other, _ := state.Get(context.Background(), "certificate/shop")
	one.Row.Certificate.Asked = true
	write(t, state, func(tx *store.Tx) error { return tx.SaveWork(&one, store.Lease{}) })
	if one.Version != 2 {
		t.Errorf("version %d", one.Version)
	}
	other.Row.Certificate.Retired = true
	err := state.Write(context.Background(), func(tx *store.Tx) error {
		if err := tx.SetFact("beside", "it"); err != nil {
			return err
		}
		return tx.SaveWork(&other, store.Lease{})
	})
	if !errors.Is(err, store.ErrConflict) || other.Version != 1 {
		t.Errorf("the slower one: %v, version %d", err, other.Version)
	}
	if value, _ := state.Fact(context.Background(), "beside"); value != "" {
		t.Error("half of the refused write is there")
	}
	stored, _ := state.Get(context.Background(), "certificate/shop")
	if !stored.Row.Certificate.Asked || stored.Row.Certificate.Retired || stored.Version != 2 {
		t.Errorf("%+v", stored)
	}
	// A row that is new to both is new to one only.
	again := store.Work{Row: certificate("shop", "first")}
	if err := state.Write(context.Background(), func(tx *store.Tx) error { return tx.SaveWork(&again, store.Lease{}) }); !errors.Is(err, store.ErrConflict) || again.Version != 0 {
		t.Errorf("born twice: %v", err)
	}
	// A poke is no change: what is under way is stored over it. Whoever has the row
	// in hand leaves it due.
	one, _ = state.Get(context.Background(), "certificate/shop")
	one.Next = start.Add(time.Hour)
	write(t, state, func(tx *store.Tx) error { return tx.SaveWork(&one, store.Lease{Holder: "me", Until: start}) })
	write(t, state, func(tx *store.Tx) error { return tx.Poke("certificate/shop", start) })
	write(t, state, func(tx *store.Tx) error { return tx.SaveWork(&one, store.Lease{Holder: "me", Until: start}) })
	one.Next = time.Time{}
	write(t, state, func(tx *store.Tx) error { return tx.SaveWork(&one, store.Lease{}) })
	if left, _ := state.Get(context.Background(), "certificate/shop"); !left.Next.Equal(start) {
		t.Errorf("poked in hand and left at %s", left.Next)
	}
	one.Version-- // a changed row
	write(t, state, func(tx *store.Tx) error { return tx.Poke("certificate/none", start) })
	// Nor is a row deleted that somebody else has changed.
	write(t, state, func(tx *store.Tx) error { return tx.DeleteWork(&one) })
	if _, err := state.Get(context.Background(), "certificate/shop"); err != nil {
		t.Errorf("a changed row was deleted: %v", err)
	}
	stored, _ = state.Get(context.Background(), "certificate/shop")
	write(t, state, func(tx *store.Tx) error { return tx.DeleteWork(&stored) })
	if _, err := state.Get(context.Background(), "certificate/shop"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestDueInTheOrderOfDeadlines, within one kind and lane.
func TestDueInTheOrderOfDeadlines(t *testing.T) {
	state, ctx := open(t, t.TempDir()), context.Background()
	for number, name := range []string{"c", "a", "b"} {
		save(t, state, certificate(name, "first"), start.Add(-time.Duration(number)*time.Minute), start.Add(time.Duration(3-number)*time.Hour))
	}
	save(t, state, certificate("same-deadline-2", "first"), start, start.Add(9*time.Hour))
	save(t, state, certificate("same-deadline-1", "first"), start, start.Add(9*time.Hour))
	save(t, state, certificate("later", "first"), start.Add(time.Second), start)
	save(t, state, certificate("never", "first"), time.Time{}, start)
	save(t, state, certificate("elsewhere", "second"), start, start)
	save(t, state, plan.Row{Deployment: &plan.Deployment{Name: "a", Target: "first", Wanted: 1}}, start, start)

	if upcoming, err := state.Upcoming(ctx); err != nil || !upcoming.Equal(start.Add(-2*time.Minute)) {
		t.Errorf("upcoming %s, %v", upcoming, err)
	}
	if due, _ := state.Due(ctx, plan.KindCertificate, "first", 10); len(due) != 0 {
		t.Errorf("before Promote: %s", ids(due))
	}
	if err := state.Promote(ctx, start); err != nil {
		t.Fatal(err)
	}
	due, err := state.Due(ctx, plan.KindCertificate, "first", 10)
	if err != nil || ids(due) != "certificate/b certificate/a certificate/c certificate/same-deadline-1 certificate/same-deadline-2" {
		t.Errorf("due: %s, %v", ids(due), err)
	}
	if due, _ = state.Due(ctx, plan.KindCertificate, "first", 2); ids(due) != "certificate/b certificate/a" {
		t.Errorf("two of them: %s", ids(due))
	}
	if lanes, err := state.DueLanes(ctx); err != nil || !strings.Contains(fmt.Sprint(lanes), "{certificate first} {certificate second}") {
		t.Errorf("lanes %v, %v", lanes, err)
	}
	if upcoming, _ := state.Upcoming(ctx); !upcoming.Equal(start.Add(time.Second)) {
		t.Errorf("upcoming after Promote: %s", upcoming)
	}
	if count, err := state.DueCount(ctx, start.Add(time.Hour), 100); err != nil || count != 8 {
		t.Errorf("%d due, %v", count, err)
	}
	if count, _ := state.DueCount(ctx, start.Add(time.Hour), 3); count != 3 {
		t.Errorf("%d due, at most 3", count)
	}
	// Saving a row with a new time takes it out of what is due.
	work := due[0]
	work.Next = start.Add(time.Hour)
	write(t, state, func(tx *store.Tx) error { return tx.SaveWork(&work, store.Lease{}) })
	if due, _ = state.Due(ctx, plan.KindCertificate, "first", 1); ids(due) != "certificate/a" {
		t.Errorf("after saving: %s", ids(due))
	}
	// A poke makes a row due that was not.
	write(t, state, func(tx *store.Tx) error { return tx.Poke("certificate/never", start) })
	if err := state.Promote(ctx, start); err != nil {
		t.Fatal(err)
	}
	if due, _ = state.Due(ctx, plan.KindCertificate, "first", 1); ids(due) != "certificate/never" {
		t.Errorf("after the poke: %s", ids(due))
	}
}

// TestReleaseFreesTheDead: what a dead process had in hand is due at once.
func TestReleaseFreesTheDead(t *testing.T) {
	state, ctx := open(t, t.TempDir()), context.Background()
	held, free := store.Work{Row: certificate("held", "first"), Deadline: start}, store.Work{Row: certificate("free", "first"), Deadline: start}
	write(t, state, func(tx *store.Tx) error {
		return errors.Join(tx.SaveWork(&held, store.Lease{Holder: "process 1", Until: start.Add(time.Minute)}), tx.SaveWork(&free, store.Lease{}))
	})
	if count, _ := state.DueCount(ctx, start, 10); count != 1 {
		t.Errorf("%d due: the held one counts, the free one does not", count)
	}
	for range 2 { // the second finds nothing to do
		if err := state.Release(ctx, start); err != nil {
			t.Fatal(err)
		}
	}
	if err := state.Promote(ctx, start); err != nil {
		t.Fatal(err)
	}
	if due, _ := state.Due(ctx, plan.KindCertificate, "first", 10); ids(due) != "certificate/held" || due[0].Version != 2 {
		t.Errorf("due: %+v", due)
	}
	if err := state.Write(ctx, func(tx *store.Tx) error { return tx.SaveWork(&held, store.Lease{}) }); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the dead process wrote on: %v", err)
	}
}

func TestSpawnMergesAndWakes(t *testing.T) {
	state, ctx := open(t, t.TempDir()), context.Background()
	deployment := func(wanted int) plan.Row {
		return plan.Row{Deployment: &plan.Deployment{Name: "shop", Target: "nginx", Wanted: wanted, Deadline: start.Add(time.Duration(wanted) * time.Hour)}}
	}
	spawn := func(row plan.Row) store.Work {
		t.Helper()
		write(t, state, func(tx *store.Tx) error { return tx.Spawn(row, start) })
		work, err := state.Get(ctx, row.ID())
		if err != nil {
			t.Fatal(err)
		}
		return work
	}
	if work := spawn(deployment(3)); work.Version != 1 || !work.Next.Equal(start) || !work.Deadline.Equal(start.Add(3*time.Hour)) {
		t.Errorf("first: %+v", work)
	}
	if work := spawn(deployment(2)); work.Row.Deployment.Wanted != 3 {
		t.Errorf("an older one: %+v", work.Row.Deployment)
	}
	if work := spawn(deployment(4)); work.Row.Deployment.Wanted != 4 || work.Version != 3 {
		t.Errorf("a newer one: %+v", work)
	}
	challenge := plan.Row{Challenge: &plan.Challenge{Name: "shop", Solver: "web", Type: "http-01", Token: "t", Open: true, Since: start}}
	if work := spawn(challenge); !work.Next.IsZero() {
		t.Errorf("an open challenge wakes by itself: %+v", work)
	}
	challenge.Challenge.Open = false
	if work := spawn(challenge); !work.Next.Equal(start) || work.Row.Challenge.Open {
		t.Errorf("a closed challenge does not wake: %+v", work)
	}
	if works, err := state.OfSubject(ctx, plan.KindDeployment, "shop"); err != nil || ids(works) != "deployment/shop/nginx" {
		t.Errorf("%s, %v", ids(works), err)
	}
	if works, err := state.OfKind(ctx, plan.KindChallenge); err != nil || len(works) != 1 {
		t.Errorf("%s, %v", ids(works), err)
	}
}

// many stores count rows that are not due before start, in one transaction.
func many(t testing.TB, state *store.Store, count int) {
	t.Helper()
	write(t, state, func(tx *store.Tx) error {
		for number := range count {
			work := store.Work{Row: certificate(fmt.Sprintf("c-%06d", number), "first"), Next: start.Add(time.Duration(number+1) * time.Second), Deadline: start.Add(time.Duration(number%977) * time.Hour)}
			if err := tx.SaveWork(&work, store.Lease{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestDueWorkIsAnIndexRange: no question that is asked each time something
// happens reads the whole table.
func TestDueWorkIsAnIndexRange(t *testing.T) {
	state := open(t, t.TempDir())
	many(t, state, 200)
	now := start.UnixMicro()
	table := []struct {
		query     string
		arguments []any
		index     string
	}{
		{`SELECT version, next_at, deadline, body FROM work WHERE ready = 1 AND kind = ? AND lane = ? ORDER BY deadline, id LIMIT ?`, []any{"certificate", "first", 10}, "work_ready"},
		{`SELECT DISTINCT lane FROM work WHERE ready = 1 AND kind = ? ORDER BY lane`, []any{"certificate"}, "work_ready"},
		{`SELECT min(next_at) FROM work WHERE ready = 0 AND next_at IS NOT NULL`, nil, "work_next"},
		{`UPDATE work SET ready = 1 WHERE ready = 0 AND next_at IS NOT NULL AND next_at <= ?`, []any{now}, "work_next"},
		{`SELECT 1 FROM work WHERE ready = 0 AND next_at IS NOT NULL AND next_at <= ? LIMIT 1`, []any{now}, "work_next"},
		{`SELECT 1 FROM work WHERE holder <> '' LIMIT 1`, nil, "work_held"},
		{`SELECT version, next_at, deadline, body FROM work WHERE subject = ? AND kind = ? ORDER BY id`, []any{"shop", "certificate"}, "work_subject"},
	}
	for _, test := range table {
		rows, err := state.Query(context.Background(), "EXPLAIN QUERY PLAN "+test.query, test.arguments...)
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			text = append(text, detail)
		}
		rows.Close()
		whole := strings.Join(text, "; ")
		if !strings.Contains(whole, test.index) || strings.Contains(whole, "TEMP B-TREE") && strings.Contains(test.query, "deadline, id") {
			t.Errorf("%s\n  %s", test.query, whole)
		}
		for _, line := range text {
			if strings.HasPrefix(line, "SCAN") && !strings.Contains(line, test.index) {
				t.Errorf("%s\n  reads the whole table: %s", test.query, line)
			}
		}
	}
}

// TestManyRowsAreNoBurden: with a hundred thousand rows of which none is due,
// asking what is due costs no time.
func TestManyRowsAreNoBurden(t *testing.T) {
	if testing.Short() {
		t.Skip("a hundred thousand rows take seconds to write")
	}
	state, ctx := open(t, t.TempDir()), context.Background()
	many(t, state, 100_000)
	best := func(ask func()) time.Duration {
		shortest := time.Hour
		for range 20 { // the machine is shared: the best of some tells what it costs
			began := time.Now()
			ask()
			shortest = min(shortest, time.Since(began))
		}
		return shortest
	}
	count := -1
	if took := best(func() { count, _ = state.DueCount(ctx, start, 1000) }); took > 5*time.Millisecond || count != 0 {
		t.Errorf("DueCount: %d in %s", count, took)
	}
	if took := best(func() { state.Promote(ctx, start) }); took > 5*time.Millisecond {
		t.Errorf("Promote: %s", took)
	}
	if took := best(func() { state.Upcoming(ctx) }); took > 5*time.Millisecond {
		t.Errorf("Upcoming: %s", took)
	}
	if err := state.Promote(ctx, start.Add(200*time.Second)); err != nil {
		t.Fatal(err)
	}
	var due []store.Work
	if took := best(func() { due, _ = state.Due(ctx, plan.KindCertificate, "first", 10) }); took > 5*time.Millisecond || len(due) != 10 {
		t.Errorf("Due: %d in %s", len(due), took)
	}
	for index := 1; index < len(due); index++ {
		if due[index].Deadline.Before(due[index-1].Deadline) {
			t.Errorf("not in the order of deadlines: %s", ids(due))
		}
	}
}
