package finding

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// textCases are golden bytes (T28): what a hostile certificate field, CA answer
// or banner looks like when it reaches a person.
var textCases = []struct{ name, in, want string }{
	{"plain", "CN=example.com", "CN=example.com"},
	{"empty", "", ""},
	{"letters of other scripts stay", "Müller 東京 Ελλάδα", "Müller 東京 Ελλάδα"},
	{"accent as a mark stays", "e\u0301", "e\u0301"},
	{"terminal title escape", "\x1b]0;owned\x07", `\x1b]0;owned\x07`},
	{"colour escape", "\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
	{"newline makes no new log line", "a\r\nb\tc", `a\x0d\x0ab\x09c`},
	{"NUL", "good.example\x00.evil.test", `good.example\x00.evil.test`},
	{"delete", "a\x7fb", `a\x7fb`},
	{"C1 as UTF-8", "a\u009bm", `a\u009bm`},
	{"C1 as a bare byte", "a\x9bm", `a\x9bm`},
	{"next line", "a\u0085b", `a\u0085b`},
	{"invalid UTF-8", "a\xff\xfeb\xc3", `a\xff\xfeb\xc3`},
	{"surrogate half", "a\xed\xa0\x80b", `a\xed\xa0\x80b`},
	{"overlong slash", "a\xc0\xafb", `a\xc0\xafb`},
	{"bidi override", "user\u202egnp.exe", `user\u202egnp.exe`},
	{"bidi isolates", "\u2066a\u2067b\u2068c\u2069", `\u2066a\u2067b\u2068c\u2069`},
	{"bidi marks", "\u200ea\u200fb\u061cc", `\u200ea\u200fb\u061cc`},
	{"bidi embeddings", "\u202a\u202b\u202c\u202d", `\u202a\u202b\u202c\u202d`},
	{"zero width", "pay\u200bpal\u200c\u200d\u2060\ufeff", `pay\u200bpal\u200c\u200d\u2060\ufeff`},
	{"line and paragraph separator", "a\u2028b\u2029c", `a\u2028b\u2029c`},
	{"soft hyphen", "a\u00adb", `a\u00adb`},
	{"other spaces", "a\u00a0b\u3000c", `a\u00a0b\u3000c`},
	{"tag characters", "a\U000e0041b", `a\U000e0041b`},
	{"variation selector", "a\ufe0fb", `a\ufe0fb`},
	{"filler", "a\u3164b", `a\u3164b`},
	{"private use", "a\ue000b", `a\ue000b`},
	{"stack of marks", "z" + strings.Repeat("\u0336", 6), "z" + strings.Repeat("\u0336", 4) + `\u0336\u0336`},
	{"replacement character itself", "a\ufffdb", "a\ufffdb"},
	{"backslash is left", `C:\x1b`, `C:\x1b`},
}

func TestT28TextGoldenBytes(t *testing.T) {
	for _, c := range textCases {
		if got := Text(c.in); got != c.want {
			t.Errorf("%s: Text(%q) = %q, want %q", c.name, c.in, got, c.want)
		}
		if got := Text(c.want); got != c.want {
			t.Errorf("%s: not idempotent: %q became %q", c.name, c.want, got)
		}
	}
}

func TestTextAtMost(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"abcd", 1, "…"}, {"abcd", 0, ""}, {"", 3, ""},
		{"äöü", 3, "äöü"}, {"äöüß", 3, "äö…"},
		{"a\x1bb", 5, `a\x1b…`[:1] + "…"}, // the escape needs four of the five and leaves none for the ellipsis
		{"a\x1bb", 6, `a\x1bb`},
		{"\x1b\x1b", 7, `\x1b…`},
		{strings.Repeat("x", 100), 10, "xxxxxxxxx…"},
	} {
		if got := TextAtMost(c.in, c.limit); got != c.want {
			t.Errorf("TextAtMost(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

func TestT30CSVCellIsNoFormula(t *testing.T) {
	for in, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)",
		"  =1": "'  =1", "＝1": "'＝1",
		"\t=1": `\x09=1`, "\r=1": `\x0d=1`,
		"example.com": "example.com", "": "", "'=1": "'=1", "a=b": "a=b",
	} {
		got := CSVCell(in)
		if got != want {
			t.Errorf("CSVCell(%q) = %q, want %q", in, got, want)
		}
		if CSVCell(got) != got {
			t.Errorf("CSVCell is not idempotent on %q", got)
		}
		var file bytes.Buffer
		writer := csv.NewWriter(&file)
		if err := writer.Write([]string{"name", got}); err != nil {
			t.Fatal(err)
		}
		writer.Flush()
		back, err := csv.NewReader(&file).Read()
		if err != nil || back[1] != got {
			t.Errorf("CSV round trip of %q gave %q, %v", got, back, err)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, c := range textCases {
		f.Add(c.in, 10)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		out := Text(s)
		if !utf8.ValidString(out) {
			t.Fatalf("not UTF-8: %q", out)
		}
		for _, r := range out {
			if r != ' ' && !unicode.IsGraphic(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
				t.Fatalf("%U survived in %q", r, out)
			}
		}
		if again := Text(out); again != out {
			t.Fatalf("not idempotent: %q then %q", out, again)
		}
		if limit = limit % 1000; limit >= 0 {
			capped := TextAtMost(s, limit)
			if n := utf8.RuneCountInString(capped); n > limit {
				t.Fatalf("%d characters, limit %d", n, limit)
			}
			if Text(capped) != capped {
				t.Fatalf("capped text is not safe: %q", capped)
			}
		}
	})
}
