// Package http01 answers http-01 challenges (RFC 8555 section 8.3).
//
// Promise: an answer is where the CA looks when Set returns, under the web
// server's folder, at our own listener, or by the web server itself; Clean
// leaves no file of ours, and never touches another's.
//
// Limits: plain HTTP on one port. Check looks from this machine, which may
// stand elsewhere than the CA; it explains, it does not prove.
package http01

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/issue"
)

const (
	challenges = ".well-known/acme-challenge"
	wellKnown  = "/" + challenges + "/"
)

// Resolver finds the addresses of a name. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Looker checks an answer from our side, at every address of the name.
type Looker struct {
	Resolver Resolver
	Port     int // 0: 80
}

// Check asks every A and AAAA address of the identifier for the answer.
func (looker Looker) Check(ctx context.Context, answer issue.Answer) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	port := looker.Port
	if port == 0 {
		port = 80
	}
	addresses, err := looker.addresses(ctx, answer.Identifier)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		if err := lookAt(ctx, netip.AddrPortFrom(address, uint16(port)), answer); err != nil {
			return fmt.Errorf("http://%s%s at %s: %w", answer.Identifier, wellKnown, address, err)
		}
	}
	return nil
}

func (looker Looker) addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{address}, nil
	}
	addresses, err := looker.Resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, err
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("%s has no address", name)
	}
	return addresses, nil
}

// lookAt fetches the answer from one address. Redirects are followed as the CA
// would, but only their first hop's target name is resolved by the system.
func lookAt(ctx context.Context, address netip.AddrPort, answer issue.Answer) error {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address.String())
		},
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	host := answer.Identifier
	if address.Port() != 80 {
		host = net.JoinHostPort(answer.Identifier, strconv.Itoa(int(address.Port())))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+wellKnown+answer.Token, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 2048))
	switch {
	case err != nil:
		return err
	case response.StatusCode >= 300 && response.StatusCode < 400:
		return nil // the CA follows it; where it leads is not ours to judge
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("HTTP %d", response.StatusCode)
	case strings.TrimSpace(string(body)) != answer.KeyAuthorization:
		return errors.New("another answer than ours is there")
	}
	return nil
}

// Webroot puts answers under the web server's document folder.
type Webroot struct {
	Looker
	Folder string
}

// Set writes the answer's file, readable by the web server.
func (webroot Webroot) Set(_ context.Context, answer issue.Answer) error {
	return webroot.inFolder(true, func(root *os.Root) error {
		// A token is base64url (checked when the CA sent it); the root makes sure.
		file, err := root.OpenFile(answer.Token, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		durable.Point("challenge-create", answer.Token)
		// No temporary file and no sync: a file lost in a crash is written again,
		// and a half one is only ever read by a CA that we have not asked to look.
		if _, err := file.WriteString(answer.KeyAuthorization); err != nil {
			file.Close()
			return err
		}
		if err := file.Chmod(0o644); err != nil {
			file.Close()
			return err
		}
		durable.Point("challenge-write", answer.Token)
		return file.Close()
	})
}

// Clean removes the answer's file.
func (webroot Webroot) Clean(_ context.Context, answer issue.Answer) error {
	err := webroot.inFolder(false, func(root *os.Root) error { return root.Remove(answer.Token) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	durable.Point("challenge-remove", answer.Token)
	return err
}

// inFolder acts in the challenges' folder, making it if wanted. Whoever may
// write below the webroot is not trusted with what we may write: a link that
// leads out of it is an error (see os.Root).
func (webroot Webroot) inFolder(create bool, act func(*os.Root) error) error {
	whole, err := os.OpenRoot(webroot.Folder) // a missing webroot is a mistake, not ours to create
	if err != nil {
		return err
	}
	defer whole.Close()
	for _, path := range []string{".well-known", challenges} {
		if !create {
			break
		}
		switch err := whole.Mkdir(path, 0o755); {
		case err == nil:
			// Mkdir's mode is cut by the umask; the web server must get in.
			if err := whole.Chmod(path, 0o755); err != nil {
				return err
			}
		case !errors.Is(err, fs.ErrExist):
			return err
		}
	}
	root, err := whole.OpenRoot(challenges)
	if err != nil {
		return err
	}
	defer root.Close()
	return act(root)
}

// Stateless leaves the answering to the web server, which says TOKEN.THUMBPRINT
// to any token: nothing is set, so nothing can be left behind.
type Stateless struct{ Looker }

// Set does nothing.
func (Stateless) Set(context.Context, issue.Answer) error { return nil }

// Clean does nothing.
func (Stateless) Clean(context.Context, issue.Answer) error { return nil }

// Listener answers at a port of our own. Its answers end with the process.
type Listener struct {
	Looker
	Address string // ADDRESS:PORT

	mu       sync.Mutex
	answers  map[string]string // by token
	listener net.Listener
	server   *http.Server
}

// Volatile marks answers that must be set again after a restart.
func (*Listener) Volatile() {}

// Set begins to answer, opening the port with the first answer.
func (own *Listener) Set(_ context.Context, answer issue.Answer) error {
	own.mu.Lock()
	defer own.mu.Unlock()
	if own.listener == nil {
		listener, err := net.Listen("tcp", own.Address)
		if err != nil {
			return err
		}
		own.listener, own.answers = listener, map[string]string{}
		own.server = &http.Server{
			Handler: http.HandlerFunc(own.serve), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
			IdleTimeout: 10 * time.Second, MaxHeaderBytes: 8 << 10,
		}
		go own.server.Serve(listener)
	}
	own.answers[answer.Token] = answer.KeyAuthorization
	return nil
}

func (own *Listener) serve(writer http.ResponseWriter, request *http.Request) {
	token, ours := strings.CutPrefix(request.URL.Path, wellKnown)
	own.mu.Lock()
	text, known := own.answers[token]
	own.mu.Unlock()
	if !ours || !known {
		http.NotFound(writer, request)
		return
	}
	writer.Header().Set("Content-Type", "application/octet-stream")
	io.WriteString(writer, text)
}

// Clean stops answering, closing the port with the last answer.
func (own *Listener) Clean(_ context.Context, answer issue.Answer) error {
	own.mu.Lock()
	defer own.mu.Unlock()
	delete(own.answers, answer.Token)
	if own.listener != nil && len(own.answers) == 0 {
		err := own.server.Close()
		own.listener, own.server = nil, nil
		return err
	}
	return nil
}

// Close stops answering everything.
func (own *Listener) Close() error {
	own.mu.Lock()
	defer own.mu.Unlock()
	if own.listener == nil {
		return nil
	}
	err := own.server.Close()
	own.listener, own.server = nil, nil
	return err
}
