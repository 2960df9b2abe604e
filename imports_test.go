package backstay_test

import (
	"go/token"
	"sort"
	"strings"
	"testing"
	"testing/fstest"
)

// layer is how far up a folder stands. A package may import what is below it.
type layer int

const (
	words layer = iota
	memory
	stage
	wiring
	front
	command
	harness // testbed: below tests, beside everything
	outside // bench, tools: programs about the product, imported by nobody
)

// layers places every folder at the root. A new folder is placed here and in
// ARCHITECTURE.md.
var layers = map[string]layer{
	"cert": words, "finding": words, "plan": words, "config": words,
	"store": memory, "journal": memory, "durable": memory,
	"discover": stage, "probe": stage, "inventory": stage, "audit": stage, "issue": stage, "deploy": stage,
	"alert": stage, "diagnose": stage, "readiness": stage, "drill": stage, "crisis": stage, "review": stage,
	"daemon": wiring, "cli": front, "web": front, "cmd": command,
	"testbed": harness, "bench": outside, "tools": outside, "docs": outside,
}

// free may be imported by every stage: they are pure.
var free = map[string]bool{"audit": true, "plan": true, "readiness": true}

// importRules are about what ends in a program, unless they say otherwise: a
// test may reach up for the conformance suite that lives beside the interface.
var importRules = []rule{
	{"every folder at the root has a layer (add it to layers and to ARCHITECTURE.md)", everyFolderPlaced},
	{"words <- memory <- stages <- daemon <- cli, web <- cmd", layersPointDown},
	{"a stage never imports another stage, but audit, plan and readiness", noSidewaysStage},
	{"testbed only from tests, cli's demo files (cli/demo*.go), daemon, bench and itself", testbedOnlyForTests},
	{"Pebble only from tests, testbed/pebble and bench", pebbleOnlyForTests},
	{"step-ca and chromedp only in the module test/", heavyPeersOutside},
	{"config.Load is called by daemon and cli only", configLoadedAtTheTop},
	{"no folder is named util, common, helper or manager", noDrawers},
	{"bench, tools and cmd are imported by nobody", programsNotImported},
	{"a package named ...test is imported by tests, testbed and bench only", testPackagesOnlyFromTests},
}

func TestImports(t *testing.T) { enforce(t, importRules) }

// root is the first folder of a path: "deploy" of "deploy/nginx".
func root(folder string) string { return strings.SplitN(folder, "/", 2)[0] }

// ours strips the module path; ok is false for other modules.
func ours(importPath string) (folder string, ok bool) {
	return strings.CutPrefix(importPath, modulePath+"/")
}

// eachImport visits the imports of our own packages by non-test files.
func eachImport(t tree, visit func(from, to string, position token.Pos)) {
	for _, source := range t.sources {
		if source.forTests() {
			continue
		}
		for importPath, position := range source.imports() {
			if to, ok := ours(importPath); ok {
				visit(source.folder, to, position)
			}
		}
	}
}

func everyFolderPlaced(t tree) (breaches []breach) {
	seen := map[string]bool{}
	for _, source := range t.sources {
		name := root(source.folder)
		if _, placed := layers[name]; placed || seen[name] {
			continue
		}
		seen[name] = true
		if name == "." {
			if !source.test {
				breaches = append(breaches, breach{source.path, "the root holds no code but the tests of the tree's shape"})
			}
			continue
		}
		breaches = append(breaches, breach{source.folder, "no layer is known for folder " + name})
	}
	return breaches
}

func layersPointDown(t tree) (breaches []breach) {
	eachImport(t, func(from, to string, position token.Pos) {
		above, ok := layers[root(from)]
		below, known := layers[root(to)]
		if !ok || !known || below >= harness {
			return // said by another rule
		}
		if above == harness {
			if below > memory {
				breaches = append(breaches, breach{t.at(position), "testbed imports " + to + "; it may import words and memory"})
			}
			return
		}
		if below > above {
			breaches = append(breaches, breach{t.at(position), from + " imports " + to + ", which stands above it"})
		}
	})
	return breaches
}

func noSidewaysStage(t tree) (breaches []breach) {
	eachImport(t, func(from, to string, position token.Pos) {
		if layers[root(from)] != stage || layers[root(to)] != stage || free[root(to)] || related(from, to) {
			return
		}
		breaches = append(breaches, breach{t.at(position), from + " imports " + to + "; let daemon join them through an interface that " + from + " declares"})
	})
	return breaches
}

