package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/backstay/backstay/durable"
)

// write is one caller's changes, waiting for the shared transaction.
type write struct {
	ctx    context.Context
	change func(*Tx) error
	done   chan error
}

// Tx is a transaction under way. It must not be kept after the change returned.
type Tx struct{ all *statements }

// groupLimit bounds how many callers share one sync.
const groupLimit = 64

// Write runs change inside a transaction and returns when it is durable. Several
// callers' changes are committed together; one that returns an error is undone
// alone. change may run once only, and not at all when ctx is over first.
func (store *Store) Write(ctx context.Context, change func(*Tx) error) error {
	if store.writes == nil {
		return errors.New("the state was opened for reading only")
	}
	waiting := &write{ctx: ctx, change: change, done: make(chan error, 1)}
	if err := store.hand(waiting); err != nil {
		return err
	}
	return <-waiting.done
}

// ErrClosed is returned by writes after Close.
var ErrClosed = errors.New("the state is closed")

// hand gives a write to the write loop. The loop goes on until Close has the
// lock, so whoever holds it for reading is always taken.
func (store *Store) hand(waiting *write) error {
	store.closing.RLock()
	defer store.closing.RUnlock()
	if store.closed {
		return ErrClosed
	}
	select {
	case store.writes <- waiting:
		return nil
	case <-waiting.ctx.Done():
		return waiting.ctx.Err()
	}
}

// writeLoop owns the only writing connection.
func (store *Store) writeLoop(conn *sql.Conn) {
	defer close(store.stopped)
	all := &statements{conn: conn, known: map[string]*sql.Stmt{}}
	defer all.close()
	for first := range store.writes {
		group := []*write{first}
	gather:
		for len(group) < groupLimit {
			select {
			case next, open := <-store.writes:
				if !open {
					break gather
				}
				group = append(group, next)
			default:
				break gather
			}
		}
		store.commit(all, group)
	}
}

// commit runs a group in one transaction. A kill before COMMIT returns loses
// the whole group, which no caller was told was done.
func (store *Store) commit(all *statements, group []*write) {
	if err := all.run("BEGIN IMMEDIATE"); err != nil {
		answer(group, explain(store.path, err))
		return
	}
	outcomes := make([]error, len(group))
	for index, waiting := range group {
		outcomes[index] = one(all, waiting, len(group) > 1)
	}
	if len(group) == 1 && outcomes[0] != nil {
		group[0].done <- errors.Join(explain(store.path, outcomes[0]), ignoreNoTransaction(all.run("ROLLBACK")))
		return
	}
	durable.Point("before-commit", store.path)
	if err := all.run("COMMIT"); err != nil {
		// Disk full, most of all. SQLite may have rolled back already.
		ignoreNoTransaction(all.run("ROLLBACK"))
		answer(group, explain(store.path, err))
		return
	}
	durable.Point("commit", store.path)
	for index, waiting := range group {
		waiting.done <- outcomes[index]
	}
}

// ignoreNoTransaction: some errors make SQLite roll back by itself, and a second
// ROLLBACK then fails, which is no news.
func ignoreNoTransaction(err error) error {
	if err != nil && strings.Contains(err.Error(), "no transaction is active") {
		return nil
	}
	return err
}

// one carries out one change, under a savepoint when others share the transaction.
func one(all *statements, waiting *write, shared bool) (err error) {
	if err := waiting.ctx.Err(); err != nil {
		return err
	}
	if shared {
		if err := all.run("SAVEPOINT one"); err != nil {
			return err
		}
	}
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic in a write: %v", panicked)
		}
		if !shared {
			return
		}
		if err != nil {
			err = errors.Join(err, all.run("ROLLBACK TO one"))
		}
		if release := all.run("RELEASE one"); release != nil {
			err = errors.Join(err, release)
		}
	}()
	return waiting.change(&Tx{all: all})
}

func answer(group []*write, err error) {
	for _, waiting := range group {
		waiting.done <- err
	}
}

// statements prepares each text once on the writing connection.
type statements struct {
	conn  *sql.Conn
	known map[string]*sql.Stmt
}

func (all *statements) get(query string) (*sql.Stmt, error) {
	if statement, exists := all.known[query]; exists {
		return statement, nil
	}
	statement, err := all.conn.PrepareContext(context.Background(), query)
	if err == nil {
		all.known[query] = statement
	}
	return statement, err
}

func (all *statements) run(query string) error {
	statement, err := all.get(query)
	if err != nil {
		return err
	}
	_, err = statement.Exec()
	return err
}

func (all *statements) close() {
	for _, statement := range all.known { // order does not matter: each is closed
		statement.Close()
	}
	all.conn.Close()
}

// Exec runs a statement inside the transaction.
func (tx *Tx) Exec(query string, arguments ...any) (sql.Result, error) {
	statement, err := tx.all.get(query)
	if err != nil {
		return nil, err
	}
	return statement.Exec(arguments...)
}

// Query runs a query inside the transaction.
func (tx *Tx) Query(query string, arguments ...any) (*sql.Rows, error) {
	statement, err := tx.all.get(query)
	if err != nil {
		return nil, err
	}
	return statement.Query(arguments...)
}

// Scan runs a query for one row inside the transaction and reads its columns.
// No row: sql.ErrNoRows.
func (tx *Tx) Scan(query string, arguments []any, into ...any) error {
	statement, err := tx.all.get(query)
	if err != nil {
		return err
	}
	return statement.QueryRow(arguments...).Scan(into...)
}
