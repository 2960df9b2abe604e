package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/backstay/backstay/plan"
)

// Work is a stored row with what is needed to save it again.
type Work struct {
	Row      plan.Row
	Version  int64 // 0: not stored yet
	Next     time.Time
	Deadline time.Time
}

// Lease says who works on a row, and until when nobody else may.
type Lease struct {
	Holder string
	Until  time.Time
}

// SaveWork stores the row if it still has work.Version, and counts the version
// up. next zero: never woken by itself. ErrConflict: somebody was faster.
func (tx *Tx) SaveWork(work *Work, lease Lease) error {
	body, err := json.Marshal(work.Row)
	if err != nil {
		return err
	}
	row := work.Row
	if work.Version == 0 {
		result, err := tx.Exec(`INSERT INTO work (id, kind, lane, subject, next_at, deadline, version, holder, lease_end, body) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
			row.ID(), row.Kind(), row.Lane(), row.Subject(), micro(work.Next), work.Deadline.UnixMicro(), lease.Holder, lease.Until.UnixMicro(), body)
		if err != nil {
			return err
		}
		if changed, err := result.RowsAffected(); err != nil || changed != 1 {
			return errors.Join(ErrConflict, err) // somebody else stored it first
		}
		work.Version = 1
		return nil
	}
	// Whoever leaves a row that was poked meanwhile leaves it due: next_at is the
	// instant of the poke then.
	leaving := lease.Holder == ""
	result, err := tx.Exec(`UPDATE work SET lane = ?, next_at = CASE WHEN poked > 0 AND ? THEN poked ELSE ? END, poked = CASE WHEN ? THEN 0 ELSE poked END,
		deadline = ?, ready = 0, version = version + 1, holder = ?, lease_end = ?, body = ? WHERE id = ? AND version = ?`,
		row.Lane(), leaving, micro(work.Next), leaving, work.Deadline.UnixMicro(), lease.Holder, lease.Until.UnixMicro(), body, row.ID(), work.Version)
	if err != nil {
		return err
	}
	if changed, err := result.RowsAffected(); err != nil || changed != 1 {
		return errors.Join(ErrConflict, err)
	}
	work.Version++
	return nil
}

// DeleteWork removes a row whose work is done.
func (tx *Tx) DeleteWork(work *Work) error {
	_, err := tx.Exec(`DELETE FROM work WHERE id = ? AND version = ?`, work.Row.ID(), work.Version)
	return err
}

// Spawn stores a row that another one gave birth to, or merges it into the one
// that exists, due at once.
func (tx *Tx) Spawn(row plan.Row, now time.Time) error {
	stored, err := scanWork(func(into ...any) error {
		return tx.Scan(selectWork+` WHERE id = ?`, []any{row.ID()}, into...)
	})
	work := Work{Row: row, Next: now, Deadline: deadlineOf(row)}
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return err
	default:
		work.Row, work.Version = plan.Merge(stored.Row, row), stored.Version
	}
	if challenge := row.Challenge; challenge != nil && challenge.Open {
		work.Next = time.Time{} // its attempt wakes it
	}
	return tx.SaveWork(&work, Lease{})
}

// deadlineOf a row that is not decided yet: old ones first.
func deadlineOf(row plan.Row) time.Time {
	switch {
	case row.Certificate != nil:
		return row.Certificate.Since
	case row.Deployment != nil && !row.Deployment.Deadline.IsZero():
		return row.Deployment.Deadline
	case row.Challenge != nil:
		return row.Challenge.Since.Add(24 * time.Hour)
	}
	return time.Unix(0, 0)
}

// Poke makes a row due now, or as soon as whoever has it in hand leaves it. It
// does not count the version up: what is under way must not be lost for it. A
// row that does not exist is no error.
func (tx *Tx) Poke(id string, now time.Time) error {
	_, err := tx.Exec(`UPDATE work SET next_at = CASE WHEN holder = '' THEN ? ELSE next_at END, ready = 0,
		poked = CASE WHEN holder = '' THEN 0 ELSE ? END WHERE id = ?`, micro(now), now.UnixMicro(), id)
	return err
}

const selectWork = `SELECT version, next_at, deadline, body FROM work`

func scanWork(scan func(...any) error) (Work, error) {
	var work Work
	var next sql.NullInt64
	var deadline int64
	var body []byte
	if err := scan(&work.Version, &next, &deadline, &body); err != nil {
		return Work{}, err
	}
	work.Next, work.Deadline = fromMicro(next), time.UnixMicro(deadline).UTC()
	if err := json.Unmarshal(body, &work.Row); err != nil {
		return Work{}, fmt.Errorf("a stored row cannot be read: %w", err)
	}
	return work, nil
}

// DueCount says how much is left to do at now (rows that are due or were in hand
// of a dead process, acts that wait for the log), reading indexes only. It stops
// counting at most.
func (store *Store) DueCount(ctx context.Context, now time.Time, most int) (count int, err error) {
	err = store.reader.QueryRowContext(ctx, `SELECT count(*) FROM (
		SELECT 1 FROM work WHERE ready = 0 AND next_at IS NOT NULL AND next_at <= ?
		UNION ALL SELECT 1 FROM work WHERE ready = 1
		UNION ALL SELECT 1 FROM work WHERE holder <> ''
		UNION ALL SELECT 1 FROM act WHERE leaf_index IS NULL OR (finished_at IS NOT NULL AND outcome_index IS NULL) LIMIT ?)`, now.UnixMicro(), most).Scan(&count)
	return count, err
}

// Overdue names certificates whose deadline has passed without a renewal, the
// worst first, and when the first of them is tried next. It reads an index.
func (store *Store) Overdue(ctx context.Context, now time.Time, most int) (names []string, next time.Time, err error) {
	rows, err := store.reader.QueryContext(ctx, `SELECT subject, next_at FROM work WHERE kind = 'certificate' AND next_at IS NOT NULL AND deadline < ? ORDER BY deadline LIMIT ?`, now.UnixMicro(), most)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var at sql.NullInt64
		if err := rows.Scan(&name, &at); err != nil {
			return nil, time.Time{}, err
		}
		if len(names) == 0 {
			next = fromMicro(at)
		}
		names = append(names, name)
	}
	return names, next, rows.Err()
}

// Release makes every row due that a dead process had in hand. Only call it under
// the lock that makes this process the only one that acts.
func (store *Store) Release(ctx context.Context, now time.Time) error {
	var one int
	err := store.reader.QueryRowContext(ctx, `SELECT 1 FROM work WHERE holder <> '' LIMIT 1`).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return store.Write(ctx, func(tx *Tx) error {
		_, err := tx.Exec(`UPDATE work SET next_at = ?, ready = 0, holder = '', lease_end = 0, version = version + 1 WHERE holder <> ''`, now.UnixMicro())
		return err
	})
}

// WakeAll makes every row that has a next time due now. For a clock that was wrong.
func (tx *Tx) WakeAll(now time.Time) error {
	_, err := tx.Exec(`UPDATE work SET next_at = ?, ready = 0 WHERE next_at IS NOT NULL`, now.UnixMicro())
	return err
}

// Promote marks every row whose time has come. Its cost is that of the rows that
// became due, not of those that exist.
func (store *Store) Promote(ctx context.Context, now time.Time) error {
	var one int
	err := store.reader.QueryRowContext(ctx, `SELECT 1 FROM work WHERE ready = 0 AND next_at IS NOT NULL AND next_at <= ? LIMIT 1`, now.UnixMicro()).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return store.Write(ctx, func(tx *Tx) error {
		_, err := tx.Exec(`UPDATE work SET ready = 1 WHERE ready = 0 AND next_at IS NOT NULL AND next_at <= ?`, now.UnixMicro())
		return err
	})
}

// Due returns up to limit due rows of one kind and lane, the earliest deadline
// first. Call Promote before.
func (store *Store) Due(ctx context.Context, kind, lane string, limit int) ([]Work, error) {
	return store.list(ctx, selectWork+` WHERE ready = 1 AND kind = ? AND lane = ? ORDER BY deadline, id LIMIT ?`, kind, lane, limit)
}

// Lane is a bounded resource of one kind of work.
type Lane struct{ Kind, Name string }

// DueLanes lists the lanes that have due rows. Call Promote before.
func (store *Store) DueLanes(ctx context.Context) (lanes []Lane, err error) {
	rows, err := store.reader.QueryContext(ctx, `SELECT DISTINCT kind, lane FROM work WHERE ready = 1 ORDER BY kind, lane`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var lane Lane
		if err := rows.Scan(&lane.Kind, &lane.Name); err != nil {
			return nil, err
		}
		lanes = append(lanes, lane)
	}
	return lanes, rows.Err()
}

// Upcoming is when the next row that is not ready will be; zero for never.
func (store *Store) Upcoming(ctx context.Context) (time.Time, error) {
	var next sql.NullInt64
	err := store.reader.QueryRowContext(ctx, `SELECT min(next_at) FROM work WHERE ready = 0 AND next_at IS NOT NULL`).Scan(&next)
	return fromMicro(next), err
}

// Get reads one row. ErrNotFound if there is none.
func (store *Store) Get(ctx context.Context, id string) (Work, error) {
	work, err := scanWork(store.reader.QueryRowContext(ctx, selectWork+` WHERE id = ?`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return work, err
}

// OfSubject reads all rows of one kind about one certificate, in order of ID.
func (store *Store) OfSubject(ctx context.Context, kind, subject string) ([]Work, error) {
	return store.list(ctx, selectWork+` WHERE subject = ? AND kind = ? ORDER BY id`, subject, kind)
}

// OfKind reads all rows of a kind, in order of ID. For lists and for
// reconciliation, never on the way of work that is due.
func (store *Store) OfKind(ctx context.Context, kind string) ([]Work, error) {
	return store.list(ctx, selectWork+` WHERE kind = ? ORDER BY id`, kind)
}

func (store *Store) list(ctx context.Context, query string, arguments ...any) ([]Work, error) {
	rows, err := store.reader.QueryContext(ctx, query, arguments...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Work
	for rows.Next() {
		work, err := scanWork(rows.Scan)
		if err != nil {
			return nil, err
		}
		all = append(all, work)
	}
	return all, rows.Err()
}
