// Package store keeps the durable rows: work, generations, acts, inventory.
//
// Promise: when Write returns nil, its changes are on disk, all of them; when it
// returns an error, none is. Writers in one process share transactions, so that
// many small writes cost few syncs. A row is only saved over the version that
// was read (compare-and-swap). A database of a newer schema is refused, one that
// is damaged is named; neither is touched, and a missing one is only created in
// a state folder that never had one.
//
// Limits: SQLite (write-ahead log, synchronous=FULL) in the state folder, one
// writing process at a time, guarded by Lock.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite": pure Go, so that the binary stays static

	"github.com/backstay/backstay/durable"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the newest database version this program knows.
const Schema = 1

// FileName is the database inside the state folder.
const FileName = "backstay.db"

// ErrConflict is returned when a row was changed since it was read.
var ErrConflict = errors.New("the row was changed meanwhile")

// ErrNotFound is returned when there is no such row.
var ErrNotFound = errors.New("not found")

// Damage says that the database cannot be used as it is. It is never repaired
// or recreated by itself.
type Damage struct {
	Path  string
	Why   string
	Cause error
	Newer bool // the schema is newer than this program
}

func (damage *Damage) Error() string { return damage.Path + ": " + damage.Why }
func (damage *Damage) Unwrap() error { return damage.Cause }

// Config says where the database is.
type Config struct {
	Folder string // the state folder; created with mode 0700 if missing
	// ReadOnly opens for looking only: nothing is created, migrated or written.
	ReadOnly bool
}

// Store is an open database. Methods may be called concurrently.
type Store struct {
	path    string
	reader  *sql.DB
	writer  *sql.DB
	writes  chan *write
	stopped chan struct{}
	closing sync.RWMutex // held for reading while a write is handed over
	closed  bool
	created bool
}

// Open opens the database, creating or migrating it unless ReadOnly.
// Errors: *Damage; fs errors of the folder; with ReadOnly and no database, one
// that is fs.ErrNotExist.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Folder == "" {
		return nil, errors.New("store: Config.Folder is required")
	}
	path := filepath.Join(cfg.Folder, FileName)
	_, err := os.Stat(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return nil, err
	}
	if cfg.ReadOnly && missing {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	if missing {
		if err := create(cfg.Folder, path); err != nil {
			return nil, err
		}
	} else if err := checkHeader(path); err != nil {
		return nil, err
	}
	store := &Store{path: path, created: missing}
	if store.reader, err = connect(path, "ro", 4); err != nil {
		return nil, err
	}
	if !missing {
		if err := store.examine(ctx); err != nil {
			store.reader.Close()
			return nil, err
		}
	}
	if cfg.ReadOnly {
		return store, nil
	}
	if store.writer, err = connect(path, "rw", 1); err != nil {
		store.reader.Close()
		return nil, err
	}
	if err := store.migrate(ctx); err != nil {
		store.Close()
		return nil, explain(path, err)
	}
	conn, err := store.writer.Conn(ctx)
	if err != nil {
		store.Close()
		return nil, explain(path, err)
	}
	store.writes, store.stopped = make(chan *write, 256), make(chan struct{})
	go store.writeLoop(conn)
	return store, nil
}

// create makes an empty database file with its final mode. A folder that
// already holds certificates but no database is no reason to stop: rows are
// rebuilt from the generations on disk by whoever asked.
func create(folder, path string) error {
	if err := durable.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return durable.SyncFolder(folder)
}

// checkHeader names the plainest damage before SQLite sees the file.
func checkHeader(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	header := make([]byte, 16)
	n, _ := file.Read(header)
	// An empty file is one whose creation was cut short: nothing was in it yet.
	if n > 0 && string(header[:n]) != "SQLite format 3\x00" {
		return &Damage{Path: path, Why: "is not a database"}
	}
	return nil
}

