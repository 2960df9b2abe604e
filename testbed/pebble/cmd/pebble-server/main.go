// Command pebble-server runs one Pebble until SIGTERM or SIGINT, for shell
// scripts and other ACME clients.
//
// Promise: when the one line of JSON is on standard output, the server answers.
// The line holds directory, roots and https_roots; the latter two are paths of
// PEM files in the folder given by -folder.
//
// Limits: those of package pebble.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/testbed/pebble"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pebble-server:", err)
		os.Exit(1)
	}
}

func run() error {
	var config pebble.Config
	var accounts, profiles pairs
	folder := flag.String("folder", ".", "where https-root.pem and root.pem are written")
	flag.StringVar(&config.Listen, "listen", "127.0.0.1:0", "address of the ACME server")
	flag.IntVar(&config.HTTPPort, "http-port", 5002, "port where http-01 looks")
	flag.IntVar(&config.TLSPort, "tls-port", 5001, "port where tls-alpn-01 looks")
	flag.StringVar(&config.DNS, "dns", "", "DNS server to ask over TCP; empty for the system's")
	flag.IntVar(&config.NonceRejectPercent, "nonce-reject", 0, "percent of good nonces that are refused")
	flag.IntVar(&config.AuthzReusePercent, "authz-reuse", 0, "percent of valid authorizations that are used again")
	flag.IntVar(&config.AlternateRoots, "alternate-roots", 0, "number of further roots")
	flag.IntVar(&config.ChainLength, "chain-length", 1, "number of intermediates")
	flag.DurationVar(&config.Validity, "validity", 90*24*time.Hour, "life of certificates of the default profile")
	flag.BoolVar(&config.AlwaysValid, "always-valid", false, "do not look at challenges")
	flag.Var(&accounts, "eab", "KEYID=HMAC (base64url) of an external account; may be repeated, makes binding required")
	flag.Var(&profiles, "profile", "NAME=DURATION of a profile; may be repeated, replaces the default one")
	verbose := flag.Bool("verbose", false, "Pebble's log on standard error")
	flag.Parse()
	if *verbose {
		config.Log = os.Stderr
	}
	config.ExternalAccounts, config.ExternalAccountRequired = accounts, len(accounts) > 0
	for name, life := range profiles {
		duration, err := time.ParseDuration(life)
		if err != nil {
			return fmt.Errorf("-profile %s: %w", name, err)
		}
		if config.Profiles == nil {
			config.Profiles = map[string]pebble.Profile{}
		}
		config.Profiles[name] = pebble.Profile{Description: name, Validity: duration}
	}
	return serve(config, *folder)
}

func serve(config pebble.Config, folder string) error {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	server, err := pebble.Start(config)
	if err != nil {
		return err
	}
	defer server.Close()
	files := map[string][]byte{"https-root.pem": server.HTTPSRoots(), "root.pem": server.Roots()}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			return err
		}
	}
	line := map[string]string{"directory": server.URL()}
	for key, name := range map[string]string{"https_roots": "https-root.pem", "roots": "root.pem"} {
		if line[key], err = filepath.Abs(filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		return err
	}
	<-ended
	return nil
}

// pairs collects repeated NAME=VALUE flags.
type pairs map[string]string

func (pairs *pairs) String() string { return fmt.Sprint(map[string]string(*pairs)) }

func (pairs *pairs) Set(text string) error {
	name, value, found := strings.Cut(text, "=")
	if !found || name == "" {
		return fmt.Errorf("want NAME=VALUE")
	}
	if *pairs == nil {
		*pairs = map[string]string{}
	}
	(*pairs)[name] = value
	return nil
}
