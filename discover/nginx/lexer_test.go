package nginx

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	for _, row := range []struct {
		text string
		want string // words joined by "|", directives by ";" or "{", blocks closed by "}"
	}{
		{`a b;`, `a|b;`},
		{"a\tb\r\n  c ;", `a|b|c;`},
		{`a "b c" 'd e';`, `a|b c|d e;`},
		{`a "x;y{z}";`, `a|x;y{z};`},
		{`a b"c d;`, `a|b"c|d;`}, // a quote inside a word is a letter
		{`a "b\"c" 'd\'e' "f\\g";`, `a|b"c|d'e|f\g;`},
		{`a \.php$ \"b;`, `a|\.php$|"b;`},
		{`a "\t\n\r" \d+;`, "a|\t\n\r|\\d+;"},
		{`a ${b}c x${y};`, `a|${b}c|x${y};`},
		{`a b{c d;}`, `a|b{c|d;}`},
		{`a b#c; # d`, `a|b#c;`},
		{"# x { ; \"\na b;", `a|b;`},
		{"a b # x\n c;", `a|b|c;`},
		{`a b};`, `a|b};`}, // so is a closing brace
		{`a b\ c;`, `a|b\ c;`},
		{`a b\;c;`, `a|b\;c;`},
		{`a b\{c;`, `a|b\{c;`},
		{`if ($a = "b") { c d; }`, `if|($a|=|b|){c|d;}`},
		{`a "";`, `a|;`},
		{`location ~ "^/x{2}$" { }`, `location|~|^/x{2}${}`},
		{`x_by_lua_block { if a then s = "}" .. '{' end --[[ } ]] local t = { [[ } ]], [==[ ]] } ]==] } -- }` + "\n" + `} y z;`, `x_by_lua_block{}y|z;`},
		{`x_by_lua_block { s = "unfinished` + "\n" + ` } y z;`, `x_by_lua_block{}y|z;`},
		{`x_by_lua_block { a = b[c[1]] + d["}"] }`, `x_by_lua_block{}`},
		{``, ``},
	} {
		left := 1000
		list, err := parse("x", row.text, &left)
		if got := written(list); err != nil || got != row.want {
			t.Errorf("%q: %q, %v; want %q", row.text, got, err, row.want)
		}
	}
}

func written(list []*directive) string {
	var text strings.Builder
	for _, directive := range list {
		text.WriteString(strings.Join(append([]string{directive.name}, directive.arguments...), "|"))
		if directive.hasBlock {
			text.WriteString("{" + written(directive.block) + "}")
		} else {
			text.WriteString(";")
		}
	}
	return text.String()
}

func TestSyntaxErrors(t *testing.T) {
	for _, row := range []struct {
		text string
		line int
		why  string
	}{
		{"a b", 1, "unexpected end of file"},
		{"a b\n", 2, "unexpected end of file"},
		{"a {\nb c;\n", 3, `expecting "}"`},
		{"a {\n\n}}", 3, `unexpected "}"`},
		{"a b;\n;", 2, `unexpected ';'`},
		{"{", 1, `unexpected '{'`},
		{"a \"b\"c;", 1, "after a string"},
		{"a 'b\n\n", 3, "expecting '\\''"},
		{"a {b }", 1, `unexpected "}"`}, // "b }": no semicolon
		{"x_by_lua_block { {\n}\n", 3, "Lua"},
		{strings.Repeat("a {", deepestBlock+1), 1, "deeper"},
		{"a " + strings.Repeat("b", longestWord+2) + ";", 1, "longer"},
		{"a \"" + strings.Repeat("b", longestWord+2) + "\";", 1, "longer"},
	} {
		left := 1000
		_, err := parse("x", row.text, &left)
		syntax, ok := err.(*syntaxError)
		if !ok || syntax.line != row.line || !strings.Contains(syntax.why, row.why) {
			t.Errorf("%.40q: %v", row.text, err)
		}
	}
	left := 3
	if list, err := parse("x", "a;b;c;d;e;", &left); err == nil || len(list) != 3 {
		t.Errorf("too many directives: %d, %v", len(list), err)
	}
}

