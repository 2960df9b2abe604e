// Command testcount reads what `go test -json` prints, shows what matters of it,
// and ends with one line of counts:
//
//	123 passed, 0 failed, 2 skipped
//
// Promise: the numbers are what ran. A package that does not build, panics or
// runs out of time counts as failed, also when none of its tests is to blame.
// Nothing passed is a failure. Every skipped test is named with its reason, and
// with CI=true in the environment a skipped test fails the run: there, what a
// test needs is meant to be installed.
//
// Limits: a test and each of its subtests count as one each, as the go command
// reports them. The output of passing tests is not shown.
package main

import (
	"fmt"
	"os"
)

func main() {
	count := newCount(os.Stdout)
	if err := count.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(2)
	}
	os.Exit(count.finish(os.Getenv("CI") == "true"))
}
