package finding

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

//go:generate go test -run TestReferencePageIsCurrent -update .

var update = flag.Bool("update", false, "write docs/findings.md anew")

func TestReferencePageIsCurrent(t *testing.T) {
	path := filepath.Join("..", "docs", "findings.md")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != Reference() {
		t.Error("docs/findings.md differs from the catalogue; run: go generate ./finding")
	}
}

// TestEveryCodeHasAnEntry reads the constants from the source, so that a code
// added without an entry cannot slip through.
func TestEveryCodeHasAnEntry(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[Code]bool{}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for _, value := range spec.Values {
			text, err := strconv.Unquote(value.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if declared[Code(text)] {
				t.Errorf("%s is declared twice", text)
			}
			declared[Code(text)] = true
		}
		return true
	})
	if len(declared) < 35 {
		t.Fatalf("only %d codes found in code.go", len(declared))
	}
	for code := range declared {
		if _, ok := Lookup(code); !ok {
			t.Errorf("%s has no entry", code)
		}
	}
	count := 0
	for _, area := range areas {
		count += len(area.entries)
	}
	if count != len(declared) || len(Catalogue()) != count {
		t.Errorf("%d codes, %d entries, %d in the catalogue", len(declared), count, len(Catalogue()))
	}
}

func TestEntriesAreComplete(t *testing.T) {
	form := regexp.MustCompile(`^[a-z]+(-[a-z0-9]+)+$`)
	for _, entry := range Catalogue() {
		if !form.MatchString(string(entry.Code)) {
			t.Errorf("%s: not area-fact in lower case", entry.Code)
		}
		if _, ok := ParseSeverity(string(entry.Severity)); !ok {
			t.Errorf("%s: severity %q", entry.Code, entry.Severity)
		}
		for field, text := range map[string]string{
			"title": entry.Title, "explanation": entry.Explanation, "remedy": entry.Remedy, "next": entry.Next,
		} {
			if strings.TrimSpace(text) == "" || Text(text) != text {
				t.Errorf("%s: %s is %q", entry.Code, field, text)
			}
		}
		if strings.HasSuffix(entry.Title, ".") || !strings.HasSuffix(entry.Remedy, ".") {
			t.Errorf("%s: the title ends without a full stop, the remedy with one", entry.Code)
		}
	}
}

func TestNewFillsInFromTheCatalogue(t *testing.T) {
	made := New(CertExpired, "expired\x1b[2J yesterday", "not_after", "2026-01-01T00:00:00Z", "subject", "CN=\u202eevil", "unknown", "")
	entry, _ := Lookup(CertExpired)
	if made.Severity != Critical || made.Remedy != entry.Remedy || made.Remedy == "" {
		t.Errorf("severity %q, remedy %q", made.Severity, made.Remedy)
	}
	if made.Summary != `expired\x1b[2J yesterday` || made.Evidence["subject"] != `CN=\u202eevil` {
		t.Errorf("outside text is raw: %q, %q", made.Summary, made.Evidence)
	}
	if _, present := made.Evidence["unknown"]; present || len(made.Evidence) != 2 {
		t.Errorf("evidence %v", made.Evidence)
	}
	if stranger := New("no-such-code", "x"); stranger.Severity != High {
		t.Errorf("a code without entry is %q", stranger.Severity)
	}
	if lowered := made.As(Info); lowered.Severity != Info || made.Severity != Critical {
		t.Error("As changed the original")
	}
	if huge := New(CertExpired, strings.Repeat("x", 1<<20)); len(huge.Summary) > summaryLimit+3 {
		t.Errorf("summary of %d bytes", len(huge.Summary))
	}
}

func TestSort(t *testing.T) {
	list := []Finding{{Code: "b-b", Severity: Low}, {Code: "z-z", Severity: Critical}, {Code: "a-a", Severity: Low, Summary: "2"}, {Code: "a-a", Severity: Low, Summary: "1"}}
	Sort(list)
	got := ""
	for _, f := range list {
		got += string(f.Code) + f.Summary + " "
	}
	if got != "z-z a-a1 a-a2 b-b " {
		t.Errorf("order %q", got)
	}
}
