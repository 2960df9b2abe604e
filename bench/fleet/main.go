// Command fleet measures a fleet: many certificates issued in one run against
// Pebble, beside a bare loop over the same wire library, and a run in which
// nothing is due.
//
// Promise: the client is the real binary in a process of its own, so that its
// CPU time and memory are its own; Pebble, the name server and the document
// folder live in this process. Figures are printed, nothing is judged.
//
// Limits: Pebble locks up at high concurrency; both sides keep eight in flight.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/backstay/backstay/testbed/authority"
	"github.com/backstay/backstay/testbed/nameserver"
	"github.com/backstay/backstay/testbed/pebble"
)

const inFlight = 8

func main() {
	binary := flag.String("backstay", "", "the binary to measure")
	fleet := flag.Int("certificates", 1000, "how many")
	bare := flag.Bool("bare", true, "also run the bare loop")
	own := flag.Bool("own", false, "our own authority instead of Pebble")
	flag.Parse()
	if err := run(*binary, *fleet, *bare, *own); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// ca is Pebble, or our own authority.
type ca interface {
	URL() string
	Roots() []byte
	HTTPSRoots() []byte
	Close() error
}

func run(binary string, fleet int, bare, own bool) error {
	folder, err := os.MkdirTemp("", "backstay-fleet-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	webroot := filepath.Join(folder, "www")
	if err := os.MkdirAll(filepath.Join(webroot, ".well-known", "acme-challenge"), 0o755); err != nil {
		return err
	}
	names, err := nameserver.Start(nameserver.Config{Zones: []nameserver.Zone{{Name: "example.com", Default: netip.MustParseAddr("127.0.0.1")}}})
	if err != nil {
		return err
	}
	defer names.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	answers := &sync.Map{} // of the bare loop
	files := http.FileServer(http.Dir(webroot))
	web := &http.Server{Handler: http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if text, known := answers.Load(request.URL.Path); known {
			fmt.Fprint(writer, text)
			return
		}
		files.ServeHTTP(writer, request)
	})}
	go web.Serve(listener)
	defer web.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	start := func() (ca, error) {
		if own {
			return authority.New(authority.Config{HTTPPort: port, Network: names})
		}
		return pebble.Start(pebble.Config{HTTPPort: port, DNS: names.Address().String()})
	}
	if bare {
		server, err := start()
		if err != nil {
			return err
		}
		if err := bareLoop(server, answers, min(fleet, 400)); err != nil {
			return err
		}
		server.Close()
	}
	server, err := start()
	if err != nil {
		return err
	}
	defer server.Close()
	return measure(binary, folder, webroot, port, names.Address().String(), server, fleet)
}

// measure runs the binary over a fleet, then again with nothing due.
func measure(binary, folder, webroot string, port int, resolver string, server ca, fleet int) error {
	roots := server.Roots()
	os.WriteFile(filepath.Join(folder, "https.pem"), server.HTTPSRoots(), 0o644)
	os.WriteFile(filepath.Join(folder, "roots.pem"), roots, 0o644)
	var text strings.Builder
	fmt.Fprintf(&text, "version: 1\nresolvers: [\"%s\"]\nauthorities:\n  pebble: {directory: \"%s\", directory_roots: https.pem, roots: roots.pem}\n", resolver, server.URL())
	fmt.Fprintf(&text, "solvers:\n  web: {type: http-01, webroot: %s, port: %d}\ncertificates:\n", webroot, port)
	for number := range fleet {
		fmt.Fprintf(&text, "  - {name: c%05d, domains: [c%05d.example.com]}\n", number, number)
	}
	path := filepath.Join(folder, "backstay.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		return err
	}
	state := filepath.Join(folder, "state")
	for _, what := range []string{"issue all", "nothing due", "nothing due", "ls"} {
		arguments := []string{"renew", "--quiet"}
		if what == "ls" {
			arguments = []string{"ls"}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		command := exec.CommandContext(ctx, binary, append(arguments, "--config", path, "--state", state)...)
		command.Stderr = os.Stderr
		started := time.Now()
		if err := command.Run(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		wall := time.Since(started)
		used := command.ProcessState.SysUsage().(*syscall.Rusage)
		cpu := command.ProcessState.UserTime() + command.ProcessState.SystemTime()
		fmt.Printf("backstay, %d certificates, %s: %s wall, %.1f/s, %s CPU (%.2f ms a certificate), %d MB\n",
			fleet, what, wall.Round(time.Millisecond), float64(fleet)/wall.Seconds(), cpu.Round(time.Millisecond), float64(cpu.Microseconds())/1000/float64(fleet), used.Maxrss/1024)
	}
	return nil
}

// bareLoop issues with the wire library alone: no storage, no checks, one
// account, 10 ms polls.
func bareLoop(server ca, answers *sync.Map, fleet int) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(server.HTTPSRoots())
	client := &acme.Client{Directory: server.URL(), PollInterval: 10 * time.Millisecond, HTTPClient: &http.Client{
		Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 16, ForceAttemptHTTP2: true},
	}}
	// Pebble's store can lock up for good; a run that meets that says so.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	account, err := client.NewAccount(ctx, acme.Account{TermsOfServiceAgreed: true, PrivateKey: key})
	if err != nil {
		return err
	}
	var next, failed atomic.Int64
	var first atomic.Value
	var group sync.WaitGroup
	started := time.Now()
	for range inFlight {
		group.Go(func() {
			for {
				number := next.Add(1)
				if number > int64(fleet) {
					return
				}
				if err := bareOne(ctx, client, account, answers, fmt.Sprintf("bare%05d.example.com", number)); err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, err.Error())
				}
			}
		})
	}
	group.Wait()
	wall := time.Since(started)
	if failed.Load() > 0 {
		return fmt.Errorf("bare loop: %d failed, first: %v", failed.Load(), first.Load())
	}
	fmt.Printf("bare acmez loop, %d certificates, %d in flight: %s, %.1f/s\n", fleet, inFlight, wall.Round(time.Millisecond), float64(fleet)/wall.Seconds())
	return nil
}

func bareOne(ctx context.Context, client *acme.Client, account acme.Account, answers *sync.Map, name string) error {
	order, err := client.NewOrder(ctx, account, acme.Order{Identifiers: []acme.Identifier{{Type: "dns", Value: name}}})
	if err != nil {
		return err
	}
	for _, url := range order.Authorizations {
		authorization, err := client.GetAuthorization(ctx, account, url)
		if err != nil {
			return err
		}
		for _, challenge := range authorization.Challenges {
			if challenge.Type != acme.ChallengeTypeHTTP01 {
				continue
			}
			answers.Store(challenge.HTTP01ResourcePath(), challenge.KeyAuthorization)
			if _, err := client.InitiateChallenge(ctx, account, challenge); err != nil {
				return err
			}
		}
		if _, err := client.PollAuthorization(ctx, account, authorization); err != nil {
			return err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		return err
	}
	if order, err = client.FinalizeOrder(ctx, account, order, request); err != nil {
		return err
	}
	_, err = client.GetCertificateChain(ctx, account, order.Certificate)
	return err
}
