package daemon

import (
	"context"
	"time"

	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// Waiting is a certificate that is not finished: its last step failed, and the
// next try is not due yet.
type Waiting struct {
	Name    string
	Next    time.Time
	Summary string // of the last failure; outside text
}

// soonest is how many rows are looked at: tries after a failure come within
// hours, everything else within weeks.
const soonest = 100

// Waits lists the certificates that wait after a failure, the first try first,
// so that "nothing to do" is never said of what merely waits. It looks at the
// rows that come up next only.
func Waits(ctx context.Context, state *store.Store) (all []Waiting, err error) {
	ids, err := upcoming(ctx, state)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, id := range ids {
		work, err := state.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		var history plan.History
		switch {
		case work.Row.Certificate != nil:
			history = work.Row.Certificate.History
		case work.Row.Deployment != nil:
			history = work.Row.Deployment.History
		}
		if name := work.Row.Subject(); history.Failures > 0 && history.Last != nil && !seen[name] {
			seen[name] = true
			all = append(all, Waiting{Name: name, Next: work.Next, Summary: history.Last.Summary})
		}
	}
	return all, nil
}

func upcoming(ctx context.Context, state *store.Store) (ids []string, err error) {
	rows, err := state.Query(ctx, `SELECT id FROM work WHERE ready = 0 AND next_at IS NOT NULL ORDER BY next_at LIMIT ?`, soonest)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
