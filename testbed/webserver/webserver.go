// Package webserver runs TLS servers in this process that behave, or do not.
//
// Promise: a server shows exactly the certificates it was given, by name, and
// changes them between two connections when told; or it misbehaves in one of
// the ways of Behaviour, on a real loopback socket or any listener. It counts
// its connections and handshakes.
//
// Limits: TLS is Go's, so what crypto/tls refuses to do as a server (TLS before
// 1.0, wrong lengths) cannot be shown here.
package webserver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/backstay/backstay/testbed/pki"
)

// Config is what a server is made from.
type Config struct {
	Listener net.Listener // nil: a free port on 127.0.0.1

	Pair  *pki.Pair            // shown when no name matches; nil: such handshakes fail
	Names map[string]*pki.Pair // by server name; "*.example.org" for one label

	Behaviour Behaviour
	Interval  time.Duration // Drip: pause between bytes; 1 ms when 0
	Upgrade   string        // smtp imap pop3 postgres: plain talk before TLS; "" for none

	AskClient  bool           // ask for a client certificate
	ClientCAs  *x509.CertPool // and refuse clients that have none from here
	MinVersion uint16         // as in crypto/tls
	MaxVersion uint16
	Protocols  []string // ALPN
	Staple     []byte   // OCSP response, sent as it is

	Handler http.Handler // nil: answers "ok"
}

// Behaviour is what a server does with a connection.
type Behaviour string

// The behaviours.
const (
	Behave          Behaviour = ""                  // TLS and HTTP
	Hang            Behaviour = "hang"              // accepts and never says a word
	HangAfterHello  Behaviour = "hang-after-hello"  // reads the first bytes, then silence
	Drip            Behaviour = "drip"              // behaves, one byte at a time
	Reset           Behaviour = "reset"             // resets at once
	ResetAfterHello Behaviour = "reset-after-hello" // resets when the first bytes have come
	PlainHTTP       Behaviour = "plain-http"        // HTTP where TLS is expected
	Garbage         Behaviour = "garbage"           // bytes that are no TLS, without end
	Alert           Behaviour = "alert"             // a TLS alert: unrecognized_name
	ForeignKey      Behaviour = "foreign-key"       // shows the certificate but signs with another key
)

// Server is a running server.
type Server struct {
	config   Config
	listener net.Listener
	web      *http.Server
	accepted chan net.Conn // connections whose handshake is done, for web
	end      chan struct{}
	ending   sync.Once
	work     sync.WaitGroup

	connections atomic.Int64
	handshakes  atomic.Int64

	mutex     sync.Mutex
	pair      *pki.Pair
	names     map[string]*pki.Pair
	behaviour Behaviour
	open      map[net.Conn]bool
	foreign   *pki.Pair // lends its key to ForeignKey
}

// Start runs a server. The caller must Close it.
func Start(config Config) (*Server, error) {
	if config.Upgrade != "" && upgrades[config.Upgrade] == nil {
		return nil, fmt.Errorf("webserver: upgrade %q is not known", config.Upgrade)
	}
	foreign, err := pki.SelfSigned(pki.Options{CommonName: "foreign"})
	if err != nil {
		return nil, fmt.Errorf("webserver: %w", err)
	}
	server := &Server{
		config: config, listener: config.Listener, pair: config.Pair, names: map[string]*pki.Pair{}, behaviour: config.Behaviour,
		open: map[net.Conn]bool{}, foreign: foreign, accepted: make(chan net.Conn), end: make(chan struct{}),
	}
	if config.Interval == 0 {
		server.config.Interval = time.Millisecond
	}
	for name, pair := range config.Names {
		server.names[strings.ToLower(name)] = pair
	}
	if server.listener == nil {
		if server.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("webserver: %w", err)
		}
	}
	handler := config.Handler
	if handler == nil {
		handler = http.HandlerFunc(func(writer http.ResponseWriter, _ *http.Request) { io.WriteString(writer, "ok\n") })
	}
	server.web = &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 30 * time.Second}
	server.web.ConnState = func(connection net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			server.forget(raw(connection))
		}
	}
	server.work.Add(2)
	go func() {
		defer server.work.Done()
		server.web.Serve(handed{server})
	}()
	go func() {
		defer server.work.Done()
		server.accept()
	}()
	return server, nil
}

