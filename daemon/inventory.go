package daemon

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"time"

	"github.com/backstay/backstay/inventory"
	"github.com/backstay/backstay/store"
)

// inventoryStore keeps the inventory's rows in the state database.
type inventoryStore struct{ state *store.Store }

// Inventory over a state database.
func Inventory(state *store.Store) inventory.Store { return &inventoryStore{state} }

// Record implements inventory.Store.
func (rows *inventoryStore) Record(ctx context.Context, objects []inventory.Object, sightings []inventory.Sighting) error {
	return rows.state.Write(ctx, func(tx *store.Tx) error { return recordSeen(tx, objects, sightings) })
}

// recordSeen adds objects and sightings inside a transaction.
func recordSeen(tx *store.Tx, objects []inventory.Object, sightings []inventory.Sighting) error {
	for _, object := range objects {
		body, err := json.Marshal(object.Certificate)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO certificate (sha256, spki, not_after, first_seen, last_seen, der, body) VALUES (?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT (sha256) DO UPDATE SET last_seen = max(last_seen, excluded.last_seen), first_seen = min(first_seen, excluded.first_seen)`,
			object.Certificate.SHA256, object.Certificate.SPKISHA256, object.Certificate.NotAfter.UnixMicro(),
			object.FirstSeen.UnixMicro(), object.LastSeen.UnixMicro(), object.DER, body)
		if err != nil {
			return err
		}
	}
	for _, sighting := range sightings {
		body, err := json.Marshal(sighting)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO sighting (place, sha256, first_seen, last_seen, body) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (place, sha256) DO UPDATE SET last_seen = max(last_seen, excluded.last_seen), body = excluded.body`,
			sighting.Place(), sighting.SHA256, sighting.SeenAt.UnixMicro(), sighting.SeenAt.UnixMicro(), body)
		if err != nil {
			return err
		}
	}
	return nil
}

// pageLimit is how many entries a page has when nobody says.
const pageLimit = 500

// List implements inventory.Store: a keyset page by end of life and fingerprint.
func (rows *inventoryStore) List(ctx context.Context, filter inventory.Filter) ([]inventory.Entry, error) {
	conditions, arguments := []string{"1 = 1"}, []any{}
	if !filter.EndsBefore.IsZero() {
		conditions, arguments = append(conditions, "not_after < ?"), append(arguments, filter.EndsBefore.UnixMicro())
	}
	if filter.After != "" {
		conditions = append(conditions, "(not_after, sha256) > (SELECT not_after, sha256 FROM certificate WHERE sha256 = ?)")
		arguments = append(arguments, filter.After)
	}
	limit := filter.Limit
	if limit <= 0 {
		limit = pageLimit
	}
	query := `SELECT body, der, first_seen, last_seen FROM certificate WHERE ` + strings.Join(conditions, " AND ") + ` ORDER BY not_after, sha256`
	if filter.Issuer == "" {
		query += ` LIMIT ?`
		arguments = append(arguments, limit)
	}
	found, err := rows.state.Query(ctx, query, arguments...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var entries []inventory.Entry
	for found.Next() && len(entries) < limit {
		object, err := scanObject(found)
		if err != nil {
			return nil, err
		}
		if filter.Issuer != "" && !strings.Contains(strings.ToLower(object.Certificate.Issuer), strings.ToLower(filter.Issuer)) {
			continue
		}
		entries = append(entries, inventory.Entry{Object: object})
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	for index := range entries {
		if entries[index].Sightings, err = rows.sightings(ctx, entries[index].Object.Certificate.SHA256); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

func scanObject(found *sql.Rows) (object inventory.Object, err error) {
	var body []byte
	var first, last int64
	if err := found.Scan(&body, &object.DER, &first, &last); err != nil {
		return object, err
	}
	object.FirstSeen, object.LastSeen = time.UnixMicro(first).UTC(), time.UnixMicro(last).UTC()
	return object, json.Unmarshal(body, &object.Certificate)
}

func (rows *inventoryStore) sightings(ctx context.Context, sha256 string) (all []inventory.Sighting, err error) {
	found, err := rows.state.Query(ctx, `SELECT body, last_seen FROM sighting WHERE sha256 = ? ORDER BY place`, sha256)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var body []byte
		var last int64
		var sighting inventory.Sighting
		if err := found.Scan(&body, &last); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, &sighting); err != nil {
			return nil, err
		}
		sighting.SeenAt = time.UnixMicro(last).UTC()
		all = append(all, sighting)
	}
	return all, found.Err()
}

// Get implements inventory.Store; sha256 may be the beginning of a fingerprint
// if only one certificate has it.
func (rows *inventoryStore) Get(ctx context.Context, sha256 string) (inventory.Entry, error) {
	found, err := rows.state.Query(ctx, `SELECT body, der, first_seen, last_seen FROM certificate WHERE sha256 >= ? AND sha256 < ? LIMIT 2`, sha256, sha256+"g")
	if err != nil {
		return inventory.Entry{}, err
	}
	defer found.Close()
	var entry inventory.Entry
	count := 0
	for found.Next() {
		if entry.Object, err = scanObject(found); err != nil {
			return inventory.Entry{}, err
		}
		count++
	}
	if err := found.Err(); err != nil {
		return inventory.Entry{}, err
	}
	if count != 1 {
		return inventory.Entry{}, inventory.ErrNotFound
	}
	entry.Sightings, err = rows.sightings(ctx, entry.Object.Certificate.SHA256)
	return entry, err
}
