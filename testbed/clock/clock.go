// Package clock is a clock that moves only when told.
//
// Promise: Now stands still between two calls of Advance or Set; timers fire in
// the order of their time, those of one instant in the order they were made,
// and while one fires Now is exactly its time. The same calls give the same run.
//
// Limits: a function given to AfterFunc runs inside Advance, so it must not call
// Advance or Set itself. Goroutines that a timer wakes through a channel are not
// waited for.
package clock

import (
	"slices"
	"sync"
	"time"
)

// Clock is the clock. All methods may be called from any goroutine.
type Clock struct {
	moving sync.Mutex // held while time moves: one mover at a time

	mutex  sync.Mutex
	now    time.Time
	made   int
	timers []*Timer // sorted by due, then number
}

// Timer is something that will happen.
type Timer struct {
	clock  *Clock
	due    time.Time
	number int
	fire   func(now time.Time)
}

// New makes a clock that shows start.
func New(start time.Time) *Clock { return &Clock{now: start} }

// Now is the time it shows.
func (clock *Clock) Now() time.Time {
	clock.mutex.Lock()
	defer clock.mutex.Unlock()
	return clock.now
}

// Advance moves the clock on and fires what becomes due on the way, timers made
// on the way included. A negative duration does nothing.
func (clock *Clock) Advance(duration time.Duration) {
	clock.Set(clock.Now().Add(duration))
}

// Set moves the clock to a time, as Advance does; a time before Now only sets it
// back, nothing fires: a clock that was wrong and is put right.
func (clock *Clock) Set(target time.Time) {
	clock.moving.Lock()
	defer clock.moving.Unlock()
	for {
		timer := clock.next(target)
		if timer == nil {
			return
		}
		timer.fire(timer.due)
	}
}

// next takes the next timer that is due by target and moves the clock to it, or
// moves the clock to target.
func (clock *Clock) next(target time.Time) *Timer {
	clock.mutex.Lock()
	defer clock.mutex.Unlock()
	if len(clock.timers) == 0 || clock.timers[0].due.After(target) || target.Before(clock.now) {
		clock.now = target
		return nil
	}
	timer := clock.timers[0]
	clock.timers = clock.timers[1:]
	if timer.due.After(clock.now) {
		clock.now = timer.due
	}
	return timer
}

// AfterFunc calls act once duration has passed. With a duration of zero or less
// it is called by the next Advance, also by Advance(0).
func (clock *Clock) AfterFunc(duration time.Duration, act func()) *Timer {
	return clock.add(duration, func(time.Time) { act() })
}

// After sends the time once duration has passed.
func (clock *Clock) After(duration time.Duration) <-chan time.Time {
	channel := make(chan time.Time, 1)
	clock.add(duration, func(now time.Time) { channel <- now })
	return channel
}

func (clock *Clock) add(duration time.Duration, fire func(time.Time)) *Timer {
	clock.mutex.Lock()
	defer clock.mutex.Unlock()
	clock.made++
	timer := &Timer{clock: clock, due: clock.now.Add(duration), number: clock.made, fire: fire}
	at, _ := slices.BinarySearchFunc(clock.timers, timer, func(one, other *Timer) int {
		if order := one.due.Compare(other.due); order != 0 {
			return order
		}
		return one.number - other.number
	})
	clock.timers = slices.Insert(clock.timers, at, timer)
	return timer
}

// Stop takes a timer back. It tells whether the timer was still waiting.
func (timer *Timer) Stop() bool {
	timer.clock.mutex.Lock()
	defer timer.clock.mutex.Unlock()
	at := slices.Index(timer.clock.timers, timer)
	if at < 0 {
		return false
	}
	timer.clock.timers = slices.Delete(timer.clock.timers, at, at+1)
	return true
}

// Next is when the next timer is due; false when none waits. A loop of Set(Next)
// runs a world from event to event.
func (clock *Clock) Next() (time.Time, bool) {
	clock.mutex.Lock()
	defer clock.mutex.Unlock()
	if len(clock.timers) == 0 {
		return time.Time{}, false
	}
	return clock.timers[0].due, true
}

// Waiting is how many timers wait.
func (clock *Clock) Waiting() int {
	clock.mutex.Lock()
	defer clock.mutex.Unlock()
	return len(clock.timers)
}