// Address is where it listens.
func (server *Server) Address() string { return server.listener.Addr().String() }

// Port is the port it listens on; 0 when the listener has none.
func (server *Server) Port() int {
	address, isTCP := server.listener.Addr().(*net.TCPAddr)
	if !isTCP {
		return 0
	}
	return address.Port
}

// Show changes the certificate that is shown from the next handshake on.
func (server *Server) Show(pair *pki.Pair) {
	server.mutex.Lock()
	defer server.mutex.Unlock()
	server.pair = pair
}

// ShowFor changes the certificate of one server name; nil takes it away.
func (server *Server) ShowFor(name string, pair *pki.Pair) {
	server.mutex.Lock()
	defer server.mutex.Unlock()
	if pair == nil {
		delete(server.names, strings.ToLower(name))
		return
	}
	server.names[strings.ToLower(name)] = pair
}

// Become changes the behaviour from the next connection on.
func (server *Server) Become(behaviour Behaviour) {
	server.mutex.Lock()
	defer server.mutex.Unlock()
	server.behaviour = behaviour
}

// Connections is how many connections were accepted.
func (server *Server) Connections() int { return int(server.connections.Load()) }

// Handshakes is how many TLS handshakes were completed.
func (server *Server) Handshakes() int { return int(server.handshakes.Load()) }

// Close ends everything and waits for it. Calling it twice is harmless.
func (server *Server) Close() error {
	var err error
	server.ending.Do(func() {
		close(server.end)
		err = server.listener.Close()
		server.web.Close()
		server.mutex.Lock()
		for connection := range server.open {
			connection.Close()
		}
		server.mutex.Unlock()
	})
	server.work.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (server *Server) accept() {
	for {
		connection, err := server.listener.Accept()
		if err != nil {
			return
		}
		server.connections.Add(1)
		if !server.remember(connection) {
			connection.Close()
			return
		}
		server.work.Add(1)
		go func() {
			defer server.work.Done()
			server.serve(connection)
		}()
	}
}

// remember keeps a connection for Close; false says that Close came first.
func (server *Server) remember(connection net.Conn) bool {
	server.mutex.Lock()
	defer server.mutex.Unlock()
	select {
	case <-server.end:
		return false
	default:
	}
	server.open[connection] = true
	return true
}

func (server *Server) forget(connection net.Conn) {
	server.mutex.Lock()
	defer server.mutex.Unlock()
	delete(server.open, connection)
}

// raw is the accepted connection below what we put on top of it.
func raw(connection net.Conn) net.Conn {
	if secured, isTLS := connection.(*tls.Conn); isTLS {
		connection = secured.NetConn()
	}
	if slow, isSlow := connection.(*dripping); isSlow {
		connection = slow.Conn
	}
	return connection
}

// certificate chooses by name; the behaviour may spoil its key.
func (server *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	server.mutex.Lock()
	defer server.mutex.Unlock()
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	_, rest, _ := strings.Cut(name, ".")
	chosen := server.pair
	if pair := server.names["*."+rest]; pair != nil && rest != "" {
		chosen = pair
	}
	if pair := server.names[name]; pair != nil {
		chosen = pair
	}
	if chosen == nil {
		return nil, fmt.Errorf("no certificate for %q", name)
	}
	shown := chosen.TLS()
	shown.OCSPStaple = server.config.Staple
	if server.behaviour == ForeignKey {
		shown.PrivateKey = server.foreign.Key
	}
	return &shown, nil
}

func (server *Server) tls() *tls.Config {
	config := &tls.Config{
		GetCertificate: server.certificate,
		MinVersion:     server.config.MinVersion,
		MaxVersion:     server.config.MaxVersion,
		NextProtos:     server.config.Protocols,
	}
	if server.config.AskClient {
		config.ClientAuth = tls.RequestClientCert
	}
	if server.config.ClientCAs != nil {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, server.config.ClientCAs
	}
	return config
}

// handed gives the HTTP server the connections whose handshake is done.
type handed struct{ server *Server }

func (handed handed) Accept() (net.Conn, error) {
	select {
	case connection := <-handed.server.accepted:
		return connection, nil
	case <-handed.server.end:
		return nil, net.ErrClosed
	}
}
func (handed handed) Close() error   { return nil }
func (handed handed) Addr() net.Addr { return handed.server.listener.Addr() }
