package plan

import (
	"slices"
	"time"
)

// Merge joins a spawned row with the one that is stored under the same ID, if
// any. It is how one row gives another work without knowing how far that is.
func Merge(stored, spawned Row) Row {
	if stored.ID() != spawned.ID() {
		return spawned
	}
	switch {
	case spawned.Deployment != nil:
		merged := *stored.Deployment
		if spawned.Deployment.Wanted >= merged.Wanted || spawned.Deployment.Backward {
			merged.Wanted, merged.Domains = spawned.Deployment.Wanted, spawned.Deployment.Domains
			merged.Asked = merged.Asked || spawned.Deployment.Asked
			merged.AllowWorse = spawned.Deployment.AllowWorse
			merged.Anew, merged.Backward = merged.Anew || spawned.Deployment.Anew, spawned.Deployment.Backward
			merged.DueSince = spawned.Deployment.DueSince
			merged.Deadline = spawned.Deployment.Deadline
			merged.History.RetryAt = time.Time{}
			if merged.Generation != merged.Wanted && (spawned.Deployment.Anew || spawned.Deployment.Backward) {
				// A person wants another one than is under way: begin again with a look.
				merged.Phase, merged.Rolling = "", false
			}
		}
		return Row{Deployment: &merged}
	}
	return spawned
}

// Wish is one certificate of the configuration, as reconciliation sees it.
type Wish struct {
	Name string
	Want Want
}

// Reconcile compares what is configured with the rows that exist, and returns
// the rows to store: new ones, changed ones, retired ones. Rows that are as
// they should be are not returned. A certificate that left the configuration is
// kept, no longer renewed, never deleted by itself.
func Reconcile(wishes []Wish, rows []Certificate, now time.Time) []Row {
	stored := make(map[string]*Certificate, len(rows))
	for index := range rows {
		stored[rows[index].Name] = &rows[index]
	}
	var changed []Row
	for _, wish := range wishes {
		row, exists := stored[wish.Name]
		delete(stored, wish.Name)
		switch {
		case !exists:
			changed = append(changed, Row{Certificate: &Certificate{Name: wish.Name, Want: wish.Want, Since: now}})
		case row.Retired || !row.Want.equal(wish.Want):
			updated := row.clone()
			updated.Want, updated.Retired = wish.Want, false
			changed = append(changed, Row{Certificate: updated})
			changed = append(changed, deployToNew(row, wish.Want, now)...)
		}
	}
	for index := range rows {
		if row, left := stored[rows[index].Name]; left && !row.Retired {
			updated := row.clone()
			updated.Retired = true
			changed = append(changed, Row{Certificate: updated})
		}
	}
	return changed
}

// deployToNew makes what is held due at targets that were added.
func deployToNew(row *Certificate, want Want, now time.Time) (rows []Row) {
	if row.Held == nil {
		return nil
	}
	for _, target := range want.Deploy {
		if !slices.Contains(row.Want.Deploy, target) {
			rows = append(rows, Row{Deployment: &Deployment{
				Name: row.Name, Target: target, Domains: row.Held.Domains, Wanted: row.Held.Generation, DueSince: now, Deadline: row.Held.NotAfter,
			}})
		}
	}
	return rows
}

func (want Want) equal(other Want) bool {
	return slices.Equal(want.Domains, other.Domains) && slices.Equal(want.Authorities, other.Authorities) &&
		slices.Equal(want.Solvers, other.Solvers) && slices.Equal(want.Deploy, other.Deploy) &&
		want.Key == other.Key && want.Renew == other.Renew && want.Profile == other.Profile &&
		want.Owner == other.Owner && want.Tier == other.Tier
}
