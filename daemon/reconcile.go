package daemon

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/issue"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// hashFact is where the hash of the configuration that the rows were made from
// is remembered. While it fits, nothing needs to be parsed to find out that
// nothing is due.
const hashFact = "configuration"

// Idle reports whether nothing is due and the configuration is the one that the
// rows were made from. It reads no key, asks nobody and writes nothing.
func Idle(ctx context.Context, state *store.Store, hash string, now time.Time) (bool, error) {
	known, err := state.Fact(ctx, hashFact)
	if err != nil || known != hash {
		return false, err
	}
	if ahead, err := clockWasAhead(ctx, state, now); err != nil || ahead {
		return false, err
	}
	due, err := state.DueCount(ctx, now, 1)
	return due == 0, err
}

// Wishes are the configured certificates as the plan sees them.
func Wishes(configuration *config.Config) []plan.Wish {
	wishes := make([]plan.Wish, 0, len(configuration.Certificates))
	for _, certificate := range configuration.Certificates {
		want := plan.Want{
			Domains: certificate.Domains, Authorities: certificate.Authorities, Deploy: certificate.Deploy,
			Key: certificate.Key, Renew: certificate.Renew, Profile: certificate.Profile,
			Owner: certificate.Owner, Tier: certificate.Tier,
		}
		for _, name := range certificate.Solvers {
			solver := configuration.Solvers[name]
			want.Solvers = append(want.Solvers, plan.Solver{Name: name, Type: solver.Type, Stateless: solver.Stateless})
		}
		if want.Profile == "" {
			for _, authority := range configuration.Authorities {
				if authority.Name == want.Authorities[0] {
					want.Profile = authority.Profile
				}
			}
		}
		wishes = append(wishes, plan.Wish{Name: certificate.Name, Want: want})
	}
	return wishes
}

// reconcile makes rows of the configuration when its files changed.
func (daemon *Daemon) reconcile(ctx context.Context) error {
	hash := daemon.cfg.Configuration.Hash()
	known, err := daemon.state.Fact(ctx, hashFact)
	if err != nil || known == hash {
		return err
	}
	works, err := daemon.state.OfKind(ctx, plan.KindCertificate)
	if err != nil {
		return err
	}
	rows := make([]plan.Certificate, 0, len(works))
	for _, work := range works {
		rows = append(rows, *work.Row.Certificate)
	}
	now := daemon.cfg.Now()
	dropped, err := daemon.unwantedDeployments(ctx)
	if err != nil {
		return err
	}
	changed := plan.Reconcile(Wishes(daemon.cfg.Configuration), rows, now)
	for index := range changed {
		if row := changed[index].Certificate; row != nil && row.Generations == 0 {
			if err := daemon.adopt(row); err != nil {
				return err
			}
		}
	}
	return daemon.state.Write(ctx, func(tx *store.Tx) error {
		for index := range dropped {
			if err := tx.DeleteWork(&dropped[index]); err != nil {
				return err
			}
		}
		for _, row := range changed {
			if err := tx.Spawn(row, now); err != nil {
				return err
			}
			if row.Certificate != nil && row.Certificate.Held != nil && row.Certificate.Live == 0 {
				if err := spawnAdopted(tx, row.Certificate, now); err != nil {
					return err
				}
			}
		}
		return tx.SetFact(hashFact, hash)
	})
}

// unwantedDeployments are those of targets that their certificate does not name
// any more, and of certificates that left the configuration. What is in force at
// the target stays there; a target that is named again begins anew.
func (daemon *Daemon) unwantedDeployments(ctx context.Context) (unwanted []store.Work, err error) {
	wanted := map[string]bool{}
	for _, certificate := range daemon.cfg.Configuration.Certificates {
		for _, target := range certificate.Deploy {
			wanted[certificate.Name+"/"+target] = true
		}
	}
	works, err := daemon.state.OfKind(ctx, plan.KindDeployment)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(works, func(work store.Work) bool {
		return wanted[work.Row.Deployment.Name+"/"+work.Row.Deployment.Target]
	}), nil
}

// spawnAdopted records an adopted generation and makes it due at its targets,
// where it will mostly be found in force.
func spawnAdopted(tx *store.Tx, row *plan.Certificate, now time.Time) error {
	if err := tx.AddGeneration(row.Name, row.Held); err != nil {
		return err
	}
	for _, target := range row.Want.Deploy {
		deployment := &plan.Deployment{
			Name: row.Name, Target: target, Domains: row.Held.Domains, Wanted: row.Held.Generation,
			DueSince: now, Deadline: row.Held.NotAfter,
		}
		if err := tx.Spawn(plan.Row{Deployment: deployment}, now); err != nil {
			return err
		}
	}
	return nil
}

// adopt takes up generations that are on disk without a row: the database was
// lost, or restored from before them. Who issued them is not known any more.
func (daemon *Daemon) adopt(row *plan.Certificate) error {
	numbers, err := deploy.List(daemon.cfg.Folder, row.Name)
	if err != nil || len(numbers) == 0 {
		return err
	}
	row.Generations = numbers[len(numbers)-1]
	for index := len(numbers) - 1; index >= 0; index-- {
		generation, err := deploy.Read(daemon.cfg.Folder, row.Name, numbers[index])
		if err != nil || !generation.KeyMatches || len(generation.Chain) == 0 {
			continue // begun and never finished; its number is not given again
		}
		held := issue.Describe(generation.Chain[0])
		held.Generation, held.Key = numbers[index], row.Want.Key
		held.RenewalID = "" // only its issuer can be asked, and that is not known
		held.IssuedAt = held.NotBefore
		slices.SortFunc(held.Domains, strings.Compare)
		row.Held = held
		return nil
	}
	return nil
}
