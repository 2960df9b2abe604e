package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
)

// event is one line of `go test -json`; `go doc test2json` describes it.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output and build-fail
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
}

// place is a test, or with an empty name a package.
type place struct{ pkg, test string }

// count adds up events and writes what a person should see of them.
type count struct {
	out                     io.Writer
	passed, failed, skipped int
	output                  map[place][]string // of what has not ended yet
	blamed                  map[string]bool    // packages with a failed test
	skips                   []string
}

// linesKept bounds what one test may print when it fails.
const linesKept = 2000

func newCount(out io.Writer) *count {
	return &count{out: out, output: map[place][]string{}, blamed: map[string]bool{}}
}

// read takes events until the end. A line that is no event (the go command
// speaking for itself) is shown as it is.
func (c *count) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var one event
			if json.Unmarshal([]byte(line), &one) != nil || one.Action == "" {
				fmt.Fprint(c.out, line)
			} else {
				c.add(one)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *count) add(one event) {
	at := place{one.Package, one.Test}
	switch one.Action {
	case "build-output":
		fmt.Fprint(c.out, one.Output)
	case "output":
		if len(c.output[at]) < linesKept {
			c.output[at] = append(c.output[at], one.Output)
		}
	case "pass", "fail", "skip":
		if one.Test != "" {
			c.endTest(at, one.Action)
		} else {
			c.endPackage(at, one)
		}
		delete(c.output, at)
	}
}

func (c *count) endTest(at place, action string) {
	switch action {
	case "pass":
		c.passed++
	case "skip":
		c.skipped++
		c.skips = append(c.skips, fmt.Sprintf("%s %s: %s", at.pkg, at.test, reason(c.output[at])))
	case "fail":
		c.failed++
		c.blamed[at.pkg] = true
		fmt.Fprint(c.out, strings.Join(c.output[at], ""))
	}
}

// endPackage counts a package that failed without a failed test: it did not
// build, it panicked, or it ran out of time.
func (c *count) endPackage(at place, one event) {
	switch {
	case one.Action == "fail":
		if !c.blamed[at.pkg] {
			c.failed++
			c.showOpenTests(at.pkg)
			fmt.Fprint(c.out, strings.Join(c.output[at], ""))
		}
		fmt.Fprintf(c.out, "FAIL\t%s\t%.1fs\n", at.pkg, one.Elapsed)
	case one.Action == "pass":
		fmt.Fprintf(c.out, "ok\t%s\t%.1fs\n", at.pkg, one.Elapsed)
	}
}

// showOpenTests shows what the tests had said that never ended: the panic is
// in there.
func (c *count) showOpenTests(pkg string) {
	var open []place
	for at := range c.output {
		if at.pkg == pkg && at.test != "" {
			open = append(open, at)
		}
	}
	sort.Slice(open, func(i, j int) bool { return open[i].test < open[j].test })
	for _, at := range open {
		fmt.Fprint(c.out, strings.Join(c.output[at], ""))
		delete(c.output, at)
	}
}

// reason finds what a skipped test said: the last line that is not the go
// command's own.
func reason(output []string) string {
	for i := len(output) - 1; i >= 0; i-- {
		line := strings.TrimSpace(output[i])
		if line == "" || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "===") {
			continue
		}
		if _, said, found := strings.Cut(line, ".go:"); found {
			if _, text, found := strings.Cut(said, ": "); found {
				return text
			}
		}
		return line
	}
	return "no reason given"
}

// finish writes the skips and the line of counts, and returns the exit code.
func (c *count) finish(strict bool) int {
	if len(c.skips) > 0 {
		fmt.Fprintln(c.out, "\nskipped:")
		sort.Strings(c.skips)
		for _, skip := range c.skips {
			fmt.Fprintln(c.out, "  "+skip)
		}
	}
	code := 0
	switch {
	case c.failed > 0:
		code = 1
	case c.passed == 0:
		fmt.Fprintln(c.out, "no test ran")
		code = 1
	case strict && c.skipped > 0:
		fmt.Fprintln(c.out, "CI=true: nothing may be skipped")
		code = 1
	}
	fmt.Fprintf(c.out, "%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skipped)
	return code
}
