package nginx

import (
	"fmt"
	"strings"
)

// The lexer follows ngx_conf_read_token of nginx's src/core/ngx_conf_file.c
// character by character, oddities included: quotes begin a string only at the
// beginning of a word, "${" is no block, and a closing brace inside a word is a
// letter. Guessing here would mean reading another configuration than nginx.

// Caps on one file.
const (
	longestWord = 64 << 10 // bytes; nginx itself stops at 4096
	mostWords   = 100_000  // in one directive
)

// word is one argument, unescaped.
type word struct {
	text   string
	line   int // counts from 1
	offset int // of its first byte, quotes included
}

// How a run of words ended.
type ending byte

const (
	endSimple ending = ';'
	endOpen   ending = '{'
	endClose  ending = '}' // without words
	endFile   ending = 0   // without words
)

type lexer struct {
	text     string
	position int
	line     int
}

func newLexer(text string) *lexer { return &lexer{text: text, line: 1} }

// syntaxError is a place that nginx would refuse as well.
type syntaxError struct {
	line int
	why  string
}

func (err *syntaxError) Error() string { return fmt.Sprintf("line %d: %s", err.line, err.why) }

func (lexer *lexer) fault(format string, arguments ...any) error {
	return &syntaxError{line: lexer.line, why: fmt.Sprintf(format, arguments...)}
}

// next reads words up to the end of a directive, the beginning of its block, or
// the end of the block around it.
func (lexer *lexer) next() (words []word, end ending, err error) {
	for {
		if err := lexer.skipSpace(); err != nil {
			return nil, 0, err
		}
		if lexer.position == len(lexer.text) {
			if len(words) > 0 {
				return words, 0, lexer.fault("unexpected end of file, expecting \";\" or \"}\"")
			}
			return nil, endFile, nil
		}
		switch letter := lexer.text[lexer.position]; letter {
		case ';', '{':
			if len(words) == 0 {
				return nil, 0, lexer.fault("unexpected %q", letter)
			}
			lexer.position++
			return words, ending(letter), nil
		case '}':
			if len(words) > 0 {
				return words, 0, lexer.fault("unexpected \"}\"")
			}
			lexer.position++
			return nil, endClose, nil
		}
		if len(words) == mostWords {
			return words, 0, lexer.fault("more than %d words in one directive", mostWords)
		}
		read, err := lexer.word()
		if err != nil {
			return words, 0, err
		}
		words = append(words, read)
	}
}

// skipSpace passes blanks and comments; a comment begins only where a word could.
func (lexer *lexer) skipSpace() error {
	for lexer.position < len(lexer.text) {
		switch lexer.text[lexer.position] {
		case '\n':
			lexer.line++
		case ' ', '\t', '\r':
		case '#':
			length := strings.IndexByte(lexer.text[lexer.position:], '\n')
			if length < 0 {
				lexer.position = len(lexer.text)
				return nil
			}
			lexer.position += length
			continue
		default:
			return nil
		}
		lexer.position++
	}
	return nil
}

// word reads one word. It stops before the character that ended it, except for
// the quote that belongs to it.
func (lexer *lexer) word() (word, error) {
	read := word{line: lexer.line, offset: lexer.position}
	if quote := lexer.text[lexer.position]; quote == '"' || quote == '\'' {
		return lexer.quoted(read, quote)
	}
	variable := false // the last character was "$": a brace after it belongs to the word
	for ; lexer.position < len(lexer.text); lexer.position++ {
		letter := lexer.text[lexer.position]
		if lexer.position-read.offset > longestWord {
			return read, lexer.fault("a word longer than %d bytes", longestWord)
		}
		if letter == '{' && variable {
			continue
		}
		variable = letter == '$'
		switch letter {
		case '\\':
			lexer.escaped()
		case ' ', '\t', '\r', '\n', ';', '{':
			read.text = unescape(lexer.text[read.offset:lexer.position])
			return read, nil
		}
	}
	return read, lexer.fault("unexpected end of file, expecting \";\" or \"}\"")
}

// escaped steps onto the character after a backslash.
func (lexer *lexer) escaped() {
	if lexer.position+1 < len(lexer.text) {
		lexer.position++
		if lexer.text[lexer.position] == '\n' {
			lexer.line++
		}
	}
}

func (lexer *lexer) quoted(read word, quote byte) (word, error) {
	for lexer.position++; lexer.position < len(lexer.text); lexer.position++ {
		switch lexer.text[lexer.position] {
		case '\\':
			lexer.escaped()
		case '\n':
			lexer.line++
		case quote:
			read.text = unescape(lexer.text[read.offset+1 : lexer.position])
			lexer.position++
			return read, lexer.afterQuote()
		}
		if lexer.position-read.offset > longestWord {
			return read, lexer.fault("a word longer than %d bytes", longestWord)
		}
	}
	return read, lexer.fault("unexpected end of file, expecting %q", quote)
}

// afterQuote refuses what nginx refuses right after a string. A closing
// parenthesis, as in if ($a = "b"), begins a word of its own.
func (lexer *lexer) afterQuote() error {
	if lexer.position < len(lexer.text) && strings.IndexByte(" \t\r\n;{)", lexer.text[lexer.position]) < 0 {
		return lexer.fault("unexpected %q after a string", lexer.text[lexer.position])
	}
	return nil
}

// unescape resolves the backslashes that nginx resolves and keeps the others
// (regular expressions are full of them).
func unescape(text string) string {
	if strings.IndexByte(text, '\\') < 0 {
		return text
	}
	var out strings.Builder
	for position := 0; position < len(text); position++ {
		if text[position] != '\\' || position+1 == len(text) {
			out.WriteByte(text[position])
			continue
		}
		position++
		switch text[position] {
		case '"', '\'', '\\':
			out.WriteByte(text[position])
		case 't':
			out.WriteByte('\t')
		case 'r':
			out.WriteByte('\r')
		case 'n':
			out.WriteByte('\n')
		default:
			out.WriteByte('\\')
			out.WriteByte(text[position])
		}
	}
	return out.String()
}
