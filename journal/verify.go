package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/backstay/backstay/store"
)

// Verification is the outcome of Verify.
type Verification struct {
	Kind        string    `json:"kind"` // "verification"
	Schema      int       `json:"schema"`
	OK          bool      `json:"ok"`
	Acts        int64     `json:"acts"`
	Leaves      int64     `json:"leaves"`
	Root        string    `json:"root,omitempty"` // base64, of all leaves
	Checkpoints int       `json:"checkpoints"`
	Epoch       int64     `json:"epoch"`
	Waiting     int64     `json:"waiting"` // act parts not in the log yet
	Problems    []string  `json:"problems,omitempty"`
	CheckedAt   time.Time `json:"checked_at"`
}

func (verification *Verification) problem(format string, arguments ...any) {
	if len(verification.Problems) < 20 {
		verification.Problems = append(verification.Problems, fmt.Sprintf(format, arguments...))
	}
}

// Verify recomputes every leaf from the acts, every hash and root from the
// leaves, and compares them with what is stored and with every signed
// checkpoint: those of the database, the copy in the state folder and, when
// given, one that was kept elsewhere. It notices acts that were changed,
// removed, reordered, inserted or cut off. err: it could not look.
func Verify(ctx context.Context, folder string, reader Reader, elsewhere []byte, now time.Time) (*Verification, error) {
	result := &Verification{Kind: "verification", Schema: 1, CheckedAt: now.UTC()}
	verifier, err := verifierOf(folder)
	if err != nil {
		return nil, err
	}
	// The log may grow while we look. In this order nothing that is read later
	// can be behind what was read before, so that growth raises no false alarm.
	copied, err := os.ReadFile(filepath.Join(folder, checkpointFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	claims, err := checkpoints(ctx, reader, verifier, result)
	if err != nil {
		return nil, err
	}
	leaves, err := collect(ctx, reader, result)
	if err != nil {
		return nil, err
	}
	last, err := lastCheckpoint(ctx, reader)
	if err != nil {
		return nil, err
	}
	if int64(len(leaves)) > last.size {
		// Places and checkpoint are written in one transaction.
		result.problem("%d leaves are behind the end: no signed checkpoint covers them", int64(len(leaves))-last.size)
	}
	if copied == nil && len(claims) > 0 {
		result.problem("%s is missing", checkpointFile)
	}
	claims = outside(copied, checkpointFile, verifier, claims, result)
	claims = outside(elsewhere, "the checkpoint that was kept elsewhere", verifier, claims, result)
	hashes := compareRoots(leaves, claims, result)
	if err := compareStored(ctx, reader, hashes, result); err != nil {
		return nil, err
	}
	result.OK = len(result.Problems) == 0
	return result, nil
}

// claim is what one signed checkpoint says.
type claim struct {
	tree   tlog.Tree
	epoch  int64
	source string
}

const inDatabase = "the database"

// collect reads all acts and returns the leaf hashes by index, recomputed.
func collect(ctx context.Context, reader Reader, result *Verification) ([]tlog.Hash, error) {
	rows, err := reader.Query(ctx, selectAct+` ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	byIndex := map[int64]tlog.Hash{}
	place := func(act *Act, index int64, hash tlog.Hash, storedHash, part string) {
		if hexOf(hash) != storedHash {
			result.problem("act %d: its %s was changed after it was logged", act.ID, part)
		}
		if _, twice := byIndex[index]; twice {
			result.problem("act %d: its %s claims place %d of the log, which is taken", act.ID, part, index)
		}
		byIndex[index] = hash
	}
	for rows.Next() {
		act, err := scan(rows.Scan)
		var changed *unreadable
		if errors.As(err, &changed) {
			result.problem("%v: it was changed after it was logged", changed)
		} else if err != nil {
			return nil, err
		}
		result.Acts++
		if act.Index == nil {
			result.Waiting++
		} else {
			place(&act, *act.Index, act.intentHash(), act.LeafHash, "intent")
		}
		switch {
		case act.FinishedAt == nil && act.OutcomeIndex != nil:
			result.problem("act %d: its outcome was removed after it was logged", act.ID)
		case act.FinishedAt == nil:
		case act.OutcomeIndex == nil:
			result.Waiting++
		default:
			place(&act, *act.OutcomeIndex, act.outcomeHash(), act.OutcomeLeafHash, "outcome")
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	leaves := make([]tlog.Hash, 0, len(byIndex))
	for index := int64(0); index < int64(len(byIndex)); index++ {
		hash, exists := byIndex[index]
		if !exists {
			result.problem("place %d of the log is empty: an act was removed", index)
			break
		}
		leaves = append(leaves, hash)
	}
	result.Leaves = int64(len(leaves))
	return leaves, nil
}

// checkpoints opens every stored checkpoint.
func checkpoints(ctx context.Context, reader Reader, verifier note.Verifier, result *Verification) ([]claim, error) {
	rows, err := reader.Query(ctx, `SELECT size, epoch, note FROM checkpoint ORDER BY epoch, size`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var claims []claim
	for rows.Next() {
		var one stored
		if err := rows.Scan(&one.size, &one.epoch, &one.text); err != nil {
			return nil, err
		}
		result.Checkpoints++
		opened, err := open([]byte(one.text), verifier)
		if err != nil {
			result.problem("checkpoint of %d leaves: %v", one.size, err)
			continue
		}
		opened.source = inDatabase
		claims = append(claims, opened)
		result.Epoch = opened.epoch
	}
	return claims, rows.Err()
}

// outside adds a checkpoint that was kept outside the database to the claims. It
// must not be ahead of the database; nil text is none.
func outside(text []byte, source string, verifier note.Verifier, claims []claim, result *Verification) []claim {
	if text == nil {
		return claims
	}
	opened, err := open(text, verifier)
	if err != nil {
		result.problem("%s: %v", source, err)
		return claims
	}
	opened.source = source
	var epoch, kept int64 // the newest epoch, and how many leaves of opened's epoch are left
	for _, one := range claims {
		if one.source != inDatabase {
			continue
		}
		epoch = max(epoch, one.epoch)
		if one.epoch <= opened.epoch {
			kept = max(kept, one.tree.N)
		}
	}
	switch {
	case opened.epoch > epoch:
		result.problem("%s is of epoch %d and the database ends in epoch %d: an older copy was put in its place", source, opened.epoch, epoch)
	case opened.tree.N > kept:
		result.problem("%s covers %d leaves of epoch %d and the database has %d: the end was cut off", source, opened.tree.N, opened.epoch, kept)
	default:
		return append(claims, opened)
	}
	return claims
}

func open(text []byte, verifier note.Verifier) (claim, error) {
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return claim{}, fmt.Errorf("its signature is not ours: %w", err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 {
		return claim{}, errors.New("it is cut short")
	}
	var one claim
	if one.tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return claim{}, err
	}
	if one.tree.Hash, err = tlog.ParseHash(lines[2]); err != nil {
		return claim{}, err
	}
	_, err = fmt.Sscanf(lines[3], "epoch %d", &one.epoch)
	return one, err
}

func verifierOf(folder string) (note.Verifier, error) {
	text, err := os.ReadFile(filepath.Join(folder, verifierFile))
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(strings.TrimSpace(string(text)))
}

// noticeGap begins a new epoch when the checkpoint outside is ahead of the
// database: an older copy was restored, or the end was cut off.
func (log *Log) noticeGap(ctx context.Context, now time.Time) error {
	text, err := os.ReadFile(filepath.Join(log.folder, checkpointFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	verifier, err := verifierOf(log.folder)
	if err != nil {
		return err
	}
	last, err := open(text, verifier)
	if err != nil {
		return fmt.Errorf("%s: %w", checkpointFile, err)
	}
	if last.epoch < log.epoch || last.epoch == log.epoch && last.tree.N <= log.leaves {
		return nil
	}
	log.epoch = last.epoch + 1
	return log.store.Write(ctx, func(tx *store.Tx) error {
		id, err := Begin(tx, Intent{What: "journal-epoch", Subject: "journal", Actor: "backstay", At: now, Details: map[string]string{
			"epoch": fmt.Sprint(log.epoch), "had_leaves": fmt.Sprint(log.leaves), "checkpoint_leaves": fmt.Sprint(last.tree.N),
			"why": "the database is older than the last signed checkpoint: restored from a copy, or cut off",
		}})
		if err != nil {
			return err
		}
		return End(tx, id, Outcome{At: now})
	})
}
