// Package finding holds everything Backstay can tell a person.
//
// Promise: whatever a person is told has a stable code, a severity, evidence
// and a remedy, and comes from the one catalogue in this package. Errors are
// for the program; a finding is for the reader. Text that came from outside
// (certificates, CA answers, DNS, banners) passes through Text before it is
// shown anywhere.
//
// Limits: pure. No I/O, no clock, no goroutine.
package finding

import (
	"sort"
	"time"
)

// Severity says how soon a person should act.
type Severity string

// The severities, worst first.
const (
	Critical Severity = "critical" // an outage now, or certain soon
	High     Severity = "high"     // an outage if nothing is done
	Medium   Severity = "medium"   // a weakness
	Low      Severity = "low"      // hygiene
	Info     Severity = "info"     // worth knowing
)

// rank orders severities; 0 is worst. Unknown severities rank last.
func (s Severity) rank() int {
	switch s {
	case Critical:
		return 0
	case High:
		return 1
	case Medium:
		return 2
	case Low:
		return 3
	case Info:
		return 4
	}
	return 5
}

// AtLeast reports whether s is as severe as limit, or worse.
func (s Severity) AtLeast(limit Severity) bool { return s.rank() <= limit.rank() }

// ParseSeverity accepts the five names; ok is false for anything else.
func ParseSeverity(name string) (severity Severity, ok bool) {
	severity = Severity(name)
	return severity, severity.rank() < 5
}

// Code names one kind of finding for good: area-fact, lower case.
type Code string

// Finding is one thing we know and a person should.
type Finding struct {
	Code     Code              `json:"code"`
	Severity Severity          `json:"severity"`
	Summary  string            `json:"summary"`
	Remedy   string            `json:"remedy,omitempty"`
	Evidence map[string]string `json:"evidence,omitempty"`
	Affects  []string          `json:"affects,omitempty"`
	By       *time.Time        `json:"by,omitempty"` // act before this instant
}

// Sort orders findings worst first, then by code, then by summary, so that two
// runs over the same facts print the same text.
func Sort(findings []Finding) {
	sort.SliceStable(findings, func(i, j int) bool {
		a, b := findings[i], findings[j]
		if a.Severity != b.Severity {
			return a.Severity.rank() < b.Severity.rank()
		}
		if a.Code != b.Code {
			return a.Code < b.Code
		}
		return a.Summary < b.Summary
	})
}
