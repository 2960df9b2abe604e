package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/finding"
)

// Code names one kind of configuration mistake for good, in lower case.
type Code string

// Problem is one mistake, or one warning, in the configuration.
type Problem struct {
	Position Position
	Code     Code
	Warning  bool   // the configuration may be used all the same
	Message  string // one line, no capital, no full stop; text from the file is quoted and escaped
	Remedy   string // what to write instead; "" when the message says it
	Meant    string // the name that was probably meant; "" when none is near
	Excerpt  string // the line, made printable and cut to a window; "" when there is none
	Caret    int    // column inside Excerpt, from 0
}

// String renders the problem as several lines: position and message, excerpt
// with a caret, then what was meant and the remedy. It ends without a newline
// and is safe to show at a terminal.
func (problem Problem) String() string {
	var text strings.Builder
	label := "error"
	if problem.Warning {
		label = "warning"
	}
	fmt.Fprintf(&text, "%s: %s: %s", problem.Position, label, problem.Message)
	if problem.Excerpt != "" {
		fmt.Fprintf(&text, "\n    %s\n    %s^", problem.Excerpt, strings.Repeat(" ", problem.Caret))
	}
	if problem.Meant != "" {
		fmt.Fprintf(&text, "\n  did you mean %q?", problem.Meant)
	}
	if problem.Remedy != "" {
		text.WriteString("\n  " + problem.Remedy)
	}
	return text.String()
}

// String is file:line:column, or the file alone when no line is known.
func (position Position) String() string {
	name := finding.Text(position.File)
	if position.Line == 0 {
		return name
	}
	return fmt.Sprintf("%s:%d:%d", name, position.Line, position.Column)
}

// Errors counts the problems that are not warnings.
func Errors(problems []Problem) int {
	count := 0
	for _, problem := range problems {
		if !problem.Warning {
			count++
		}
	}
	return count
}

// longestQuote is how many bytes of a text from the file a message repeats.
const longestQuote = 200

// collector gathers the problems of one Load over all its files.
type collector struct {
	problems []Problem
	sources  map[string]*source // by the path that positions carry
	order    map[string]int     // of the files, for sorting
}

// add reports code at a position; the arguments are those of the message's
// format. The pointer is good until the next add: it is for setting Meant or
// Remedy at once.
func (all *collector) add(at Position, code Code, arguments ...any) *Problem {
	kind := messages[code]
	for index, each := range arguments {
		if value, ok := each.(string); ok && len(value) > longestQuote {
			arguments[index] = strings.ToValidUTF8(value[:longestQuote], "") + "…"
		}
	}
	all.problems = append(all.problems, Problem{
		Position: at,
		Code:     code,
		Warning:  kind.warning,
		Message:  fmt.Sprintf(kind.format, arguments...),
		Remedy:   kind.remedy,
	})
	return &all.problems[len(all.problems)-1]
}

// crowded reports whether so much was found that suggestions, which compare
// with every defined name, are no longer worth their time.
func (all *collector) crowded() bool { return len(all.problems) > MaxProblems }

// finish sorts the problems as a reader meets them, drops those beyond limit
// and adds the excerpts. Excerpts come last because only then all secrets that
// must not be shown are known.
func (all *collector) finish(limit int) []Problem {
	slices.SortStableFunc(all.problems, func(a, b Problem) int {
		if a.Position.File != b.Position.File {
			return all.order[a.Position.File] - all.order[b.Position.File]
		}
		if a.Position.Line != b.Position.Line {
			return a.Position.Line - b.Position.Line
		}
		return a.Position.Column - b.Position.Column
	})
	kept := all.problems
	if len(kept) > limit {
		more := len(kept) - limit
		// Errors must not be cut away behind warnings: a configuration is
		// refused when the returned problems hold an error.
		slices.SortStableFunc(kept, func(a, b Problem) int { return order(a.Warning) - order(b.Warning) })
		kept = kept[:limit]
		last := kept[limit-1].Position
		all.problems = kept
		// A warning when all the rest are: warnings never refuse a configuration.
		all.add(last, TooManyProblems, more).Warning = Errors(kept) == 0
		kept = all.problems
	}
	for index := range kept {
		if from := all.sources[kept[index].Position.File]; from != nil && kept[index].Code != TooManyProblems {
			kept[index].Excerpt, kept[index].Caret = from.excerpt(kept[index].Position, strings.HasPrefix(string(kept[index].Code), "yaml-"))
		}
	}
	return kept
}

func order(warning bool) int {
	if warning {
		return 1
	}
	return 0
}
