package plan

import (
	"fmt"
	"time"

	"github.com/backstay/backstay/finding"
)

// Deployment is the row of one certificate at one target: which generation it
// should serve, and how far that has come.
//
//	Look · Stage · Check · Swap · Reload · Verify… and, on evidence only,
//	SwapBack · Reload · Verify…
//
// Every step is repeated after a kill; each is idempotent. Deployments of one
// target are driven together, so that Check and Reload serve all that are ready.
type Deployment struct {
	Name       string     `json:"name"`
	Target     string     `json:"target"`
	Domains    []string   `json:"domains"` // the names it must be served for
	Node       string     `json:"node,omitempty"`
	Wanted     int        `json:"wanted"`           // generation to be served
	Generation int        `json:"going,omitempty"`  // the one being deployed now
	Phase      Phase      `json:"phase,omitempty"`  // how far that is; "" for nothing under way
	Served     int        `json:"served,omitempty"` // the generation last proven to be served everywhere
	ServedAt   time.Time  `json:"served_at,omitzero"`
	Held       int        `json:"held,omitempty"`     // the generation that was rolled back; not tried again before History.RetryAt
	Back       int        `json:"back,omitempty"`     // what a roll-back returns to
	BackOK     bool       `json:"back_ok,omitempty"`  // there is something to return to, and it is not worse
	Because    string     `json:"because,omitempty"`  // why it is rolled back
	Rolling    bool       `json:"rolling,omitempty"`  // the roll-back is under way
	Form       string     `json:"form,omitempty"`     // how the target uses our files
	Listeners  []Listener `json:"listen,omitempty"`   // and what each answered before the swap
	Good       int        `json:"good,omitempty"`     // good looks in a row
	Looks      int        `json:"looks,omitempty"`    // since the reload
	LookAt     time.Time  `json:"look_at,omitzero"`   // next
	Reloaded   time.Time  `json:"reloaded,omitzero"`  // when
	Unproven   bool       `json:"unproven,omitempty"` // in force, but not seen to be served: looked at again
	Blind      bool       `json:"blind,omitempty"`    // in force, and nobody told us where to look
	Asked      bool       `json:"asked,omitempty"`    // a person asked: do not wait for clients' clocks
	AllowWorse bool       `json:"worse,omitempty"`    // a person confirmed a worse certificate
	Anew       bool       `json:"anew,omitempty"`     // prove it again although it was served before
	Backward   bool       `json:"backward,omitempty"` // a person wants an older generation than the one in force
	DueSince   time.Time  `json:"due_since,omitzero"`
	Deadline   time.Time  `json:"deadline,omitzero"`
	History    History    `json:"history,omitzero"`
}

// Phase is how far a deployment has come; each names what is done.
type Phase string

const (
	PhaseSeen     Phase = "seen"     // looked at: what is there, and that the new pair is not worse
	PhaseStaged   Phase = "staged"   // files ready beside those in force
	PhaseChecked  Phase = "checked"  // the server's own test passed
	PhaseSwapped  Phase = "swapped"  // one rename done
	PhaseReloaded Phase = "reloaded" // the server was told
)

// FormNone is the form of a target in which no server block uses the
// certificate; FormLink that in which the server opens two plain paths.
const (
	FormNone = "none"
	FormLink = "link"
)

// Listener is one place to look, and what it answered before the swap.
type Listener struct {
	Address    string `json:"address"`
	ServerName string `json:"server_name,omitempty"`
	Transport  string `json:"transport,omitempty"`
	Answered   bool   `json:"answered,omitempty"`
	SHA256     string `json:"sha256,omitempty"` // of the leaf it served
}

// Sight is one fresh handshake of a verification.
type Sight struct {
	Address    string `json:"address"`
	ServerName string `json:"server_name,omitempty"`
	Answered   bool   `json:"answered,omitempty"`
	SHA256     string `json:"sha256,omitempty"` // of the leaf, whose key was proven
	Error      string `json:"error,omitempty"`
}

// Seen is the outcome of Look.
type Seen struct {
	Form       string     `json:"form"`
	Generation int        `json:"generation"` // in force; 0: a pair that is not ours; -1: none
	Old        Pair       `json:"old,omitzero"`
	New        Pair       `json:"new"`
	Listeners  []Listener `json:"listeners,omitempty"`
	DropIn     string     `json:"drop_in,omitempty"` // where a server block may be added, when none uses the certificate
}

func (row *Deployment) id() string {
	return KindDeployment + "/" + row.Name + "/" + row.Target
}

