package daemon

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/plan"
)

// Report is what a run did and left.
type Report struct {
	Issued []Issued
	Served []Served
	Left   []Left
}

// Issued is a new generation.
type Issued struct {
	Kind       string    `json:"kind"` // "step"
	Schema     int       `json:"schema"`
	Step       string    `json:"step"` // "issued"
	Name       string    `json:"name"`
	Generation int       `json:"generation"`
	Authority  string    `json:"authority"`
	SHA256     string    `json:"sha256"`
	NotAfter   time.Time `json:"not_after"`
}

// Served is a deployment that ended: proven, or in force without a place to look.
type Served struct {
	Kind       string   `json:"kind"` // "step"
	Schema     int      `json:"schema"`
	Step       string   `json:"step"` // "served", or "unverified" when there was nowhere to look
	Name       string   `json:"name"`
	Target     string   `json:"target"`
	Generation int      `json:"generation"`
	Listeners  []string `json:"listeners,omitempty"`
}

// ledger collects what a run did. Concurrent.
type ledger struct {
	mu     sync.Mutex
	report Report
}

func (ledger *ledger) issued(name string, held *plan.Held) {
	ledger.mu.Lock()
	defer ledger.mu.Unlock()
	ledger.report.Issued = append(ledger.report.Issued, Issued{
		Kind: "step", Schema: 1, Step: "issued", Name: name, Generation: held.Generation,
		Authority: held.Authority, SHA256: held.SHA256, NotAfter: held.NotAfter,
	})
}

func (ledger *ledger) served(row *plan.Deployment, proof *proof) {
	one := Served{Kind: "step", Schema: 1, Step: "served", Name: row.Name, Target: row.Target, Generation: proof.generation}
	if proof.blind {
		one.Step = "unverified"
	}
	for _, sight := range proof.sights {
		place := sight.Address
		if sight.ServerName != "" {
			place = sight.ServerName + "@" + place
		}
		one.Listeners = append(one.Listeners, place)
	}
	ledger.mu.Lock()
	defer ledger.mu.Unlock()
	ledger.report.Served = append(ledger.report.Served, one)
}

// sorted is the report in an order that does not depend on who was faster.
func (ledger *ledger) sorted() Report {
	ledger.mu.Lock()
	defer ledger.mu.Unlock()
	slices.SortFunc(ledger.report.Issued, func(a, b Issued) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(ledger.report.Served, func(a, b Served) int { return strings.Compare(a.Name+"/"+a.Target, b.Name+"/"+b.Target) })
	return ledger.report
}
