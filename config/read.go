package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// reader turns the tree of one file into values and reports what does not fit.
type reader struct {
	from *source
	all  *collector
}

// text is a word as it was written, with its place.
type text struct {
	value string
	at    Position
}

// field is one key of a mapping, with its value.
type field struct {
	key   string
	at    Position // of the key
	value ast.Node
}

// keys says which keys a mapping may have.
type keys struct {
	owner string   // "a certificate": for messages
	known []string // in the order messages list them
	later []string // part of the design, not of this version: an error, never silently accepted
}

// fields lists the known keys of a mapping in the order written; everything
// else is reported. A null value counts as an empty mapping.
func (in *reader) fields(node ast.Node, allowed keys) []field {
	found, ok := in.entries(node, allowed.owner)
	if !ok {
		return nil
	}
	kept := found[:0]
	for _, each := range found {
		switch {
		case contains(allowed.known, each.key):
			kept = append(kept, each)
		case contains(allowed.later, each.key):
			in.hideForeign(each)
			in.all.add(each.at, UnsupportedKey, each.key, allowed.owner)
		default:
			in.hideForeign(each)
			problem := in.all.add(each.at, UnknownKey, each.key, allowed.owner)
			if in.all.crowded() {
				continue
			}
			problem.Meant = Nearest(each.key, allowed.known)
			if problem.Meant == "" {
				problem.Remedy = "known here: " + strings.Join(allowed.known, ", ")
			}
		}
	}
	return kept
}

// hideForeign keeps what may be a secret under a key that we do not read out of
// the excerpts: a password is a password under a misspelt key too.
func (in *reader) hideForeign(each field) {
	_, nested := each.value.(*ast.MappingNode)
	if nested || secretName.MatchString(each.key) {
		in.from.hideAll(each.value)
	}
}

// entries lists all keys of a mapping; a key written twice is reported and
// counts once. ok is false when node is no mapping.
func (in *reader) entries(node ast.Node, what string) (found []field, ok bool) {
	switch node := node.(type) {
	case nil, *ast.NullNode:
		return nil, true
	case *ast.MappingNode:
		var seen map[string]Position
		found = make([]field, 0, len(node.Values))
		for _, value := range node.Values {
			each := field{at: in.from.position(value.Key), value: value.Value}
			if begin := value.Key.GetToken(); begin != nil {
				each.key = begin.Value
			}
			if len(node.Values) > 1 {
				if seen == nil {
					seen = make(map[string]Position, len(node.Values))
				}
				if first, twice := seen[each.key]; twice {
					in.all.add(each.at, DuplicateKey, each.key, first)
					continue
				}
				seen[each.key] = each.at
			}
			found = append(found, each)
		}
		return found, true
	}
	in.wrong(node, what, "a mapping (key: value)")
	return nil, false
}

// wrong reports a value of the wrong kind.
func (in *reader) wrong(node ast.Node, what, wanted string) *Problem {
	return in.all.add(in.from.position(node), WrongType, what, wanted, kindOf(node))
}

func kindOf(node ast.Node) string {
	switch node.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.MappingNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	}
	return "text"
}

// word reads a value that must be text and not empty. ok is false when it was
// reported.
func (in *reader) word(node ast.Node, what string) (text, bool) {
	value, ok := scalar(node)
	if !ok {
		problem := in.wrong(node, what, "text")
		if begin := nodeText(node); begin != "" {
			problem.Remedy = fmt.Sprintf("write it in quotes: %q", begin)
		}
		return text{}, false
	}
	at := in.from.position(node)
	if value == "" {
		in.all.add(at, EmptyValue, what)
		return text{}, false
	}
	if strings.ContainsFunc(value, isControl) {
		in.all.add(at, ControlCharacter, what)
		return text{}, false
	}
	return text{value, at}, true
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// scalar is the text of a string node.
func scalar(node ast.Node) (string, bool) {
	switch node := node.(type) {
	case *ast.StringNode:
		return node.Value, true
	case *ast.LiteralNode:
		if node.Value == nil {
			return "", true
		}
		// A block's last line end belongs to YAML's layout, not to a value of ours.
		return strings.TrimSuffix(node.Value.Value, "\n"), true
	}
	return "", false
}

// nodeText is how a number or a truth value was written.
func nodeText(node ast.Node) string {
	switch node.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return node.GetToken().Value
	}
	return ""
}

// words reads a list of texts. A single text is reported with the list it
// should have been.
func (in *reader) words(node ast.Node, what string) []text {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		if value, single := scalar(node); single {
			in.all.add(in.from.position(node), ListExpected, what).Remedy = fmt.Sprintf("write [%q]", value)
		} else {
			in.wrong(node, what, "a list")
		}
		return nil
	}
	found := make([]text, 0, len(list.Values))
	for _, value := range list.Values {
		if each, ok := in.word(value, "each of "+what); ok {
			found = append(found, each)
		}
	}
	return found
}

// truth reads true or false.
func (in *reader) truth(node ast.Node, what string) bool {
	value, ok := node.(*ast.BoolNode)
	if !ok {
		in.wrong(node, what, "true or false")
		return false
	}
	return value.Value
}

// number reads a whole number between low and high; 0 when it was reported.
func (in *reader) number(node ast.Node, what string, low, high int) int {
	value, ok := node.(*ast.IntegerNode)
	if !ok {
		in.wrong(node, what, "a whole number")
		return 0
	}
	number, err := strconv.Atoi(value.GetToken().Value)
	if err != nil || number < low || number > high {
		in.all.add(in.from.position(node), NumberRange, what, low, high)
		return 0
	}
	return number
}

// duration reads a positive duration; 0 when it was reported.
func (in *reader) duration(node ast.Node, what string) time.Duration {
	if number := nodeText(node); number != "" {
		in.all.add(in.from.position(node), DurationSyntax, what, number)
		return 0
	}
	written, ok := in.word(node, what)
	if !ok {
		return 0
	}
	value, err := ParseDuration(written.value)
	if err != nil || value <= 0 {
		in.all.add(written.at, DurationSyntax, what, written.value)
		return 0
	}
	return value
}

// choice reads one of a few words. Words of later versions are reported as
// such; "" when anything was reported.
func (in *reader) choice(node ast.Node, what string, known, later []string) string {
	written, ok := in.word(node, what)
	switch {
	case !ok:
		return ""
	case contains(known, written.value):
		return written.value
	case contains(later, written.value):
		in.all.add(written.at, UnsupportedValue, what, written.value).Remedy = "supported: " + strings.Join(known, ", ")
		return ""
	}
	problem := in.all.add(written.at, UnknownValue, what, written.value)
	problem.Meant = Nearest(written.value, known)
	problem.Remedy = "known: " + strings.Join(known, ", ")
	return ""
}

func contains(list []string, word string) bool {
	for _, each := range list {
		if each == word {
			return true
		}
	}
	return false
}