func (rules Rules) decideDeployment(row *Deployment, event Event, now time.Time) Decision {
	decision := Decision{}
	if event.Effect != "" && row.Phase != "" || event.Effect == Look {
		rules.takeDeployment(row, event, now, &decision)
	} else if event.Around.Restarted && row.Phase == PhaseReloaded {
		// What passed while no process looked is no evidence: patience begins anew.
		row.Reloaded, row.Looks, row.Good = now, 0, 0
	}
	rules.nextDeployment(row, event, now, &decision)
	decision.Deadline = row.Deadline
	decision.Row = Row{Deployment: row}
	return decision
}

// nextDeployment derives the next effect from the row and from what the driver
// knows of the target.
func (rules Rules) nextDeployment(row *Deployment, event Event, now time.Time, decision *Decision) {
	one := func(kind EffectKind, generation int) {
		decision.Effects = []Effect{{Kind: kind, Generation: generation}}
	}
	if row.History.waiting(now) {
		decision.Next = row.History.RetryAt
		return
	}
	switch row.Phase {
	case "":
		if row.Served == row.Wanted && !row.Unproven && !row.Anew {
			return // nothing to do until a new generation comes
		}
		row.Generation = row.Wanted
		one(Look, row.Generation)
	case PhaseSeen:
		one(Stage, row.Generation)
	case PhaseStaged:
		// Others for this target may be a moment away: let one test and one reload
		// serve them all, but not for ever.
		if hold := row.DueSince.Add(rules.Timing.ReloadHold); event.Around.OthersDue && now.Before(hold) && !row.Rolling {
			decision.Next = earliest(hold, now.Add(100*time.Millisecond))
			return
		}
		one(Check, row.Generation)
	case PhaseChecked:
		if row.Rolling {
			one(SwapBack, row.Back)
			return
		}
		if row.Backward {
			one(SwapBack, row.Generation)
			return
		}
		one(Swap, row.Generation)
	case PhaseSwapped:
		if row.Form == FormNone {
			rules.notConfigured(row, now, decision)
			return
		}
		// At most one reload in ReloadEvery. A roll-back does not wait.
		last := event.Around.LastReload
		if free := last.Add(event.Around.ReloadEvery); now.Before(free) && !row.Rolling && !last.IsZero() && !last.After(now) {
			decision.Next = free
			return
		}
		one(Reload, row.Generation)
	case PhaseReloaded:
		if now.Before(row.LookAt) {
			decision.Next = row.LookAt
			return
		}
		one(Verify, row.Generation)
	}
}

// takeDeployment takes one event's facts into the row.
func (rules Rules) takeDeployment(row *Deployment, event Event, now time.Time, decision *Decision) {
	if event.Trouble != nil {
		rules.takeTargetTrouble(row, event, now, decision)
		return
	}
	switch event.Effect {
	case Look:
		rules.takeSeen(row, event, now, decision)
	case Stage:
		row.Phase = PhaseStaged
	case Check:
		row.Phase = PhaseChecked
	case Swap, SwapBack:
		row.Phase = PhaseSwapped
	case Reload:
		row.Phase = PhaseReloaded
		row.Reloaded, row.LookAt = now, now.Add(at(rules.Timing.VerifyEvery, 0))
		row.Good, row.Looks = 0, 0
	case Verify:
		rules.takeVerified(row, event, now, decision)
	}
}

