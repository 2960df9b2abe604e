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
	"time"
)

// campaign is one client in a world of its own, ready to be killed.
type campaign struct {
	world    *world
	client   client
	home     string
	baseline string         // serial number that every trial begins with
	clean    map[string]int // files that a run leaves which nobody killed
	whole    time.Duration  // such a run, begin to end
	tail     time.Duration  // such a run, issuance to end
}

// cleanRuns are measured before the first kill.
const cleanRuns = 5

func newCampaign(ctx context.Context, name, backstay string) (*campaign, error) {
	w, err := newWorld()
	if err != nil {
		return nil, err
	}
	c := &campaign{world: w, home: filepath.Join(w.folder, "client"), clean: map[string]int{}}
	if c.client, err = newClient(name, w, backstay); err == nil {
		err = c.first(ctx)
	}
	if err == nil {
		err = c.measure(ctx)
	}
	if err != nil {
		c.close(true)
		return nil, fmt.Errorf("%w (folder %s)", err, w.folder)
	}
	fmt.Fprintf(os.Stderr, "%s: a clean run takes %v, %v of it after the issuance\n", name, c.whole.Round(time.Millisecond), c.tail.Round(time.Millisecond))
	return c, nil
}

func (c *campaign) close(keep bool) { c.world.close(keep) }

// first issues the certificate that is due, 70 days ago, and keeps the folder
// as the template of every trial.
func (c *campaign) first(ctx context.Context) error {
	server := c.world.server
	certificate, key := filepath.Join(c.home, c.client.certificate), filepath.Join(c.home, c.client.key)
	if c.client.adopts {
		if err := placeholder(certificate, key); err != nil {
			return err
		}
		if err := server.configure(certificate, key); err != nil {
			return err
		}
	} else if err := server.configure("", ""); err != nil {
		return err
	}
	if err := server.start(); err != nil {
		return err
	}
	c.world.age.Store(int64(due))
	for _, argv := range c.client.first {
		if err := c.runToEnd(ctx, argv); err != nil {
			return err
		}
	}
	c.world.age.Store(0)
	serials := c.world.serials()
	if len(serials) != 1 {
		return fmt.Errorf("the first run issued %d certificates", len(serials))
	}
	c.baseline = serials[0]
	if !c.client.adopts {
		if err := server.configure(certificate, key); err != nil {
			return err
		}
		if err := server.start(); err != nil {
			return err
		}
	}
	if !server.serves(c.baseline, 5*time.Second) {
		return errors.New("the first certificate is not served")
	}
	return exec.Command("cp", "-a", c.home, filepath.Join(c.world.folder, "template")).Run()
}

func (c *campaign) runToEnd(ctx context.Context, argv []string) error {
	running, err := begin(argv, c.client.environment, c.world.folder)
	if err != nil {
		return err
	}
	if err := running.wait(ctx); err != nil {
		return fmt.Errorf("%v: %w\n%s", argv, err, running.output.String())
	}
	return nil
}

// reset puts everything back to the day before: files, challenges, and what
// the server has loaded.
func (c *campaign) reset() error {
	challenges := filepath.Join(c.world.server.webroot, ".well-known/acme-challenge")
	if err := errors.Join(os.RemoveAll(c.home), os.RemoveAll(challenges), os.MkdirAll(challenges, 0o755)); err != nil {
		return err
	}
	if err := exec.Command("cp", "-a", filepath.Join(c.world.folder, "template"), c.home).Run(); err != nil {
		return err
	}
	// Started anew, so that no worker of the last trial answers.
	if err := c.world.server.start(); err != nil {
		return err
	}
	if !c.world.server.serves(c.baseline, 5*time.Second) {
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
		before := len(c.world.serials())
		running, err := begin(c.client.renew, c.client.environment, c.world.folder)
		if err != nil {
			return err
		}
		issued := c.untilIssued(ctx, running, before)
		if err := running.wait(ctx); err != nil {
			return fmt.Errorf("%w\n%s", err, running.output.String())
		}
		serials := c.world.serials()
		if len(serials) != before+1 || !c.world.server.serves(serials[before], 5*time.Second) {
			return fmt.Errorf("a clean run issued %d certificates and did not serve the newest\n%s", len(serials)-before, running.output.String())
		}
		wholes, tails = append(wholes, running.took), append(tails, running.took-issued)
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
func (c *campaign) untilIssued(ctx context.Context, running *process, before int) time.Duration {
	ticks := time.NewTicker(500 * time.Microsecond)
	defer ticks.Stop()
	for len(c.world.serials()) == before {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return 0
		case <-running.ended:
			return running.took
		}
	}
	return time.Since(running.begin)
}

// kill does the trials of one window.
func (c *campaign) kill(ctx context.Context, window string, kills int, seed uint64, record *json.Encoder) (row, error) {
	if window != "run" && window != "issued" {
		return row{}, fmt.Errorf("unknown window %q", window)
	}
	result := row{client: c.client.name, window: window}
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