func connect(path, mode string, connections int) (*sql.DB, error) {
	// synchronous=FULL: NORMAL may lose the last commits at a power cut.
	parameters := url.Values{
		"mode":    {mode},
		"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(10000)", "foreign_keys(1)", "synchronous(FULL)"},
	}
	if mode == "rw" {
		parameters["_pragma"] = append(parameters["_pragma"], "journal_mode(WAL)", "wal_autocheckpoint(2000)")
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+parameters.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// quickCheckLimit bounds the size up to which every start reads the whole
// database; larger ones are examined by `doctor`.
const quickCheckLimit = 32 << 20

// examine refuses a newer schema and names damage.
func (store *Store) examine(ctx context.Context) error {
	version, err := store.version(ctx)
	if err != nil {
		return store.damaged(err)
	}
	if version > Schema {
		return &Damage{Path: store.path, Newer: true,
			Why: fmt.Sprintf("has schema %d, and this program knows up to %d: it was written by a newer backstay", version, Schema)}
	}
	if info, err := os.Stat(store.path); err != nil || info.Size() > quickCheckLimit {
		return err
	}
	return store.Check(ctx)
}

// Check reads the whole database and names damage.
func (store *Store) Check(ctx context.Context) error {
	var verdict string
	if err := store.reader.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return store.damaged(err)
	}
	if verdict != "ok" {
		return &Damage{Path: store.path, Why: "is damaged: " + verdict}
	}
	return nil
}

// fullBelow is the free space below which an error of SQLite's files means that
// the disk is full: its own words then are "disk I/O error", or "unable to open".
const fullBelow = 128 << 10

// explain adds syscall.ENOSPC to the chain of an error that a full disk caused.
func explain(path string, err error) error {
	if err == nil || errors.Is(err, syscall.ENOSPC) || errors.Is(err, context.Canceled) {
		return err
	}
	text := err.Error()
	var disk syscall.Statfs_t
	full := strings.Contains(text, "disk is full")
	if !full && (strings.Contains(text, "disk I/O error") || strings.Contains(text, "unable to open")) && syscall.Statfs(filepath.Dir(path), &disk) == nil {
		full = int64(disk.Bavail)*disk.Bsize < fullBelow
	}
	if full {
		return fmt.Errorf("%w: %w", syscall.ENOSPC, err)
	}
	return err
}

func (store *Store) damaged(err error) error {
	text := err.Error()
	for _, sign := range []string{"malformed", "not a database", "corrupt"} {
		if strings.Contains(text, sign) {
			return &Damage{Path: store.path, Why: "is damaged", Cause: err}
		}
	}
	return explain(store.path, err)
}

// version is 0 for a database without tables.
func (store *Store) version(ctx context.Context) (int64, error) {
	var tables int
	if err := store.reader.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE name = 'goose_db_version'").Scan(&tables); err != nil || tables == 0 {
		return 0, err
	}
	var version int64
	err := store.reader.QueryRowContext(ctx, "SELECT max(version_id) FROM goose_db_version WHERE is_applied = 1").Scan(&version)
	return version, err
}

func (store *Store) migrate(ctx context.Context) error {
	version, err := store.version(ctx)
	if err != nil {
		return store.damaged(err)
	}
	if version == Schema {
		return nil
	}
	if version > 0 {
		// A failed upgrade must not cost the state: keep what was there.
		backup := fmt.Sprintf("%s.before-%d", store.path, Schema)
		if _, err := store.writer.ExecContext(ctx, "VACUUM INTO ?", backup); err != nil {
			return fmt.Errorf("copy before the upgrade: %w", err)
		}
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, store.writer, files)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// Created reports whether Open made a new database.
func (store *Store) Created() bool { return store.created }

// Path is the database file.
func (store *Store) Path() string { return store.path }

// Close waits for the writes under way and closes the database; later writes
// fail. Closing twice is harmless.
func (store *Store) Close() error {
	store.closing.Lock()
	again := store.closed
	store.closed = true
	store.closing.Unlock()
	if again {
		return nil
	}
	if store.writes != nil {
		close(store.writes)
		<-store.stopped
	}
	// The writer last: only a connection that may write folds the write-ahead log
	// into the file, and a copy of the file alone must be whole after a clean end.
	err := store.reader.Close()
	if store.writer != nil {
		err = errors.Join(err, store.writer.Close())
	}
	return err
}

// micro turns a time into what is stored; nil for the zero time.
func micro(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return at.UnixMicro()
}

func fromMicro(value sql.NullInt64) time.Time {
	if !value.Valid {
		return time.Time{}
	}
	return time.UnixMicro(value.Int64).UTC()
}
