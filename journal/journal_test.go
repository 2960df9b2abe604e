package journal_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/journal"
	"github.com/backstay/backstay/store"
)

var start = time.Date(2031, 3, 1, 12, 0, 0, 0, time.UTC)

// book is a state folder with a journal.
type book struct {
	t      testing.TB
	folder string
	state  *store.Store
	log    *journal.Log
}

func open(t testing.TB, folder string) *book {
	t.Helper()
	made := &book{t: t, folder: folder}
	made.reopen()
	t.Cleanup(func() { made.state.Close() })
	return made
}

func (book *book) reopen() {
	book.t.Helper()
	var err error
	if book.state, err = store.Open(context.Background(), store.Config{Folder: book.folder}); err != nil {
		book.t.Fatal(err)
	}
	if book.log, err = journal.OpenLog(context.Background(), book.folder, book.state, start); err != nil {
		book.t.Fatal(err)
	}
}

func (book *book) write(change func(*store.Tx) error) {
	book.t.Helper()
	if err := book.state.Write(context.Background(), change); err != nil {
		book.t.Fatal(err)
	}
}

// begin writes an intent. Everything about it follows from number.
func (book *book) begin(number int) (id int64) {
	book.t.Helper()
	book.write(func(tx *store.Tx) (err error) {
		id, err = journal.Begin(tx, journal.Intent{
			What: "order", Subject: fmt.Sprintf("certificate/shop-%d", number), Actor: "schedule", At: start.Add(time.Duration(number) * time.Second),
			Details: map[string]string{"authority": "first", "domains": fmt.Sprintf("a%d.test", number), "why": "a third of its life is left"},
		})
		return err
	})
	return id
}

func (book *book) end(id int64, failure string) {
	book.t.Helper()
	book.write(func(tx *store.Tx) error {
		return journal.End(tx, id, journal.Outcome{At: start.Add(time.Hour), Error: failure})
	})
}

// acts writes whole acts; the last is left open.
func (book *book) acts(count int) {
	book.t.Helper()
	for number := 1; number <= count; number++ {
		id := book.begin(number)
		if number < count {
			book.end(id, map[bool]string{true: "the CA answered HTTP 503"}[number%3 == 0])
		}
	}
}

func (book *book) sequence() int {
	book.t.Helper()
	added, err := book.log.Sequence(context.Background(), start)
	if err != nil {
		book.t.Fatal(err)
	}
	return added
}

func (book *book) verify(elsewhere []byte) *journal.Verification {
	book.t.Helper()
	result, err := journal.Verify(context.Background(), book.folder, book.state, elsewhere, start)
	if err != nil {
		book.t.Fatalf("could not look: %v", err)
	}
	return result
}

// tamper changes the database behind the program's back.
func (book *book) tamper(statements ...string) {
	book.t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.Join(book.folder, store.FileName)}).EscapedPath())
	if err != nil {
		book.t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range statements {
		result, err := db.Exec(statement)
		if err != nil {
			book.t.Fatalf("%s: %v", statement, err)
		}
		if changed, _ := result.RowsAffected(); changed == 0 && !strings.HasPrefix(statement, "CREATE") && !strings.HasPrefix(statement, "DROP") {
			book.t.Fatalf("%s: changed nothing", statement)
		}
	}
}

func TestActsAreKept(t *testing.T) {
	book := open(t, t.TempDir())
	id := book.begin(1)
	acts, err := journal.Tail(context.Background(), book.state, "", 10)
	if err != nil || len(acts) != 1 {
		t.Fatalf("%v, %v", acts, err)
	}
	if act := acts[0]; act.ID != id || act.What != "order" || act.Subject != "certificate/shop-1" || act.Actor != "schedule" || !act.At.Equal(start.Add(time.Second)) ||
		act.Intent["domains"] != "a1.test" || act.FinishedAt != nil || act.Outcome != "" || act.Index != nil {
		t.Errorf("begun: %+v", act)
	}
	book.end(id, "HTTP 500")
	if acts, _ = journal.Tail(context.Background(), book.state, "certificate/shop-1", 10); len(acts) != 1 || acts[0].Outcome != journal.Failed || acts[0].Error != "HTTP 500" || !acts[0].FinishedAt.Equal(start.Add(time.Hour)) {
		t.Errorf("ended: %+v", acts)
	}
	second := book.begin(2)
	book.end(second, "")
	if acts, _ = journal.Tail(context.Background(), book.state, "", 1); len(acts) != 1 || acts[0].ID != second || acts[0].Outcome != journal.Done {
		t.Errorf("newest: %+v", acts)
	}
	if acts, _ = journal.Tail(context.Background(), book.state, "", 10); len(acts) != 2 || acts[0].ID != id {
		t.Errorf("oldest first: %+v", acts)
	}
}

func TestAnActEndsOnce(t *testing.T) {
	book := open(t, t.TempDir())
	id := book.begin(1)
	book.end(id, "")
	for _, again := range []int64{id, id + 1} {
		err := book.state.Write(context.Background(), func(tx *store.Tx) error {
			return journal.End(tx, again, journal.Outcome{At: start, Error: "another outcome"})
		})
		if err == nil {
			t.Errorf("act %d ended twice, or without having begun", again)
		}
	}
	if acts, _ := journal.Tail(context.Background(), book.state, "", 10); acts[0].Outcome != journal.Done {
		t.Errorf("the first outcome was replaced: %+v", acts[0])
	}
}

// TestInterrupt closes what a dead process left open, of one subject only.
func TestInterrupt(t *testing.T) {
	book := open(t, t.TempDir())
	ended, left, other := book.begin(1), book.begin(1), book.begin(2)
	book.end(ended, "")
	book.write(func(tx *store.Tx) error { return journal.Interrupt(tx, "certificate/shop-1", start.Add(time.Minute)) })
	acts, _ := journal.Tail(context.Background(), book.state, "", 10)
	byID := map[int64]journal.Act{}
	for _, act := range acts {
		byID[act.ID] = act
	}
	if byID[ended].Outcome != journal.Done || byID[left].Outcome != journal.Failed || byID[left].Cause != "interrupted" || byID[other].FinishedAt != nil {
		t.Errorf("%+v", acts)
	}
	book.sequence()
	if result := book.verify(nil); !result.OK || result.Leaves != 5 {
		t.Errorf("%+v", result)
	}
}

// TestAbout finds the acts on every row of a certificate and on no other whose
// name begins alike.
func TestAbout(t *testing.T) {
	book := open(t, t.TempDir())
	for _, subject := range []string{"certificate/shop", "deployment/shop/nginx", "challenge/shop/web/http-01/t", "certificate/shop2", "deployment/shop2/nginx", "deployment/shop.example/nginx", "challenge/sho/web", "journal"} {
		book.write(func(tx *store.Tx) error {
			_, err := journal.Begin(tx, journal.Intent{What: "x", Subject: subject, Actor: "test", At: start})
			return err
		})
	}
	acts, err := journal.About(context.Background(), book.state, "shop", 10)
	if err != nil || len(acts) != 3 || acts[0].Subject != "certificate/shop" || acts[2].Subject != "challenge/shop/web/http-01/t" {
		t.Errorf("%+v, %v", acts, err)
	}
	if acts, _ = journal.About(context.Background(), book.state, "shop", 1); len(acts) != 1 || acts[0].Subject != "challenge/shop/web/http-01/t" {
		t.Errorf("newest: %+v", acts)
	}
}
