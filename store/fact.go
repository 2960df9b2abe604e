package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/backstay/backstay/plan"
)

// Fact reads a single remembered value; "" when there is none.
func (store *Store) Fact(ctx context.Context, name string) (value string, err error) {
	err = store.reader.QueryRowContext(ctx, `SELECT value FROM fact WHERE name = ?`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// SetFact remembers a single value.
func (tx *Tx) SetFact(name, value string) error {
	_, err := tx.Exec(`INSERT INTO fact (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}

// AddGeneration records an issued generation. The same one again is no error.
func (tx *Tx) AddGeneration(name string, held *plan.Held) error {
	body, err := json.Marshal(held)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO generation (name, number, sha256, spki, not_before, not_after, authority, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (name, number) DO UPDATE SET body = excluded.body`,
		name, held.Generation, held.SHA256, held.SPKI, held.NotBefore.UnixMicro(), held.NotAfter.UnixMicro(), held.Authority, body)
	return err
}

// Generations lists what was issued for a certificate, oldest first.
func (store *Store) Generations(ctx context.Context, name string) ([]plan.Held, error) {
	rows, err := store.reader.QueryContext(ctx, `SELECT body FROM generation WHERE name = ? ORDER BY number`, name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []plan.Held
	for rows.Next() {
		var body []byte
		var held plan.Held
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, &held); err != nil {
			return nil, err
		}
		all = append(all, held)
	}
	return all, rows.Err()
}

// LastReload is when a target was last told to reload; zero for never.
func (store *Store) LastReload(ctx context.Context, target string) (time.Time, error) {
	text, err := store.Fact(ctx, "reload/"+target)
	if err != nil || text == "" {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, text)
}

// SetLastReload remembers when a target was told to reload.
func (tx *Tx) SetLastReload(target string, at time.Time) error {
	return tx.SetFact("reload/"+target, at.UTC().Format(time.RFC3339Nano))
}

// Query reads outside any transaction, for packages that keep tables of their own.
func (store *Store) Query(ctx context.Context, query string, arguments ...any) (*sql.Rows, error) {
	return store.reader.QueryContext(ctx, query, arguments...)
}
