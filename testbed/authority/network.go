package authority

import (
	"context"
	"net"
	"net/netip"
)

// Network is how the authority looks at the names it validates. All methods may
// be called concurrently; none retries; the context carries the deadline.
type Network interface {
	// Dial connects to an IP address and port.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	// LookupIP returns the addresses of a name, in any order. No address and no
	// error means the name has none.
	LookupIP(ctx context.Context, name string) ([]netip.Addr, error)
	// LookupTXT returns the TXT values of a name, each with its strings joined.
	// No value and no error means there is none.
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// CAALookup is an extra ability of a Network: when it has it, an authority with
// CAAIdentities refuses names whose CAA records do not allow it (RFC 8659).
type CAALookup interface {
	// LookupCAA returns the CAA records of exactly this name as "TAG VALUE".
	LookupCAA(ctx context.Context, name string) ([]string, error)
}

// Loopback is a Network in which every name is 127.0.0.1 and no name has a TXT
// record. Connections are real sockets. Use nameserver.Server as the Network
// where DNS matters.
type Loopback struct{}

// Dial opens a real connection.
func (Loopback) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, address)
}

// LookupIP answers 127.0.0.1.
func (Loopback) LookupIP(context.Context, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
}

// LookupTXT answers nothing.
func (Loopback) LookupTXT(context.Context, string) ([]string, error) { return nil, nil }
