package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/deploy/nginx"
	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/journal"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
)

// Block is a certificate that no server block uses yet, with what would help.
type Block struct {
	Kind    string `json:"kind"` // "step"
	Schema  int    `json:"schema"`
	Step    string `json:"step"` // "server-block"
	Name    string `json:"name"`
	Target  string `json:"target"`
	Include string `json:"include"`        // the file to include
	Path    string `json:"path,omitempty"` // where a server block may be written
	Text    string `json:"text,omitempty"` // that server block
}

// Unused lists the configured certificates that no server block uses yet.
// Targets that cannot be asked are passed over: deploying to them says why.
func Unused(ctx context.Context, configuration *config.Config, folder string, names []string) ([]Block, error) {
	daemon := &Daemon{cfg: Config{Folder: folder, Configuration: configuration, Now: time.Now}, sites: map[string]*Site{}}
	var found []Block
	for _, certificate := range configuration.Certificates {
		if len(names) > 0 && !slices.Contains(names, certificate.Name) {
			continue
		}
		for _, name := range certificate.Deploy {
			target, err := daemon.target(configuration.Targets[name])
			if err != nil {
				return nil, err
			}
			block, unused := daemon.unused(ctx, target, certificate, name)
			if unused {
				found = append(found, block)
			}
		}
	}
	return found, nil
}

func (daemon *Daemon) unused(ctx context.Context, target deploy.Target, certificate config.Certificate, name string) (Block, bool) {
	standing, err := target.Look(ctx, deploy.Placement{Name: certificate.Name, Domains: certificate.Domains, Generation: 1, Folder: deploy.Folder(daemon.cfg.Folder, certificate.Name, 1)})
	if err != nil || standing.Form != deploy.FormNone {
		return Block{}, false
	}
	return Block{
		Kind: "step", Schema: 1, Step: "server-block", Name: certificate.Name, Target: name,
		Include: IncludePath(daemon.cfg.Folder, name, certificate.Name), Path: standing.DropInPath, Text: standing.DropIn,
	}, true
}

// IncludePath is the file that a server includes for a certificate.
func IncludePath(folder, target, name string) string {
	return filepath.Join(folder, "targets", target, name+".conf")
}

// AddServerBlocks writes a server block for each unused certificate where the
// server's configuration has a place for it. A block that the server refuses is
// taken away again at once.
func (daemon *Daemon) AddServerBlocks(ctx context.Context, who string) (added []Block, err error) {
	for _, certificate := range daemon.cfg.Configuration.Certificates {
		for _, name := range certificate.Deploy {
			site := daemon.sites[name]
			block, unused := daemon.unused(ctx, site.Target, certificate, name)
			if !unused || block.Path == "" {
				continue
			}
			// The block includes our file, so that must be there first.
			if _, missing := os.Stat(block.Include); missing != nil {
				continue
			}
			if err := daemon.addBlock(ctx, site, block, who); err != nil {
				return added, err
			}
			added = append(added, block)
		}
	}
	return added, nil
}

// blockTrier is a target that can be asked about a server block beforehand.
type blockTrier interface {
	TryBlock(ctx context.Context, text string) error
}

func (daemon *Daemon) addBlock(ctx context.Context, site *Site, block Block, who string) error {
	if _, err := os.Lstat(block.Path); err == nil {
		return fmt.Errorf("%s is there already, and the server does not use it", block.Path)
	}
	// Asked before anything is written: a kill between writing a block and testing
	// it would leave a server that cannot start.
	if tried, able := site.Target.(blockTrier); able {
		if err := tried.TryBlock(ctx, block.Text); err != nil && !errors.Is(err, nginx.ErrCannotTry) {
			return fmt.Errorf("the server block for %s was not added: %w", block.Name, err)
		}
	}
	var id int64
	err := daemon.state.Write(ctx, func(tx *store.Tx) (err error) {
		id, err = journal.Begin(tx, journal.Intent{What: "server-block", Subject: plan.KindDeployment + "/" + block.Name + "/" + block.Target,
			Actor: who, At: daemon.cfg.Now(), Details: map[string]string{"path": block.Path, "target": block.Target, "certificate": block.Name}})
		return err
	})
	if err != nil {
		return err
	}
	acting := durable.WriteFile(block.Path, []byte(block.Text), 0o644)
	if acting == nil {
		if refused := site.Target.Check(ctx, nil); refused != nil {
			acting = errors.Join(fmt.Errorf("%s refuses the server block for %s; it was taken away again: %w", block.Target, block.Name, refused), durable.Remove(block.Path))
		}
	}
	return errors.Join(acting, daemon.state.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		ended := journal.Outcome{At: daemon.cfg.Now()}
		if acting != nil {
			ended.Error, ended.Cause = acting.Error(), string(plan.TargetFault)
		}
		return journal.End(tx, id, ended)
	}))
}
