package cli

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/testbed/authority"
	"github.com/backstay/backstay/testbed/nginx"
	"github.com/backstay/backstay/testbed/pki"
	"github.com/backstay/backstay/testbed/world"
)

// worldCommands are what a script does with its world:
//
//	world [-http PORT] CERTIFICATE…   a CA (that looks at PORT), a name server, a TLS
//	                               server, a configuration
//	nginxworld CERTIFICATE…        the same with a real nginx as the target "edge"
//	nginxsite FILE                 a real nginx with the server blocks of FILE; WORLD in
//	                               it is the world's folder, where pair, shop and wild .pem and .key are
//	configure CERTIFICATE…         writes the configuration anew
//	fault KIND STATUS [PROBLEM]    the CA answers so; or FAULT instead of STATUS
//	fault -name NAME …             only where this name is asked for
//	fault -retry DURATION …        with a Retry-After
//	nofault                        the CA is well again
//	gate close|open                while closed, the CA's validations wait
//	gate reached                   waits until a validation waits there
//	issued N                       the CA has issued so many certificates
//	orders N                       and has seen so many orders
//	serves N|old [NAME]            the server shows the Nth of them
//	fingerprint FILE               sets $SHA256 and its other spellings
//	tamper DATABASE                changes a word of the journal's past
//	newer DATABASE                 makes it look written by a newer version
//
// A CERTIFICATE is NAME=DOMAIN[,DOMAIN…], and further keys after a blank.
var worldCommands = map[string]func(ts *testscript.TestScript, neg bool, arguments []string){
	"world": onWorld((*scriptWorld).start), "nginxworld": onWorld((*scriptWorld).startNginx), "nginxsite": onWorld((*scriptWorld).site), "configure": onWorld((*scriptWorld).configure),
	"fault": onWorld((*scriptWorld).fault), "nofault": onWorld((*scriptWorld).noFault), "gate": onWorld((*scriptWorld).useGate),
	"fingerprint": fingerprint, "tamper": onDatabase(`UPDATE act SET intent = replace(intent, 'www', 'wwv') WHERE id = 3`),
	"newer":  onDatabase(`UPDATE goose_db_version SET version_id = version_id + 900`),
	"issued": onWorld((*scriptWorld).issued), "orders": onWorld((*scriptWorld).orders), "serves": onWorld((*scriptWorld).serves),
}

// scriptPatience bounds every wait; only a fault is slower.
const scriptPatience = 20 * time.Second

type scriptWorldKey struct{}

// scriptWorld is the world of one script; most scripts have none.
type scriptWorld struct {
	*world.World
	folder  string // the script's own
	gate    gate
	nginx   *nginx.Server
	blocks  string // server blocks of nginxsite
	targets string // further lines of the configuration
	address string // of the server that is looked at
}

func onWorld(command func(*scriptWorld, *testscript.TestScript, []string) error) func(ts *testscript.TestScript, neg bool, arguments []string) {
	return func(ts *testscript.TestScript, neg bool, arguments []string) {
		if neg {
			ts.Fatalf("this command knows no !")
		}
		ts.Check(command(ts.Value(scriptWorldKey{}).(*scriptWorld), ts, arguments))
	}
}

func (made *scriptWorld) close() {
	made.gate.open()
	if made.nginx != nil {
		made.nginx.Stop()
	}
	if made.World != nil {
		made.World.Close()
	}
}

func (made *scriptWorld) start(ts *testscript.TestScript, arguments []string) (err error) {
	cfg := world.Config{Folder: filepath.Join(made.folder, "world"), Authority: authority.Config{OrdersList: true, Network: &made.gate}}
	if len(arguments) > 1 && arguments[0] == "-http" {
		if cfg.Authority.HTTPPort, err = strconv.Atoi(arguments[1]); err != nil {
			return err
		}
		arguments = arguments[2:]
	}
	if err := os.Mkdir(cfg.Folder, 0o755); err != nil {
		return err
	}
	if made.World, err = world.New(cfg); err != nil {
		return err
	}
	made.address = made.Server.Address
	ts.Setenv("CONFIG", made.Path("backstay.yaml"))
	ts.Setenv("STATE", made.State())
	ts.Setenv("SERVER", made.address)
	ts.Setenv("CA", made.Authority.URL())
	ts.Setenv("ROOTS", made.Path("ca-roots.pem"))
	ts.Setenv("NAMESERVER", made.Names.Address().String())
	return made.configure(ts, arguments)
}

// configure writes the certificates of a script into the configuration.
func (made *scriptWorld) configure(_ *testscript.TestScript, arguments []string) error {
	configuration := world.Configuration{Targets: made.targets}
	for _, argument := range arguments {
		argument, options, _ := strings.Cut(argument, " ")
		name, domains, written := strings.Cut(argument, "=")
		if !written {
			return fmt.Errorf("%q is not NAME=DOMAIN[,DOMAIN…]", argument)
		}
		if options == "" && made.nginx != nil {
			options = "deploy: [edge]"
		}
		configuration.Certificates = append(configuration.Certificates, world.Certificate{Name: name, Domains: strings.Split(domains, ","), Options: options})
	}
	_, err := made.Configure(configuration)
	return err
}

