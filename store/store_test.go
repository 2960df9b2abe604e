package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

var start = time.Date(2031, 3, 1, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, folder string) *store.Store {
	t.Helper()
	state, err := store.Open(context.Background(), store.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { state.Close() })
	return state
}

func write(t testing.TB, state *store.Store, change func(*store.Tx) error) {
	t.Helper()
	if err := state.Write(context.Background(), change); err != nil {
		t.Fatal(err)
	}
}

// raw opens the database behind the store's back.
func raw(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// filled makes a state folder with facts enough for several pages, closed.
func filled(t testing.TB) (folder, path string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "state with #odd? name%")
	state := open(t, folder)
	write(t, state, func(tx *store.Tx) error {
		for number := range 500 {
			if err := tx.SetFact(fmt.Sprintf("fact-%d", number), strings.Repeat("x", 100)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := state.Close(); err != nil {
		t.Fatal(err)
	}
	return folder, filepath.Join(folder, store.FileName)
}

func TestOpenCreatesAndFindsAgain(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a", "state")
	state := open(t, folder)
	if !state.Created() || state.Path() != filepath.Join(folder, store.FileName) {
		t.Errorf("created %t, path %s", state.Created(), state.Path())
	}
	for name, mode := range map[string]fs.FileMode{"": 0o700, store.FileName: 0o600} {
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q: %v, %v", name, info, err)
		}
	}
	write(t, state, func(tx *store.Tx) error { return tx.SetFact("a", "b") })
	if err := state.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, folder)
	if value, err := again.Fact(context.Background(), "a"); again.Created() || value != "b" || err != nil {
		t.Errorf("created %t, value %q, %v", again.Created(), value, err)
	}
	if value, err := again.Fact(context.Background(), "missing"); value != "" || err != nil {
		t.Errorf("a missing fact: %q, %v", value, err)
	}
}

// TestOpenMakesAMissingDatabase in a folder that holds other things.
func TestOpenMakesAMissingDatabase(t *testing.T) {
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, "certs", "shop", "1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if state := open(t, folder); !state.Created() {
		t.Error("not created")
	}
	// A creation that was cut short left an empty file.
	cut := t.TempDir()
	if err := os.WriteFile(filepath.Join(cut, store.FileName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	state := open(t, cut)
	write(t, state, func(tx *store.Tx) error { return tx.SetFact("a", "b") })
}

func TestConfigIsRequired(t *testing.T) {
	if _, err := store.Open(context.Background(), store.Config{}); err == nil || !strings.Contains(err.Error(), "Folder") {
		t.Errorf("%v", err)
	}
}

func TestReadOnlyChangesNothing(t *testing.T) {
	empty := t.TempDir()
	if _, err := store.Open(context.Background(), store.Config{Folder: empty, ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a database: %v", err)
	}
	if _, err := store.Open(context.Background(), store.Config{Folder: filepath.Join(empty, "missing"), ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
	if entries, _ := os.ReadDir(empty); len(entries) != 0 {
		t.Errorf("created %v", entries)
	}

	folder, path := filled(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	state, err := store.Open(context.Background(), store.Config{Folder: folder, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if value, err := state.Fact(context.Background(), "fact-7"); len(value) != 100 || err != nil {
		t.Errorf("%q, %v", value, err)
	}
	if err := state.Write(context.Background(), func(tx *store.Tx) error { return tx.SetFact("a", "b") }); err == nil {
		t.Error("written although opened for reading only")
	}
	if err := state.Close(); err != nil {
		t.Error(err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the file changed")
	}
}

// TestReadOnlyBesideAWriter sees what is committed.
func TestReadOnlyBesideAWriter(t *testing.T) {
	folder := t.TempDir()
	writer := open(t, folder)
	write(t, writer, func(tx *store.Tx) error { return tx.SetFact("a", "1") })
	reader, err := store.Open(context.Background(), store.Config{Folder: folder, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for _, value := range []string{"1", "2"} {
		write(t, writer, func(tx *store.Tx) error { return tx.SetFact("a", value) })
		if seen, err := reader.Fact(context.Background(), "a"); seen != value || err != nil {
			t.Errorf("%q, %v", seen, err)
		}
	}
}

func TestDamageIsNamedAndNothingTouched(t *testing.T) {
	table := []struct {
		name   string
		damage func([]byte) []byte
		says   string
	}{
		{"a text file", func([]byte) []byte { return []byte("certificates: []\n") }, "is not a database"},
		{"a short text file", func([]byte) []byte { return []byte("x") }, "is not a database"},
		{"a page of text", func([]byte) []byte { return bytes.Repeat([]byte("no database "), 1000) }, "is not a database"},
		{"cut inside the header", func(file []byte) []byte { return file[:8] }, "is not a database"},
		{"cut after the header", func(file []byte) []byte { return file[:100] }, "damaged"},
		{"cut after a page", func(file []byte) []byte { return file[:4096] }, "damaged"},
		{"cut in the middle", func(file []byte) []byte { return file[:len(file)/2+17] }, "damaged"},
		{"its last page is missing", func(file []byte) []byte { return file[:len(file)-4096] }, "damaged"},
		{"flipped bytes in the schema", func(file []byte) []byte { return flip(file, 100, 600) }, "damaged"},
		{"a flipped page header", func(file []byte) []byte { return flip(file, len(file)-4096, 40) }, "damaged"},
		{"a zeroed page", func(file []byte) []byte {
			copy(file[len(file)/4096/2*4096:], make([]byte, 4096))
			return file
		}, "damaged"},
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			folder, path := filled(t)
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(file) < 20*4096 {
				t.Fatalf("the database has only %d bytes", len(file))
			}
			broken := test.damage(file)
			if err := os.WriteFile(path, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, readOnly := range []bool{true, false} {
				state, err := store.Open(context.Background(), store.Config{Folder: folder, ReadOnly: readOnly})
				var damage *store.Damage
				if !errors.As(err, &damage) {
					if err == nil {
						state.Close()
					}
					t.Fatalf("read only %t: %v", readOnly, err)
				}
				if damage.Path != path || damage.Newer || !strings.Contains(damage.Why, test.says) || !strings.Contains(err.Error(), path) {
					t.Errorf("read only %t: %v", readOnly, err)
				}
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, broken) {
				t.Errorf("the file was touched (%v)", err)
			}
		})
	}
}

func flip(file []byte, from, count int) []byte {
	for index := from; index < from+count; index++ {
		file[index] ^= 0x5a
	}
	return file
}

func TestNewerSchemaIsRefused(t *testing.T) {
	folder, path := filled(t)
	db := raw(t, path)
	if _, err := db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, 1)`, store.Schema+1); err != nil {
		t.Fatal(err)
	}
	db.Close()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, readOnly := range []bool{true, false} {
		_, err := store.Open(context.Background(), store.Config{Folder: folder, ReadOnly: readOnly})
		var damage *store.Damage
		if !errors.As(err, &damage) || !damage.Newer || !strings.Contains(err.Error(), "newer backstay") {
			t.Errorf("read only %t: %v", readOnly, err)
		}
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the file was touched")
	}
}

// TestCloseLeavesOneWholeFile: a copy of the file alone, made after a clean end,
// has everything.
func TestCloseLeavesOneWholeFile(t *testing.T) {
	folder, path := filled(t)
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	var count int
	if err := raw(t, path).QueryRow(`SELECT count(*) FROM fact`).Scan(&count); err != nil || count != 500 {
		t.Errorf("%d facts, %v", count, err)
	}
}

func TestCloseTwiceAndWriteAfter(t *testing.T) {
	state := open(t, t.TempDir())
	for range 2 {
		if err := state.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := state.Write(context.Background(), func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
}

func TestGenerationsAndReloads(t *testing.T) {
	state := open(t, t.TempDir())
	first := plan.Held{Generation: 1, SHA256: "aa", SPKI: "bb", NotBefore: start, NotAfter: start.Add(time.Hour), Authority: "first", Domains: []string{"a.test"}}
	second := first
	second.Generation, second.SHA256 = 2, "cc"
	at := start.Add(123456 * time.Nanosecond)
	write(t, state, func(tx *store.Tx) error {
		revoked := first
		revoked.Revoked = true
		return errors.Join(tx.AddGeneration("shop", &second), tx.AddGeneration("shop", &first), tx.AddGeneration("shop", &revoked), tx.AddGeneration("other", &first), tx.SetLastReload("nginx", at))
	})
	all, err := state.Generations(context.Background(), "shop")
	if err != nil || len(all) != 2 || all[0].Generation != 1 || !all[0].Revoked || all[1].SHA256 != "cc" || !all[1].NotAfter.Equal(second.NotAfter) {
		t.Errorf("%+v, %v", all, err)
	}
	if last, err := state.LastReload(context.Background(), "nginx"); !last.Equal(at) || err != nil {
		t.Errorf("%s, %v", last, err)
	}
	if last, err := state.LastReload(context.Background(), "never"); !last.IsZero() || err != nil {
		t.Errorf("%s, %v", last, err)
	}
}