// What nginx accepts we accept, and what it refuses for its syntax we refuse.
func TestSameVerdictAsNginx(t *testing.T) {
	binary, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed")
	}
	folder := t.TempDir()
	accepted, refused := 0, 0
	for _, text := range []string{
		`a "b";`, `a 'b';`, `a "b" ;`, `a "b"c;`, `a b"c;`, `a "b`, `a b\;`, `a b};`, `a ${b}`, `a ${b};`, `a $b{`, `a "b{";`, `a b{`, `a b{}`,
		`a "b\"c";`, `a 'b"c';`, `a b\"c;`, `a b#c;`, `a # b;`, "a # b\n c;", `a b c;`, `;`, `{`, `a;;`, `a "b";;`, `a b\ c;`, `a "\\";`, `a '\';`, `a '\\';`,
		`a "b")c;`, `a ("b");`, `a "b" "c";`, `a "b""c";`, `a}`, `a b }`, `a "b" };`, `a ${{b};`, `a x${y{z};`, "a \"b\nc\";", `a \`, `a \\;`,
	} {
		// log_format takes any words without looking at them further
		body := strings.Replace(text, "a", "log_format  n x", 1)
		path := filepath.Join(folder, "nginx.conf")
		config := "pid " + folder + "/pid;\nerror_log stderr;\nevents {}\nhttp {\n" + body + "\n}\n"
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		output, _ := exec.Command(binary, "-t", "-q", "-p", folder, "-c", path).CombinedOutput()
		left := 1000
		_, err := parse(path, config, &left)
		syntax := slices.ContainsFunc([]string{"unexpected", "parameter", "too long"}, func(word string) bool { return strings.Contains(string(output), word) })
		if strings.Contains(string(output), "invalid number of arguments") || strings.Contains(string(output), "has no opening") {
			syntax = false // words were read; the directive did not like them
		}
		if strings.Contains(string(output), "is not terminated by") || strings.Contains(string(output), "is not allowed here") {
			continue // a question of grammar, not of words
		}
		if syntax != (err != nil) {
			t.Errorf("%q: nginx says %q, we say %v", text, output, err)
		}
		if syntax {
			refused++
		} else {
			accepted++
		}
	}
	if accepted < 10 || refused < 8 {
		t.Errorf("%d accepted, %d refused: too few to prove anything", accepted, refused)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"http { server { listen 443 ssl; ssl_certificate a; } }", `a "b\"c" 'd' ${e} #f`, "x_by_lua_block { --[==[ } ]==] '}' }",
		"include *.conf;", "# configuration file /a:\ninclude /a;\n", "a\\", "\"", "listen [::]:443-500 ssl;",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		left := 10_000
		list, err := parse("x", text, &left)
		if err == nil {
			// what was understood can be written down and is understood alike
			left = 20_000
			if again, err := parse("x", rewrite(list), &left); err != nil || written(again) != written(list) {
				t.Errorf("%q: written again: %v", text, err)
			}
		}
		configuration, err := ParseDump([]byte("# configuration file /main:\n" + text))
		if err == nil {
			configuration.Declarations()
			if configuration.HTTPEnd >= 0 && text[configuration.HTTPEnd] != '}' {
				t.Errorf("%q: http ends at %d", text, configuration.HTTPEnd)
			}
		}
	})
}

// rewrite writes directives with every word quoted.
func rewrite(list []*directive) string {
	var text strings.Builder
	for _, directive := range list {
		for _, word := range append([]string{directive.name}, directive.arguments...) {
			text.WriteString(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `" `)
		}
		if directive.hasBlock {
			text.WriteString("{" + rewrite(directive.block) + "}\n")
		} else {
			text.WriteString(";\n")
		}
	}
	return text.String()
}
