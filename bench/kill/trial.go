package main

import (
	"context"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/bench/world"
)

// trial is what was seen of one kill and of the run after it.
type trial struct {
	Client       string
	Window       string
	Number       int
	KilledAfter  time.Duration // from the begin of the run
	Mismatched   bool          // after the kill certificate and key did not belong together, or one was unreadable
	WouldNotRun  bool          // after the kill nginx -t refused
	RerunError   string        // how the next run ended, "" when it said all is well
	RerunOutput  string        // the end of what it said, when all was not
	Converged    bool          // the next run ended well and the newest certificate is served
	Silent       bool          // the next run ended well and an older certificate is served
	Extra        int           // certificates issued beyond the one that was needed
	LeftOver     []string      // files beyond those of a clean run
	Handshakes   int
	FailedProbes int
	ProbeError   string
}

// grace is how long a reloaded server may take to show its new certificate.
const grace = 3 * time.Second

// try kills one run at a moment (0 to 1 of the window) and lets the next one end. killed is
// false when the run had ended before its kill.
func (c *campaign) try(ctx context.Context, window string, moment float64) (seen trial, killed bool, err error) {
	if err := c.reset(); err != nil {
		return seen, false, err
	}
	seen = trial{Client: c.client.Name, Window: window}
	before := len(c.serials())
	visitor := watch(c.world.Server)
	defer func() {
		visitor.stop()
		seen.Handshakes, seen.FailedProbes, seen.ProbeError = visitor.handshakes, visitor.failed, visitor.firstError
	}()

	running, err := world.Begin(c.client.Renew, c.client.Environment, c.world.Folder)
	if err != nil {
		return seen, false, err
	}
	delay := time.Duration(moment * float64(c.whole))
	switch window {
	case "order":
		delay = time.Duration(moment * float64(c.whole-c.tail))
	case "issued":
		c.untilIssued(ctx, running, before)
		delay = time.Duration(moment * float64(c.tail))
	}
	select {
	case <-time.After(delay):
	case <-running.Ended:
	case <-ctx.Done():
	}
	if !running.Kill() {
		return seen, false, ctx.Err()
	}
	seen.KilledAfter = running.Took
	seen.Mismatched, seen.WouldNotRun = !c.world.Server.PairMatches(), !c.world.Server.WouldStart()

	if c.client.Repair != nil {
		if _, err := c.client.Run(ctx, c.world, c.client.Repair); err != nil {
			return seen, false, err
		}
	}
	again, err := world.Begin(c.client.Renew, c.client.Environment, c.world.Folder)
	if err != nil {
		return seen, false, err
	}
	if err := again.Wait(ctx); err != nil {
		seen.RerunError = err.Error()
	}
	c.judge(&seen, before)
	if !seen.Converged {
		output := again.Output()
		seen.RerunOutput = output[max(0, len(output)-2000):]
	}
	return seen, true, ctx.Err()
}

// judge compares the authority's books with what is served and what is on disk.
func (c *campaign) judge(seen *trial, before int) {
	serials := c.serials()
	issued := len(serials) - before
	seen.Extra = max(0, issued-1)
	served := issued > 0 && c.world.Server.Serves(serials[len(serials)-1], grace)
	seen.Converged = served && seen.RerunError == ""
	seen.Silent = !served && seen.RerunError == ""
	for pattern, count := range c.files() {
		if more := count - c.clean[pattern]; more > 0 {
			seen.LeftOver = append(seen.LeftOver, slices.Repeat([]string{pattern}, more)...)
		}
	}
	slices.Sort(seen.LeftOver)
}

var (
	digits = regexp.MustCompile(`[0-9]+`)
	tokens = regexp.MustCompile(`acme-challenge/.+`)
)

// files counts the files of the client and its challenges by their path, with
// numbers and tokens made equal. Folders and logs are left out.
func (c *campaign) files() map[string]int {
	counts := map[string]int{}
	for _, folder := range []string{c.world.Home(), c.world.Server.Webroot} {
		filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return nil // what vanished meanwhile is not left over
			}
			name := strings.TrimPrefix(path, c.world.Folder+"/")
			if entry.IsDir() {
				if slices.Contains(c.client.Logs, strings.TrimPrefix(name, "client/")) {
					return fs.SkipDir
				}
				return nil
			}
			name = tokens.ReplaceAllString(name, "acme-challenge/TOKEN")
			counts[digits.ReplaceAllString(name, "#")]++
			return nil
		})
	}
	return counts
}
