package backstay_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"sort"
	"strings"
	"testing"
)

// pure are the packages whose answers depend on their arguments alone: the same
// decision in production, in a test and in a forecast.
var pure = map[string]bool{"cert": true, "finding": true, "plan": true, "audit": true, "readiness": true}

var purityRules = []rule{
	{"cert finding plan audit readiness import nothing that reaches outside", pureImports},
	{"cert finding plan audit readiness ask no clock", pureOfClock},
	{"cert finding plan audit readiness start no goroutine", pureOfGoroutines},
}

func TestPurity(t *testing.T) { enforce(t, purityRules) }

// eachPure visits the non-test files of the pure packages and their folders.
func eachPure(t tree, visit func(source)) {
	for _, source := range t.sources {
		if !source.forTests() && pure[root(source.folder)] {
			visit(source)
		}
	}
}

// impure are imports that read or write something, or bring chance. An io.Reader
// that is passed in is the way to random bytes.
var impure = map[string]string{
	"os": "I/O", "io/ioutil": "I/O", "syscall": "I/O", "log": "I/O", "log/slog": "I/O", "plugin": "I/O", "database/sql": "I/O",
	"crypto/rand": "chance; take an io.Reader", "math/rand": "chance; use an HMAC of the seed", "math/rand/v2": "chance; use an HMAC of the seed",
	"hash/maphash": "a seed of its own", "unsafe": "the machine", "runtime": "the machine",
}

// netValues are the names of package net that only compute.
var netValues = map[string]bool{
	"IP": true, "ParseIP": true, "IPv4": true, "IPNet": true, "IPMask": true, "ParseCIDR": true, "CIDRMask": true,
	"IPv4len": true, "IPv6len": true, "JoinHostPort": true, "SplitHostPort": true, "ParseMAC": true, "HardwareAddr": true,
}

func pureImports(t tree) (breaches []breach) {
	eachPure(t, func(source source) {
		for path, position := range source.imports() {
			why := impure[path]
			switch {
			case why != "":
			case strings.HasPrefix(path, "os/"), strings.HasPrefix(path, "golang.org/x/sys"):
				why = "I/O"
			case strings.HasPrefix(path, "net/") && path != "net/netip" && path != "net/url" && path != "net/mail" && path != "net/textproto":
				why = "I/O"
			default:
				continue
			}
			breaches = append(breaches, breach{t.at(position), source.path + " imports " + path + ": " + why})
		}
		source.selections("net", func(name string, position token.Pos) {
			if !netValues[name] {
				breaches = append(breaches, breach{t.at(position), "net." + name + " reaches outside"})
			}
		})
	})
	return breaches
}

// clocks are the names of package time that ask what time it is, or wait.
var clocks = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true, "Tick": true,
	"NewTimer": true, "NewTicker": true, "Local": true, "LoadLocation": true,
}

func pureOfClock(t tree) (breaches []breach) {
	eachPure(t, func(source source) {
		source.selections("time", func(name string, position token.Pos) {
			if clocks[name] {
				breaches = append(breaches, breach{t.at(position), "time." + name + "; take now as an argument"})
			}
		})
	})
	return breaches
}

func pureOfGoroutines(t tree) (breaches []breach) {
	eachPure(t, func(source source) {
		ast.Inspect(source.file, func(node ast.Node) bool {
			if statement, ok := node.(*ast.GoStmt); ok {
				breaches = append(breaches, breach{t.at(statement.Pos()), "a go statement"})
			}
			return true
		})
	})
	return breaches
}

const mapOrderRule = "cert finding plan audit readiness never depend on the order of a map (sort the keys, or say `// order does not matter: why`)"

// orderComment excuses one range over a map, on its line or the one above.
const orderComment = "// order does not matter:"

// TestMapOrder type-checks the pure packages and looks for ranges over maps. It
// needs the compiled packages that they import; the go command has them in its
// cache.
func TestMapOrder(t *testing.T) {
	packages, exports := listPure(t)
	if len(packages) < 3 {
		t.Fatalf("only %d pure packages were found", len(packages))
	}
	for _, listed := range packages {
		t.Run(strings.TrimPrefix(listed.ImportPath, modulePath+"/"), func(t *testing.T) {
			files := token.NewFileSet()
			var parsed []*ast.File
			for _, name := range listed.GoFiles {
				file, err := parser.ParseFile(files, listed.Dir+"/"+name, nil, parser.ParseComments)
				if err != nil {
					t.Fatal(err)
				}
				parsed = append(parsed, file)
			}
			lines, err := rangesOverMaps(listed.ImportPath, files, parsed, exports)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range lines {
				t.Errorf("rule broken: %s\n\t%s", mapOrderRule, line)
			}
		})
	}
}

