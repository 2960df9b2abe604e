package clock

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func TestTimersFireInOrder(t *testing.T) {
	clock := New(start)
	var got []string
	note := func(name string) func() {
		return func() { got = append(got, name+clock.Now().Sub(start).String()) }
	}
	clock.AfterFunc(3*time.Hour, note("c"))
	clock.AfterFunc(time.Hour, func() {
		note("a")()
		clock.AfterFunc(time.Hour, note("nested"))
		clock.AfterFunc(10*time.Hour, note("far"))
	})
	clock.AfterFunc(3*time.Hour, note("d"))
	stopped := clock.AfterFunc(2*time.Hour, note("never"))
	channel := clock.After(2 * time.Hour)
	if !stopped.Stop() || stopped.Stop() {
		t.Error("Stop must be true once")
	}
	if due, found := clock.Next(); !found || !due.Equal(start.Add(time.Hour)) {
		t.Errorf("next is %s", due)
	}
	clock.Advance(4 * time.Hour)
	want := []string{"a1h0m0s", "nested2h0m0s", "c3h0m0s", "d3h0m0s"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	select {
	case at := <-channel:
		if !at.Equal(start.Add(2 * time.Hour)) {
			t.Errorf("the channel says %s", at)
		}
	default:
		t.Error("the channel says nothing")
	}
	if clock.Waiting() != 1 || !clock.Now().Equal(start.Add(4*time.Hour)) {
		t.Errorf("%d waiting at %s", clock.Waiting(), clock.Now())
	}
}

func TestSetBackFiresNothing(t *testing.T) {
	clock := New(start)
	fired := 0
	clock.AfterFunc(time.Hour, func() { fired++ })
	clock.Set(start.Add(-24 * time.Hour))
	if fired != 0 || !clock.Now().Equal(start.Add(-24*time.Hour)) {
		t.Errorf("%d fired at %s", fired, clock.Now())
	}
	clock.Set(start.Add(2 * time.Hour))
	if fired != 1 {
		t.Error("the timer was lost")
	}
	clock.AfterFunc(0, func() { fired++ })
	clock.Advance(0)
	if fired != 2 {
		t.Error("Advance(0) must fire what is due")
	}
}

// However time is cut into steps, the same things happen in the same order.
func TestStepsDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		delays := rapid.SliceOfN(rapid.IntRange(0, 50), 1, 20).Draw(t, "delays")
		steps := rapid.SliceOfN(rapid.IntRange(1, 20), 0, 20).Draw(t, "steps")
		run := func(steps []int) []int {
			clock := New(start)
			var order []int
			for index, delay := range delays {
				clock.AfterFunc(time.Duration(delay)*time.Minute, func() { order = append(order, index) })
			}
			for _, step := range steps {
				clock.Advance(time.Duration(step) * time.Minute)
			}
			clock.Set(start.Add(1000 * time.Minute))
			return order
		}
		once, cut := run(nil), run(steps)
		if len(once) != len(delays) || !slices.Equal(once, cut) {
			t.Fatalf("in one step %v, in %v steps %v", once, steps, cut)
		}
		if !slices.IsSortedFunc(once, func(a, b int) int { return delays[a] - delays[b] }) {
			t.Fatalf("order %v of delays %v", once, delays)
		}
	})
}
