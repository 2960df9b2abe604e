package daemon

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/issue"
	"github.com/backstay/backstay/issue/dns01"
	"github.com/backstay/backstay/issue/http01"
	"github.com/backstay/backstay/issue/tlsalpn01"
	"github.com/backstay/backstay/plan"
)

// wire makes the executors that the configuration asks for.
func (daemon *Daemon) wire() error {
	configuration := daemon.cfg.Configuration
	authorities, err := authoritiesOf(configuration)
	if err != nil {
		return err
	}
	solvers, shared, err := daemon.solvers(configuration)
	if err != nil {
		return err
	}
	daemon.issuer, err = issue.New(issue.Config{
		Folder: AccountsFolder(daemon.cfg.Folder), Authorities: authorities, Solvers: solvers,
		Generations: generations{daemon.cfg.Folder}, Random: daemon.cfg.Random, Now: daemon.cfg.Now, Proxy: configuration.Proxy,
		SharedKey: shared, UserAgent: daemon.cfg.UserAgent,
	})
	if err != nil {
		return err
	}
	for name, target := range configuration.Targets { // order does not matter: by name
		site, err := daemon.site(target)
		if err != nil {
			return fmt.Errorf("target %s: %w", name, err)
		}
		daemon.sites[name] = site
	}
	return nil
}

// AccountsFolder is where account keys live in a state folder.
func AccountsFolder(state string) string { return filepath.Join(state, "accounts") }

func authoritiesOf(configuration *config.Config) (map[string]issue.Authority, error) {
	all := map[string]issue.Authority{}
	for _, authority := range configuration.Authorities {
		made := issue.Authority{
			Name: authority.Name, Directory: authority.Directory, Contact: configuration.Contact,
			InsecureTestCA: authority.InsecureTestCA,
		}
		if authority.DirectoryRoots != "" {
			text, err := os.ReadFile(authority.DirectoryRoots)
			if err != nil {
				return nil, fmt.Errorf("directory_roots of authority %s: %w", authority.Name, err)
			}
			made.DirectoryRoots = x509.NewCertPool()
			if !made.DirectoryRoots.AppendCertsFromPEM(text) {
				return nil, fmt.Errorf("directory_roots of authority %s: %s holds no certificate", authority.Name, authority.DirectoryRoots)
			}
		}
		if binding := authority.EAB; binding != nil {
			made.EAB = func(ctx context.Context) (keyID, hmac string, err error) {
				id, err := binding.KeyID.Read(ctx)
				if err != nil {
					return "", "", err
				}
				key, err := binding.HMAC.Read(ctx)
				return strings.TrimSpace(string(id)), strings.TrimSpace(string(key)), err
			}
		}
		all[authority.Name] = made
	}
	return all, nil
}

// solvers makes the challenge solvers; shared is true when one of them needs a
// single account key for all CAs.
func (daemon *Daemon) solvers(configuration *config.Config) (all map[string]issue.Solver, shared bool, err error) {
	all = map[string]issue.Solver{}
	resolver := Resolver(configuration.Resolvers)
	for name, solver := range configuration.Solvers { // order does not matter: by name
		looker := http01.Looker{Resolver: resolver, Port: solver.Port}
		switch {
		case solver.Type == "http-01" && solver.Stateless:
			all[name], shared = http01.Stateless{Looker: looker}, true
		case solver.Type == "http-01" && solver.Webroot != "":
			all[name] = http01.Webroot{Looker: looker, Folder: solver.Webroot}
		case solver.Type == "http-01":
			own := &http01.Listener{Looker: looker, Address: solver.Listen}
			all[name] = own
			daemon.close = append(daemon.close, own)
		case solver.Type == "tls-alpn-01":
			own := &tlsalpn01.Listener{Address: solver.Listen}
			all[name] = own
			daemon.close = append(daemon.close, own)
		case solver.Type == "dns-01":
			made, err := updater(solver, configuration.Resolvers)
			if err != nil {
				return nil, false, fmt.Errorf("solver %s: %w", name, err)
			}
			all[name] = made
		default:
			return nil, false, fmt.Errorf("solver %s: type %q is not supported", name, solver.Type)
		}
	}
	return all, shared, nil
}

func updater(solver config.Solver, resolvers []netip.AddrPort) (*dns01.Solver, error) {
	cfg := dns01.Config{Server: solver.Server, Zone: solver.Zone, CheckAt: solver.CheckAt}
	for _, resolver := range resolvers {
		cfg.Resolvers = append(cfg.Resolvers, resolver.String())
	}
	if key := solver.TSIG; key != nil {
		cfg.KeyName, cfg.Algorithm = key.Name, key.Algorithm
		cfg.Secret = func(ctx context.Context) (string, error) {
			text, err := key.Secret.Read(ctx)
			return string(text), err
		}
	}
	return dns01.New(cfg)
}

