package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/backstay/backstay/store"
)

// blocked starts writes that wait behind one another, so that they share a
// transaction, and returns their errors in order.
func blocked(t *testing.T, state *store.Store, changes []func(*store.Tx) error) []error {
	t.Helper()
	entered, leave := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Add(1)
	go func() {
		defer all.Done()
		if err := state.Write(context.Background(), func(*store.Tx) error { close(entered); <-leave; return nil }); err != nil {
			t.Error(err)
		}
	}()
	<-entered
	outcomes := make([]error, len(changes))
	for index, change := range changes {
		all.Add(1)
		go func() {
			defer all.Done()
			outcomes[index] = state.Write(context.Background(), change)
		}()
	}
	close(leave)
	all.Wait()
	return outcomes
}

// TestOneFailingWriterIsUndoneAlone, also when it panics or breaks a constraint.
func TestOneFailingWriterIsUndoneAlone(t *testing.T) {
	state := open(t, t.TempDir())
	refused := errors.New("refused by the caller")
	var changes []func(*store.Tx) error
	for number := range 60 {
		changes = append(changes, func(tx *store.Tx) error {
			if err := tx.SetFact(fmt.Sprintf("writer-%d", number), "was here"); err != nil {
				return err
			}
			switch number % 6 {
			case 1:
				return refused
			case 2:
				panic("a bug")
			case 3:
				_, err := tx.Exec(`INSERT INTO fact (name, value) VALUES (?, NULL)`, "broken")
				return err
			case 4:
				_, err := tx.Exec(`no statement at all`)
				return err
			}
			return nil
		})
	}
	for number, err := range blocked(t, state, changes) {
		value, readErr := state.Fact(context.Background(), fmt.Sprintf("writer-%d", number))
		if readErr != nil {
			t.Fatal(readErr)
		}
		good := number%6 == 0 || number%6 == 5
		if good != (err == nil) || good != (value == "was here") {
			t.Errorf("writer %d: error %v, value %q", number, err, value)
		}
		if number%6 == 1 && !errors.Is(err, refused) {
			t.Errorf("writer %d: another error came back: %v", number, err)
		}
		if number%6 == 2 && (err == nil || !strings.Contains(err.Error(), "a bug")) {
			t.Errorf("writer %d: %v", number, err)
		}
	}
}

// TestALoneFailingWriterIsUndone on the path without savepoints.
func TestALoneFailingWriterIsUndone(t *testing.T) {
	state := open(t, t.TempDir())
	for name, change := range map[string]func(*store.Tx) error{
		"error": func(tx *store.Tx) error { tx.SetFact("a", "b"); return errors.New("refused") },
		"panic": func(tx *store.Tx) error { tx.SetFact("a", "b"); panic("a bug") },
	} {
		if err := state.Write(context.Background(), change); err == nil {
			t.Errorf("%s: no error", name)
		}
		if value, _ := state.Fact(context.Background(), "a"); value != "" {
			t.Errorf("%s: half of it is there", name)
		}
	}
	write(t, state, func(tx *store.Tx) error { return tx.SetFact("a", "b") })
}

// TestAnEndedCallerWritesNothing.
func TestAnEndedCallerWritesNothing(t *testing.T) {
	state := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ran := false
	if err := state.Write(ctx, func(*store.Tx) error { ran = true; return nil }); !errors.Is(err, context.Canceled) || ran {
		t.Errorf("%v, ran %t", err, ran)
	}
}

// TestManyWritersAtOnce: each increment is there in the end, and what a writer
// reads inside its transaction is what the one before it wrote.
func TestManyWritersAtOnce(t *testing.T) {
	state := open(t, t.TempDir())
	write(t, state, func(tx *store.Tx) error { return tx.SetFact("sum", "0") })
	var all sync.WaitGroup
	for range 50 {
		all.Add(1)
		go func() {
			defer all.Done()
			for range 10 {
				err := state.Write(context.Background(), func(tx *store.Tx) error {
					var sum int
					if err := tx.Scan(`SELECT value FROM fact WHERE name = 'sum'`, nil, &sum); err != nil {
						return err
					}
					return tx.SetFact("sum", fmt.Sprint(sum+1))
				})
				if err != nil {
					t.Error(err)
				}
			}
		}()
	}
	all.Wait()
	if sum, _ := state.Fact(context.Background(), "sum"); sum != "500" {
		t.Errorf("sum %s", sum)
	}
}

// TestCloseBesideWriters: a write is done or refused, whatever the moment.
func TestCloseBesideWriters(t *testing.T) {
	folder := t.TempDir()
	state := open(t, folder)
	var all sync.WaitGroup
	started := make(chan struct{}, 1000)
	done := make([]bool, 20*50)
	for worker := range 20 {
		all.Add(1)
		go func() {
			defer all.Done()
			for number := range 50 {
				index := worker*50 + number
				err := state.Write(context.Background(), func(tx *store.Tx) error { return tx.SetFact(fmt.Sprint(index), "x") })
				started <- struct{}{}
				switch {
				case err == nil:
					done[index] = true
				case !errors.Is(err, store.ErrClosed):
					t.Error(err)
				}
			}
		}()
	}
	for range 100 {
		<-started
	}
	if err := state.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
	again := open(t, folder)
	for index, ok := range done {
		if value, err := again.Fact(context.Background(), fmt.Sprint(index)); err != nil || ok != (value == "x") {
			t.Errorf("write %d: done %t, there %q, %v", index, ok, value, err)
		}
	}
}
