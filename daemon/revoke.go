package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/journal"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// Revoke asks the issuing CA to revoke a generation (0: the newest). The intent
// is recorded before; when the newest was revoked the certificate is due at once.
func (daemon *Daemon) Revoke(ctx context.Context, name string, generation, code int, reason, who string) (*plan.Held, *plan.Trouble, error) {
	work, err := daemon.state.Get(ctx, plan.KindCertificate+"/"+name)
	if err != nil {
		return nil, nil, err
	}
	held, err := daemon.heldAs(ctx, work.Row.Certificate, generation)
	if err != nil {
		return nil, nil, err
	}
	read, err := deploy.Read(daemon.cfg.Folder, name, held.Generation)
	if err != nil {
		return nil, nil, err
	}
	if len(read.Chain) == 0 {
		return nil, nil, ErrNothingHeld
	}
	if held.Authority == "" {
		return nil, nil, fmt.Errorf("who issued generation %d of %s is not known: revoke it at the CA", held.Generation, name)
	}
	var id int64
	err = daemon.state.Write(ctx, func(tx *store.Tx) (err error) {
		id, err = journal.Begin(tx, journal.Intent{
			What: "revoke", Subject: work.Row.ID(), Actor: who, At: daemon.cfg.Now(),
			Details: map[string]string{"generation": fmt.Sprint(held.Generation), "serial": held.Serial, "authority": held.Authority, "reason": reason},
		})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	trouble := daemon.issuer.Revoke(ctx, held, read.Chain[0], code)
	return held, trouble, daemon.state.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		ended := journal.Outcome{At: daemon.cfg.Now()}
		if trouble != nil {
			ended.Error, ended.Cause = trouble.Summary, string(trouble.Class)
		}
		if err := journal.End(tx, id, ended); err != nil || trouble != nil {
			return err
		}
		revoked := *held
		revoked.Revoked = true
		if err := tx.AddGeneration(name, &revoked); err != nil {
			return err
		}
		if work.Row = work.Row.Clone(); work.Row.Certificate.Held.Generation == held.Generation {
			work.Row.Certificate.Held = &revoked
		}
		work.Next = daemon.cfg.Now()
		return tx.SaveWork(&work, store.Lease{})
	})
}

// Before is the generation before the newest that was completed.
func (daemon *Daemon) Before(ctx context.Context, name string) (int, error) {
	work, err := daemon.state.Get(ctx, plan.KindCertificate+"/"+name)
	if err != nil {
		return 0, err
	}
	if work.Row.Certificate.Held == nil {
		return 0, ErrNothingHeld
	}
	all, err := daemon.state.Generations(ctx, name)
	if err != nil {
		return 0, err
	}
	before := 0
	for _, held := range all {
		if held.Generation < work.Row.Certificate.Held.Generation {
			before = held.Generation
		}
	}
	if before == 0 {
		return 0, errors.New(name + " has no older generation to go back to")
	}
	return before, nil
}

// FollowLive moves the live link to a generation that was put back by hand and
// proven, recorded as an act.
func (daemon *Daemon) FollowLive(ctx context.Context, name string, generation int) error {
	work, err := daemon.state.Get(ctx, plan.KindCertificate+"/"+name)
	if err != nil || work.Row.Certificate.Live == generation {
		return err
	}
	for _, target := range daemon.targetsOf(name) {
		deployment, err := daemon.state.Get(ctx, plan.KindDeployment+"/"+name+"/"+target)
		if err != nil || deployment.Row.Deployment.Served != generation {
			return err
		}
	}
	var id int64
	err = daemon.state.Write(ctx, func(tx *store.Tx) (err error) {
		id, err = journal.Begin(tx, journal.Intent{What: string(plan.PointLive), Subject: work.Row.ID(), Actor: "backstay", At: daemon.cfg.Now(),
			Details: map[string]string{"generation": fmt.Sprint(generation), "why": "put in force by hand"}})
		return err
	})
	if err != nil {
		return err
	}
	pointing := deploy.PointLive(daemon.cfg.Folder, name, generation)
	return errors.Join(pointing, daemon.state.Write(ctx, func(tx *store.Tx) error {
		ended := journal.Outcome{At: daemon.cfg.Now()}
		if pointing != nil {
			ended.Error, ended.Cause = pointing.Error(), string(plan.Local)
			return journal.End(tx, id, ended)
		}
		work.Row = work.Row.Clone()
		work.Row.Certificate.Live = generation
		return errors.Join(journal.End(tx, id, ended), tx.SaveWork(&work, store.Lease{}))
	}))
}

// TargetsOf are the targets that the configuration names for a certificate.
func (daemon *Daemon) TargetsOf(name string) []string { return daemon.targetsOf(name) }
