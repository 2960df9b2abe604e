// Package docs_test holds the documents to what the program is: links lead
// somewhere, configurations load, commands and flags exist.
package docs_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/cli"
	"github.com/backstay/backstay/config"
)

// documents are the pages for people, and the units, from this folder.
func documents(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for _, pattern := range []string{"../*.md", "*.md", "../bench/*.md", "systemd/*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			pages[path] = string(data)
		}
	}
	if len(pages) < 8 {
		t.Fatalf("only %d documents were found", len(pages))
	}
	return pages
}

var link = regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)

func TestLinks(t *testing.T) {
	count := 0
	for path, text := range documents(t) {
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			count++
			if _, err := fs.Stat(os.DirFS(".."), filepath.Join(filepath.Dir(filepath.Join("docs", path)), found[1])); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if count < 5 {
		t.Errorf("only %d links were looked at", count)
	}
}

// TestArchitectureNamesEveryFolder compares the folder map with the tree.
func TestArchitectureNamesEveryFolder(t *testing.T) {
	text := documents(t)["../ARCHITECTURE.md"]
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") || entry.Name() == "bin" || entry.Name() == "dist" {
			continue
		}
		count++
		if !strings.Contains(text, "`"+entry.Name()+"/") {
			t.Errorf("ARCHITECTURE.md does not name %s/", entry.Name())
		}
	}
	if count < 10 {
		t.Errorf("only %d folders were found", count)
	}
}

var yaml = regexp.MustCompile("(?s)```yaml\n(.*?)```")

func TestConfigurationsLoad(t *testing.T) {
	count := 0
	for path, text := range documents(t) {
		for _, found := range yaml.FindAllStringSubmatch(text, -1) {
			count++
			file := filepath.Join(t.TempDir(), "backstay.yaml")
			if err := os.WriteFile(file, []byte(found[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			_, problems, err := config.Load(file, config.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, problem := range problems {
				t.Errorf("%s: %v", path, problem)
			}
		}
	}
	if count == 0 {
		t.Error("no configuration was found")
	}
}

// call is one command line in a document.
type call struct {
	words []string // the command's name
	flags []string // with their dashes
}

var (
	inline   = regexp.MustCompile("`([^`\n]+)`")
	indented = regexp.MustCompile(`(?m)^(?: {4}|\t|ExecStart=|[0-9*]|backstay ).*$`)
	calling  = regexp.MustCompile(`(?:^|[\s/=])backstay((?: +[^\s|]+)+)`)
	word     = regexp.MustCompile(`^[a-z]+$`)
	flag     = regexp.MustCompile(`^--[a-z-]+`)
)

// calls finds the commands in a document's code: inline, indented, fenced, in
// cron lines and units.
func calls(text string) (found []call) {
	var snippets []string
	for _, match := range inline.FindAllStringSubmatch(text, -1) {
		snippets = append(snippets, match[1])
	}
	snippets = append(snippets, indented.FindAllString(text, -1)...)
	for _, snippet := range snippets {
		snippet, _, _ = strings.Cut(snippet, "#")
		for _, match := range calling.FindAllStringSubmatch(snippet, -1) {
			var one call
			fields := strings.Fields(match[1])
			for _, field := range fields {
				if !word.MatchString(field) {
					break
				}
				one.words = append(one.words, field)
			}
			for _, field := range fields {
				if name := flag.FindString(strings.Trim(field, "[]")); name != "" {
					one.flags = append(one.flags, name)
				}
			}
			if len(one.words) > 0 {
				found = append(found, one)
			}
		}
	}
	return found
}

// help runs a command with --help.
func help(words []string) (string, int) {
	var out bytes.Buffer
	code := cli.Main(context.Background(), cli.Environment{
		Arguments: append(slices.Clone(words), "--help"), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
		Getenv: func(string) string { return "" }, Now: func() time.Time { return time.Unix(0, 0) }, User: 1000,
	})
	return out.String(), code
}

// missing says what of a call does not exist; "" for nothing.
func missing(one call) string {
	text, code := help(one.words)
	usage := regexp.MustCompile(`(?m)^ +backstay ` + strings.Join(one.words, " ") + `( |$)`)
	if code != 0 || !usage.MatchString(text) {
		return "there is no command: backstay " + strings.Join(one.words, " ")
	}
	for _, name := range one.flags {
		if !regexp.MustCompile(regexp.QuoteMeta(name) + `[ ,=\n]`).MatchString(text) {
			return "backstay " + strings.Join(one.words, " ") + " has no flag " + name
		}
	}
	return ""
}

func TestCommandsExist(t *testing.T) {
	count := 0
	for path, text := range documents(t) {
		for _, one := range calls(text) {
			count++
			if what := missing(one); what != "" {
				t.Errorf("%s: %s", path, what)
			}
		}
	}
	if count < 20 {
		t.Errorf("only %d commands were found", count)
	}
}

// TestMissingIsNoticed plants what must be found, and what must not.
func TestMissingIsNoticed(t *testing.T) {
	cases := []struct {
		text string
		want string // part of what is missing; "" for nothing
	}{
		{"`backstay version --json`", ""},
		{"    backstay config check      # every mistake", ""},
		{"`backstay conjure NAME`", "there is no command: backstay conjure"},
		{"```sh\nbackstay conjure NAME\n```\n", "there is no command: backstay conjure"},
		{"`backstay config conjure`", "there is no command: backstay config conjure"},
		{"`backstay version --conjure`", "has no flag --conjure"},
		{"`backstay version [--conjure]`", "has no flag --conjure"},
		{"ExecStart=/usr/local/bin/backstay conjure --quiet\n", "there is no command: backstay conjure"},
		{"    17 5 * * *  root  /usr/local/bin/backstay version --conjure\n", "has no flag --conjure"},
	}
	for _, c := range cases {
		found := calls(c.text)
		if len(found) != 1 {
			t.Errorf("%q: %d commands were found", c.text, len(found))
			continue
		}
		if got := missing(found[0]); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
	for _, prose := range []string{"`/etc/backstay/backstay.yaml`", "Backstay keeps `renew`", "backstay: one thing", "`backstay COMMAND --help`"} {
		if found := calls(prose); len(found) != 0 {
			t.Errorf("%q was taken for %v", prose, found)
		}
	}
}
