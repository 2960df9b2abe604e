// Package files deploys to servers that open plain paths.
//
// Promise: both paths change together, by one rename of one link (see
// deploy.Linked); what was there before is kept and can be put back. A server
// that takes certificate and key from one file gets one file. Mode and owner of
// the key are those configured, else those found, else 0600.
//
// Limits: such a server has no test of its own that we know of, so Check only
// reads back what was staged. A server that starts between the opening of its
// two files while the switch flips reads a mixture; only one file for both, or
// a server that includes our text, is free of that.
package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/deploy"
)

// Config is what a target needs.
type Config struct {
	Target config.Target // of kind files; Name and Cert are required, Key defaults to Cert
	State  string        // absolute path of the state folder
}

// Target is a pair of plain paths. It implements deploy.Target.
type Target struct {
	configured config.Target
	state      string
	linked     deploy.Linked
}

// New checks the configuration; it opens nothing.
func New(cfg Config) (*Target, error) {
	target := &Target{configured: cfg.Target, state: cfg.State}
	fault := func(err error) (*Target, error) { return nil, fmt.Errorf("target %s: %w", cfg.Target.Name, err) }
	switch {
	case cfg.Target.Name == "":
		return nil, errors.New("files: Target.Name is required")
	case !filepath.IsAbs(cfg.State):
		return fault(errors.New("the state folder must be absolute"))
	case cfg.Target.Cert == "":
		return fault(errors.New("cert is required"))
	}
	key := cfg.Target.Key
	if key == "" {
		key = cfg.Target.Cert
	}
	target.linked = deploy.Linked{State: cfg.State, Certificate: filepath.Clean(cfg.Target.Cert), Key: filepath.Clean(key)}
	if !filepath.IsAbs(target.linked.Certificate) || !filepath.IsAbs(target.linked.Key) {
		return fault(errors.New("cert and key must be absolute paths"))
	}
	var err error
	if target.linked.Mode, err = parseMode(cfg.Target.Mode); err != nil {
		return fault(err)
	}
	if target.linked.Owner, err = parseOwner(cfg.Target.Owner); err != nil {
		return fault(err)
	}
	if _, err := deploy.ParseListeners(cfg.Target.Verify, nil); err != nil {
		return fault(err)
	}
	return target, nil
}

// parseMode reads the octal mode of a key. One that lets everybody read it is a
// mistake that we do not carry out.
func parseMode(text string) (fs.FileMode, error) {
	if text == "" {
		return 0, nil
	}
	mode, err := strconv.ParseUint(text, 8, 12)
	if err != nil || mode&^0o770 != 0 || mode&0o400 == 0 {
		return 0, fmt.Errorf("mode %q: must be octal, readable by the owner and by nobody outside the group, such as 0640", text)
	}
	return fs.FileMode(mode), nil
}

// parseOwner reads user[:group], names or numbers. Without a group it is the
// user's own.
func parseOwner(text string) (*deploy.Owner, error) {
	if text == "" {
		return nil, nil
	}
	name, group, withGroup := strings.Cut(text, ":")
	account, err := user.Lookup(name)
	if err != nil {
		if account, err = user.LookupId(name); err != nil && !numeric(name) {
			return nil, fmt.Errorf("owner %q: no such user", text)
		}
	}
	owner := &deploy.Owner{}
	if account != nil {
		name = account.Uid
		if !withGroup {
			group = account.Gid
		}
	}
	if withGroup {
		if found, err := user.LookupGroup(group); err == nil {
			group = found.Gid
		}
	}
	if !numeric(name) || !numeric(group) {
		return nil, fmt.Errorf("owner %q: no such group", text)
	}
	owner.UID, _ = strconv.Atoi(name)
	owner.GID, _ = strconv.Atoi(group)
	return owner, nil
}

func numeric(text string) bool {
	number, err := strconv.ParseUint(text, 10, 31)
	return err == nil && strconv.FormatUint(number, 10) == text
}

// Look reports what is in force at the two paths.
func (target *Target) Look(_ context.Context, placement deploy.Placement) (deploy.Standing, error) {
	found, err := target.linked.Look(placement.Name)
	if err != nil {
		return deploy.Standing{}, err
	}
	listeners, err := deploy.ParseListeners(target.configured.Verify, placement.Domains)
	if err != nil {
		return deploy.Standing{}, err
	}
	return deploy.Standing{
		Form: deploy.FormLink, Generation: found.Generation, Chain: found.Chain, KeyMatches: found.KeyMatches,
		Certificate: target.linked.Certificate, Key: target.linked.Key, Listeners: listeners,
	}, nil
}

// Stage writes the generation beside the key, and the first time makes both
// paths links to a copy of what is in force.
func (target *Target) Stage(_ context.Context, placement deploy.Placement) error {
	return target.locked(func() error { return target.linked.Stage(placement) })
}

// Check reads back what was staged: there is no server to ask.
func (target *Target) Check(_ context.Context, placements []deploy.Placement) error {
	for _, placement := range placements {
		if err := target.linked.CheckStaged(placement); err != nil {
			return err
		}
	}
	return nil
}

// Swap puts the staged generation in force by one rename, and then notes it in
// STATE/targets.
func (target *Target) Swap(_ context.Context, placement deploy.Placement, back bool) error {
	return target.locked(func() error {
		if err := target.linked.Swap(placement, back); err != nil {
			return err
		}
		return deploy.Record(target.state, target.configured.Name, placement.Name, placement.Generation)
	})
}

func (target *Target) locked(act func() error) error {
	release, err := deploy.Lock(target.state, target.configured.Name)
	if err != nil {
		return err
	}
	defer release()
	return act()
}

// Reload runs the configured command or reloads the configured unit; without
// either the server is expected to notice by itself.
func (target *Target) Reload(ctx context.Context) error {
	renewed, err := target.renewed()
	if err != nil {
		return err
	}
	_, err = deploy.RunReload(ctx, target.configured.Reload, renewed)
	return err
}

// renewed reads what to tell the command from the disk, not from memory: a
// reload may be the first thing after a restart.
func (target *Target) renewed() (deploy.Renewed, error) {
	name, number, folder, ours := target.linked.InForce()
	if !ours {
		return deploy.Renewed{}, nil
	}
	renewed := deploy.Renewed{Lineage: folder}
	if number > 0 {
		// A kill between the switch and the note left the note behind.
		if err := deploy.Record(target.state, target.configured.Name, name, number); err != nil {
			return deploy.Renewed{}, err
		}
		renewed.Lineage = deploy.LinkPath(target.state, target.configured.Name, name)
	}
	chain, _, err := deploy.ReadPair(target.linked.Certificate, target.linked.Key)
	if err != nil {
		return renewed, nil // an adopted pair may be unreadable; the command still has to run
	}
	renewed.Domains = append(renewed.Domains, chain[0].DNSNames...)
	for _, address := range chain[0].IPAddresses {
		renewed.Domains = append(renewed.Domains, address.String())
	}
	return renewed, nil
}
