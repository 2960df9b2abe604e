package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/testbed/authority"
	"github.com/backstay/backstay/testbed/nginx"
	"github.com/backstay/backstay/testbed/pki"
	"github.com/backstay/backstay/testbed/world"
)

func demoCommand(p *program) *cobra.Command {
	var keep bool
	command := &cobra.Command{
		Use:   "demo",
		Short: "the main job in a small world of its own: find, issue, deploy, prove, be killed, finish",
		Long: "Starts a CA, a name server and a web server (the real nginx where it is installed) on\n" +
			"loopback, in a temporary folder, and shows the main job with the real commands: a\n" +
			"certificate that is about to end is found, replaced, proven to be served, and the next\n" +
			"renewal is killed half-way and finished by the next run. Nothing else is touched.",
		Args: arguments(0, 0),
		RunE: p.run(func(ctx context.Context, _ []string) error { return p.demo(ctx, keep) }),
	}
	command.Flags().BoolVar(&keep, "keep", false, "keep the temporary folder")
	return command
}

// demonstration is the world of one demo.
type demonstration struct {
	p       *program
	world   *world.World
	binary  string
	config  string
	address string // of the TLS server
	what    string // kind of that server
	scene   int
}

func (p *program) demo(ctx context.Context, keep bool) (err error) {
	folder, err := os.MkdirTemp("", "backstay-demo-")
	if err != nil {
		return err
	}
	if !keep {
		defer os.RemoveAll(folder)
	}
	began := p.environment.Now()
	show := &demonstration{p: p}
	if show.binary, err = os.Executable(); err != nil {
		return err
	}
	show.world, err = world.New(world.Config{Folder: folder, Authority: authority.Config{Name: "Demo CA", OrdersList: true}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, show.world.Close()) }()
	stop, err := show.serve(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for _, scene := range []func(context.Context) error{show.find, show.renew, show.prove, show.kill, show.finish, show.journal} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	p.printf("\nAll of it took %s. To do it on this host: backstay init\n", p.environment.Now().Sub(began).Round(100*time.Millisecond).String())
	if keep {
		p.printf("Kept: %s\n", folder)
	}
	return nil
}

// say begins a scene.
func (show *demonstration) say(format string, arguments ...any) {
	show.scene++
	for index, line := range strings.Split(fmt.Sprintf(format, arguments...), "\n") {
		if index == 0 {
			show.p.printf("\n%s. %s\n", fmt.Sprint(show.scene), line)
		} else {
			show.p.printf("   %s\n", line)
		}
	}
}

// serve starts a web server whose certificate ends tomorrow, and writes the
// configuration.
func (show *demonstration) serve(ctx context.Context) (stop func(), err error) {
	old, err := pki.Root(pki.Options{CommonName: "An old CA"})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	pair, err := old.Leaf(pki.Options{Names: []string{"www.example.com", "example.com"}, NotBefore: now.AddDate(0, 0, -89), NotAfter: now.Add(21 * time.Hour)})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(show.world.Write("old-root.pem", pki.PEM(old.Certificate)), show.world.Write("tls.pem", pair.FullchainPEM()), os.WriteFile(show.world.Path("tls.key"), pair.KeyPEM(), 0o600)); err != nil {
		return nil, err
	}
	options, targets := "deploy: [mail]", ""
	server, err := nginx.Start(ctx, nginx.Config{Folder: show.world.Folder, Ports: 1, Daemon: true, Servers: func(server *nginx.Server) string {
		return fmt.Sprintf("server { listen 127.0.0.1:%d ssl; server_name www.example.com example.com; ssl_certificate %s; ssl_certificate_key %s; location / { return 200 ok; } }",
			server.Port(0), show.world.Path("tls.pem"), show.world.Path("tls.key"))
	}})
	switch {
	case errors.Is(err, nginx.ErrNotInstalled):
		show.address, show.what = show.world.Server.Address, "a TLS server of our own (nginx is not installed)"
		stop = func() {}
	case err != nil:
		return nil, err
	default:
		show.address, show.what = server.Address(0), "nginx"
		options = "deploy: [edge]"
		targets = fmt.Sprintf("  edge: {kind: nginx, config: %s, binary: %s, reload_every: 100ms}\n", server.ConfigPath(), server.Binary())
		stop = func() { server.Stop() }
	}
	show.config, err = show.world.Configure(world.Configuration{Targets: targets, Certificates: []world.Certificate{
		{Name: "www", Domains: []string{"www.example.com", "example.com"}, Options: options},
	}})
	return stop, err
}

// command is the real binary on this world.
func (show *demonstration) command(ctx context.Context, arguments ...string) *exec.Cmd {
	return exec.CommandContext(ctx, show.binary, append(arguments, "--config", show.config, "--state", show.world.State())...)
}

// run shows a command and what it prints.
func (show *demonstration) run(ctx context.Context, arguments ...string) error {
	show.p.printf("   $ backstay %s\n", strings.Join(arguments, " "))
	output, err := show.command(ctx, arguments...).CombinedOutput()
	for _, line := range strings.Split(strings.TrimRight(string(output), "\n"), "\n") {
		show.p.printf("     %s\n", line)
	}
	if err != nil {
		return fmt.Errorf("backstay %s: %w", strings.Join(arguments, " "), err)
	}
	return nil
}

func (show *demonstration) find(ctx context.Context) error {
	show.say("A web server (%s) has a certificate that ends tomorrow. Find it.", show.what)
	return show.run(ctx, "scan", "www.example.com@"+show.address, "--roots", show.world.Path("old-root.pem"))
}

func (show *demonstration) renew(ctx context.Context) error {
	show.say("Replace it: order from the CA, prove the name, test the server's configuration,\nswap, reload, and look at what is served.")
	return show.run(ctx, "renew")
}

func (show *demonstration) prove(ctx context.Context) error {
	show.say("Is it served? A fresh handshake, compared with the CA's own book.")
	if err := show.run(ctx, "ls"); err != nil {
		return err
	}
	return show.compare(ctx, 1)
}

// compare looks at the server and at the CA's book.
func (show *demonstration) compare(ctx context.Context, wanted int) error {
	issued := show.world.Authority.Issued()
	if len(issued) != wanted {
		return fmt.Errorf("the CA issued %d certificates, and %d were needed", len(issued), wanted)
	}
	newest := issued[len(issued)-1].Certificate
	served, err := nginx.Served(ctx, show.address, "www.example.com")
	if err != nil {
		return err
	}
	if !served.Equal(newest) {
		return fmt.Errorf("serial %s is served, and %s was issued last", served.SerialNumber, newest.SerialNumber)
	}
	show.p.printf("   served now: serial %s, good until %s. Issued by the CA so far: %d.\n", short(served), served.NotAfter.UTC().Format("2006-01-02 15:04 MST"), len(issued))
	return nil
}

func short(certificate *x509.Certificate) string {
	text := fmt.Sprintf("%x", certificate.SerialNumber)
	if len(text) > 12 {
		return text[:12] + "…"
	}
	return text
}

// kill starts the next renewal and ends it at the worst moment: the CA has
// issued, and we do not have the certificate yet.
func (show *demonstration) kill(ctx context.Context) error {
	show.say("Renew again, and kill -9 it at the worst moment: the CA has issued the next\ncertificate, and it is not downloaded yet.")
	book := show.world.Authority.Faults()
	remove := book.Add(authority.Rule{At: authority.Certificate, What: authority.Hang})
	defer remove()
	show.p.printf("   $ backstay renew --force www\n")
	command := show.command(ctx, "renew", "--force", "www")
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for len(show.world.Authority.Issued()) < 2 {
		select {
		case err := <-ended:
			return fmt.Errorf("the renewal ended before it could be killed: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	if err := command.Process.Kill(); err != nil {
		return err
	}
	<-ended
	if status, ok := command.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		return errors.New("the renewal was not killed")
	}
	show.p.printf("     killed by signal 9\n")
	served, err := nginx.Served(ctx, show.address, "www.example.com")
	if err != nil {
		return err
	}
	show.p.printf("   The server never noticed: serial %s is still served.\n", short(served))
	return nil
}

func (show *demonstration) finish(ctx context.Context) error {
	show.say("The next run, from cron or by hand, finds the order and finishes it.")
	if err := show.run(ctx, "renew"); err != nil {
		return err
	}
	if err := show.compare(ctx, 2); err != nil {
		return err
	}
	for _, finalized := range show.world.Authority.FinalizeRequests() {
		if finalized.Accepted > 1 {
			return errors.New("an order was finalized twice")
		}
	}
	left, _ := filepath.Glob(filepath.Join(show.world.Webroot, ".well-known", "acme-challenge", "*"))
	show.p.printf("   No certificate was wasted, no order finalized twice, %d challenge files left behind.\n", len(left))
	return nil
}

func (show *demonstration) journal(ctx context.Context) error {
	show.say("Everything that was done is in a journal that cannot be altered unseen.")
	if err := show.run(ctx, "log", "tail", "--lines", "8"); err != nil {
		return err
	}
	return show.run(ctx, "log", "verify")
}
