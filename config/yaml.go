package config

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// deepest is how far lists and mappings may be nested; the configuration needs
// six. The YAML parser's cost grows with the square of the depth.
const deepest = 32

// parse turns a file into the tree of its one document; nil when it is empty or
// cannot be used (which is then reported).
//
// Only the part of YAML that a configuration needs is taken: anchors, aliases,
// merge keys, tags and directives are refused. An alias is what makes a short
// file expand without end, and a value that stands elsewhere is hard to follow
// in an incident; `defaults` serves the same purpose.
func parse(from *source, all *collector) ast.Node {
	if at, ok := firstInvalid(from.data); ok {
		all.add(from.at(at, 1), NotUTF8)
		return nil
	}
	tokens := lexer.Tokenize(string(from.data))
	if !plain(tokens, from, all) {
		return nil
	}
	file, err := parseTokens(tokens)
	if err != nil {
		var syntax interface {
			GetToken() *token.Token
			GetMessage() string
		}
		at := from.at(1, 1)
		message := "unexpected text"
		if errors.As(err, &syntax) {
			message = syntax.GetMessage()
			if found := syntax.GetToken(); found != nil && found.Position != nil {
				at = from.at(found.Position.Line, found.Position.Column)
			}
		}
		all.add(at, YAMLSyntax, strings.TrimSpace(clean([]rune(message))))
		return nil
	}
	var body ast.Node
	for _, document := range file.Docs {
		if document.Body == nil {
			continue
		}
		if body != nil {
			all.add(from.position(document.Body), YAMLDocuments)
			break
		}
		body = document.Body
	}
	return body
}

// parseTokens keeps a panic of the parser, on input it was not written for,
// from ending a daemon that reloads.
func parseTokens(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if recovered := recover(); recovered != nil {
			file, err = nil, fmt.Errorf("the parser gave up: %v", recovered)
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// plain reports every token outside the part of YAML that is taken, and nesting
// that is too deep. It answers false when any was found: the tree could then
// not be trusted.
func plain(tokens token.Tokens, from *source, all *collector) bool {
	found := len(all.problems)
	flow, entries, line := 0, 0, 0
	for _, each := range tokens {
		at := from.at(each.Position.Line, each.Position.Column)
		if each.Position.Line != line {
			entries, line = 0, each.Position.Line
		}
		switch each.Type {
		case token.AliasType:
			if each.Next != nil && strings.HasPrefix(each.Next.Value, ".") {
				all.add(at, YAMLWildcard).Remedy = fmt.Sprintf("write %q", "*"+each.Next.Value)
			} else {
				all.add(at, YAMLAlias)
			}
		case token.AnchorType, token.MergeKeyType:
			all.add(at, YAMLAlias)
		case token.TagType:
			all.add(at, YAMLTag)
		case token.DirectiveType:
			all.add(at, YAMLDirective)
		case token.MappingKeyType:
			all.add(at, YAMLComplexKey)
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType:
			entries++
		}
		if flow > deepest || entries > deepest || each.Position.Column > 1<<12 && each.Type == token.SequenceEntryType {
			all.add(at, YAMLDepth, deepest)
			return false
		}
		if len(all.problems)-found > MaxProblems {
			return false
		}
	}
	return len(all.problems) == found
}

// firstInvalid finds the line of the first byte that is not UTF-8, or is NUL.
func firstInvalid(data []byte) (line int, found bool) {
	line = 1
	for index := 0; index < len(data); {
		switch {
		case data[index] == '\n':
			line++
			index++
		case data[index] == 0:
			return line, true
		case data[index] < utf8.RuneSelf:
			index++
		default:
			r, size := utf8.DecodeRune(data[index:])
			if r == utf8.RuneError && size <= 1 {
				return line, true
			}
			index += size
		}
	}
	return 0, false
}

// position is where a node begins.
func (from *source) position(node ast.Node) Position {
	begin := start(node)
	if begin == nil || begin.Position == nil {
		return from.at(1, 1)
	}
	return from.at(begin.Position.Line, begin.Position.Column)
}

// start is the first token of a node. A block mapping's own token is the colon
// behind its first key.
func start(node ast.Node) *token.Token {
	if mapping, ok := node.(*ast.MappingNode); ok && !mapping.IsFlowStyle && len(mapping.Values) > 0 {
		return mapping.Values[0].Key.GetToken()
	}
	return node.GetToken()
}

// hideAll keeps every scalar under node out of all excerpts.
func (from *source) hideAll(node ast.Node) {
	switch node := node.(type) {
	case *ast.MappingNode:
		for _, value := range node.Values {
			from.hideAll(value.Value)
		}
	case *ast.SequenceNode:
		for _, value := range node.Values {
			from.hideAll(value)
		}
	case nil, *ast.NullNode:
	default:
		begin := node.GetToken()
		if begin == nil || begin.Position == nil {
			return
		}
		part := span{line: begin.Position.Line, column: begin.Position.Column, endLine: math.MaxInt, endColumn: math.MaxInt}
		last := begin
		if literal, ok := node.(*ast.LiteralNode); ok && literal.Value != nil {
			last = literal.Value.GetToken()
		}
		if next := last.Next; next != nil && next.Position != nil {
			part.endLine, part.endColumn = next.Position.Line, next.Position.Column
		}
		from.hide(part)
	}
}
