package finding

import "sort"

// Entry is what the catalogue knows about one code, before any case of it.
type Entry struct {
	Code        Code
	Severity    Severity // of the usual case; a rule may raise or lower it and says so in Explanation
	Title       string   // what is wrong, a few words, no full stop
	Explanation string   // when it is raised and what it leads to
	Remedy      string   // what to do, in the imperative
	Next        string   // one command to type next; capital words are to be filled in
	Source      string   // the rule behind it: RFC section, Baseline Requirements section, or "" when it is ours
}

// areas are listed in the order of the reference page. A new area is one line
// here; listing beats init functions, which hide what is missing.
var areas = []struct {
	title   string
	entries []Entry
}{
	{"The certificate", certificateEntries},
	{"The chain, the key and the signatures", chainEntries},
	{"Serving and files", servingEntries},
	{"Renewal, authorities and solvers", renewalEntries},
	{"Targets", targetEntries},
	{"Backstay itself", selfEntries},
}

var byCode = func() map[Code]Entry {
	index := map[Code]Entry{}
	for _, area := range areas {
		for _, entry := range area.entries {
			index[entry.Code] = entry
		}
	}
	return index
}()

// Catalogue lists every entry, sorted by code. The slice is the caller's.
func Catalogue() []Entry {
	entries := make([]Entry, 0, len(byCode))
	for _, area := range areas {
		entries = append(entries, area.entries...)
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Code < entries[j].Code })
	return entries
}

// Lookup returns the entry of a code; ok is false when the catalogue has none.
func Lookup(code Code) (entry Entry, ok bool) {
	entry, ok = byCode[code]
	return entry, ok
}

// Caps on what one finding carries; in characters.
const (
	summaryLimit  = 500
	evidenceLimit = 1000
)

// New makes a finding of the catalogue's kind: severity and remedy come from
// there. The summary is this case in one sentence; evidence is pairs of key and
// value. Summary and values may quote outside text: they pass through Text here.
// Evidence with an empty value is left out, for what is not known is not shown.
//
// A code without entry gives a finding of severity high without remedy; it never
// panics, because losing the message would be worse than an unpolished one.
func New(code Code, summary string, evidence ...string) Finding {
	entry, ok := byCode[code]
	if !ok {
		entry = Entry{Severity: High}
	}
	made := Finding{Code: code, Severity: entry.Severity, Summary: TextAtMost(summary, summaryLimit), Remedy: entry.Remedy}
	for i := 0; i+1 < len(evidence); i += 2 {
		if evidence[i+1] == "" {
			continue
		}
		if made.Evidence == nil {
			made.Evidence = map[string]string{}
		}
		made.Evidence[evidence[i]] = TextAtMost(evidence[i+1], evidenceLimit)
	}
	return made
}

// As returns the finding with another severity, for the cases in which the
// catalogue's own does not fit.
func (f Finding) As(severity Severity) Finding {
	f.Severity = severity
	return f
}
