package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Resolver turns a host name into all its addresses, A and AAAA. It may be
// called from several goroutines, does not retry beyond what DNS does, and
// returns an error rather than an empty list.
type Resolver interface {
	Addresses(ctx context.Context, host string) ([]netip.Addr, error)
}

// maxResolved caps the addresses of one name, which is foreign data.
const maxResolved = 64

// NewResolver asks one DNS server, or the system's way where server is the zero
// value.
func NewResolver(server netip.AddrPort) Resolver {
	if !server.IsValid() {
		return resolver{net.DefaultResolver}
	}
	return resolver{&net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, server.String())
		},
	}}
}

type resolver struct{ resolver *net.Resolver }

func (r resolver) Addresses(ctx context.Context, host string) (addresses []netip.Addr, err error) {
	defer func() {
		// Parsers of DNS answers have panicked before (T3).
		if cause := recover(); cause != nil {
			addresses, err = nil, fmt.Errorf("resolver failed: %v", cause)
		}
	}()
	name := host
	if strings.Contains(name, ".") {
		name += "." // never a search domain's name instead
	}
	found, err := r.resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, err
	}
	for _, address := range found {
		addresses = append(addresses, address.Unmap().WithZone(""))
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	addresses = slices.Compact(addresses)
	if len(addresses) == 0 {
		return nil, errors.New("no address")
	}
	return addresses[:min(len(addresses), maxResolved)], nil
}

// Lines reads targets, one a line; empty lines and those that begin with # are
// skipped. The error of a line that is too long, or of the reader, is the last
// thing that is yielded.
func Lines(reader io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		scanner := bufio.NewScanner(reader)
		scanner.Buffer(nil, 2*maxTargetBytes)
		for scanner.Scan() {
			line := strings.TrimSpace(scanner.Text())
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if !yield(line, nil) {
				return
			}
		}
		if err := scanner.Err(); err != nil {
			yield("", fmt.Errorf("list of targets: %w", err))
		}
	}
}
