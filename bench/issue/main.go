// Command issue measures how long certbot, lego, dehydrated and Backstay take for
// one certificate, from an empty folder and as a forced renewal.
//
// Promise: what is timed is the whole run as a person starts it, deployment to
// nginx included; after each run a handshake must show the new certificate, or
// the round counts as failed. The authority is Pebble without its random sleeps, its
// rejected nonces and its reused authorizations; or our own, which has validated
// and issued before it answers, so that a client that looks at the answer need
// not poll. Clients take turns in each round, so that a busy machine is unfair
// to none.
//
// Limits: one name on loopback: what is seen is the client's own work and its
// waiting between polls, not a network. Pebble validates after its answer and
// asks for a second between polls (Retry-After).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/bench/world"
	"github.com/backstay/backstay/testbed/authority"
	"github.com/backstay/backstay/testbed/pebble"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "issue:", err)
		os.Exit(1)
	}
}

func run() error {
	clients := flag.String("clients", "certbot,lego,dehydrated", "which clients; also backstay, backstay-files")
	backstay := flag.String("backstay", "./backstay", "the Backstay binary")
	rounds := flag.Int("rounds", 10, "runs of each kind for each client")
	kind := flag.String("authority", "pebble", "pebble, or testbed for our own")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	names := strings.Split(*clients, ",")
	figures := map[string]*figure{}
	for round := range *rounds {
		for _, name := range names {
			if figures[name] == nil {
				figures[name] = &figure{}
			}
			if err := measure(ctx, name, *backstay, *kind, figures[name]); ctx.Err() != nil {
				return err
			} else if err != nil {
				figures[name].failed++
				fmt.Fprintf(os.Stderr, "%s, round %d: %v\n", name, round+1, err)
			}
		}
	}
	fmt.Println("| client | first certificate | its CPU time | forced renewal | its CPU time | memory | failed |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, name := range names {
		f := figures[name]
		fmt.Printf("| %s | %s | %s | %s | %s | %d MB | %d of %d |\n", name, spread(f.first), middle(f.firstCPU), spread(f.renewal), middle(f.renewalCPU), f.memory>>10, f.failed, *rounds)
	}
	return nil
}

// figure collects the runs of one client.
type figure struct {
	first, firstCPU, renewal, renewalCPU []time.Duration
	memory                               int64 // most resident memory of one process, in KiB
	failed                               int   // rounds that ended before both were measured
}

// measure lets one client issue and renew in a world of its own.
func measure(ctx context.Context, name, backstay, kind string, f *figure) error {
	w, err := world.New(func(httpPort int, resolver string) (world.Authority, error) {
		if kind == "testbed" {
			return authority.New(authority.Config{HTTPPort: httpPort})
		}
		return pebble.Start(pebble.Config{HTTPPort: httpPort, DNS: resolver})
	})
	if err != nil {
		return err
	}
	defer w.Close(false)
	client, err := world.NewClient(name, w, backstay)
	if err != nil {
		return err
	}
	if err := client.Settle(w, false); err != nil {
		return err
	}
	before, _ := w.Server.Served() // nothing yet, or the placeholder
	var took, cpu time.Duration
	for _, argv := range append(slices.Clone(client.Prepare), client.Issue) {
		process, err := client.Run(ctx, w, argv)
		if err != nil {
			return err
		}
		took, cpu, f.memory = took+process.Took, cpu+process.CPU(), max(f.memory, process.Memory())
	}
	f.first, f.firstCPU = append(f.first, took), append(f.firstCPU, cpu)
	if !client.Adopts { // the server had no pair to name until now
		if err := client.Settle(w, true); err != nil {
			return err
		}
	}
	first, err := servedAnew(w, before)
	if err != nil {
		return err
	}
	process, err := client.Run(ctx, w, client.Force)
	if err != nil {
		return err
	}
	f.renewal, f.renewalCPU = append(f.renewal, process.Took), append(f.renewalCPU, process.CPU())
	f.memory = max(f.memory, process.Memory())
	_, err = servedAnew(w, first)
	return err
}

// servedAnew waits for a certificate other than before.
func servedAnew(w *world.World, before string) (string, error) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if serial, err := w.Server.Served(); err == nil && serial != before {
			return serial, nil
		}
	}
	return "", errors.New("the new certificate is not served")
}

func middle(values []time.Duration) string {
	if len(values) == 0 {
		return "none"
	}
	slices.Sort(values)
	return fmt.Sprintf("%.2f s", values[len(values)/2].Seconds())
}

// spread is the median with the least and the most.
func spread(values []time.Duration) string {
	text := middle(values)
	if len(values) == 0 {
		return text
	}
	return fmt.Sprintf("%s (%.2f to %.2f)", text, values[0].Seconds(), values[len(values)-1].Seconds())
}
