// Package journal records the acts: what Backstay did to the outside world.
//
// Promise: the intent of an act is durable before the act, its outcome after
// it, each in the transaction of the row that it concerns. An act without an
// outcome was under way when its process died; the row says how it went on.
// Acts cannot be changed, removed, reordered or cut off afterwards without
// Verify noticing: both parts of each act are leaves of a Merkle log
// (golang.org/x/mod/sumdb/tlog) whose checkpoints are signed and kept outside
// the database as well.
//
// Limits: the log is written in batches by one sequencer; acts of the last
// moments may wait for it (Verify says how many). Whoever holds the signing key
// and every copy of the checkpoints can still write another history; copies of
// the checkpoint kept elsewhere (`backstay log verify --checkpoint`) are what
// prevents that.
package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/backstay/backstay/store"
)

// Act is one act on the outside world, with its two parts.
type Act struct {
	Kind            string            `json:"kind"` // "act" as a record; Act.What holds what was done
	Schema          int               `json:"schema"`
	ID              int64             `json:"id"`
	What            string            `json:"act"`
	Subject         string            `json:"subject"`
	Actor           string            `json:"actor"`
	Incident        string            `json:"incident,omitempty"`
	At              time.Time         `json:"at"`
	Intent          map[string]string `json:"intent"`
	Index           *int64            `json:"index,omitempty"`
	LeafHash        string            `json:"leaf_hash,omitempty"`
	FinishedAt      *time.Time        `json:"finished_at,omitempty"`
	Outcome         string            `json:"outcome,omitempty"` // done, failed
	Error           string            `json:"error,omitempty"`   // raw outside text may be inside
	Cause           string            `json:"cause,omitempty"`
	OutcomeIndex    *int64            `json:"outcome_index,omitempty"`
	OutcomeLeafHash string            `json:"outcome_leaf_hash,omitempty"`
}

// The outcomes of an act.
const (
	Done   = "done"
	Failed = "failed"
)

// Intent is what is about to be done.
type Intent struct {
	What     string
	Subject  string
	Actor    string // who asked: a person's name, or "schedule"
	Incident string
	At       time.Time
	Details  map[string]string
}

// Outcome is how an act ended.
type Outcome struct {
	At    time.Time
	Error string // "" when it was done
	Cause string
}

// Begin stores an intent inside tx and returns the act's number.
func Begin(tx *store.Tx, intent Intent) (int64, error) {
	details, err := json.Marshal(intent.Details)
	if err != nil {
		return 0, err
	}
	result, err := tx.Exec(`INSERT INTO act (kind, subject, actor, incident, at, intent) VALUES (?, ?, ?, ?, ?, ?)`,
		intent.What, intent.Subject, intent.Actor, intent.Incident, intent.At.UnixMicro(), string(details))
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// End stores the outcome of an act inside tx. An act ends once; the second
// outcome is an error.
func End(tx *store.Tx, id int64, outcome Outcome) error {
	word := Done
	if outcome.Error != "" {
		word = Failed
	}
	result, err := tx.Exec(`UPDATE act SET finished_at = ?, outcome = ?, error = ?, cause = ? WHERE id = ? AND finished_at IS NULL`,
		outcome.At.UnixMicro(), word, outcome.Error, outcome.Cause, id)
	if err != nil {
		return err
	}
	if changed, err := result.RowsAffected(); err != nil || changed != 1 {
		return errors.Join(fmt.Errorf("journal: act %d has ended already", id), err)
	}
	return nil
}

// Interrupt closes the acts on a subject that a dead process left open: whether
// they were done is not known, and the row looks before it repeats them.
func Interrupt(tx *store.Tx, subject string, at time.Time) error {
	_, err := tx.Exec(`UPDATE act SET finished_at = ?, outcome = 'failed', error = 'interrupted: the process ended before the answer was stored', cause = 'interrupted' WHERE subject = ? AND finished_at IS NULL`,
		at.UnixMicro(), subject)
	return err
}

const selectAct = `SELECT id, kind, subject, actor, incident, at, intent, finished_at, coalesce(outcome, ''), coalesce(error, ''), coalesce(cause, ''), leaf_index, coalesce(leaf_hash, ''), outcome_index, coalesce(outcome_hash, '') FROM act`

func scan(row func(...any) error) (Act, error) {
	act := Act{Kind: "act", Schema: 1}
	var at int64
	var finished, index, outcomeIndex sql.NullInt64
	var intent string
	err := row(&act.ID, &act.What, &act.Subject, &act.Actor, &act.Incident, &at, &intent, &finished,
		&act.Outcome, &act.Error, &act.Cause, &index, &act.LeafHash, &outcomeIndex, &act.OutcomeLeafHash)
	if err != nil {
		return Act{}, err
	}
	act.At = time.UnixMicro(at).UTC()
	if finished.Valid {
		end := time.UnixMicro(finished.Int64).UTC()
		act.FinishedAt = &end
	}
	if index.Valid {
		act.Index = &index.Int64
	}
	if outcomeIndex.Valid {
		act.OutcomeIndex = &outcomeIndex.Int64
	}
	if err := json.Unmarshal([]byte(intent), &act.Intent); err != nil {
		return act, &unreadable{act.ID, err}
	}
	return act, nil
}

// unreadable is an act whose intent is not what this program writes. The rest of
// the act was read.
type unreadable struct {
	id  int64
	err error
}

func (act *unreadable) Error() string {
	return fmt.Sprintf("act %d: its intent cannot be read: %v", act.id, act.err)
}

func (act *unreadable) Unwrap() error { return act.err }

// Tail returns the newest acts, oldest of them first; subject "" for all.
func Tail(ctx context.Context, reader Reader, subject string, most int) ([]Act, error) {
	query, arguments := selectAct+` ORDER BY id DESC LIMIT ?`, []any{most}
	if subject != "" {
		query, arguments = selectAct+` WHERE subject = ? ORDER BY id DESC LIMIT ?`, []any{subject, most}
	}
	rows, err := reader.Query(ctx, query, arguments...)
	if err != nil {
		return nil, err
	}
	return readNewestFirst(rows)
}

// readNewestFirst turns newest-first rows round.
func readNewestFirst(rows *sql.Rows) ([]Act, error) {
	defer rows.Close()
	var acts []Act
	for rows.Next() {
		act, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		acts = append(acts, act)
	}
	for i, j := 0, len(acts)-1; i < j; i, j = i+1, j-1 {
		acts[i], acts[j] = acts[j], acts[i]
	}
	return acts, rows.Err()
}

// Reader is what the journal needs of a database to look. *store.Store is one.
// Concurrent; each query is its own snapshot.
type Reader interface {
	Query(ctx context.Context, query string, arguments ...any) (*sql.Rows, error)
}

// About returns the newest acts on one managed certificate, whatever row they
// belong to (certificate, deployment, challenge), oldest of them first.
func About(ctx context.Context, reader Reader, name string, most int) ([]Act, error) {
	rows, err := reader.Query(ctx, selectAct+` WHERE subject = ? OR (subject >= ? AND subject < ?) OR (subject >= ? AND subject < ?) ORDER BY id DESC LIMIT ?`,
		"certificate/"+name, "deployment/"+name+"/", "deployment/"+name+"0", "challenge/"+name+"/", "challenge/"+name+"0", most)
	if err != nil {
		return nil, err
	}
	return readNewestFirst(rows)
}
