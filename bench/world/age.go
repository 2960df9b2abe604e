package world

import (
	"database/sql"
	"errors"
	"time"

	_ "modernc.org/sqlite" // reads the state of the client that is measured
)

// age lets Backstay's certificate have been issued when its dates say: a
// certificate that is due at the moment of its issuance is not renewed at once,
// since that would be a loop, and here 70 days are meant to have passed.
func age(path string) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	_, err = db.Exec(`UPDATE work SET body = CAST(json_set(CAST(body AS TEXT), '$.certificate.held.issued_at', ?) AS BLOB) WHERE kind = 'certificate'`,
		time.Now().AddDate(0, 0, -70).UTC().Format(time.RFC3339))
	return errors.Join(err, db.Close())
}
