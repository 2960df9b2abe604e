package plan

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// Timing holds every constant that has to do with time or counts. Lifetimes
// scale what depends on a certificate's life; nothing else is hidden elsewhere.
type Timing struct {
	// SafetyShare of a certificate's life is kept between the deadline of a
	// renewal and the certificate's end.
	SafetyShare float64
	// Jitter is the share of a life by which a renewal without ARI may be
	// brought forward. Jitter never delays.
	Jitter float64
	// Retry are the waits after the 1st, 2nd, … failure in a row; the last
	// repeats. Each is also capped at RetryShare of the certificate's life.
	Retry      []time.Duration
	RetryShare float64
	// Poll are the waits between looks at something the CA is working on, when
	// it names no Retry-After; the last repeats.
	Poll []time.Duration
	// OrderPatience ends an attempt whose order has not become final.
	OrderPatience time.Duration
	// CheckPatience is how long a DNS answer may take to be seen everywhere
	// before the attempt fails; CheckEvery is the wait between looks.
	CheckPatience time.Duration
	CheckEvery    time.Duration
	// NameRetry is the least wait before a name whose validation failed is tried
	// again: CAs count failures a name and hour.
	NameRetry time.Duration
	// RenewSpacing is the least share of its life after which a certificate is
	// renewed by the backstop, whatever its dates say.
	RenewSpacing float64
	// OrdersPerDay is the breaker: so many orders for one certificate in 24 h.
	OrdersPerDay int
	// RenewalInfoShare of a life lies between two looks at ARI, within
	// [RenewalInfoLeast, RenewalInfoMost] (RFC 9773 section 4.3).
	RenewalInfoShare float64
	RenewalInfoLeast time.Duration
	RenewalInfoMost  time.Duration
	// SettleAfter not_before a renewed certificate may be deployed: clocks of
	// clients that are slow would refuse it earlier.
	SettleAfter time.Duration
	// ReloadHold is how long a deployment waits for others on their way to the
	// same target, so that one reload serves them all.
	ReloadHold time.Duration
	// VerifyRounds good looks in a row at every listener, VerifyAgain apart, prove
	// a deployment; VerifyEvery are the waits after a look that was not good (the
	// last repeats), and after VerifyPatience without proof it is judged.
	VerifyRounds   int
	VerifyAgain    time.Duration
	VerifyEvery    []time.Duration
	VerifyPatience time.Duration
}

// DefaultTiming is what production uses.
func DefaultTiming() Timing {
	return Timing{
		SafetyShare:      0.10,
		Jitter:           0.02,
		Retry:            []time.Duration{2 * time.Second, 8 * time.Second, time.Minute, 10 * time.Minute, 100 * time.Minute, 24 * time.Hour},
		RetryShare:       0.10,
		Poll:             []time.Duration{5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 150 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second},
		OrderPatience:    6 * time.Hour,
		CheckPatience:    10 * time.Minute,
		CheckEvery:       2 * time.Second,
		NameRetry:        20 * time.Minute,
		RenewSpacing:     1.0 / 20,
		OrdersPerDay:     5,
		RenewalInfoShare: 1.0 / 160,
		RenewalInfoLeast: 10 * time.Minute,
		RenewalInfoMost:  6 * time.Hour,
		SettleAfter:      time.Hour,
		ReloadHold:       30 * time.Second,
		VerifyRounds:     3,
		VerifyAgain:      25 * time.Millisecond,
		VerifyEvery:      []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond},
		VerifyPatience:   10 * time.Second,
	}
}

// at returns waits[n], or the last one.
func at(waits []time.Duration, n int) time.Duration {
	if n >= len(waits) {
		n = len(waits) - 1
	}
	return waits[n]
}

// chance is a number in [0, 1) that looks random and is the same for the same
// words: all jitter comes from here, so that a replay decides alike.
func (rules Rules) chance(name, purpose string, attempt int) float64 {
	mac := hmac.New(sha256.New, rules.Seed)
	fmt.Fprintf(mac, "%s\x00%s\x00%d", name, purpose, attempt)
	return float64(binary.BigEndian.Uint64(mac.Sum(nil))>>11) / (1 << 53)
}

// scale multiplies a duration by a share.
func scale(duration time.Duration, share float64) time.Duration {
	return time.Duration(float64(duration) * share)
}

// earliest returns the first of the times that are not zero.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, candidate := range times {
		if !candidate.IsZero() && (first.IsZero() || candidate.Before(first)) {
			first = candidate
		}
	}
	return first
}

// latest returns the last of the times.
func latest(times ...time.Time) time.Time {
	var last time.Time
	for _, candidate := range times {
		if candidate.After(last) {
			last = candidate
		}
	}
	return last
}
