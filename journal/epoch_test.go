package journal_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/journal"
	"github.com/backstay/backstay/store"
)

// snapshot copies the database as a backup would.
func (book *book) snapshot(to string) {
	book.t.Helper()
	book.state.Close() // the last connection folds the write-ahead log into the file
	data, err := os.ReadFile(filepath.Join(book.folder, store.FileName))
	if err != nil {
		book.t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		book.t.Fatal(err)
	}
	book.reopen()
}

// restore puts a copy in the database's place and opens it for looking only.
func (book *book) restore(from string) {
	book.t.Helper()
	book.state.Close()
	data, err := os.ReadFile(from)
	if err != nil {
		book.t.Fatal(err)
	}
	for _, name := range []string{"-wal", "-shm"} {
		os.Remove(filepath.Join(book.folder, store.FileName+name))
	}
	if err := os.WriteFile(filepath.Join(book.folder, store.FileName), data, 0o600); err != nil {
		book.t.Fatal(err)
	}
	if book.state, err = store.Open(context.Background(), store.Config{Folder: book.folder, ReadOnly: true}); err != nil {
		book.t.Fatal(err)
	}
}

// TestARestoredCopyIsNoticed, and begins a new epoch that says what is missing.
func TestARestoredCopyIsNoticed(t *testing.T) {
	book := open(t, t.TempDir())
	book.acts(3)
	book.sequence()
	kept := book.checkpoint()
	older := filepath.Join(t.TempDir(), "copy")
	book.snapshot(older)
	book.acts(4)
	book.sequence()
	lost := book.checkpoint()

	book.restore(older)
	if result := book.verify(nil); result.OK || !strings.Contains(result.Problems[0], "cut off") {
		t.Fatalf("not noticed: %+v", result)
	}
	book.state.Close()
	book.reopen()
	book.acts(2)
	book.sequence()
	result := book.verify(kept)
	if !result.OK || result.Epoch != 1 {
		t.Fatalf("after the new epoch: %+v", result)
	}
	acts, err := journal.Tail(context.Background(), book.state, "journal", 10)
	if err != nil || len(acts) != 1 {
		t.Fatalf("%v %v", acts, err)
	}
	if act := acts[0]; act.What != "journal-epoch" || act.Intent["epoch"] != "1" || act.Intent["had_leaves"] != "5" || act.Intent["checkpoint_leaves"] != "12" {
		t.Errorf("%+v", act)
	}
	// Who kept the lost checkpoint elsewhere learns that acts are gone.
	if result := book.verify(lost); result.OK {
		t.Errorf("the lost acts are not noticed: %+v", result)
	}
	// The copy once more: it is older than the new epoch as well.
	book.restore(older)
	if result := book.verify(nil); result.OK {
		t.Errorf("the second restore is not noticed: %+v", result)
	}
	book.state.Close()
	book.reopen()
	book.sequence()
	if result := book.verify(nil); !result.OK || result.Epoch != 2 {
		t.Errorf("after the second restore: %+v", result)
	}
}

// TestEpochSurvivesAFailedWrite: the first batch of a new epoch cannot be stored;
// the next one still belongs to it.
func TestEpochSurvivesAFailedWrite(t *testing.T) {
	book := open(t, t.TempDir())
	book.acts(3)
	book.sequence()
	older := filepath.Join(t.TempDir(), "copy")
	book.snapshot(older)
	book.acts(4)
	book.sequence()
	book.restore(older)
	book.state.Close()
	book.reopen()
	book.tamper(`CREATE TRIGGER full BEFORE INSERT ON checkpoint BEGIN SELECT RAISE(ABORT, 'disk full'); END`)
	if _, err := book.log.Sequence(context.Background(), start); err == nil {
		t.Fatal("the batch was stored")
	}
	book.tamper(`DROP TRIGGER full`)
	book.sequence()
	if result := book.verify(nil); !result.OK || result.Epoch != 1 {
		t.Errorf("%+v", result)
	}
}

// TestAFailedBatchIsRepeated: what could not be stored is computed again.
func TestAFailedBatchIsRepeated(t *testing.T) {
	book := open(t, t.TempDir())
	book.acts(4)
	book.sequence()
	book.tamper(`CREATE TRIGGER full BEFORE INSERT ON checkpoint BEGIN SELECT RAISE(ABORT, 'disk full'); END`)
	for range 3 {
		book.acts(2)
		if _, err := book.log.Sequence(context.Background(), start); err == nil {
			t.Fatal("the batch was stored")
		}
	}
	book.tamper(`DROP TRIGGER full`)
	book.sequence()
	if result := book.verify(nil); !result.OK || result.Leaves != 16 || result.Waiting != 0 {
		t.Errorf("%+v", result)
	}
}
