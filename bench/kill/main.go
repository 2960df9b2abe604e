// Command kill measures what becomes of a renewal that is killed: for certbot,
// lego, dehydrated and Backstay alike.
//
// Promise: every figure is observed from outside the client. What was issued is
// read from the authority's books, what is served from handshakes with a real
// nginx, what is left over from the disk. Kills are SIGKILL to the whole process
// group, at moments that a seed decides; a run that had ended before its kill
// does not count and is drawn again.
//
// Limits: one name, one host, http-01 by webroot, an authority that answers at
// once. It looks at the first run after the kill and not at later ones. Moments
// are spread evenly over the time of a run, not over its system calls.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kill:", err)
		os.Exit(1)
	}
}

func run() error {
	clients := flag.String("clients", "certbot,lego,dehydrated", "which clients, in this order; also dehydrated-unlocked, backstay, backstay-files")
	backstay := flag.String("backstay", "./backstay", "the Backstay binary")
	kills := flag.Int("kills", 100, "kills for each client and window")
	seed := flag.Uint64("seed", 1, "decides the moments")
	windows := flag.String("windows", "run,order,issued", "run: over the whole run; order: between begin and issuance; issued: between issuance and exit")
	raw := flag.String("raw", "", "append one JSON line for each trial to this file")
	strict := flag.Bool("strict", false, "fail unless every kill healed and did no harm")
	table := flag.String("table", "", "measure nothing; print the table of the trials in this file")
	keep := flag.Bool("keep", false, "keep the folders, to look at")
	flag.Parse()

	if *table != "" {
		rows, err := readTrials(*table)
		printTable(os.Stdout, rows)
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var record *json.Encoder
	if *raw != "" {
		file, err := os.OpenFile(*raw, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer file.Close()
		record = json.NewEncoder(file)
	}

	var rows []row
	for _, name := range strings.Split(*clients, ",") {
		campaign, err := newCampaign(ctx, name, *backstay)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, window := range strings.Split(*windows, ",") {
			row, err := campaign.kill(ctx, window, *kills, *seed, record)
			if err != nil {
				campaign.world.Close(true)
				return fmt.Errorf("%s: %w (folder %s)", name, err, campaign.world.Folder)
			}
			rows = append(rows, row)
		}
		campaign.world.Close(*keep)
	}
	printTable(os.Stdout, rows)
	for _, r := range rows {
		if *strict && !r.harmless() {
			return fmt.Errorf("%s, %s: not every kill was harmless", r.client, windowNames[r.window])
		}
	}
	return nil
}
