// Package pipenet is a network in memory.
//
// Promise: Listen and Dial behave as on a real network (refused where nobody
// listens, buffered, deadlines, half closed after Close) without any socket, so
// thousands of servers cost nothing, and a whole world can live inside a
// testing/synctest bubble, where time is free.
//
// Limits: no packets, no loss, no order between connections. The buffer of a
// direction holds 64 KiB; more makes the writer wait.
package pipenet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Network is a world of addresses and names. All methods may be called from any
// goroutine.
type Network struct {
	mutex     sync.Mutex
	listeners map[string]*listener
	addresses map[string][]netip.Addr
	texts     map[string][]string
	standard  netip.Addr
	last      int // number of the last client port
}

// New makes an empty network.
func New() *Network {
	return &Network{
		listeners: map[string]*listener{}, addresses: map[string][]netip.Addr{}, texts: map[string][]string{}, last: 49151,
	}
}

// Listen opens HOST:PORT; HOST is an address or any name. An address in use is
// an error.
func (network *Network) Listen(address string) (net.Listener, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("pipenet: %w", err)
	}
	network.mutex.Lock()
	defer network.mutex.Unlock()
	if network.listeners[address] != nil {
		return nil, &net.OpError{Op: "listen", Net: "pipe", Addr: Address(address), Err: syscall.EADDRINUSE}
	}
	made := &listener{network: network, address: Address(address), queue: make(chan net.Conn), closed: make(chan struct{})}
	network.listeners[address] = made
	return made, nil
}

// SetIP says where a name points; without addresses it is forgotten.
func (network *Network) SetIP(name string, addresses ...netip.Addr) {
	network.mutex.Lock()
	defer network.mutex.Unlock()
	network.addresses[canonical(name)] = slices.Clone(addresses)
}

// SetStandard says where names point that nobody has set.
func (network *Network) SetStandard(address netip.Addr) {
	network.mutex.Lock()
	defer network.mutex.Unlock()
	network.standard = address
}

// SetTXT sets the TXT values of a name; without values it has none.
func (network *Network) SetTXT(name string, values ...string) {
	network.mutex.Lock()
	defer network.mutex.Unlock()
	network.texts[canonical(name)] = slices.Clone(values)
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// LookupIP returns the addresses of a name.
func (network *Network) LookupIP(_ context.Context, name string) ([]netip.Addr, error) {
	network.mutex.Lock()
	defer network.mutex.Unlock()
	if found := network.addresses[canonical(name)]; len(found) > 0 {
		return slices.Clone(found), nil
	}
	if network.standard.IsValid() {
		return []netip.Addr{network.standard}, nil
	}
	return nil, nil
}

// LookupTXT returns the TXT values of a name.
func (network *Network) LookupTXT(_ context.Context, name string) ([]string, error) {
	network.mutex.Lock()
	defer network.mutex.Unlock()
	return slices.Clone(network.texts[canonical(name)]), nil
}

// Dial connects to HOST:PORT. A host that is not listened at by that very name
// is looked up.
func (network *Network) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("pipenet: %w", err)
	}
	candidates := []string{address}
	found, _ := network.LookupIP(ctx, host)
	for _, ip := range found {
		candidates = append(candidates, net.JoinHostPort(ip.String(), port))
	}
	for _, candidate := range candidates {
		network.mutex.Lock()
		listener := network.listeners[candidate]
		network.last++
		client := Address("client:" + strconv.Itoa(network.last))
		network.mutex.Unlock()
		if listener == nil {
			continue
		}
		near, far := connect(client, listener.address)
		select {
		case listener.queue <- far:
			return near, nil
		case <-listener.closed:
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: "pipe", Addr: Address(address), Err: ctx.Err()}
		}
	}
	return nil, &net.OpError{Op: "dial", Net: "pipe", Addr: Address(address), Err: syscall.ECONNREFUSED}
}

// Client is an HTTP client whose connections are of this network. roots is PEM
// for HTTPS, nil for none.
func (network *Network) Client(roots []byte) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			DialContext:     network.Dial,
			TLSClientConfig: &tls.Config{RootCAs: pool},
		},
	}
}

// Address is HOST:PORT of either side.
type Address string

// Network is "pipe".
func (Address) Network() string { return "pipe" }

func (address Address) String() string { return string(address) }

type listener struct {
	network *Network
	address Address
	queue   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (listener *listener) Accept() (net.Conn, error) {
	select {
	case connection := <-listener.queue:
		return connection, nil
	case <-listener.closed:
		return nil, &net.OpError{Op: "accept", Net: "pipe", Addr: listener.address, Err: net.ErrClosed}
	}
}

func (listener *listener) Close() error {
	listener.once.Do(func() {
		close(listener.closed)
		listener.network.mutex.Lock()
		defer listener.network.mutex.Unlock()
		delete(listener.network.listeners, string(listener.address))
	})
	return nil
}

func (listener *listener) Addr() net.Addr { return listener.address }
