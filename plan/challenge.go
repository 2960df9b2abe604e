package plan

import "time"

// Challenge is one thing that the CA may look for, and, as a row of its own,
// the answer that we have put somewhere and must take away again. The row is
// stored before the answer is set, so that no kill can leave one behind that
// nobody remembers.
type Challenge struct {
	Name       string    `json:"name,omitempty"`       // the managed certificate
	Attempt    int       `json:"attempt,omitempty"`    // of that certificate
	Authority  string    `json:"authority,omitempty"`  //
	Solver     string    `json:"solver,omitempty"`     //
	Identifier string    `json:"identifier,omitempty"` // without the star of a wildcard
	Type       string    `json:"type"`
	URL        string    `json:"url,omitempty"`
	Token      string    `json:"token,omitempty"`
	Status     string    `json:"status,omitempty"`
	History    History   `json:"history,omitzero"`
	Open       bool      `json:"open,omitempty"`  // the attempt still needs it
	Since      time.Time `json:"since,omitzero"`  // when it was to be set
	Trouble    *Trouble  `json:"error,omitempty"` // of the CA's validation
}

func (challenge *Challenge) id() string {
	// The token is unique at one CA; the solver because the same token could be
	// set by two.
	return KindChallenge + "/" + challenge.Name + "/" + challenge.Solver + "/" + challenge.Type + "/" + challenge.Token
}

// decideChallenge takes an answer away once it is no longer needed, however
// often that fails: it never delays anything else.
func (rules Rules) decideChallenge(row *Challenge, event Event, now time.Time) Decision {
	decision := Decision{Row: Row{Challenge: row}, Deadline: row.Since.Add(24 * time.Hour)}
	if event.Effect == Clean {
		if event.Trouble == nil {
			decision.Gone = true
			return decision
		}
		row.History.fail(rules, row.Name, event.Trouble, 0, now)
		decision.Findings = append(decision.Findings, event.Trouble.finding("solver-failed", row.Name, row.History.RetryAt))
	}
	switch {
	case row.Open:
		// The attempt wakes this row when it is done with it.
	case row.History.waiting(now):
		decision.Next = row.History.RetryAt
	default:
		decision.Effects = []Effect{{Kind: Clean}}
	}
	return decision
}
