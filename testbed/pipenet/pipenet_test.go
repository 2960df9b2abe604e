package pipenet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

func pair(t *testing.T, network *Network) (near, far net.Conn) {
	t.Helper()
	listener, err := network.Listen("192.0.2.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		far, _ := listener.Accept()
		accepted <- far
	}()
	near, err = network.Dial(t.Context(), "tcp", "192.0.2.1:80")
	if err != nil {
		t.Fatal(err)
	}
	return near, <-accepted
}

// The standard suite for connections: deadlines, concurrent use, closing.
func TestConnectionIsANetConn(t *testing.T) {
	nettest.TestConn(t, func() (near, far net.Conn, stop func(), err error) {
		one, other := connect("client:1", "server:1")
		return one, other, func() { one.Close(); other.Close() }, nil
	})
}

func TestRefused(t *testing.T) {
	network := New()
	if _, err := network.Dial(t.Context(), "tcp", "192.0.2.1:80"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v", err)
	}
	listener, err := network.Listen("192.0.2.1:80")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := network.Listen("192.0.2.1:80"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v", err)
	}
	listener.Close()
	if _, err := network.Listen("192.0.2.1:80"); err != nil {
		t.Errorf("after Close the address is free: %v", err)
	}
	if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestNames(t *testing.T) {
	network := New()
	network.SetIP("A.example.", netip.MustParseAddr("192.0.2.1"))
	network.SetTXT("a.example", "x", "y")
	if found, err := network.LookupIP(t.Context(), "a.EXAMPLE"); err != nil || len(found) != 1 {
		t.Errorf("%v %v", found, err)
	}
	if found, err := network.LookupIP(t.Context(), "b.example"); err != nil || len(found) != 0 {
		t.Errorf("%v %v", found, err)
	}
	network.SetStandard(netip.MustParseAddr("192.0.2.9"))
	if found, err := network.LookupIP(t.Context(), "b.example"); err != nil || len(found) != 1 {
		t.Errorf("%v %v", found, err)
	}
	if found, err := network.LookupTXT(t.Context(), "a.example"); err != nil || len(found) != 2 {
		t.Errorf("%v %v", found, err)
	}
	near, far := pair(t, network)
	defer near.Close()
	if far.RemoteAddr().String() != near.LocalAddr().String() {
		t.Errorf("%s, %s", far.RemoteAddr(), near.LocalAddr())
	}
}

func TestCloseKeepsWhatWasSent(t *testing.T) {
	near, far := pair(t, New())
	if _, err := near.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	near.Close()
	if got, err := io.ReadAll(far); err != nil || string(got) != "last words" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := far.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("%v", err)
	}
}

// In a bubble an hour of waiting costs nothing: no part of a connection hides
// from synctest.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := New()
		near, far := pair(t, network)
		defer near.Close()
		defer far.Close()
		begin := time.Now()
		near.SetReadDeadline(begin.Add(time.Hour))
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if waited := time.Since(begin); waited != time.Hour {
			t.Errorf("waited %s", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		listener, err := network.Listen("192.0.2.2:80") // nobody accepts
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		if _, err := network.Dial(ctx, "tcp", "192.0.2.2:80"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}
