package journal

import (
	"encoding/hex"
	"encoding/json"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// intentLeaf and outcomeLeaf are what the log's hashes are computed over. Their
// field names and order are part of the journal's format and never change; new
// facts become new fields at the end.
type intentLeaf struct {
	Act      int64             `json:"act"`
	Part     string            `json:"part"` // intent
	What     string            `json:"what"`
	Subject  string            `json:"subject"`
	Actor    string            `json:"actor"`
	Incident string            `json:"incident"`
	At       string            `json:"at"`
	Intent   map[string]string `json:"intent"` // encoding/json sorts the keys
}

type outcomeLeaf struct {
	Act     int64  `json:"act"`
	Part    string `json:"part"` // outcome
	At      string `json:"at"`
	Outcome string `json:"outcome"`
	Error   string `json:"error"`
	Cause   string `json:"cause"`
}

func (act *Act) intentHash() tlog.Hash {
	return hashOf(intentLeaf{act.ID, "intent", act.What, act.Subject, act.Actor, act.Incident, stamp(act.At), act.Intent})
}

func (act *Act) outcomeHash() tlog.Hash {
	return hashOf(outcomeLeaf{act.ID, "outcome", stamp(*act.FinishedAt), act.Outcome, act.Error, act.Cause})
}

func hashOf(leaf any) tlog.Hash {
	data, err := json.Marshal(leaf)
	if err != nil {
		panic("journal: a leaf that cannot be written: " + err.Error()) // strings and numbers only
	}
	return tlog.RecordHash(data)
}

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000000Z") }

func hexOf(hash tlog.Hash) string { return hex.EncodeToString(hash[:]) }
