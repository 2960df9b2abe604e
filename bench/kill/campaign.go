package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/backstay/backstay/bench/world"
	"github.com/backstay/backstay/testbed/authority"
)

// due is how long ago the first certificate was issued: of its 90 days 20 are
// left, so that every client finds it due and its successor not.
const due = 70 * 24 * time.Hour

// campaign is one client in a world of its own, ready to be killed.
type campaign struct {
	world    *world.World
	client   world.Client
	books    *authority.Authority
	age      atomic.Int64   // how far the authority's clock is in the past, in nanoseconds
	baseline string         // serial number that every trial begins with
	clean    map[string]int // files that a run leaves which nobody killed
	whole    time.Duration  // such a run, begin to end
	tail     time.Duration  // such a run, issuance to end
}

// cleanRuns are measured before the first kill.
const cleanRuns = 5

func newCampaign(ctx context.Context, name, backstay string) (*campaign, error) {
	c := &campaign{clean: map[string]int{}}
	var err error
	c.world, err = world.New(func(httpPort int, _ string) (world.Authority, error) {
		now := func() time.Time { return time.Now().Add(-time.Duration(c.age.Load())) }
		// Orders live on past "now" even when they were placed 70 days ago: the
		// clients have only the real clock to judge them by.
		long := 2 * due
		c.books, err = authority.New(authority.Config{HTTPPort: httpPort, Now: now, OrderLifetime: long, AuthorizationLife: long})
		return c.books, err
	})
	if err != nil {
		return nil, err
	}
	if c.client, err = world.NewClient(name, c.world, backstay); err == nil {
		err = c.first(ctx)
	}
	if err == nil {
		err = c.measure(ctx)
	}
	if err != nil {
		c.world.Close(true)
		return nil, fmt.Errorf("%w (folder %s)", err, c.world.Folder)
	}
	fmt.Fprintf(os.Stderr, "%s: a clean run takes %v, %v of it after the issuance\n", name, c.whole.Round(time.Millisecond), c.tail.Round(time.Millisecond))
	return c, nil
}

// serials are the certificates that the authority has issued, oldest first.
func (c *campaign) serials() []string {
	var all []string
	for _, issued := range c.books.Issued() {
		all = append(all, issued.Certificate.SerialNumber.Text(16))
	}
	return all
}

// first issues the certificate that is due, 70 days ago, and keeps the folder
// as the template of every trial.
func (c *campaign) first(ctx context.Context) error {
	if err := c.client.Settle(c.world, false); err != nil {
		return err
	}
	c.age.Store(int64(due))
	for _, argv := range append(slices.Clone(c.client.Prepare), c.client.Issue) {
		if _, err := c.client.Run(ctx, c.world, argv); err != nil {
			return err
		}
	}
	c.age.Store(0)
	serials := c.serials()
	if len(serials) != 1 {
		return fmt.Errorf("the first run issued %d certificates", len(serials))
	}
	c.baseline = serials[0]
	if err := c.client.Settle(c.world, true); err != nil {
		return err
	}
	if !c.world.Server.Serves(c.baseline, 5*time.Second) {
		return errors.New("the first certificate is not served")
	}
	return exec.Command("cp", "-a", c.world.Home(), filepath.Join(c.world.Folder, "template")).Run()
}

// reset puts everything back to the day before: files, challenges, and what
// the server has loaded.
func (c *campaign) reset() error {
	if err := c.world.Empty(); err != nil {
		return err
	}
	if err := exec.Command("cp", "-a", filepath.Join(c.world.Folder, "template")+"/.", c.world.Home()).Run(); err != nil {
		return err
	}
	// Started anew, so that no worker of the last trial answers.
	if err := c.world.Server.Start(); err != nil {
		return err
	}
	if !c.world.Server.Serves(c.baseline, 5*time.Second) {
		return errors.New("the first certificate is not served after the reset")
	}
	return nil
}

// measure lets the client run without a kill: how long it takes, and what it
// leaves. A client that does not converge here has been set up wrongly.
func (c *campaign) measure(ctx context.Context) error {
	var wholes, tails []time.Duration
	for range cleanRuns {
		if err := c.reset(); err != nil {
			return err
		}
		before := len(c.serials())
		running, err := world.Begin(c.client.Renew, c.client.Environment, c.world.Folder)
		if err != nil {
			return err
		}
		issued := c.untilIssued(ctx, running, before)
		if err := running.Wait(ctx); err != nil {
			return fmt.Errorf("%w\n%s", err, running.Output())
		}
		serials := c.serials()
		if len(serials) != before+1 || !c.world.Server.Serves(serials[before], 5*time.Second) {
			return fmt.Errorf("a clean run issued %d certificates and did not serve the newest\n%s", len(serials)-before, running.Output())
		}
		wholes, tails = append(wholes, running.Took), append(tails, running.Took-issued)
		for pattern, count := range c.files() {
			c.clean[pattern] = max(c.clean[pattern], count)
		}
	}
	slices.Sort(wholes)
	slices.Sort(tails)
	c.whole, c.tail = wholes[cleanRuns/2], tails[cleanRuns/2]
	return nil
}

// untilIssued waits for the authority's books to show one more certificate and
// returns how long after the begin of the run that was.
func (c *campaign) untilIssued(ctx context.Context, running *world.Process, before int) time.Duration {
	ticks := time.NewTicker(500 * time.Microsecond)
	defer ticks.Stop()
	for len(c.serials()) == before {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return 0
		case <-running.Ended:
			return running.Took
		}
	}
	return time.Since(running.Started)
}

// kill does the trials of one window.
func (c *campaign) kill(ctx context.Context, window string, kills int, seed uint64, record *json.Encoder) (row, error) {
	if windowNames[window] == "" {
		return row{}, fmt.Errorf("unknown window %q", window)
	}
	result := row{client: c.client.Name, window: window}
	for draw := uint64(0); result.kills < kills; draw++ {
		if draw > uint64(20*kills)+20 {
			return row{}, fmt.Errorf("after %d draws only %d runs could be killed in time", draw, result.kills)
		}
		if err := ctx.Err(); err != nil {
			return row{}, err
		}
		chance := rand.New(rand.NewPCG(seed, draw))
		tried, killed, err := c.try(ctx, window, chance.Float64())
		if err != nil {
			return row{}, err
		}
		if !killed {
			continue
		}
		tried.Number = result.kills
		result.add(tried)
		if record != nil {
			if err := record.Encode(tried); err != nil {
				return row{}, err
			}
		}
	}
	return result, nil
}
