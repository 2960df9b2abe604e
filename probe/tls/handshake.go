package tlsprobe

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/backstay/backstay/cert"
)

// Handshake opens a fresh connection to address (HOST:PORT), makes a full
// handshake, never a resumed one, and returns what the server showed, leaf
// first, after it proved that it holds the leaf's key. It verifies nothing else.
//
// The context bounds it; without a deadline DefaultTimeout does. It does not
// retry. Error: *Failed.
func Handshake(ctx context.Context, address, serverName string) ([]*x509.Certificate, error) {
	return HandshakeOver(ctx, "tcp", address, serverName)
}

// HandshakeOver is Handshake after the upgrade of a transport such as smtp.
func HandshakeOver(ctx context.Context, transport, address, serverName string) (chain []*x509.Certificate, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			chain, err = nil, &Failed{Status: cert.StatusError, Err: fmt.Errorf("the look failed: %v", cause)}
		}
	}()
	if transport == "" {
		transport = "tcp"
	}
	if !knownTransport(transport) {
		return nil, &Failed{Status: cert.StatusError, Err: fmt.Errorf("the upgrade %q is not supported", transport)}
	}
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	result := outcome{}
	connection, err := dial(ctx, address, nil)
	if err != nil {
		return nil, &Failed{Status: dialStatus(err), Err: err}
	}
	defer connection.Close()
	bounded := bound(ctx, connection)
	if err := upgrade(bounded, transport); err != nil {
		return nil, &Failed{Status: upgradeStatus(err), Err: err}
	}
	result.handshake(ctx, bounded, serverName, hello{view: viewCompatible})
	if result.status != cert.StatusOK {
		return nil, &Failed{Status: result.status, Err: result.err}
	}
	if !result.proven || len(result.chain) == 0 {
		return nil, &Failed{Status: cert.StatusHandshakeFailed, Err: errors.New("the server did not prove that it holds the key")}
	}
	return result.chain, nil
}

// Failed is a look that showed no certificate.
type Failed struct {
	Status string // one of the Status constants of package cert
	Err    error
}

func (failed *Failed) Error() string { return failed.Status + ": " + failed.Err.Error() }

func (failed *Failed) Unwrap() error { return failed.Err }
