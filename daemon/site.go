package daemon

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/deploy/files"
	"github.com/backstay/backstay/deploy/nginx"
	"github.com/backstay/backstay/plan"
	tlsprobe "github.com/backstay/backstay/probe/tls"
)

// handshakeTime bounds one look of a verification.
const handshakeTime = 5 * time.Second

// handshake proves what a listener serves, on a fresh connection.
func handshake(ctx context.Context, listener plan.Listener) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	return tlsprobe.HandshakeOver(ctx, listener.Transport, listener.Address, listener.ServerName)
}

// site makes the target of a configuration entry.
func (daemon *Daemon) site(target config.Target) (*Site, error) {
	made, err := daemon.target(target)
	if err != nil {
		return nil, err
	}
	every := target.ReloadEvery
	if every == 0 {
		every = 30 * time.Second
	}
	return &Site{Name: target.Name, Target: made, ReloadEvery: every}, nil
}

func (daemon *Daemon) target(target config.Target) (deploy.Target, error) {
	switch target.Kind {
	case "files":
		return files.New(files.Config{Target: target, State: daemon.cfg.Folder})
	case "nginx":
		var certificates []config.Certificate
		for _, certificate := range daemon.cfg.Configuration.Certificates {
			if slices.Contains(certificate.Deploy, target.Name) {
				certificates = append(certificates, certificate)
			}
		}
		return nginx.New(nginx.Config{Target: target, State: daemon.cfg.Folder, Read: readNginx, Certificates: certificates})
	}
	return nil, fmt.Errorf("kind %q is not supported", target.Kind)
}