// takeSeen judges whether the new pair may replace what is there.
func (rules Rules) takeSeen(row *Deployment, event Event, now time.Time, decision *Decision) {
	seen := event.Seen
	row.Form, row.Listeners = seen.Form, seen.Listeners
	row.Back, row.BackOK, row.Rolling = seen.Generation, false, false
	if seen.Generation == row.Generation {
		// Already in force: an earlier run died after its swap, or a person did it.
		// What was served before is not known any more, so there is nothing to
		// return to; reload and prove.
		row.Phase = PhaseSwapped
		return
	}
	judgement := Worse(seen.New, seen.Old, now)
	old := seen.Old
	// Never roll back to a worse pair; a later end is no reason either way.
	row.BackOK = old.Present && Worse(old, seen.New, now).Worse == ""
	switch {
	case judgement.Worse != "" && !row.AllowWorse:
		rules.hold(row, decision, now.Add(time.Hour), &Trouble{
			Class: Setup, Code: "target-drift",
			Summary: fmt.Sprintf("not deployed to %s: the new certificate is worse than the one in force: %s", row.Target, judgement.Worse),
			Next:    fmt.Sprintf("look at both with `backstay show %s`; `backstay deploy %s --confirm %s` deploys it all the same", row.Name, row.Name, row.Name),
		})
		return
	case judgement.Unknown != "" && now.Before(row.DueSince.Add(row.Deadline.Sub(row.DueSince)/2)) && old.usable(now) && !row.Asked:
		rules.hold(row, decision, earliest(now.Add(time.Hour), row.DueSince.Add(row.Deadline.Sub(row.DueSince)/2)), &Trouble{
			Class: Setup, Code: "target-not-verified",
			Summary: fmt.Sprintf("waiting to deploy to %s: %s", row.Target, judgement.Unknown),
			Next:    "name the CA's root with `roots:` under its authority, if it is a private one",
		})
		return
	}
	if settled := seen.New.NotBefore.Add(rules.Timing.SettleAfter); now.Before(settled) && !row.Asked && old.canWaitUntil(settled, row.Deadline) {
		row.Phase = ""
		row.History.RetryAt = settled
		return
	}
	row.Phase = PhaseSeen
}

// hold leaves everything as it is and says why.
func (rules Rules) hold(row *Deployment, decision *Decision, until time.Time, trouble *Trouble) {
	row.Phase = ""
	row.History.RetryAt = until
	row.History.Last = trouble
	decision.Findings = append(decision.Findings, trouble.finding(finding.Code(trouble.Code), row.Name, until))
}

// takeTargetTrouble: the target could not be asked, or said no. Before the swap
// nothing has changed and it is tried again later; after it, a server that
// refuses its files gets the old ones back.
func (rules Rules) takeTargetTrouble(row *Deployment, event Event, now time.Time, decision *Decision) {
	trouble := event.Trouble
	row.History.fail(rules, row.Name+row.Target, trouble, 0, now)
	code := finding.Code("target-check-failed")
	switch event.Effect {
	case Reload:
		code = "target-reload-failed"
		switch {
		case trouble.Code == "target-not-running":
			// It will read the new files when it starts; there is nothing to undo.
			rules.unproven(row, trouble.Summary, now, decision)
			return
		case !row.Rolling && row.BackOK:
			row.History.RetryAt = now // nothing may delay the way back
			rules.rollBack(row, trouble.Summary)
		}
	case Look, Stage, Check:
		// Begin again with a look: what is in force may have changed meanwhile.
		row.Phase = ""
	}
	if trouble.Code != "" {
		code = finding.Code(trouble.Code)
	}
	decision.Findings = append(decision.Findings, trouble.finding(code, row.Name, row.History.RetryAt))
}

// takeVerified counts good looks, and judges when patience has run out.
func (rules Rules) takeVerified(row *Deployment, event Event, now time.Time, decision *Decision) {
	row.Looks++
	good, lost := row.compare(event)
	if good {
		row.Good++
		row.LookAt = now.Add(rules.Timing.VerifyAgain)
	} else {
		row.Good = 0
		row.LookAt = now.Add(at(rules.Timing.VerifyEvery, row.Looks))
	}
	switch {
	case row.Good >= rules.Timing.VerifyRounds && row.Rolling:
		rules.rolledBack(row, now, decision, "and the previous certificate is served again")
	case row.Rolling && len(event.Verified) == 0:
		rules.rolledBack(row, now, decision, "and nobody told us where to look at what is served")
	case row.Good >= rules.Timing.VerifyRounds, len(event.Verified) == 0:
		rules.proven(row, len(event.Verified) == 0, now, decision)
	case now.Before(row.Reloaded.Add(rules.Timing.VerifyPatience)):
		// Old workers may still answer; look again.
	case row.Rolling:
		// The old pair is back in its place and the server was told: there is
		// nothing better to return to.
		rules.rolledBack(row, now, decision, "but the previous certificate is not served on every listener either: "+lost)
	case lost != "" && row.BackOK:
		rules.rollBack(row, lost)
	default:
		rules.unproven(row, orElse(lost, "no listener answered"), now, decision)
	}
}

