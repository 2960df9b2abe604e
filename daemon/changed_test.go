package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
	"github.com/backstay/backstay/testbed/authority"
	"github.com/backstay/backstay/testbed/world"
)

// TestTargetLeavesTheConfiguration: its deployment is forgotten, a run ends, and
// a target that is named again is deployed to again.
func TestTargetLeavesTheConfiguration(t *testing.T) {
	rig := newRig(t, nil)
	with := rig.load("www: www.example.com")
	rig.run(with, Selection{})
	rig.cfg.Certificates = []world.Certificate{{Name: "www", Domains: []string{"www.example.com"}, Options: "deploy: []"}}
	without := rig.load()
	if report := rig.run(without, Selection{}); len(report.Left) != 0 || len(report.Served) != 0 {
		t.Fatalf("%+v", report)
	}
	daemon, closing := rig.open(without)
	_, err := daemon.state.Get(context.Background(), "deployment/www/mail")
	closing()
	if !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("the deployment is still there: %v", err)
	}
	if report := rig.run(with, Selection{}); len(report.Served) != 1 {
		t.Fatalf("%+v", report)
	}
}

// TestConfigurationChangesDuringAnAttempt: an attempt that cannot go on is
// dropped when the configuration says something else, and the new one succeeds.
func TestConfigurationChangesDuringAnAttempt(t *testing.T) {
	rig := newRig(t, nil)
	timing := plan.DefaultTiming()
	timing.Retry = []time.Duration{time.Hour}
	rig.timing = &timing
	if err := os.WriteFile(filepath.Join(rig.Webroot, ".well-known"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if report := rig.run(rig.load("www: www.example.com"), Selection{}); len(report.Issued) != 0 || len(report.Left) == 0 {
		t.Fatalf("%+v", report)
	}
	rig.cfg.Solver = "zone"
	report := rig.run(rig.load("www: www.example.com"), Selection{})
	if len(report.Issued) != 1 || len(report.Served) != 1 {
		t.Fatalf("%+v %+v", report, rig.findings)
	}
}

// TestOtherNamesDuringAnAttempt: the certificate for the names that were wanted
// before is not made.
func TestOtherNamesDuringAnAttempt(t *testing.T) {
	rig := newRig(t, nil)
	remove := rig.Authority.Faults().Add(authority.Rule{At: authority.Finalize, What: authority.Answer, Status: 500})
	remove2 := rig.Authority.Faults().Add(authority.Rule{At: authority.Challenge, What: authority.Answer, Status: 500})
	rig.run(rig.load("www: www.example.com"), Selection{Patience: time.Millisecond})
	remove()
	remove2()
	report := rig.run(rig.load("www: www.example.com api.example.com"), Selection{})
	if len(report.Issued) != 1 || len(rig.Authority.Issued()) != 1 || len(rig.Authority.Issued()[0].Certificate.DNSNames) != 2 {
		t.Fatalf("%+v %+v", report, rig.findings)
	}
}

// TestJournalKeyIsLost: renewals go on, and it is told.
func TestJournalKeyIsLost(t *testing.T) {
	rig := newRig(t, nil)
	configuration := rig.load("www: www.example.com")
	rig.run(configuration, Selection{})
	if err := errors.Join(os.Remove(filepath.Join(rig.State(), "journal.key")), os.Remove(filepath.Join(rig.State(), "journal.pub"))); err != nil {
		t.Fatal(err)
	}
	report, err := rig.renew(configuration, Selection{})
	if err != nil || len(report.Issued) != 1 || !rig.found("self-state") {
		t.Fatalf("%+v %v %+v", report, err, rig.findings)
	}
}

// TestClockWasYearsAhead: a run under a wrong clock fails, and the next one under
// the right clock renews as if it had not been.
func TestClockWasYearsAhead(t *testing.T) {
	rig := newRig(t, nil)
	configuration := rig.load("www: www.example.com")
	remove := rig.Authority.Faults().Add(authority.Rule{At: authority.Order, What: authority.Answer, Status: 500})
	wrong := func() time.Time { return time.Now().AddDate(9, 0, 0) }
	if report, err := rig.tryRun(configuration, Selection{Patience: time.Millisecond}, wrong); err != nil || len(report.Left) == 0 {
		t.Fatalf("%+v %v", report, err)
	}
	remove()
	state, err := store.Open(context.Background(), store.Config{Folder: rig.State(), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	idle, err := Idle(context.Background(), state, configuration.Hash(), time.Now())
	state.Close()
	if err != nil || idle {
		t.Fatalf("idle %v %v under the right clock", idle, err)
	}
	if report := rig.run(configuration, Selection{}); len(report.Issued) != 1 || len(report.Served) != 1 {
		t.Fatalf("%+v %+v", report, rig.findings)
	}
}