// startNginx starts a real nginx: www.example.com includes Backstay's file, which
// at first names a foreign pair; shop.example.com names that pair by its paths;
// files of conf.d are included. Port 443 is kept out of it, so no block is ever
// added there by a test that is not alone on its machine.
func (made *scriptWorld) startNginx(ts *testscript.TestScript, arguments []string) error {
	if err := made.start(ts, nil); err != nil {
		return err
	}
	pair, err := pki.SelfSigned(pki.Options{Names: []string{"www.example.com", "shop.example.com"}})
	if err != nil {
		return err
	}
	include := filepath.Join(made.State(), "targets", "edge", "www.conf")
	if err := errors.Join(os.MkdirAll(filepath.Dir(include), 0o700), os.Mkdir(made.Path("conf.d"), 0o755)); err != nil {
		return err
	}
	text := fmt.Sprintf("ssl_certificate %s;\nssl_certificate_key %s;\n", made.Path("old.pem"), made.Path("old.key"))
	for path, content := range map[string][]byte{ // order does not matter
		include: []byte(text), made.Path("old.pem"): pair.FullchainPEM(), made.Path("old.key"): pair.KeyPEM(),
		made.Path("shop.pem"): pair.FullchainPEM(), made.Path("shop.key"): pair.KeyPEM(),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	made.nginx, err = nginx.Start(context.Background(), nginx.Config{Folder: made.Folder, Ports: 1, Daemon: true, Servers: func(server *nginx.Server) string {
		return fmt.Sprintf("server { listen 127.0.0.1:%[1]d ssl; server_name www.example.com; include %[2]s; location / { return 200 www; } }\n"+
			"server { listen 127.0.0.1:%[1]d ssl; server_name shop.example.com; ssl_certificate shop.pem; ssl_certificate_key shop.key; location / { return 200 shop; } }\n"+
			"include conf.d/*.conf;\n", server.Port(0), include)
	}})
	if err != nil {
		return err
	}
	made.address = made.nginx.Address(0)
	made.targets = fmt.Sprintf("  edge: {kind: nginx, config: %s, prefix: %s, binary: %s, reload_every: 50ms}\n", made.nginx.ConfigPath(), made.Folder, made.nginx.Binary())
	ts.Setenv("SERVER", made.address)
	ts.Setenv("NGINXCONF", made.nginx.ConfigPath())
	return made.configure(ts, arguments)
}

// site starts a real nginx with the server blocks of a script, or gives the one
// that runs others.
func (made *scriptWorld) site(ts *testscript.TestScript, arguments []string) error {
	if len(arguments) != 1 {
		return errors.New("usage: nginxsite FILE")
	}
	made.blocks = strings.ReplaceAll(ts.ReadFile(arguments[0]), "WORLD", made.Folder)
	if made.nginx != nil {
		return errors.Join(made.nginx.Stop(), made.nginx.Configure(), made.nginx.Run(context.Background()))
	}
	pair, err := pki.SelfSigned(pki.Options{Names: []string{"www.example.com"}, CommonName: "An old CA"})
	if err != nil {
		return err
	}
	for _, name := range []string{"pair", "shop", "wild"} {
		if err := errors.Join(made.Write(name+".pem", pair.FullchainPEM()), made.Write(name+".key", pair.KeyPEM())); err != nil {
			return err
		}
	}
	made.nginx, err = nginx.Start(context.Background(), nginx.Config{Folder: made.Folder, Daemon: true, Servers: func(*nginx.Server) string { return made.blocks }})
	if err != nil {
		return err
	}
	made.address = "127.0.0.1:443"
	ts.Setenv("SERVER", made.address)
	ts.Setenv("NGINXCONF", made.nginx.ConfigPath())
	return nil
}

// fault puts a rule into the CA's table.
func (made *scriptWorld) fault(_ *testscript.TestScript, arguments []string) error {
	var rule authority.Rule
	for len(arguments) > 1 && strings.HasPrefix(arguments[0], "-") {
		switch arguments[0] {
		case "-name":
			rule.Name = arguments[1]
		case "-retry":
			after, err := time.ParseDuration(arguments[1])
			if err != nil {
				return err
			}
			rule.RetryAfter = after
		}
		arguments = arguments[2:]
	}
	if len(arguments) < 2 {
		return errors.New("usage: fault [-name NAME] [-retry DURATION] KIND STATUS|FAULT [PROBLEM]")
	}
	if arguments[0] != "any" {
		rule.At = authority.Kind(arguments[0])
	}
	status, err := strconv.Atoi(arguments[1])
	if rule.What = authority.What(arguments[1]); err == nil {
		rule.What, rule.Status = authority.Answer, status
	}
	if len(arguments) > 2 {
		rule.Problem, rule.Detail = arguments[2], "policy of this CA"
	}
	made.Authority.Faults().Add(rule)
	return nil
}

func (made *scriptWorld) noFault(*testscript.TestScript, []string) error {
	made.Authority.Faults().Clear()
	return nil
}

func (made *scriptWorld) useGate(_ *testscript.TestScript, arguments []string) error {
	switch strings.Join(arguments, " ") {
	case "close":
		made.gate.shut()
	case "open":
		made.gate.open()
	case "reached":
		return patiently(func() bool { return made.gate.waiting() > 0 })
	default:
		return errors.New("usage: gate close|open|reached")
	}
	return nil
}

func (made *scriptWorld) issued(_ *testscript.TestScript, arguments []string) error {
	return same("certificates issued", len(made.Authority.Issued()), arguments)
}

func (made *scriptWorld) orders(_ *testscript.TestScript, arguments []string) error {
	return same("orders", len(made.Authority.Orders()), arguments)
}

func same(what string, got int, arguments []string) error {
	if len(arguments) != 1 || strconv.Itoa(got) != arguments[0] {
		return fmt.Errorf("%s: %d, want %v", what, got, arguments)
	}
	return nil
}

// serves compares a fresh handshake with the CA's own book.
func (made *scriptWorld) serves(_ *testscript.TestScript, arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("usage: serves N|old [NAME]")
	}
	name := "www.example.com"
	if len(arguments) > 1 {
		name = arguments[1]
	}
	shown, err := nginx.Served(context.Background(), made.address, name)
	if err != nil {
		return err
	}
	got := "old"
	for index, one := range made.Authority.Issued() {
		if one.Certificate.Equal(shown) {
			got = strconv.Itoa(index + 1)
		}
	}
	if got != arguments[0] {
		return fmt.Errorf("%s shows certificate %s, want %s", name, got, arguments[0])
	}
	return nil
}