// compare reads one round of looks. good: every listener shows the wanted leaf
// and proved its key. lost names a listener that answered before the swap and
// now fails or shows another certificate.
func (row *Deployment) compare(event Event) (good bool, lost string) {
	good = len(event.Verified) > 0
	for _, sight := range event.Verified {
		before, wanted := row.before(sight), event.Wanted
		if row.Rolling {
			wanted = before.SHA256
			if !before.Answered {
				continue // it did not answer before the swap either
			}
		}
		if sight.Answered && sight.SHA256 == wanted {
			continue
		}
		good = false
		if lost != "" || !before.Answered {
			continue
		}
		if sight.Answered {
			lost = fmt.Sprintf("%s (%s) shows another certificate", sight.Address, sight.ServerName)
		} else {
			lost = fmt.Sprintf("%s (%s) answered before and now fails: %s", sight.Address, sight.ServerName, finding.Text(sight.Error))
		}
	}
	return good, lost
}

// proven: every listener serves the generation, or there is none to look at.
func (rules Rules) proven(row *Deployment, blind bool, now time.Time, decision *Decision) {
	first := row.Served == 0
	row.Served, row.ServedAt = row.Generation, now
	row.Blind, row.Unproven = blind, false
	row.Phase, row.Held = "", 0
	if row.Generation == row.Wanted { // else what was asked for is still to come
		row.Asked, row.AllowWorse, row.Anew, row.Backward = false, false, false, false
	}
	row.History.clear()
	// The certificate moves its live link when all its deployments are proven.
	decision.Poke = append(decision.Poke, KindCertificate+"/"+row.Name)
	if row.Form == FormLink && first {
		decision.Findings = append(decision.Findings, finding.New("target-not-atomic",
			fmt.Sprintf("%s: %s opens two plain paths: a server that starts in the instant of a change could see a mixed pair", row.Name, row.Target)))
	}
}

// unproven: the new pair is in force but was not seen to be served, and there is
// no evidence for going back, or nothing to go back to. Looked at again later.
func (rules Rules) unproven(row *Deployment, why string, now time.Time, decision *Decision) {
	row.Phase, row.Unproven = "", true
	trouble := &Trouble{Class: TargetFault, Code: "target-not-verified",
		Summary: fmt.Sprintf("%s holds the new certificate but it was not seen to be served: %s", row.Target, why),
		Next:    fmt.Sprintf("look at the server, then run `backstay deploy %s`", row.Name),
	}
	row.History.fail(rules, row.Name+row.Target, trouble, 0, now)
	// Each new look reloads the server: not within the minute.
	row.History.RetryAt = latest(row.History.RetryAt, now.Add(time.Minute))
	decision.Findings = append(decision.Findings, trouble.finding("target-not-verified", row.Name, row.History.RetryAt))
}

// notConfigured: our files are in place, but no server block uses them.
func (rules Rules) notConfigured(row *Deployment, now time.Time, decision *Decision) {
	row.Phase, row.Unproven = "", true
	trouble := &Trouble{Class: Setup, Code: "target-not-configured",
		Summary: fmt.Sprintf("no server block of %s uses this certificate yet", row.Target),
		Next:    "see `backstay plan` for the line to add; `backstay apply` adds a server block by itself",
	}
	row.History.fail(rules, row.Name+row.Target, trouble, 0, now)
	row.History.RetryAt = latest(row.History.RetryAt, now.Add(time.Minute))
	decision.Next = row.History.RetryAt
	decision.Findings = append(decision.Findings, trouble.finding("target-not-configured", row.Name, row.History.RetryAt))
}

// rollBack turns round on evidence: the previous pair is put back, the server
// told, and the previous pair verified.
func (rules Rules) rollBack(row *Deployment, why string) {
	row.Rolling, row.Because = true, why
	row.Phase = PhaseChecked
}

// rolledBack ends a roll-back. The generation is tried again later, ever less often.
func (rules Rules) rolledBack(row *Deployment, now time.Time, decision *Decision, state string) {
	row.Phase, row.Rolling, row.Held = "", false, row.Generation
	trouble := &Trouble{Class: TargetFault, Code: "target-rolled-back",
		Summary: fmt.Sprintf("%s was rolled back: %s; %s", row.Target, row.Because, state),
		Next:    fmt.Sprintf("find out why with `backstay log tail`, then run `backstay deploy %s`", row.Name),
	}
	row.History.fail(rules, row.Name+row.Target, trouble, 0, now)
	row.History.RetryAt = latest(row.History.RetryAt, now.Add(10*time.Minute))
	decision.Findings = append(decision.Findings, trouble.finding("target-rolled-back", row.Name, row.History.RetryAt))
}

func (row *Deployment) before(sight Sight) Listener {
	for _, listener := range row.Listeners {
		if listener.Address == sight.Address && listener.ServerName == sight.ServerName {
			return listener
		}
	}
	return Listener{}
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
