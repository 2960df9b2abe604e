package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/finding"
	"github.com/backstay/backstay/journal"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
	"github.com/backstay/backstay/testbed/authority"
	"github.com/backstay/backstay/testbed/world"
)

// rig is a world with a test around it.
type rig struct {
	*world.World
	t        *testing.T
	cfg      world.Configuration
	timing   *plan.Timing // nil: the default
	findings []finding.Finding
}

func newRig(t *testing.T, change func(*authority.Config)) *rig {
	t.Helper()
	cfg := world.Config{Folder: t.TempDir()}
	if change != nil {
		change(&cfg.Authority)
	}
	made, err := world.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { made.Close() })
	return &rig{World: made, t: t}
}

// load writes and loads the configuration for certificates, each "name: domain domain".
func (rig *rig) load(certificates ...string) *config.Config {
	rig.t.Helper()
	cfg := rig.cfg
	for _, certificate := range certificates {
		name, domains, _ := strings.Cut(certificate, ": ")
		cfg.Certificates = append(cfg.Certificates, world.Certificate{Name: name, Domains: strings.Fields(domains)})
	}
	path, err := rig.Configure(cfg)
	if err != nil {
		rig.t.Fatal(err)
	}
	loaded, problems, err := config.Load(path, config.Options{})
	if err != nil || loaded == nil {
		rig.t.Fatalf("configuration: %v %v", problems, err)
	}
	return loaded
}

// run opens the state, runs what is due, and closes it.
func (rig *rig) run(configuration *config.Config, selection Selection) Report {
	rig.t.Helper()
	report, err := rig.tryRun(configuration, selection, time.Now)
	if err != nil {
		rig.t.Fatal(err)
	}
	return report
}

func (rig *rig) tryRun(configuration *config.Config, selection Selection, now func() time.Time) (report Report, err error) {
	lock, err := store.TryLock(rig.State())
	if err != nil {
		return report, err
	}
	defer lock.Release()
	daemon, err := Open(context.Background(), Config{Folder: rig.State(), Configuration: configuration, Now: now, Timing: rig.timing})
	if err != nil {
		return report, err
	}
	rig.findings = nil
	report, err = daemon.Run(context.Background(), selection, func(found finding.Finding) { rig.findings = append(rig.findings, found) }, nil, "test")
	if closing := daemon.Close(); err == nil {
		err = closing
	}
	return report, err
}

// open opens the state for single calls.
func (rig *rig) open(configuration *config.Config) (*Daemon, func()) {
	rig.t.Helper()
	lock, err := store.TryLock(rig.State())
	if err != nil {
		rig.t.Fatal(err)
	}
	daemon, err := Open(context.Background(), Config{Folder: rig.State(), Configuration: configuration, Now: time.Now, Timing: rig.timing})
	if err != nil {
		rig.t.Fatal(err)
	}
	return daemon, func() {
		if err := daemon.Close(); err != nil {
			rig.t.Error(err)
		}
		lock.Release()
	}
}

// verifyJournal checks the log after a run.
func (rig *rig) verifyJournal() {
	rig.t.Helper()
	state, err := store.Open(context.Background(), store.Config{Folder: rig.State(), ReadOnly: true})
	if err != nil {
		rig.t.Fatal(err)
	}
	defer state.Close()
	verification, err := journal.Verify(context.Background(), rig.State(), state, nil, time.Now())
	if err != nil || !verification.OK || verification.Acts == 0 || verification.Waiting != 0 {
		rig.t.Fatalf("journal: %+v %v", verification, err)
	}
}

func TestIssueDeployVerify(t *testing.T) {
	rig := newRig(t, nil)
	configuration := rig.load("www: www.example.com example.com")
	started := time.Now()
	report := rig.run(configuration, Selection{})
	if len(report.Issued) != 1 || len(report.Served) != 1 || report.Served[0].Step != "served" || len(report.Left) != 0 {
		t.Fatalf("report %+v\nfindings %+v", report, rig.findings)
	}
	t.Logf("issued, deployed and verified in %s", time.Since(started))
	again := rig.run(configuration, Selection{})
	if len(again.Issued)+len(again.Served)+len(again.Left) != 0 {
		t.Fatalf("a second run did something: %+v", again)
	}
	if issued := len(rig.Authority.Issued()); issued != 1 {
		t.Fatalf("%d certificates issued", issued)
	}
	rig.verifyJournal()
	if left := rig.ChallengeFiles(); len(left) != 0 {
		t.Fatalf("challenge files left: %v", left)
	}
	target, err := os.Readlink(filepath.Join(rig.State(), "live", "www"))
	if err != nil || !strings.HasSuffix(target, "certs/www/1") {
		t.Fatalf("live link: %q %v", target, err)
	}
}

// TestSolvers issues with every solver, wildcard and all key types included.
func TestSolvers(t *testing.T) {
	port := freePort(t)
	for _, one := range []struct{ solver, domains, options string }{
		{"web", "a.example.com", "key: rsa-2048"},
		{"own", "b.example.com c.example.com", "key: ecdsa-p384"},
		{"alpn", "d.example.com", "key: ecdsa-p256"},
		{"zone", "e.example.com *.e.example.com", "key: ecdsa-p256"},
	} {
		t.Run(one.solver, func(t *testing.T) {
			rig := newRig(t, func(cfg *authority.Config) {
				cfg.TLSPort = port
				if one.solver == "own" {
					cfg.HTTPPort = port
				}
			})
			rig.cfg = world.Configuration{Solver: one.solver, OwnPort: port}
			rig.cfg.Certificates = []world.Certificate{{Name: "one", Domains: strings.Fields(one.domains), Options: "deploy: [mail], " + one.options}}
			report := rig.run(rig.load(), Selection{})
			if len(report.Issued) != 1 || len(report.Served) != 1 || len(report.Left) != 0 {
				t.Fatalf("report %+v\nfindings %+v", report, rig.findings)
			}
			for _, domain := range []string{"b.example.com", "e.example.com"} {
				if records := rig.Names.Records("_acme-challenge."+domain, "TXT"); len(records) != 0 {
					t.Fatalf("records left: %v", records)
				}
			}
		})
	}
}
