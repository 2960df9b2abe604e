// Package nginx deploys to nginx.
//
// Promise: a server block that includes STATE/targets/TARGET/NAME.conf changes
// by one rename of one file, so an nginx that starts at any instant reads the
// files of one generation. Server blocks that name plain paths are served by
// deploy.Linked. Before a swap nginx itself is asked, about its configuration
// as it stands and about the new pairs. nginx is reloaded by a signal to the
// process that is proven to be the master of this configuration; it is never
// started, stopped or restarted.
//
// Limits: the configuration is read from its files, so what "nginx -g" adds is
// not seen. Names that only a regular expression or a variable decides are not
// matched to certificates. New pairs are tried in a configuration of our own,
// where ssl_ciphers, ssl_password_file and other settings of the real one are
// absent. With plain paths, nginx opens two files and the switch may flip in
// between: Standing.Form says link then.
package nginx

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/deploy"
)

// Config is what a target needs.
type Config struct {
	Target config.Target // of kind nginx; Name is required
	State  string        // absolute path of the state folder
	Read   Reader

	// Certificates are all that are deployed to this target. A server block that
	// several of them could serve goes to the one that fits best. Empty: only the
	// certificate at hand is considered, and paths held for another are left alone.
	Certificates []config.Certificate
}

// Target is one nginx. It implements deploy.Target.
type Target struct {
	configured config.Target
	state      string
	read       Reader
	owners     []config.Certificate

	mutex  sync.Mutex
	cached *cached
	recent []deploy.Placement // swapped since the last reload, for its command
}

// New checks the configuration; it opens nothing.
func New(cfg Config) (*Target, error) {
	target := &Target{configured: cfg.Target, state: filepath.Clean(cfg.State), read: cfg.Read, owners: cfg.Certificates}
	fault := func(text string) (*Target, error) {
		return nil, fmt.Errorf("target %s: %s", cfg.Target.Name, text)
	}
	switch {
	case cfg.Target.Name == "":
		return nil, errors.New("nginx: Target.Name is required")
	case cfg.Read == nil:
		return nil, errors.New("nginx: Read is required")
	case !filepath.IsAbs(cfg.State):
		return fault("State must be absolute")
	case strings.ContainsAny(cfg.State, "$\n\r\x00"):
		// nginx has no way to write a dollar that is no variable.
		return fault("the state folder's path must not hold a dollar sign or a line break")
	}
	if _, err := deploy.ParseListeners(cfg.Target.Verify, nil); err != nil {
		return fault(err.Error())
	}
	return target, nil
}

// Look reports where nginx uses the certificate. It reads files only: "nginx
// -T" would open logs and bind sockets, and needs root.
func (target *Target) Look(ctx context.Context, placement deploy.Placement) (deploy.Standing, error) {
	if err := deploy.CheckName(placement.Name); err != nil {
		return deploy.Standing{}, err
	}
	configuration, err := target.configuration(ctx)
	if err != nil {
		return deploy.Standing{}, err
	}
	uses, err := target.uses(configuration, placement)
	if err != nil {
		return deploy.Standing{}, err
	}
	standing, err := target.standing(placement, uses)
	if err != nil {
		return deploy.Standing{}, err
	}
	if standing.Form == deploy.FormNone {
		standing.DropIn, standing.DropInPath = target.dropIn(configuration, placement)
	}
	if len(target.configured.Verify) > 0 {
		standing.Listeners, err = deploy.ParseListeners(target.configured.Verify, placement.Domains)
	} else if standing.Form == deploy.FormNone {
		standing.Listeners = dropInListeners(configuration, placement)
	} else {
		standing.Listeners = listeners(configuration, uses.servers, placement)
	}
	return standing, err
}

// standing joins what all places hold: the lowest generation counts, since the
// work is done when the last place is.
func (target *Target) standing(placement deploy.Placement, uses uses) (deploy.Standing, error) {
	standing := deploy.Standing{Form: uses.form}
	for index, place := range uses.places {
		found, err := place.look(placement)
		if err != nil {
			return standing, err
		}
		if index == 0 || found.Generation < standing.Generation {
			standing.Generation, standing.Chain, standing.KeyMatches = found.Generation, found.Chain, found.KeyMatches
			standing.Certificate, standing.Key = place.paths()
		}
	}
	return standing, nil
}

// Stage writes what each place will need.
func (target *Target) Stage(ctx context.Context, placement deploy.Placement) error {
	return target.locked(ctx, placement, func(uses uses) error {
		for _, place := range uses.places {
			if err := place.stage(placement); err != nil {
				return err
			}
		}
		return nil
	})
}

// Swap puts a staged generation in force at each place, one rename each; there
// is more than one place only where server blocks name different plain paths.
func (target *Target) Swap(ctx context.Context, placement deploy.Placement, back bool) error {
	return target.locked(ctx, placement, func(uses uses) error {
		for _, place := range uses.places {
			if err := place.checkStaged(placement); err != nil {
				return err // before the first rename, so that no place runs ahead
			}
		}
		for _, place := range uses.places {
			if err := place.swap(placement, back); err != nil {
				return err
			}
		}
		target.mutex.Lock()
		target.recent = append(target.recent, placement)
		target.mutex.Unlock()
		if placement.Generation == 0 && uses.throughRecord {
			return nil
		}
		return deploy.Record(target.state, target.configured.Name, placement.Name, placement.Generation)
	})
}

// locked finds the places of a placement and acts on them under the target's lock.
func (target *Target) locked(ctx context.Context, placement deploy.Placement, act func(uses) error) error {
	if err := deploy.CheckName(placement.Name); err != nil {
		return err
	}
	if placement.Generation < 0 {
		return fmt.Errorf("generation %d cannot be placed", placement.Generation)
	}
	configuration, err := target.configuration(ctx)
	if err != nil {
		return err
	}
	uses, err := target.uses(configuration, placement)
	if err != nil {
		return err
	}
	release, err := deploy.Lock(target.state, target.configured.Name)
	if err != nil {
		return err
	}
	defer release()
	return act(uses)
}
