package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// row adds up the trials of one client in one window.
type row struct {
	client, window string
	kills          int
	converged      int
	silent         int
	failed         int // the next run said that it failed
	mismatched     int
	wouldNotRun    int
	extra          int
	withLeftOver   int
	leftOver       map[string]int
	handshakes     int
	failedProbes   int
}

func (r *row) add(t trial) {
	r.kills++
	r.extra += t.Extra
	r.handshakes += t.Handshakes
	r.failedProbes += t.FailedProbes
	for _, counted := range []struct {
		total *int
		seen  bool
	}{
		{&r.converged, t.Converged}, {&r.silent, t.Silent}, {&r.failed, t.RerunError != ""},
		{&r.mismatched, t.Mismatched}, {&r.wouldNotRun, t.WouldNotRun}, {&r.withLeftOver, len(t.LeftOver) > 0},
	} {
		if counted.seen {
			*counted.total++
		}
	}
	if r.leftOver == nil {
		r.leftOver = map[string]int{}
	}
	for _, pattern := range t.LeftOver {
		r.leftOver[pattern]++
	}
}

// readTrials adds up what -raw has written, in the order of the file.
func readTrials(path string) ([]row, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var rows []row
	for trials := json.NewDecoder(file); ; {
		var one trial
		if err := trials.Decode(&one); errors.Is(err, io.EOF) {
			return rows, nil
		} else if err != nil {
			return rows, err
		}
		at := slices.IndexFunc(rows, func(r row) bool { return r.client == one.Client && r.window == one.Window })
		if at < 0 {
			at, rows = len(rows), append(rows, row{client: one.Client, window: one.Window})
		}
		rows[at].add(one)
	}
}

// harmless is what we ask of Backstay: the next run finishes the work, with one
// certificate, nothing left over, and nobody noticed.
func (r *row) harmless() bool {
	return r.converged == r.kills && r.extra+r.silent+r.failed+r.mismatched+r.wouldNotRun+r.withLeftOver+r.failedProbes == 0
}

var windowNames = map[string]string{"run": "the whole run", "order": "begin to issuance", "issued": "issuance to exit"}

func printTable(out io.Writer, rows []row) {
	fmt.Fprintln(out, "| client | killed within | kills | next run converges | next run fails | silent non-deployments | extra certificates | pair mismatched after the kill | nginx would not start | runs with files left over | failed handshakes |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|---|---|---|")
	for _, r := range rows {
		fmt.Fprintf(out, "| %s | %s | %d | %d | %d | %d | %d | %d | %d | %d | %d of %d |\n", r.client, windowNames[r.window], r.kills,
			r.converged, r.failed, r.silent, r.extra, r.mismatched, r.wouldNotRun, r.withLeftOver, r.failedProbes, r.handshakes)
	}
	fmt.Fprintln(out, "\nFiles left over:")
	for _, r := range rows {
		var lines []string
		for pattern, count := range r.leftOver {
			lines = append(lines, fmt.Sprintf("%d x %s", count, pattern))
		}
		slices.Sort(lines)
		if len(lines) == 0 {
			lines = []string{"none"}
		}
		fmt.Fprintf(out, "- %s, %s: %s\n", r.client, windowNames[r.window], strings.Join(lines, ", "))
	}
}
