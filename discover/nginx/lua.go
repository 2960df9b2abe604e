package nginx

import "strings"

// isLua reports whether a directive's block holds Lua source instead of
// directives (lua-nginx-module and stream-lua-nginx-module).
func isLua(name string) bool { return strings.HasSuffix(name, "_by_lua_block") }

// skipLua passes Lua source up to and over the brace that closes the block.
// Braces in strings, long brackets and comments do not count (Lua 5.1 reference
// manual, section 2.1).
func (lexer *lexer) skipLua() error {
	for depth := 1; lexer.position < len(lexer.text); {
		rest := lexer.text[lexer.position:]
		switch {
		case strings.HasPrefix(rest, "--"):
			lexer.position += 2
			if !lexer.longBracket() {
				lexer.through("\n", len(lexer.text))
			}
			continue
		case rest[0] == '[' && lexer.longBracket():
			continue
		case rest[0] == '"' || rest[0] == '\'':
			lexer.luaString(rest[0])
			continue
		case rest[0] == '\n':
			lexer.line++
		case rest[0] == '{':
			depth++
		case rest[0] == '}':
			depth--
		}
		lexer.position++
		if depth == 0 {
			return nil
		}
	}
	return lexer.fault("unexpected end of file in a Lua block")
}

// longBracket passes [[...]], [=[...]=] and so on; false when there is none here.
func (lexer *lexer) longBracket() bool {
	rest := lexer.text[lexer.position:]
	if !strings.HasPrefix(rest, "[") {
		return false
	}
	level := len(rest[1:]) - len(strings.TrimLeft(rest[1:], "="))
	if !strings.HasPrefix(rest[1+level:], "[") {
		return false
	}
	lexer.position += level + 2
	lexer.through("]"+strings.Repeat("=", level)+"]", len(lexer.text))
	return true
}

// through moves behind the next occurrence of end, or to missing.
func (lexer *lexer) through(end string, missing int) {
	target := missing
	if found := strings.Index(lexer.text[lexer.position:], end); found >= 0 {
		target = lexer.position + found + len(end)
	}
	lexer.line += strings.Count(lexer.text[lexer.position:target], "\n")
	lexer.position = target
}

// luaString passes a short string. An end of line that is not escaped ends it:
// Lua would refuse the source, and the brace we look for must not be lost.
func (lexer *lexer) luaString(quote byte) {
	for lexer.position++; lexer.position < len(lexer.text); lexer.position++ {
		switch lexer.text[lexer.position] {
		case '\\':
			lexer.escaped()
		case '\n':
			return
		case quote:
			lexer.position++
			return
		}
	}
}