// gate is the network through which the CA looks: every name is on loopback, and
// looks wait while it is shut.
type gate struct {
	authority.Loopback
	mu     sync.Mutex
	closed chan struct{} // nil while open
	queue  int
}

// LookupIP is the first thing that a validation does.
func (gate *gate) LookupIP(ctx context.Context, name string) ([]netip.Addr, error) {
	gate.mu.Lock()
	shut := gate.closed
	gate.queue++
	gate.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-ctx.Done():
		}
	}
	gate.mu.Lock()
	gate.queue--
	gate.mu.Unlock()
	return gate.Loopback.LookupIP(ctx, name)
}

func (gate *gate) shut() {
	gate.mu.Lock()
	defer gate.mu.Unlock()
	gate.closed = make(chan struct{})
}

func (gate *gate) open() {
	gate.mu.Lock()
	defer gate.mu.Unlock()
	if gate.closed != nil {
		close(gate.closed)
		gate.closed = nil
	}
}

func (gate *gate) waiting() int {
	gate.mu.Lock()
	defer gate.mu.Unlock()
	return gate.queue
}

// until is `until FILE PATTERN`: it waits until the file holds the pattern.
func until(ts *testscript.TestScript, neg bool, arguments []string) {
	if neg || len(arguments) != 2 {
		ts.Fatalf("usage: until FILE PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + arguments[1])
	ts.Check(err)
	path := ts.MkAbs(arguments[0])
	if err := patiently(func() bool { text, _ := os.ReadFile(path); return pattern.Match(text) }); err != nil {
		text, _ := os.ReadFile(path)
		ts.Fatalf("%s never held %q: %s", arguments[0], arguments[1], text)
	}
}

// patiently asks until the answer is yes.
func patiently(ask func() bool) error {
	deadline := time.NewTimer(scriptPatience)
	defer deadline.Stop()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return errors.New("waited in vain")
		}
	}
	return nil
}

// fingerprint is that of the first certificate in a file.
func fingerprint(ts *testscript.TestScript, neg bool, arguments []string) {
	if neg || len(arguments) != 1 {
		ts.Fatalf("usage: fingerprint FILE")
	}
	block, _ := pem.Decode([]byte(ts.ReadFile(arguments[0])))
	if block == nil {
		ts.Fatalf("%s holds no PEM block", arguments[0])
	}
	sum := sha256.Sum256(block.Bytes)
	text := hex.EncodeToString(sum[:])
	ts.Setenv("SHA256", text)
	ts.Setenv("SHA8", text[:8])
	ts.Setenv("SHACOLONS", strings.TrimSuffix(fmt.Sprintf("% X", sum), " "))
	ts.Setenv("SHACOLONS", strings.ReplaceAll(ts.Getenv("SHACOLONS"), " ", ":"))
}

// onDatabase changes exactly one row behind Backstay's back.
func onDatabase(statement string) func(ts *testscript.TestScript, neg bool, arguments []string) {
	return func(ts *testscript.TestScript, neg bool, arguments []string) {
		if neg || len(arguments) != 1 {
			ts.Fatalf("usage: tamper|newer DATABASE")
		}
		database, err := sql.Open("sqlite", ts.MkAbs(arguments[0]))
		ts.Check(err)
		defer database.Close()
		changed, err := database.Exec(statement)
		ts.Check(err)
		if rows, err := changed.RowsAffected(); err != nil || rows == 0 {
			ts.Fatalf("no row was changed: %v", err)
		}
	}
}
