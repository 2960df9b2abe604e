package nginx

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// poll asks until the answer is yes or an error, or the context ends.
func poll(ctx context.Context, ask func() (bool, error)) error {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		if done, err := ask(); done || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// alive tells whether a process runs. A zombie whose parent does not care is
// dead: in a container nobody may ever reap it.
func alive(pid int) bool {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// "pid (name) state ...": the name may hold anything, so from the last ")".
	_, rest, found := bytes.Cut(status[bytes.LastIndexByte(status, ')'):], []byte(") "))
	return found && len(rest) > 0 && rest[0] != 'Z' && rest[0] != 'X'
}

// Workers are the processes that serve, old ones that are shutting down
// included.
func (server *Server) Workers() []int {
	pid := strconv.Itoa(server.pid)
	content, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		return nil
	}
	var workers []int
	for _, field := range strings.Fields(string(content)) {
		if worker, err := strconv.Atoi(field); err == nil {
			workers = append(workers, worker)
		}
	}
	return workers
}

// Served makes one handshake and returns the leaf that was shown. Nothing is
// verified: the caller wants to know what is there.
func Served(ctx context.Context, address, serverName string) (*x509.Certificate, error) {
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{},
		Config:    &tls.Config{ServerName: serverName, InsecureSkipVerify: true},
	}
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// WaitServed waits until handshakes show this certificate ten times in a row, so
// that an old worker that still accepts is noticed. It gives up after patience.
func WaitServed(ctx context.Context, address, serverName string, wanted *x509.Certificate) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	inARow, last := 0, ""
	err := poll(ctx, func() (bool, error) {
		shown, err := Served(ctx, address, serverName)
		if err != nil || !shown.Equal(wanted) {
			inARow = 0
			if err != nil {
				last = err.Error()
			} else {
				last = "serial " + shown.SerialNumber.String()
			}
			return false, nil
		}
		inARow++
		return inARow >= 10, nil
	})
	if err != nil {
		return fmt.Errorf("nginx: %s does not serve serial %s for %q (last: %s): %w", address, wanted.SerialNumber, serverName, last, err)
	}
	return nil
}