// Resolver asks the given servers in turn, or the system's when there are none.
func Resolver(servers []netip.AddrPort) *net.Resolver {
	if len(servers) == 0 {
		return net.DefaultResolver
	}
	var turn atomic.Uint64
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		server := servers[int(turn.Add(1)-1)%len(servers)]
		return (&net.Dialer{}).DialContext(ctx, network, server.String())
	}}
}

// generations lets package issue store what package deploy keeps.
type generations struct{ state string }

func (all generations) WriteKey(name string, generation int, keyPEM []byte) error {
	return deploy.WriteKey(all.state, name, generation, keyPEM)
}

func (all generations) ReadKey(name string, generation int) ([]byte, error) {
	return deploy.ReadKey(all.state, name, generation)
}

func (all generations) WriteChain(name string, generation int, leafPEM, chainPEM []byte) error {
	return deploy.WriteChain(all.state, name, generation, leafPEM, chainPEM)
}

func (all generations) ReadLeaf(name string, generation int) (*x509.Certificate, error) {
	read, err := deploy.Read(all.state, name, generation)
	if err != nil {
		return nil, err
	}
	if len(read.Chain) == 0 {
		return nil, deploy.ErrIncomplete
	}
	return read.Chain[0], nil
}

// actor carries out the effects of certificate and challenge rows: those at a CA
// by package issue, the live link by package deploy.
type actor struct{ daemon *Daemon }

func (actor *actor) Do(ctx context.Context, row plan.Row, effect plan.Effect) plan.Event {
	if effect.Kind != plan.PointLive {
		return actor.daemon.issuer.Do(ctx, row, effect)
	}
	event := plan.Event{Effect: effect.Kind, At: actor.daemon.cfg.Now()}
	if err := deploy.PointLive(actor.daemon.cfg.Folder, row.Certificate.Name, effect.Generation); err != nil {
		event.Trouble = &plan.Trouble{Class: plan.Local, Summary: "moving the live link: " + err.Error(), Next: "backstay doctor"}
		return event
	}
	event.Trouble = actor.daemon.deployHook(ctx, row.Certificate)
	return event
}

// deployHook runs the certificate's deploy hook, as certbot would: after the new
// certificate is in place. A hook that fails is run again later, and so is one
// whose end was lost in a kill: hooks must bear being run twice.
func (daemon *Daemon) deployHook(ctx context.Context, row *plan.Certificate) *plan.Trouble {
	for _, certificate := range daemon.cfg.Configuration.Certificates {
		if certificate.Name != row.Name || len(certificate.Hooks.Deploy) == 0 {
			continue
		}
		_, _, err := deploy.Run(ctx, deploy.Command{Argv: certificate.Hooks.Deploy, Environment: []string{
			"RENEWED_LINEAGE=" + filepath.Join(daemon.cfg.Folder, "live", row.Name),
			"RENEWED_DOMAINS=" + strings.Join(row.Held.Domains, " "),
		}})
		if err != nil {
			return &plan.Trouble{Class: plan.Local, Summary: "the deploy hook failed: " + err.Error(), Next: "run the hook by hand with RENEWED_LINEAGE and RENEWED_DOMAINS set, then backstay renew " + row.Name}
		}
	}
	return nil
}

func (actor *actor) Resume(ctx context.Context, row plan.Row) {
	actor.daemon.issuer.Resume(ctx, row)
}

// deployer for a target, or why there is none.
func (daemon *Daemon) deployer(target string, engine *engine) (*deployer, *plan.Trouble) {
	site, exists := daemon.sites[target]
	if !exists {
		return nil, &plan.Trouble{Class: plan.Setup, Code: "target-not-configured", Summary: fmt.Sprintf("target %q is not configured any more", target), Next: "backstay config check"}
	}
	return &deployer{
		engine: engine, site: *site, state: daemon.cfg.Folder, handshake: handshake,
		trust: daemon.trusts.of, authority: daemon.authorityOf, revoked: daemon.revoked,
	}, nil
}

// revoked reports whether a generation was revoked by us.
func (daemon *Daemon) revoked(name, sha256 string) bool {
	generations, err := daemon.state.Generations(context.Background(), name)
	if err != nil {
		return false
	}
	for _, held := range generations {
		if held.SHA256 == sha256 && held.Revoked {
			return true
		}
	}
	return false
}

// authorityOf is who issued a generation; "" when that is not known.
func (daemon *Daemon) authorityOf(name string, number int) string {
	generations, err := daemon.state.Generations(context.Background(), name)
	if err != nil {
		return ""
	}
	for _, held := range generations {
		if held.Generation == number {
			return held.Authority
		}
	}
	return ""
}