// listedPackage is what `go list` says about one package.
type listedPackage struct {
	ImportPath string
	Dir        string
	Export     string // file with the types it exports
	GoFiles    []string
}

// listPure finds the pure packages that exist, and the export data of all they
// import and of the packages that the planted sources import.
func listPure(t *testing.T) (packages []listedPackage, exports map[string]string) {
	t.Helper()
	arguments := []string{"list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", "maps", "slices", "time"}
	for name := range pure {
		if _, err := os.Stat(name); err == nil {
			arguments = append(arguments, "./"+name+"/...")
		}
	}
	list := exec.Command("go", arguments...)
	var complaints bytes.Buffer
	list.Stderr = &complaints
	output, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, complaints.String())
	}
	exports = map[string]string{}
	decoder := json.NewDecoder(bytes.NewReader(output))
	for {
		var listed listedPackage
		if err := decoder.Decode(&listed); errors.Is(err, io.EOF) {
			return packages, exports
		} else if err != nil {
			t.Fatal(err)
		}
		exports[listed.ImportPath] = listed.Export
		if folder, own := ours(listed.ImportPath); own && pure[root(folder)] && !isTestPackage(folder) {
			packages = append(packages, listed)
		}
	}
}

// rangesOverMaps type-checks one package and lists where the order of a map can
// reach a result.
func rangesOverMaps(path string, files *token.FileSet, parsed []*ast.File, exports map[string]string) ([]string, error) {
	lookup := func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("no export data for %s", path)
		}
		return os.Open(exports[path])
	}
	checker := types.Config{Importer: importer.ForCompiler(files, "gc", lookup)}
	known := types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	if _, err := checker.Check(path, files, parsed, &known); err != nil {
		return nil, err
	}
	var lines []string
	for _, file := range parsed {
		excused := excusedLines(files, file)
		ast.Inspect(file, func(node ast.Node) bool {
			loop, ok := node.(*ast.RangeStmt)
			if !ok {
				return true
			}
			place := files.Position(loop.Pos())
			if excused[place.Line] || excused[place.Line-1] || !mapOrdered(loop.X, known) {
				return true
			}
			lines = append(lines, fmt.Sprintf("%s:%d: range over a map", place.Filename, place.Line))
			return true
		})
	}
	sort.Strings(lines)
	return lines, nil
}

