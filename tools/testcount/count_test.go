package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCounts(t *testing.T) {
	cases := []struct {
		name   string
		input  []string
		strict bool
		code   int
		last   string
		shown  string // must be in the output
	}{
		{"nothing", nil, false, 1, "0 passed, 0 failed, 0 skipped", "no test ran"},
		{"passes and a subtest", []string{
			`{"Action":"run","Package":"p","Test":"A"}`,
			`{"Action":"pass","Package":"p","Test":"A/b"}`, `{"Action":"pass","Package":"p","Test":"A"}`,
			`{"Action":"pass","Package":"p","Elapsed":1.25}`}, true, 0, "2 passed, 0 failed, 0 skipped", "ok\tp\t1.2s"},
		{"a failure shows what it said", []string{
			`{"Action":"output","Package":"p","Test":"A","Output":"    a_test.go:1: broken\n"}`,
			`{"Action":"fail","Package":"p","Test":"A"}`, `{"Action":"fail","Package":"p"}`}, false, 1, "0 passed, 1 failed, 0 skipped", "a_test.go:1: broken"},
		{"a pass is quiet", []string{
			`{"Action":"output","Package":"p","Test":"A","Output":"chatter\n"}`,
			`{"Action":"pass","Package":"p","Test":"A"}`}, false, 0, "1 passed, 0 failed, 0 skipped", ""},
		{"a package that does not build", []string{
			`{"ImportPath":"p","Action":"build-output","Output":"a.go:1: syntax error\n"}`,
			`{"ImportPath":"p","Action":"build-fail"}`,
			`{"Action":"pass","Package":"q","Test":"A"}`,
			`{"Action":"fail","Package":"p","FailedBuild":"p"}`}, false, 1, "1 passed, 1 failed, 0 skipped", "syntax error"},
		{"a panic", []string{
			`{"Action":"pass","Package":"p","Test":"A"}`,
			`{"Action":"output","Package":"p","Test":"B","Output":"panic: oh\n"}`,
			`{"Action":"fail","Package":"p"}`}, false, 1, "1 passed, 1 failed, 0 skipped", "panic: oh"},
		{"a skip is named", []string{
			`{"Action":"output","Package":"p","Test":"A","Output":"    a_test.go:1: nginx: not installed\n"}`,
			`{"Action":"output","Package":"p","Test":"A","Output":"--- SKIP: A (0.00s)\n"}`,
			`{"Action":"skip","Package":"p","Test":"A"}`, `{"Action":"pass","Package":"p","Test":"B"}`}, false, 0, "1 passed, 0 failed, 1 skipped", "p A: nginx: not installed"},
		{"a skip in CI", []string{
			`{"Action":"skip","Package":"p","Test":"A"}`, `{"Action":"pass","Package":"p","Test":"B"}`}, true, 1, "1 passed, 0 failed, 1 skipped", "nothing may be skipped"},
		{"a package without tests", []string{
			`{"Action":"skip","Package":"p"}`, `{"Action":"pass","Package":"q","Test":"B"}`}, true, 0, "1 passed, 0 failed, 0 skipped", ""},
		{"the go command itself", []string{`go: cannot find module`}, false, 1, "0 passed, 0 failed, 0 skipped", "cannot find module"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			count := newCount(&out)
			if err := count.read(strings.NewReader(strings.Join(c.input, "\n"))); err != nil {
				t.Fatal(err)
			}
			code := count.finish(c.strict)
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if last := lines[len(lines)-1]; last != c.last || code != c.code {
				t.Errorf("ended with %q and code %d, want %q and %d", last, code, c.last, c.code)
			}
			if !strings.Contains(out.String(), c.shown) {
				t.Errorf("%q was not shown in:\n%s", c.shown, out.String())
			}
			if strings.Contains(out.String(), "chatter") {
				t.Error("the output of a passing test was shown")
			}
		})
	}
}

// TestRealGoCommand counts a small module with each of the ways to end.
func TestRealGoCommand(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":             "module planted\n\ngo 1.26\n",
		"good/a_test.go":     "package good\nimport \"testing\"\nfunc TestA(t *testing.T) { t.Run(\"b\", func(t *testing.T) {}) }\nfunc TestS(t *testing.T) { t.Skip(\"no peer\") }\n",
		"bad/a_test.go":      "package bad\nimport \"testing\"\nfunc TestF(t *testing.T) { t.Error(\"as planted\") }\n",
		"broken/a_test.go":   "package broken\nfunc TestX(t *testing.T) {}\n",
		"panicky/a_test.go":  "package panicky\nimport \"testing\"\nfunc TestP(t *testing.T) { panic(\"as planted too\") }\n",
		"untested/source.go": "package untested\n",
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	test := exec.Command("go", "test", "-json", "./...")
	test.Dir = folder
	output, _ := test.Output() // fails as planted
	var out bytes.Buffer
	count := newCount(&out)
	if err := count.read(bytes.NewReader(output)); err != nil {
		t.Fatal(err)
	}
	if code := count.finish(false); code != 1 || count.passed != 2 || count.failed != 3 || count.skipped != 1 {
		t.Errorf("code %d, %d passed, %d failed, %d skipped:\n%s", code, count.passed, count.failed, count.skipped, out.String())
	}
	for _, want := range []string{"as planted\n", "as planted too", "undefined: testing", "TestS: no peer"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q was not shown in:\n%s", want, out.String())
		}
	}
}
