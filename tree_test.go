package backstay_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// The tests of this folder guard the shape of the source: who imports whom
// (imports_test.go), what the pure packages stay away from (purity_test.go),
// and what a package says about itself (prose_test.go). Each rule is a value
// with a name and a function over a tree, so that it can be run over the
// repository and over planted trees that break it.

const modulePath = "github.com/backstay/backstay"

// tree is the parsed source of a repository.
type tree struct {
	files   *token.FileSet
	sources []source
	texts   map[string]string // all other text files and the Go files, by path
}

// source is one Go file.
type source struct {
	path   string // from the root, with slashes
	folder string // its package's folder, "." for the root
	test   bool   // a _test.go file
	file   *ast.File
	text   string
}

// forTests reports whether a file ends in no program: a test, or a package of
// support for tests, whose name ends in "test" as httptest's does.
func (s source) forTests() bool { return s.test || isTestPackage(s.folder) }

func isTestPackage(folder string) bool { return strings.HasSuffix(path.Base(folder), "test") }

// breach is one violation of a rule.
type breach struct {
	where string // path or path:line
	what  string
}

// rule is one sentence about the source that a test can check.
type rule struct {
	name  string
	check func(tree) []breach
}

// readTree parses every Go file below root, whatever its build tags. It leaves
// out hidden folders, testdata, build output, and modules of their own: those
// have their own rules.
func readTree(root fs.FS) (tree, error) {
	result := tree{files: token.NewFileSet(), texts: map[string]string{}}
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipFolder(root, name)
		}
		if !entry.Type().IsRegular() || !isText(name) {
			return nil
		}
		data, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		result.texts[name] = string(data)
		if !strings.HasSuffix(name, ".go") || inTestdata(name) {
			return nil
		}
		file, err := parser.ParseFile(result.files, name, data, parser.ParseComments)
		if err != nil {
			return err
		}
		result.sources = append(result.sources, source{
			path: name, folder: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), file: file, text: string(data),
		})
		return nil
	})
	return result, err
}

func skipFolder(root fs.FS, name string) error {
	base := path.Base(name)
	switch {
	case name == ".":
		return nil
	case strings.HasPrefix(base, ".") && base != ".ci" && base != ".github", base == "node_modules", name == "bin", name == "dist":
		return fs.SkipDir
	}
	if _, err := fs.Stat(root, path.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func inTestdata(name string) bool {
	return strings.HasPrefix(name, "testdata/") || strings.Contains(name, "/testdata/")
}

// isText knows the kinds of text we write. A binary fixture has no ending of
// this list.
func isText(name string) bool {
	switch path.Ext(name) {
	case ".go", ".md", ".txt", ".txtar", ".yaml", ".yml", ".json", ".sh", ".sql", ".conf", ".mod", ".service", ".timer", ".html", ".css", ".js", ".svg":
		return true
	}
	folder, base := path.Split(name)
	return base == "Makefile" || base == "LICENSE" || folder == ".ci/" || folder == "bench/" || folder == "tools/" || folder == ".github/workflows/"
}

// at names a place in a source for a breach.
func (t tree) at(position token.Pos) string {
	place := t.files.Position(position)
	return fmt.Sprintf("%s:%d", place.Filename, place.Line)
}

// imports gives the import paths of a file, with where each stands.
func (s source) imports() map[string]token.Pos {
	paths := map[string]token.Pos{}
	for _, spec := range s.file.Imports {
		if name, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths[name] = spec.Pos()
		}
	}
	return paths
}

// localName is the name by which a file calls an imported package; "" when it
// does not import it.
func (s source) localName(importPath string) string {
	for _, spec := range s.file.Imports {
		if name, err := strconv.Unquote(spec.Path.Value); err != nil || name != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

// selections calls found for each pkg.Name in a file where pkg is the imported
// package of that path.
func (s source) selections(importPath string, found func(name string, position token.Pos)) {
	local := s.localName(importPath)
	if local == "" {
		return
	}
	ast.Inspect(s.file, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if identifier, ok := selector.X.(*ast.Ident); ok && identifier.Name == local {
			found(selector.Sel.Name, selector.Pos())
		}
		return true
	})
}

// repository reads the real tree once a test.
func repository(t *testing.T) tree {
	t.Helper()
	read, err := readTree(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(read.sources) < 10 {
		t.Fatalf("only %d Go files were found: the rules would pass over nothing", len(read.sources))
	}
	return read
}

// enforce runs rules over the repository and reports every breach under the
// rule's name.
func enforce(t *testing.T, rules []rule) {
	t.Helper()
	source := repository(t)
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			for _, line := range report(rule.check(source)) {
				t.Errorf("rule broken: %s\n\t%s", rule.name, line)
			}
		})
	}
}

func report(breaches []breach) []string {
	var lines []string
	for _, breach := range breaches {
		lines = append(lines, breach.where+": "+breach.what)
	}
	sort.Strings(lines)
	return lines
}
