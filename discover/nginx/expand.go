package nginx

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/backstay/backstay/finding"
)

// deepestInclude is how far includes are followed. nginx follows a circle until
// it runs out of file descriptors.
const deepestInclude = 32

// statement is a directive in the place where its includes put it.
type statement struct {
	*directive
	through *include // the file it stands in; nil for the main file
	block   []*statement
}

// include is one step from the main file to a statement.
type include struct {
	path   string
	around *include
}

// list gives the files from the outermost to the innermost.
func (step *include) list() []string {
	if step == nil {
		return nil
	}
	return append(step.around.list(), step.path)
}

// expander reads a configuration with all its includes.
type expander struct {
	source   source
	folder   string // of the main file: what relative paths start from
	parsed   map[string][]*directive
	order    []string            // the keys of parsed
	matched  map[string][]string // glob patterns: one snippet pattern may stand in thousands of servers
	left     int                 // directives that may still be parsed
	places   int                 // statements that may still be placed: an include may be repeated
	problems []Problem
	fatal    error // the context's end: not to be taken for an unreadable file
}

func newExpander(source source, main string) *expander {
	return &expander{source: source, folder: path.Dir(main), parsed: map[string][]*directive{}, matched: map[string][]string{}, left: mostDirectives, places: mostDirectives}
}

func (expander *expander) problem(file string, line int, format string, arguments ...any) {
	if len(expander.problems) < mostProblems {
		text := finding.TextAtMost(fmt.Sprintf(format, arguments...), 300)
		expander.problems = append(expander.problems, Problem{File: file, Line: line, Text: text})
	}
}

// file parses a file once, however often it is included.
func (expander *expander) file(name string) ([]*directive, error) {
	if list, done := expander.parsed[name]; done {
		return list, nil
	}
	if len(expander.parsed) >= mostFiles {
		return nil, fmt.Errorf("more than %d files", mostFiles)
	}
	text, err := expander.source.read(name)
	if err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			expander.fatal = err
		}
		return nil, err
	}
	list, err := parse(name, text, &expander.left)
	expander.parsed[name] = list
	expander.order = append(expander.order, name)
	var syntax *syntaxError
	if errors.As(err, &syntax) {
		expander.problem(name, syntax.line, "%s", syntax.why)
	}
	return list, nil
}

// expand puts the statements of a block in place, included ones among them.
func (expander *expander) expand(list []*directive, through *include, depth int) []*statement {
	var placed []*statement
	for _, directive := range list {
		if expander.fatal != nil {
			return placed
		}
		if expander.places--; expander.places < 0 {
			if expander.places == -1 {
				expander.problem(directive.file, directive.line, "more than %d statements, includes counted", mostDirectives)
			}
			return placed
		}
		made := &statement{directive: directive, through: through}
		placed = append(placed, made)
		switch {
		case directive.name == "include" && len(directive.arguments) == 1 && !directive.hasBlock:
			placed = append(placed, expander.include(directive, through, depth)...)
		case directive.hasBlock && !opaque[directive.name]:
			made.block = expander.expand(directive.block, through, depth)
		}
	}
	return placed
}

func (expander *expander) include(directive *directive, through *include, depth int) []*statement {
	pattern := expander.absolute(directive.arguments[0])
	if depth >= deepestInclude {
		expander.problem(directive.file, directive.line, "includes nested deeper than %d, or in a circle", deepestInclude)
		return nil
	}
	names, err := expander.match(pattern)
	if err != nil {
		expander.problem(directive.file, directive.line, "include %q: %v", pattern, err)
	}
	var placed []*statement
	for _, name := range names {
		list, err := expander.file(name)
		if err != nil {
			expander.problem(directive.file, directive.line, "include %q: %v", name, err)
			continue
		}
		placed = append(placed, expander.expand(list, &include{path: name, around: through}, depth+1)...)
	}
	return placed
}

// match returns the files an include names; one without a wildcard names itself.
func (expander *expander) match(pattern string) (names []string, err error) {
	if !isGlob(pattern) {
		return []string{pattern}, nil
	}
	names, done := expander.matched[pattern]
	if !done {
		names, err = expander.source.match(pattern)
		expander.matched[pattern] = names
	}
	return names, err
}

// absolute is ngx_conf_full_name: the text is put behind the main file's folder
// and not cleaned, so that names stay those that nginx prints.
func (expander *expander) absolute(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return strings.TrimSuffix(expander.folder, "/") + "/" + name
}
