// Command backstay keeps an organisation's TLS certificates alive through
// outages.
//
// Promise: it hands arguments, streams, environment and clock to package cli
// and exits with the code that comes back. The first SIGINT or SIGTERM asks the
// command to stop; the second ends the process at once.
//
// Limits: nothing else happens here.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/backstay/backstay/cli"
)

func main() {
	ctx, interrupt := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		interrupt(cli.ErrInterrupted)
		<-signals
		os.Exit(cli.ExitInterrupted)
	}()
	os.Exit(cli.Main(ctx, cli.Process()))
}
