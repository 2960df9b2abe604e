package journal_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/backstay/backstay/journal"
	"github.com/backstay/backstay/store"
)

func (book *book) checkpoint() []byte {
	book.t.Helper()
	text, err := os.ReadFile(filepath.Join(book.folder, "journal.checkpoint"))
	if err != nil {
		book.t.Fatal(err)
	}
	return text
}

func TestVerifyOfAnHonestLog(t *testing.T) {
	book := open(t, t.TempDir())
	if result := book.verify(nil); !result.OK || result.Leaves != 0 {
		t.Errorf("empty: %+v", result)
	}
	book.acts(9)
	if result := book.verify(nil); !result.OK || result.Waiting != 17 || result.Acts != 9 {
		t.Errorf("nothing in the log yet: %+v", result)
	}
	if added := book.sequence(); added != 17 {
		t.Errorf("%d leaves", added)
	}
	first := book.checkpoint()
	if added := book.sequence(); added != 0 {
		t.Errorf("%d leaves more", added)
	}
	book.acts(4)
	book.sequence()
	result := book.verify(first)
	if !result.OK || result.Leaves != 24 || result.Waiting != 0 || result.Checkpoints != 2 || result.Root == "" || result.Epoch != 0 {
		t.Errorf("%+v", result)
	}
	for name, mode := range map[string]os.FileMode{"journal.key": 0o600, "journal.pub": 0o644} {
		if info, err := os.Stat(filepath.Join(book.folder, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

// TestVerifyAfterAReopen: the log goes on where it ended.
func TestVerifyAfterAReopen(t *testing.T) {
	book := open(t, t.TempDir())
	for range 5 {
		book.acts(7)
		book.sequence()
		book.state.Close()
		book.reopen()
	}
	if result := book.verify(nil); !result.OK || result.Leaves != 65 || result.Epoch != 0 {
		t.Errorf("%+v", result)
	}
}

// TestBatchesDoNotMatter: the root depends on the order of the acts, not on how
// they were batched. The acts end before they are sequenced, since an outcome
// that waits takes a later place.
func TestBatchesDoNotMatter(t *testing.T) {
	roots := map[string]bool{}
	for _, every := range []int{1, 2, 7, 1000} {
		book := open(t, t.TempDir())
		for number := 1; number <= 40; number++ {
			book.end(book.begin(number), "")
			if number%every == 0 {
				book.sequence()
			}
		}
		book.sequence()
		result := book.verify(nil)
		if !result.OK || result.Leaves != 80 {
			t.Fatalf("in batches of %d: %+v", every, result)
		}
		roots[result.Root] = true
	}
	if len(roots) != 1 {
		t.Errorf("%d different roots", len(roots))
	}
}

// TestManyActsInOneGo needs several rows of hashes and several rounds.
func TestManyActsInOneGo(t *testing.T) {
	book := open(t, t.TempDir())
	const count = 2500
	book.write(func(tx *store.Tx) error {
		for number := range count {
			id, err := journal.Begin(tx, journal.Intent{What: "x", Subject: "s", Actor: "a", At: start, Details: map[string]string{"n": fmt.Sprint(number)}})
			if err != nil {
				return err
			}
			if err := journal.End(tx, id, journal.Outcome{At: start}); err != nil {
				return err
			}
		}
		return nil
	})
	if added := book.sequence(); added != 2*count {
		t.Fatalf("%d leaves", added)
	}
	if result := book.verify(nil); !result.OK || result.Leaves != 2*count || result.Checkpoints != 2 {
		t.Errorf("%+v", result)
	}
}

// leafOf computes the hash of an intent as anybody with the documentation could.
func leafOf(t *testing.T, id int64, what, subject string) string {
	t.Helper()
	data, err := json.Marshal(struct {
		Act      int64             `json:"act"`
		Part     string            `json:"part"`
		What     string            `json:"what"`
		Subject  string            `json:"subject"`
		Actor    string            `json:"actor"`
		Incident string            `json:"incident"`
		At       string            `json:"at"`
		Intent   map[string]string `json:"intent"`
	}{id, "intent", what, subject, "mallory", "", "2031-03-01T12:00:00.000000Z", map[string]string{}})
	if err != nil {
		t.Fatal(err)
	}
	hash := tlog.RecordHash(data)
	return hex.EncodeToString(hash[:])
}

// TestTamperingIsNoticed: seventeen leaves in three checkpoints, and each way of
// changing history without the signing key.
func TestTamperingIsNoticed(t *testing.T) {
	table := []struct {
		name   string
		tamper func(t *testing.T, book *book)
		says   string
	}{
		{"edit an intent", statements(`UPDATE act SET intent = replace(intent, 'a4.test', 'b4.test') WHERE id = 4`), "act 4: its intent was changed"},
		{"make an intent unreadable", statements(`UPDATE act SET intent = '{' WHERE id = 4`), "act 4"},
		{"edit the subject", statements(`UPDATE act SET subject = 'certificate/other' WHERE id = 4`), "act 4: its intent was changed"},
		{"edit the actor", statements(`UPDATE act SET actor = 'somebody' WHERE id = 4`), "act 4: its intent was changed"},
		{"edit the time", statements(`UPDATE act SET at = at + 1 WHERE id = 4`), "act 4: its intent was changed"},
		{"edit an outcome", statements(`UPDATE act SET outcome = 'done', error = '' WHERE id = 3`), "act 3: its outcome was changed"},
		{"edit a cause", statements(`UPDATE act SET cause = 'rate limit' WHERE id = 3`), "act 3: its outcome was changed"},
		{"take an outcome back", statements(`UPDATE act SET finished_at = NULL, outcome = NULL WHERE id = 3`), "act 3: its outcome was removed"},
		{"edit an intent and its hash", func(t *testing.T, book *book) {
			book.tamper(`UPDATE act SET kind = 'x', subject = 's', actor = 'mallory', incident = '', intent = '{}', at = ` + fmt.Sprint(start.UnixMicro()) +
				`, leaf_hash = '` + leafOf(t, 4, "x", "s") + `' WHERE id = 4`)
		}, "does not fit the acts"},
		{"delete an act", statements(`DELETE FROM act WHERE id = 4`), "an act was removed"},
		{"delete the last acts", statements(`DELETE FROM act WHERE id >= 8`), "cut off"},
		{"delete the last acts and their checkpoint", statements(`DELETE FROM act WHERE id >= 7`, `DELETE FROM checkpoint WHERE size > 12`), "cut off"},
		{"swap two acts", statements(
			`UPDATE act SET leaf_index = -1 WHERE id = 2`, `UPDATE act SET leaf_index = (SELECT leaf_index FROM act WHERE id = 5) WHERE id = 2`,
			`UPDATE act SET leaf_index = 2 WHERE id = 5`), "does not fit the acts"},
		{"insert an act in place of another", func(t *testing.T, book *book) {
			book.tamper(forged(t, 3), `UPDATE act SET leaf_index = 99 WHERE id = 2`)
		}, ""},
		{"insert an act at a place that is taken", func(t *testing.T, book *book) { book.tamper(forged(t, 3)) }, "which is taken"},
		{"insert an act behind the end", func(t *testing.T, book *book) { book.tamper(forged(t, 17)) }, "no signed checkpoint"},
		{"cut the last checkpoint", statements(`DELETE FROM checkpoint WHERE size > 12`), ""},
		{"cut all checkpoints", statements(`DELETE FROM checkpoint`), ""},
		{"cut all checkpoints and the copy outside", func(t *testing.T, book *book) {
			book.tamper(`DELETE FROM checkpoint`)
			remove(t, book, "journal.checkpoint")
		}, "no signed checkpoint"},
		{"remove the copy outside", func(t *testing.T, book *book) { remove(t, book, "journal.checkpoint") }, "journal.checkpoint is missing"},
		{"forge a checkpoint with another key", func(t *testing.T, book *book) {
			forgedNote := strings.ReplaceAll(sign(t, "backstay.journal", 17), "'", "''")
			book.tamper(`UPDATE checkpoint SET note = '` + forgedNote + `' WHERE size = 17`)
		}, "signature"},
		{"forge the copy outside", func(t *testing.T, book *book) {
			if err := os.WriteFile(filepath.Join(book.folder, "journal.checkpoint"), []byte(sign(t, "backstay.journal", 17)), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "signature"},
		{"damage the stored hashes", statements(`UPDATE log_hash SET hashes = zeroblob(length(hashes))`), "stored hash"},
		{"drop the stored hashes", statements(`DELETE FROM log_hash`), "stored hash"},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			book := open(t, t.TempDir())
			for number := 1; number <= 9; number++ {
				id := book.begin(number)
				if number < 9 {
					book.end(id, map[bool]string{true: "HTTP 503"}[number%3 == 0])
				}
				if number%3 == 0 {
					book.sequence() // 6, 12, 17 leaves
				}
			}
			if result := book.verify(nil); !result.OK || result.Leaves != 17 || result.Checkpoints != 3 {
				t.Fatalf("before: %+v", result)
			}
			test.tamper(t, book)
			result := book.verify(nil)
			if result.OK || len(result.Problems) == 0 {
				t.Fatalf("not noticed: %+v", result)
			}
			if !strings.Contains(strings.Join(result.Problems, "\n"), test.says) {
				t.Errorf("%q is not in %q", test.says, result.Problems)
			}
		})
	}
}

func statements(texts ...string) func(*testing.T, *book) {
	return func(_ *testing.T, book *book) { book.tamper(texts...) }
}

// forged inserts an act whose hash is right for what it says.
func forged(t *testing.T, index int) string {
	return fmt.Sprintf(`INSERT INTO act (id, kind, subject, actor, incident, at, intent, leaf_index, leaf_hash) VALUES (100, 'x', 's', 'mallory', '', %d, '{}', %d, '%s')`,
		start.UnixMicro(), index, leafOf(t, 100, "x", "s"))
}

func remove(t *testing.T, book *book, name string) {
	if err := os.Remove(filepath.Join(book.folder, name)); err != nil {
		t.Fatal(err)
	}
}

func sign(t *testing.T, name string, size int) string {
	t.Helper()
	key, _, err := note.GenerateKey(nil, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\nepoch 0\n", name, size, tlog.Hash{})}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

// TestOnlyACopyElsewhereNoticesTheHolderOfTheKey: whoever has the signing key
// can write another history; a checkpoint that was kept elsewhere tells, also
// when the new history has no checkpoint of that size.
func TestOnlyACopyElsewhereNoticesTheHolderOfTheKey(t *testing.T) {
	folder := t.TempDir()
	honest := open(t, folder)
	honest.acts(3)
	honest.sequence()
	elsewhere := honest.checkpoint()
	honest.acts(5)
	honest.sequence()
	later := honest.checkpoint()
	if result := honest.verify(elsewhere); !result.OK {
		t.Fatalf("before: %+v", result)
	}
	honest.state.Close()
	for _, name := range []string{"backstay.db", "backstay.db-wal", "backstay.db-shm", "journal.checkpoint"} {
		os.Remove(filepath.Join(folder, name))
	}
	for name, copies := range map[string]struct {
		text []byte
		acts int
	}{"smaller": {elsewhere, 20}, "the same size": {later, 8}, "larger": {later, 2}} {
		t.Run(name, func(t *testing.T) {
			other := t.TempDir()
			for _, file := range []string{"journal.key", "journal.pub"} {
				text, err := os.ReadFile(filepath.Join(folder, file))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(other, file), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			forger := open(t, other)
			for number := 1; number <= copies.acts; number++ {
				forger.begin(100 + number)
			}
			forger.sequence()
			if result := forger.verify(nil); !result.OK {
				t.Fatalf("the forgery does not even fit itself: %+v", result)
			}
			if result := forger.verify(copies.text); result.OK {
				t.Errorf("not noticed: %+v", result)
			}
		})
	}
	t.Run("a foreign one", func(t *testing.T) {
		other := open(t, t.TempDir())
		other.acts(3)
		other.sequence()
		if result := other.verify(elsewhere); result.OK || !strings.Contains(result.Problems[0], "signature") {
			t.Errorf("%+v", result)
		}
		if result := other.verify([]byte("no checkpoint")); result.OK {
			t.Errorf("%+v", result)
		}
	})
}

// TestVerifyBesideASequencer: looking while the log grows raises no false alarm.
func TestVerifyBesideASequencer(t *testing.T) {
	book := open(t, t.TempDir())
	book.acts(3)
	book.sequence()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			book.state.Write(context.Background(), func(tx *store.Tx) error {
				_, err := journal.Begin(tx, journal.Intent{What: "x", Subject: "s", Actor: "a", At: start})
				return err
			})
			book.log.Sequence(context.Background(), start)
		}
	}()
	for range 60 {
		if result := book.verify(nil); !result.OK {
			t.Errorf("a false alarm: %q", result.Problems)
			break
		}
	}
	close(stop)
	<-done
}

// TestRandomActs: any acts, any batches, any restarts: the log verifies, and any
// single change of an act that is in the log is noticed.
func TestRandomActs(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		book := open(t, t.TempDir())
		defer book.state.Close()
		var unfinished []int64
		for range rapid.IntRange(1, 25).Draw(r, "steps") {
			switch rapid.IntRange(0, 4).Draw(r, "step") {
			case 0, 1:
				book.write(func(tx *store.Tx) error {
					id, err := journal.Begin(tx, journal.Intent{
						What: rapid.String().Draw(r, "what"), Subject: rapid.String().Draw(r, "subject"), Actor: rapid.String().Draw(r, "actor"),
						Incident: rapid.String().Draw(r, "incident"), At: start.Add(time.Duration(rapid.Int32().Draw(r, "at")) * time.Microsecond),
						Details: rapid.MapOf(rapid.String(), rapid.String()).Draw(r, "details"),
					})
					unfinished = append(unfinished, id)
					return err
				})
			case 2:
				if len(unfinished) > 0 {
					book.write(func(tx *store.Tx) error {
						return journal.End(tx, unfinished[0], journal.Outcome{At: start, Error: rapid.String().Draw(r, "error"), Cause: rapid.String().Draw(r, "cause")})
					})
					unfinished = unfinished[1:]
				}
			case 3:
				book.sequence()
			case 4:
				book.state.Close()
				book.reopen()
			}
		}
		book.sequence()
		result := book.verify(nil)
		if !result.OK || result.Waiting != 0 {
			r.Fatalf("%+v", result)
		}
		if result.Acts == 0 {
			return
		}
		id := rapid.Int64Range(1, result.Acts).Draw(r, "changed")
		column := rapid.SampledFrom([]string{"kind", "subject", "actor", "incident"}).Draw(r, "column")
		book.tamper(fmt.Sprintf(`UPDATE act SET %s = %s || '!' WHERE id = %d`, column, column, id))
		if book.verify(nil).OK {
			r.Fatalf("a change of %s of act %d was not noticed", column, id)
		}
	})
}

// FuzzCheckpoint: bytes that claim to be a checkpoint are refused unless they are
// ours, and break nothing.
func FuzzCheckpoint(f *testing.F) {
	book := open(f, f.TempDir())
	book.acts(3)
	book.sequence()
	honest := book.checkpoint()
	f.Add(honest)
	f.Add([]byte(strings.Replace(string(honest), "epoch 0", "epoch 9", 1)))
	f.Add([]byte("backstay.journal\n5\nAAAA\n\n\u2014 backstay.journal AAAA\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		result, err := journal.Verify(context.Background(), book.folder, book.state, text, start)
		if err != nil {
			t.Fatal(err)
		}
		if result.OK && text != nil && string(text) != string(honest) {
			// Other signatures may stand beside ours; the signed text is ours.
			signed, _, _ := strings.Cut(string(honest), "\n\n")
			if !strings.HasPrefix(string(text), signed+"\n\n") {
				t.Fatalf("taken for ours: %q", text)
			}
		}
	})
}