// related reports whether one folder is the other or lies within it. Siblings
// (deploy/nginx and deploy/files) are not: what they share belongs to the parent.
func related(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

func testbedOnlyForTests(t tree) (breaches []breach) {
	for _, source := range t.sources {
		demo := strings.HasPrefix(source.path, "cli/demo")
		from := root(source.folder)
		if source.forTests() || demo || from == "daemon" || from == "testbed" || from == "bench" {
			continue
		}
		for importPath, position := range source.imports() {
			if to, ok := ours(importPath); ok && root(to) == "testbed" {
				breaches = append(breaches, breach{t.at(position), source.path + " imports " + to})
			}
		}
	}
	return breaches
}

func pebbleOnlyForTests(t tree) (breaches []breach) {
	for _, source := range t.sources {
		if source.forTests() || root(source.folder) == "bench" || related(source.folder, "testbed/pebble") && source.folder != "testbed" {
			continue
		}
		for importPath, position := range source.imports() {
			to, own := ours(importPath)
			if strings.HasPrefix(importPath, "github.com/letsencrypt/pebble/") || own && related(to, "testbed/pebble") && to != "testbed" {
				breaches = append(breaches, breach{t.at(position), source.path + " imports " + importPath})
			}
		}
	}
	return breaches
}

func heavyPeersOutside(t tree) (breaches []breach) {
	for _, source := range t.sources {
		for importPath, position := range source.imports() {
			if strings.HasPrefix(importPath, "github.com/smallstep/") || strings.HasPrefix(importPath, "github.com/chromedp/") {
				breaches = append(breaches, breach{t.at(position), source.path + " imports " + importPath})
			}
		}
	}
	return breaches
}

func configLoadedAtTheTop(t tree) (breaches []breach) {
	for _, source := range t.sources {
		from := root(source.folder)
		if source.forTests() || from == "daemon" || from == "cli" {
			continue
		}
		source.selections(modulePath+"/config", func(name string, position token.Pos) {
			if name == "Load" {
				breaches = append(breaches, breach{t.at(position), source.path + " refers to config.Load; take the loaded values instead"})
			}
		})
	}
	return breaches
}

func testPackagesOnlyFromTests(t tree) (breaches []breach) {
	eachImport(t, func(from, to string, position token.Pos) {
		if isTestPackage(to) && root(from) != "testbed" && root(from) != "bench" {
			breaches = append(breaches, breach{t.at(position), from + " imports " + to})
		}
	})
	return breaches
}

// drawers are names that say nothing about what is inside.
var drawers = map[string]bool{
	"util": true, "utils": true, "utility": true, "utilities": true, "common": true, "misc": true,
	"helper": true, "helpers": true, "manager": true, "managers": true, "shared": true,
}

func noDrawers(t tree) (breaches []breach) {
	found := map[string]bool{}
	for _, source := range t.sources {
		for _, part := range strings.Split(source.folder, "/") {
			if drawers[part] && !found[source.folder] {
				found[source.folder] = true
				breaches = append(breaches, breach{source.folder, "name the folder after what it guarantees"})
			}
		}
	}
	return breaches
}

func programsNotImported(t tree) (breaches []breach) {
	for _, source := range t.sources {
		for importPath, position := range source.imports() {
			to, own := ours(importPath)
			if !own || related(source.folder, to) {
				continue
			}
			if name := root(to); name == "bench" || name == "tools" || name == "cmd" {
				if root(source.folder) == name && name != "cmd" {
					continue
				}
				breaches = append(breaches, breach{t.at(position), source.path + " imports " + to})
			}
		}
	}
	return breaches
}

// TestImportRulesCanFail plants one violation at a time and one good twin of it.
func TestImportRulesCanFail(t *testing.T) {
	file := func(name string, imports ...string) string {
		text := "// Package " + name + " is planted.\npackage " + name + "\n"
		for _, path := range imports {
			if !strings.Contains(path, ".") {
				path = modulePath + "/" + path
			}
			text += "import \"" + path + "\"\n"
		}
		return text
	}
	cases := []struct {
		name  string
		rule  func(tree) []breach
		files map[string]string
		want  string // part of the one breach; "" for none
	}{
		{"a root folder that nobody placed", everyFolderPlaced, map[string]string{"novelty/a.go": file("novelty")}, "novelty"},
		{"code at the root", everyFolderPlaced, map[string]string{"a.go": file("backstay")}, "the root holds no code"},
		{"a test at the root", everyFolderPlaced, map[string]string{"a_test.go": file("backstay_test")}, ""},
		{"a word imports memory", layersPointDown, map[string]string{"cert/a.go": file("cert", "store")}, "cert imports store"},
		{"a word imports a word", layersPointDown, map[string]string{"cert/a.go": file("cert", "finding")}, ""},
		{"memory imports a stage", layersPointDown, map[string]string{"store/a.go": file("store", "issue")}, "store imports issue"},
		{"a memory test imports a stage", layersPointDown, map[string]string{"store/a_test.go": file("store", "issue")}, ""},
		{"a stage imports the daemon", layersPointDown, map[string]string{"deploy/nginx/a.go": file("nginx", "daemon")}, "deploy/nginx imports daemon"},
		{"the daemon imports cli", layersPointDown, map[string]string{"daemon/a.go": file("daemon", "cli")}, "daemon imports cli"},
		{"cli imports the daemon", layersPointDown, map[string]string{"cli/a.go": file("cli", "daemon")}, ""},
		{"testbed imports a stage", layersPointDown, map[string]string{"testbed/web/a.go": file("web", "deploy")}, "testbed imports deploy"},
		{"sideways", noSidewaysStage, map[string]string{"issue/a.go": file("issue", "deploy")}, "issue imports deploy"},
		{"sideways between siblings", noSidewaysStage, map[string]string{"deploy/nginx/a.go": file("nginx", "deploy/files")}, "deploy/nginx imports deploy/files"},
		{"sideways into a folder", noSidewaysStage, map[string]string{"deploy/nginx/a.go": file("nginx", "discover/nginx")}, "deploy/nginx imports discover/nginx"},
		{"a child imports its parent", noSidewaysStage, map[string]string{"deploy/nginx/a.go": file("nginx", "deploy")}, ""},
		{"a stage imports audit", noSidewaysStage, map[string]string{"probe/tls/a.go": file("tls", "audit")}, ""},
		{"testbed in production", testbedOnlyForTests, map[string]string{"cli/scan.go": file("cli", "testbed/authority")}, "cli/scan.go imports testbed/authority"},
		{"testbed in a stage", testbedOnlyForTests, map[string]string{"issue/a.go": file("issue", "testbed")}, "issue/a.go imports testbed"},
		{"testbed in the demo", testbedOnlyForTests, map[string]string{"cli/demo_world.go": file("cli", "testbed/authority")}, ""},
		{"testbed in a test", testbedOnlyForTests, map[string]string{"issue/a_test.go": file("issue", "testbed/authority")}, ""},
		{"Pebble in testbed", pebbleOnlyForTests, map[string]string{"testbed/authority/a.go": file("authority", "github.com/letsencrypt/pebble/v2/ca")}, "pebble/v2/ca"},
		{"our Pebble in the demo", pebbleOnlyForTests, map[string]string{"cli/demo.go": file("cli", "testbed/pebble")}, "testbed/pebble"},
		{"Pebble in its folder", pebbleOnlyForTests, map[string]string{"testbed/pebble/cmd/server/a.go": file("main", "github.com/letsencrypt/pebble/v2/ca", "testbed/pebble")}, ""},
		{"step-ca in a test", heavyPeersOutside, map[string]string{"issue/a_test.go": file("issue", "github.com/smallstep/certificates/ca")}, "smallstep"},
		{"a stage loads the configuration", configLoadedAtTheTop, map[string]string{"issue/a.go": file("issue", "config") + "var _ = config.Load\n"}, "refers to config.Load"},
		{"under another name", configLoadedAtTheTop, map[string]string{"issue/a.go": "// Package issue is planted.\npackage issue\nimport settings \"" + modulePath + "/config\"\nvar _ = settings.Load\n"}, "refers to config.Load"},
		{"the daemon loads it", configLoadedAtTheTop, map[string]string{"daemon/a.go": file("daemon", "config") + "var _ = config.Load\n"}, ""},
		{"a drawer", noDrawers, map[string]string{"deploy/util/a.go": file("util")}, "deploy/util"},
		{"a program imported", programsNotImported, map[string]string{"cli/a.go": file("cli", "bench/kill")}, "bench/kill"},
		{"support for tests in production", testPackagesOnlyFromTests, map[string]string{"issue/a.go": file("issue", "cert/certtest")}, "cert/certtest"},
		{"support for tests in a test", testPackagesOnlyFromTests, map[string]string{"issue/a_test.go": file("issue", "cert/certtest")}, ""},
		{"a nested module is not ours to judge", everyFolderPlaced, map[string]string{"test/go.mod": "module x\n", "test/a.go": file("novelty")}, ""},
		{"testdata is not ours to judge", everyFolderPlaced, map[string]string{"novelty/testdata/a.go": "not Go at all"}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { expect(t, c.rule, c.files, c.want) })
	}
}

// expect runs one rule over a planted tree and wants exactly the one breach.
func expect(t *testing.T, check func(tree) []breach, files map[string]string, want string) {
	t.Helper()
	planted := fstest.MapFS{}
	for name, text := range files {
		planted[name] = &fstest.MapFile{Data: []byte(text)}
	}
	read, err := readTree(planted)
	if err != nil {
		t.Fatal(err)
	}
	lines := report(check(read))
	sort.Strings(lines)
	switch {
	case want == "" && len(lines) > 0:
		t.Errorf("a good tree was refused: %q", lines)
	case want != "" && (len(lines) != 1 || !strings.Contains(lines[0], want)):
		t.Errorf("got %q, want one breach with %q", lines, want)
	}
}
