package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/store"
)

// Names of the journal's files in the state folder.
const (
	keyFile        = "journal.key"        // 0600: signs checkpoints
	verifierFile   = "journal.pub"        // whoever verifies elsewhere needs it
	checkpointFile = "journal.checkpoint" // the newest checkpoint, outside the database
)

// Log writes acts into the Merkle log and signs checkpoints. One sequencer runs
// at a time: whoever holds the state lock. When it does not run, acts queue and
// work goes on.
type Log struct {
	folder string
	store  *store.Store
	signer note.Signer
	name   string
	mu     sync.Mutex
	tail   *chunks
	leaves int64
	epoch  int64
}

// OpenLog loads the signing key, making one in a folder that has none, and finds
// the log's end. A database that is older than the checkpoint beside it (a
// restored copy) begins a new epoch, and that is itself recorded as an act.
func OpenLog(ctx context.Context, folder string, state *store.Store, now time.Time) (*Log, error) {
	signer, name, err := signerOf(folder)
	if err != nil {
		return nil, err
	}
	log := &Log{folder: folder, store: state, signer: signer, name: name}
	if err := log.load(ctx); err != nil {
		return nil, err
	}
	return log, log.noticeGap(ctx, now)
}

func signerOf(folder string) (note.Signer, string, error) {
	path := filepath.Join(folder, keyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key, verifier, generateErr := note.GenerateKey(nil, "backstay.journal")
		if generateErr != nil {
			return nil, "", generateErr
		}
		if err := durable.WriteFile(filepath.Join(folder, verifierFile), []byte(verifier+"\n"), 0o644); err != nil {
			return nil, "", err
		}
		text, err = []byte(key+"\n"), durable.WriteFile(path, []byte(key+"\n"), 0o600)
	}
	if err != nil {
		return nil, "", err
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	return signer, signer.Name(), nil
}

// load reads where the log ends.
func (log *Log) load(ctx context.Context) error {
	last, err := lastCheckpoint(ctx, log.store)
	if err != nil {
		return err
	}
	// An epoch that began because of a gap is kept although its first batch could
	// not be stored: a second history within the old one must never be signed.
	log.epoch, log.leaves = max(log.epoch, last.epoch), last.size
	log.tail = &chunks{reader: log.store, known: map[int64][]byte{}}
	return nil
}

// Sequence appends every act part that waits, and signs a checkpoint. It returns
// how many leaves were added.
func (log *Log) Sequence(ctx context.Context, now time.Time) (added int, err error) {
	log.mu.Lock()
	defer log.mu.Unlock()
	for {
		acts, err := log.waiting(ctx, 2000)
		if err != nil || len(acts) == 0 {
			return added, err
		}
		count, err := log.append(ctx, acts, now)
		if err != nil {
			// What was computed was not stored: begin again from what is.
			return added, errors.Join(err, log.load(ctx))
		}
		added += count
	}
}

func (log *Log) waiting(ctx context.Context, most int) ([]Act, error) {
	rows, err := log.store.Query(ctx, selectAct+` WHERE leaf_index IS NULL OR (finished_at IS NOT NULL AND outcome_index IS NULL) ORDER BY id LIMIT ?`, most)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var acts []Act
	for rows.Next() {
		act, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		acts = append(acts, act)
	}
	return acts, rows.Err()
}

// append adds the waiting parts of acts, the new hashes and a checkpoint in one
// transaction. A crash before it ends leaves all of them waiting; after it, only
// the copy of the checkpoint outside may be behind, which is no gap.
func (log *Log) append(ctx context.Context, acts []Act, now time.Time) (int, error) {
	leaves := log.leaves
	type placed struct {
		id    int64
		index int64
		hash  tlog.Hash
	}
	var intents, outcomes []placed
	for index := range acts {
		act := &acts[index]
		if act.Index == nil {
			intents = append(intents, placed{act.ID, leaves, act.intentHash()})
			if err := log.tail.add(ctx, leaves, act.intentHash()); err != nil {
				return 0, err
			}
			leaves++
		}
		if act.FinishedAt != nil && act.OutcomeIndex == nil {
			outcomes = append(outcomes, placed{act.ID, leaves, act.outcomeHash()})
			if err := log.tail.add(ctx, leaves, act.outcomeHash()); err != nil {
				return 0, err
			}
			leaves++
		}
	}
	root, err := tlog.TreeHash(leaves, log.tail)
	if err != nil {
		return 0, err
	}
	signed, err := log.sign(tlog.Tree{N: leaves, Hash: root})
	if err != nil {
		return 0, err
	}
	err = log.store.Write(ctx, func(tx *store.Tx) error {
		for _, one := range intents {
			if _, err := tx.Exec(`UPDATE act SET leaf_index = ?, leaf_hash = ? WHERE id = ?`, one.index, hexOf(one.hash), one.id); err != nil {
				return err
			}
		}
		for _, one := range outcomes {
			if _, err := tx.Exec(`UPDATE act SET outcome_index = ?, outcome_hash = ? WHERE id = ?`, one.index, hexOf(one.hash), one.id); err != nil {
				return err
			}
		}
		if err := log.tail.save(tx); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO checkpoint (size, epoch, at, note) VALUES (?, ?, ?, ?)`, leaves, log.epoch, now.UnixMicro(), signed)
		return err
	})
	if err != nil {
		return 0, err
	}
	count := int(leaves - log.leaves)
	log.leaves = leaves
	return count, durable.WriteFile(filepath.Join(log.folder, checkpointFile), []byte(signed), 0o644)
}

// sign writes a checkpoint in the form of C2SP tlog-checkpoint: origin, size,
// root, and our epoch as an extension line.
func (log *Log) sign(tree tlog.Tree) (string, error) {
	text := fmt.Sprintf("%s\n%d\n%s\nepoch %d\n", log.name, tree.N, tree.Hash, log.epoch)
	signed, err := note.Sign(&note.Note{Text: text}, log.signer)
	return string(signed), err
}

// chunks are the log's stored hashes, 256 to a database row.
type chunks struct {
	reader *store.Store
	known  map[int64][]byte // those read or changed since the last save
	dirty  []int64
}

const chunkHashes = 256

// add appends the hashes that come with leaf number index.
func (all *chunks) add(ctx context.Context, index int64, hash tlog.Hash) error {
	hashes, err := tlog.StoredHashesForRecordHash(index, hash, all)
	if err != nil {
		return err
	}
	position := tlog.StoredHashIndex(0, index)
	for offset, one := range hashes {
		at := position + int64(offset)
		number := at / chunkHashes
		data, err := all.chunk(number)
		if err != nil {
			return err
		}
		// Everything behind this position belongs to a batch that was not stored.
		data = append(data[:(at%chunkHashes)*tlog.HashSize:(at%chunkHashes)*tlog.HashSize], one[:]...)
		all.known[number] = data
		if len(all.dirty) == 0 || all.dirty[len(all.dirty)-1] != number {
			all.dirty = append(all.dirty, number)
		}
	}
	return nil
}

func (all *chunks) chunk(number int64) ([]byte, error) {
	if data, exists := all.known[number]; exists {
		return data, nil
	}
	rows, err := all.reader.Query(context.Background(), `SELECT hashes FROM log_hash WHERE chunk = ?`, number)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var data []byte
	if rows.Next() {
		if err := rows.Scan(&data); err != nil {
			return nil, err
		}
	}
	all.known[number] = data
	return data, rows.Err()
}

// ReadHashes implements tlog.HashReader.
func (all *chunks) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		data, err := all.chunk(index / chunkHashes)
		if err != nil {
			return nil, err
		}
		offset := index % chunkHashes * tlog.HashSize
		if int64(len(data)) < offset+tlog.HashSize {
			return nil, fmt.Errorf("journal: hash %d of the log is missing", index)
		}
		copy(hashes[i][:], data[offset:])
	}
	return hashes, nil
}

func (all *chunks) save(tx *store.Tx) error {
	for _, number := range all.dirty {
		if _, err := tx.Exec(`INSERT INTO log_hash (chunk, hashes) VALUES (?, ?) ON CONFLICT (chunk) DO UPDATE SET hashes = excluded.hashes`, number, all.known[number]); err != nil {
			return err
		}
	}
	all.dirty = all.dirty[:0]
	if len(all.known) > 1024 {
		all.known = map[int64][]byte{}
	}
	return nil
}

// stored is a checkpoint as the database has it.
type stored struct {
	size, epoch int64
	text        string
}

func lastCheckpoint(ctx context.Context, reader Reader) (stored, error) {
	rows, err := reader.Query(ctx, `SELECT size, epoch, note FROM checkpoint ORDER BY epoch DESC, size DESC LIMIT 1`)
	if err != nil {
		return stored{}, err
	}
	defer rows.Close()
	var last stored
	if rows.Next() {
		err = rows.Scan(&last.size, &last.epoch, &last.text)
	}
	return last, errors.Join(err, rows.Err())
}