// mapOrdered reports whether ranging over an expression follows a map's order:
// a map itself, or an iterator of package maps. slices.Sorted(maps.Keys(m)) is
// a slice, and passes.
func mapOrdered(expression ast.Expr, known types.Info) bool {
	if value, ok := known.Types[expression]; ok {
		if _, isMap := value.Type.Underlying().(*types.Map); isMap {
			return true
		}
		if parameter, ok := value.Type.(*types.TypeParam); ok {
			_, isMap := parameter.Constraint().Underlying().(*types.Interface)
			return isMap && strings.Contains(parameter.Constraint().String(), "map[")
		}
	}
	call, ok := ast.Unparen(expression).(*ast.CallExpr)
	if !ok {
		return false
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	used := known.Uses[selector.Sel]
	if used == nil || used.Pkg() == nil {
		return false
	}
	// maps.Keys, maps.Values, maps.All; and slices.Collect of one of them.
	if used.Pkg().Path() == "maps" {
		return true
	}
	return used.Pkg().Path() == "slices" && used.Name() == "Collect" && len(call.Args) == 1 && mapOrdered(call.Args[0], known)
}

func excusedLines(files *token.FileSet, file *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, group := range file.Comments {
		for _, comment := range group.List {
			reason, ok := strings.CutPrefix(comment.Text, orderComment)
			if ok && strings.TrimSpace(reason) != "" {
				lines[files.Position(comment.Pos()).Line] = true
			}
		}
	}
	return lines
}

func TestPurityRulesCanFail(t *testing.T) {
	plan := func(imports, body string) map[string]string {
		return map[string]string{"plan/a.go": "// Package plan is planted.\npackage plan\n" + imports + "\n" + body + "\n"}
	}
	cases := []struct {
		name  string
		rule  func(tree) []breach
		files map[string]string
		want  string
	}{
		{"a file opened", pureImports, plan(`import "os"`, `var _ = os.Open`), "imports os"},
		{"a command", pureImports, plan(`import "os/exec"`, `var _ = exec.Command`), "imports os/exec"},
		{"chance", pureImports, plan(`import "math/rand/v2"`, `var _ = rand.Int`), "math/rand/v2"},
		{"secret chance", pureImports, plan(`import "crypto/rand"`, `var _ = rand.Read`), "crypto/rand"},
		{"a dial", pureImports, plan(`import "net"`, `var _ = net.Dial`), "net.Dial"},
		{"a dial under another name", pureImports, plan(`import n "net"`, `var _ = n.Dial`), "net.Dial"},
		{"an address", pureImports, plan(`import "net"`, `var _ = net.ParseIP`), ""},
		{"netip", pureImports, plan(`import "net/netip"`, `var _ netip.Addr`), ""},
		{"http", pureImports, plan(`import "net/http"`, `var _ http.Client`), "net/http"},
		{"in a folder below", pureImports, map[string]string{"audit/rules/a.go": "// Package rules is planted.\npackage rules\nimport _ \"os\"\n"}, "imports os"},
		{"in support of tests", pureImports, map[string]string{"cert/certtest/a.go": "// Package certtest is planted.\npackage certtest\nimport _ \"os\"\n"}, ""},
		{"in a test", pureImports, map[string]string{"plan/a_test.go": "package plan\nimport _ \"os\"\n"}, ""},
		{"in another package", pureImports, map[string]string{"store/a.go": "// Package store is planted.\npackage store\nimport _ \"os\"\n"}, ""},
		{"the clock", pureOfClock, plan(`import "time"`, `var now = time.Now()`), "time.Now"},
		{"the clock as a value", pureOfClock, plan(`import "time"`, `var now = time.Now`), "time.Now"},
		{"the age of something", pureOfClock, plan(`import "time"`, `func f(t time.Time) any { return time.Since(t) }`), "time.Since"},
		{"arithmetic on times", pureOfClock, plan(`import "time"`, `func f(t time.Time) any { return t.Add(time.Hour) }`), ""},
		{"a goroutine", pureOfGoroutines, plan("", `func f() { go func() {}() }`), "go statement"},
		{"a call", pureOfGoroutines, plan("", `func f() { func() {}() }`), ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { expect(t, c.rule, c.files, c.want) })
	}
}

func TestMapOrderRuleCanFail(t *testing.T) {
	_, exports := listPure(t)
	cases := []struct {
		name, body string
		refused    bool
	}{
		{"a map", "func f(m map[string]int) { for range m { } }", true},
		{"a named map", "type M map[string]int\nfunc f(m M) { for range m { } }", true},
		{"any map", "func f[K comparable, M ~map[K]int](m M) { for range m { } }", true},
		{"a map's keys", "func f(m map[string]int) { for range maps.Keys(m) { } }", true},
		{"a map's keys collected", "func f(m map[string]int) { for range slices.Collect(maps.Keys(m)) { } }", true},
		{"a map's keys sorted", "func f(m map[string]int) { for range slices.Sorted(maps.Keys(m)) { } }", false},
		{"a slice", "func f(s []int) { for range s { } }", false},
		{"a slice of any kind", "func f[S ~[]int](s S) { for range s { } }", false},
		{"excused on its line", "func f(m map[string]int) (n int) {\nfor _, v := range m { // order does not matter: a sum\nn += v }\nreturn }", false},
		{"excused above", "func f(m map[string]int) (n int) {\n// order does not matter: a sum\nfor _, v := range m {\nn += v }\nreturn }", false},
		{"excused without a reason", "func f(m map[string]int) (n int) {\n// order does not matter:\nfor _, v := range m {\nn += v }\nreturn }", true},
		{"excused somewhere else", "// order does not matter: a sum\n\n\nfunc f(m map[string]int) { for range m { } }", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			files := token.NewFileSet()
			text := "package planted\nimport (\"maps\"; \"slices\")\nvar _, _ = maps.Keys[map[int]int], slices.Collect[int]\n" + c.body + "\n"
			file, err := parser.ParseFile(files, "planted.go", text, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			lines, err := rangesOverMaps("planted", files, []*ast.File{file}, exports)
			if err != nil {
				t.Fatal(err)
			}
			if refused := len(lines) == 1; refused != c.refused {
				t.Errorf("found %q, want refused=%v", lines, c.refused)
			}
		})
	}
}
