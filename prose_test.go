package backstay_test

import (
	"fmt"
	"path"
	"strings"
	"testing"
)

var proseRules = []rule{
	{`every package opens with "Package NAME" (or "Command NAME") and says "Promise:"`, packagesPromise},
	{"no file speaks of the machine it was written on", noForeignPaths},
	{"no Go file is over 500 lines", filesOfOneThought},
}

func TestProse(t *testing.T) { enforce(t, proseRules) }

// packagesPromise wants the package comment of one file of each package. Packages
// of tests only have nothing to promise.
func packagesPromise(t tree) (breaches []breach) {
	type seen struct{ name, comment, path string }
	packages := map[string]*seen{}
	var order []string
	for _, source := range t.sources {
		if source.test {
			continue
		}
		found := packages[source.folder]
		if found == nil {
			found = &seen{name: source.file.Name.Name, path: source.path}
			packages[source.folder] = found
			order = append(order, source.folder)
		}
		if source.file.Doc != nil && len(source.file.Doc.Text()) > len(found.comment) {
			found.comment, found.path = source.file.Doc.Text(), source.path
		}
	}
	for _, folder := range order {
		found := packages[folder]
		opening := "Package " + found.name
		if found.name == "main" {
			opening = "Command " + path.Base(folder)
		}
		switch {
		case found.comment == "":
			breaches = append(breaches, breach{folder, "no package comment"})
		case !strings.HasPrefix(found.comment, opening+" "):
			breaches = append(breaches, breach{found.path, fmt.Sprintf("the package comment does not open with %q", opening)})
		case !strings.Contains(found.comment, "Promise:"):
			breaches = append(breaches, breach{found.path, `the package comment does not say "Promise:"`})
		}
	}
	return breaches
}

// foreignPaths are put together here so that this file does not hold them.
var foreignPaths = []string{"../" + "shared", "/" + "work/", "/root" + "/go/"}

func noForeignPaths(t tree) (breaches []breach) {
	for name, text := range t.texts {
		for number, line := range strings.Split(text, "\n") {
			for _, foreign := range foreignPaths {
				if strings.Contains(line, foreign) {
					breaches = append(breaches, breach{fmt.Sprintf("%s:%d", name, number+1), "mentions " + foreign})
				}
			}
		}
	}
	return breaches
}

func filesOfOneThought(t tree) (breaches []breach) {
	for _, source := range t.sources {
		if lines := strings.Count(source.text, "\n"); lines > 500 {
			breaches = append(breaches, breach{source.path, fmt.Sprintf("%d lines: split it by its reasons to change", lines)})
		}
	}
	return breaches
}

func TestProseRulesCanFail(t *testing.T) {
	cases := []struct {
		name  string
		rule  func(tree) []breach
		files map[string]string
		want  string
	}{
		{"no comment", packagesPromise, map[string]string{"cert/a.go": "package cert\n"}, "no package comment"},
		{"a wrong opening", packagesPromise, map[string]string{"cert/a.go": "// This is it.\npackage cert\n"}, `"Package cert"`},
		{"another package's name", packagesPromise, map[string]string{"cert/a.go": "// Package certificate is it.\n//\n// Promise: all.\npackage cert\n"}, `"Package cert"`},
		{"no promise", packagesPromise, map[string]string{"cert/a.go": "// Package cert is it.\npackage cert\n"}, "Promise:"},
		{"a promise in one of two files", packagesPromise, map[string]string{"cert/a.go": "package cert\n", "cert/b.go": "// Package cert is it.\n//\n// Promise: all.\npackage cert\n"}, ""},
		{"a command", packagesPromise, map[string]string{"cmd/backstay/main.go": "// Command backstay runs.\n//\n// Promise: all.\npackage main\n"}, ""},
		{"a command without a name", packagesPromise, map[string]string{"cmd/backstay/main.go": "// Package main runs.\n//\n// Promise: all.\npackage main\n"}, `"Command backstay"`},
		{"tests only", packagesPromise, map[string]string{"cert/a_test.go": "package cert\n"}, ""},
		{"a path in Go", noForeignPaths, map[string]string{"cert/a.go": "// Package cert reads " + foreignPaths[1] + "x.\npackage cert\n"}, "cert/a.go:1"},
		{"a path in a script", noForeignPaths, map[string]string{"bench/run": "cat " + foreignPaths[0] + "/x\n"}, "bench/run:1"},
		{"a path in CI", noForeignPaths, map[string]string{".ci/run": "\ncd " + foreignPaths[1] + "main\n"}, ".ci/run:2"},
		{"a path in testdata", noForeignPaths, map[string]string{"cert/testdata/a.txt": foreignPaths[1]}, "cert/testdata/a.txt:1"},
		{"a network", noForeignPaths, map[string]string{"a.md": "discover/network/targets.go\n"}, ""},
		{"a long file", filesOfOneThought, map[string]string{"cert/a.go": "package cert\n" + strings.Repeat("\n", 500)}, "lines"},
		{"a file of 500 lines", filesOfOneThought, map[string]string{"cert/a.go": "package cert\n" + strings.Repeat("\n", 499)}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { expect(t, c.rule, c.files, c.want) })
	}
}
