// Package daemon wires the stages together and drives the rows.
//
// Promise: this is the only place where stages meet. A run takes what is due,
// the earliest deadline first, with bounded workers for each authority and one
// batch at a time for each target, so that a slow one delays no other. Killed
// at any instruction, the next run goes on from what is stored. Nothing is
// decided here: package plan decides, stages act, the store remembers.
//
// Limits: one process at a time acts on a state folder (store.Lock). The
// one-shot commands run it to the end; nothing outlives a call yet.
package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/finding"
	"github.com/backstay/backstay/issue"
	"github.com/backstay/backstay/journal"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// Config is what a Daemon needs. Folder, Configuration and Now are required.
type Config struct {
	Folder        string // the state folder
	Configuration *config.Config
	Now           func() time.Time
	Timing        *plan.Timing // nil: plan.DefaultTiming
	Random        io.Reader    // nil: crypto/rand
	UserAgent     string
}

// Daemon is everything joined over one state folder.
type Daemon struct {
	cfg   Config
	state *store.Store
	log   *journal.Log
	// logTrouble is why acts only queue; nil when they are logged.
	logTrouble error
	issuer     *issue.Executor
	rules      plan.Rules
	sites      map[string]*Site
	trusts     *trusts
	close      []io.Closer
}

// Open joins everything. The caller holds the state lock. Rows that a dead
// process had in hand are made due, and the configuration's certificates become
// rows if its files changed since they last did.
func Open(ctx context.Context, cfg Config) (*Daemon, error) {
	if cfg.Folder == "" || cfg.Configuration == nil || cfg.Now == nil {
		return nil, errors.New("daemon: Config.Folder, Configuration and Now are required")
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	timing := plan.DefaultTiming()
	if cfg.Timing != nil {
		timing = *cfg.Timing
	}
	state, err := store.Open(ctx, store.Config{Folder: cfg.Folder})
	if err != nil {
		return nil, err
	}
	daemon := &Daemon{cfg: cfg, state: state, sites: map[string]*Site{}, rules: plan.Rules{Timing: timing}}
	if err := daemon.prepare(ctx); err != nil {
		return nil, errors.Join(err, daemon.Close())
	}
	return daemon, nil
}

func (daemon *Daemon) prepare(ctx context.Context) (err error) {
	now := daemon.cfg.Now()
	if err := daemon.sweep(); err != nil {
		return err
	}
	if daemon.rules.Seed, err = daemon.seed(ctx); err != nil {
		return err
	}
	if daemon.log, daemon.logTrouble = journal.OpenLog(ctx, daemon.cfg.Folder, daemon.state, now); daemon.logTrouble != nil {
		// A record must not cost a certificate: acts queue, and a person is told.
		daemon.log = nil
	}
	if daemon.trusts, err = newTrusts(daemon.cfg.Configuration); err != nil {
		return err
	}
	if err := daemon.wire(); err != nil {
		return err
	}
	if err := daemon.state.Release(ctx, now); err != nil {
		return err
	}
	if err := daemon.noticeClock(ctx, now); err != nil {
		return err
	}
	return daemon.reconcile(ctx)
}

// sweep removes what a killed process left half written in our own folders:
// nobody else writes there now. A generation's folder is finished by its row.
func (daemon *Daemon) sweep() error {
	folders := []string{"", "live", "targets", "accounts"}
	for _, parent := range []string{"targets", "accounts"} {
		entries, err := os.ReadDir(filepath.Join(daemon.cfg.Folder, parent))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, entry := range entries {
			if entry.IsDir() {
				folders = append(folders, filepath.Join(parent, entry.Name()))
			}
		}
	}
	for _, folder := range folders {
		if err := durable.Sweep(filepath.Join(daemon.cfg.Folder, folder)); err != nil {
			return err
		}
	}
	return nil
}

// seed is made once for a state folder; all jitter comes from it.
func (daemon *Daemon) seed(ctx context.Context) ([]byte, error) {
	text, err := daemon.state.Fact(ctx, "seed")
	if err != nil {
		return nil, err
	}
	if text != "" {
		return hex.DecodeString(text)
	}
	seed := make([]byte, 32)
	if _, err := io.ReadFull(daemon.cfg.Random, seed); err != nil {
		return nil, err
	}
	return seed, daemon.state.Write(ctx, func(tx *store.Tx) error { return tx.SetFact("seed", hex.EncodeToString(seed)) })
}

// noticeClock remembers the time of this run. When an earlier run saw a later one
// its clock was ahead, and so are the times that it stored: every row is decided
// anew, or renewals would sleep until that clock's future.
func (daemon *Daemon) noticeClock(ctx context.Context, now time.Time) error {
	ahead, err := clockWasAhead(ctx, daemon.state, now)
	if err != nil {
		return err
	}
	return daemon.state.Write(ctx, func(tx *store.Tx) error {
		if ahead {
			if err := tx.WakeAll(now); err != nil {
				return err
			}
		}
		return tx.SetFact(clockFact, now.UTC().Format(time.RFC3339))
	})
}

// clockFact is where the time of the last run that acted is remembered.
const clockFact = "clock"

// clockWasAhead reports whether the last run that acted saw a later time.
func clockWasAhead(ctx context.Context, state *store.Store, now time.Time) (bool, error) {
	text, err := state.Fact(ctx, clockFact)
	if err != nil || text == "" {
		return false, err
	}
	seen, err := time.Parse(time.RFC3339, text)
	return err == nil && seen.After(now.Add(time.Hour)), nil
}

func decodeSeed(text string) []byte {
	seed, err := hex.DecodeString(text)
	if err != nil {
		return nil
	}
	return seed
}

// Sequence writes waiting acts into the log.
func (daemon *Daemon) Sequence(ctx context.Context) error {
	if daemon.log == nil {
		return nil
	}
	_, err := daemon.log.Sequence(ctx, daemon.cfg.Now())
	return err
}

// Close gives everything back. Acts that still wait for the log are written
// first; if that fails they wait on, and nothing is lost.
func (daemon *Daemon) Close() error {
	var err error
	if daemon.log != nil {
		err = daemon.Sequence(context.Background())
	}
	for _, closer := range daemon.close {
		err = errors.Join(err, closer.Close())
	}
	return errors.Join(err, daemon.state.Close())
}

// Store is the open store, for commands that look.
func (daemon *Daemon) Store() *store.Store { return daemon.state }

// Rules are what decisions of this state folder are made by.
func (daemon *Daemon) Rules() plan.Rules { return daemon.rules }

// Issuer carries out single acts at CAs for commands.
func (daemon *Daemon) Issuer() *issue.Executor { return daemon.issuer }

// Now is the daemon's clock.
func (daemon *Daemon) Now() time.Time { return daemon.cfg.Now() }

func (daemon *Daemon) engine(tell func(finding.Finding), note func(Progress), who string) *engine {
	if tell == nil {
		tell = func(finding.Finding) {}
	}
	if note == nil {
		note = func(Progress) {}
	}
	host, _ := os.Hostname()
	return &engine{
		rules: daemon.rules, state: daemon.state, actor: &actor{daemon}, now: daemon.cfg.Now, who: who,
		holder: fmt.Sprintf("%s/%d", host, os.Getpid()), tell: tell, note: note, ledger: &ledger{}, seen: map[string]bool{},
	}
}

// around are the facts about other rows that a decision on row needs.
func (daemon *Daemon) around(ctx context.Context, row plan.Row) (plan.Around, error) {
	if row.Certificate == nil || row.Certificate.Held == nil {
		return plan.Around{}, nil
	}
	served, err := daemon.served(ctx, row.Certificate)
	return plan.Around{Served: served}, err
}

// served is the generation that every configured target has proven; 0 for none.
func (daemon *Daemon) served(ctx context.Context, row *plan.Certificate) (int, error) {
	if len(row.Want.Deploy) == 0 {
		return 0, nil
	}
	works, err := daemon.state.OfSubject(ctx, plan.KindDeployment, row.Name)
	if err != nil {
		return 0, err
	}
	proven := map[string]int{}
	for _, work := range works {
		proven[work.Row.Deployment.Target] = work.Row.Deployment.Served
	}
	for _, target := range row.Want.Deploy {
		if proven[target] != row.Held.Generation {
			return 0, nil
		}
	}
	return row.Held.Generation, nil
}

func (daemon *Daemon) targetsOf(name string) []string {
	for _, wanted := range daemon.cfg.Configuration.Certificates {
		if wanted.Name == name {
			return wanted.Deploy
		}
	}
	return nil
}

func certificateOf(id string) (name string, is bool) {
	return strings.CutPrefix(id, plan.KindCertificate+"/")
}

// trusts are the stores that pairs are judged by.
type trusts struct {
	byAuthority map[string]*cert.Trust
	own         []*cert.Trust // of all authorities with roots of their own
}

func newTrusts(configuration *config.Config) (*trusts, error) {
	all := &trusts{byAuthority: map[string]*cert.Trust{}}
	for _, authority := range configuration.Authorities {
		if authority.Roots == "" {
			continue
		}
		text, err := os.ReadFile(authority.Roots)
		if err != nil {
			return nil, fmt.Errorf("roots of authority %s: %w", authority.Name, err)
		}
		trust, err := cert.ParseTrust(authority.Name, text)
		if err != nil {
			return nil, fmt.Errorf("roots of authority %s: %s: %w", authority.Name, authority.Roots, err)
		}
		all.byAuthority[authority.Name] = trust
		all.own = append(all.own, trust)
	}
	return all, nil
}

// of an authority: its own roots, else the public ones. "" asks all.
func (all *trusts) of(authority string) []*cert.Trust {
	if trust, own := all.byAuthority[authority]; own {
		return []*cert.Trust{trust}
	}
	if authority == "" {
		return append([]*cert.Trust{cert.Mozilla()}, all.own...)
	}
	return []*cert.Trust{cert.Mozilla()}
}
