package issue

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/backstay/backstay/plan"
)

// Limits on what a CA may send.
const (
	answerLimit      = 1 << 20            // bytes of one answer
	retryAfterLimit  = 7 * 24 * time.Hour // a longer word is not believed
	nonceRetryLimit  = 10                 // rejected nonces in one call
	tokenLengthLimit = 256
)

// call records what one request to the CA brought. It travels in the request's
// context. The wire library repeats requests after network errors, 5xx and while
// it polls; a repeated newOrder or finalize is exactly what must not happen
// unseen, so the transport lets one POST through, and further ones only after a
// badNonce (RFC 8555 section 6.5), and ends the call's context otherwise.
type call struct {
	method  string // of the request that asks: what the library sends before it (directory, nonce) is no answer
	mu      sync.Mutex
	cancel  context.CancelFunc
	posts   int
	over    bool  // no further request may be sent
	err     error // of the transport, the first
	written bool  // the request may have reached the CA
	status  int
	header  http.Header
	body    []byte
	problem problem
}

// problem is RFC 7807 as RFC 8555 section 6.7 uses it.
type problem struct {
	Type        string `json:"type"`
	Detail      string `json:"detail"`
	Subproblems []struct {
		Type       string `json:"type"`
		Detail     string `json:"detail"`
		Identifier struct {
			Value string `json:"value"`
		} `json:"identifier"`
	} `json:"subproblems"`
}

const acmeErrors = "urn:ietf:params:acme:error:"

func (problem problem) name() string { return strings.TrimPrefix(problem.Type, acmeErrors) }

type callKey struct{}

// transport sends requests to one CA only, bounded and recorded.
type transport struct {
	base      http.RoundTripper
	directory *url.URL
	insecure  bool
	observe   func(date time.Time) // the CA's clock
}

var (
	errNotRepeated = errors.New("not repeated")
	errElsewhere   = errors.New("the CA named an address outside its own host")
)

// RoundTrip implements http.RoundTripper.
func (transport *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := transport.allow(request.URL); err != nil {
		transport.record(request, func(one *call) { one.fail(err, false) })
		return nil, err
	}
	one, recorded := request.Context().Value(callKey{}).(*call)
	if recorded {
		if err := one.begin(request.Method); err != nil {
			return nil, err
		}
	}
	// Only a POST asks for anything: a nonce that did not come leaves nothing done.
	asks := request.Method == http.MethodPost
	response, err := transport.base.RoundTrip(request)
	if err != nil {
		if recorded {
			one.fail(err, asks && mayHaveArrived(err))
		}
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, answerLimit+1))
	response.Body.Close()
	if err == nil && len(body) > answerLimit {
		err = fmt.Errorf("the CA's answer is larger than %d bytes", answerLimit)
	}
	if err != nil {
		if recorded {
			one.fail(err, asks)
		}
		return nil, err
	}
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		// RFC 8555 knows no redirects of its resources; following one to another
		// host or to plain http is how a CA is impersonated.
		err := fmt.Errorf("the CA answered with a redirect (HTTP %d), which is not followed", response.StatusCode)
		if recorded {
			one.fail(err, asks)
		}
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil && transport.observe != nil {
		transport.observe(date)
	}
	if recorded {
		one.end(request.Method, response, body)
	}
	return response, nil
}

func (transport *transport) record(request *http.Request, note func(*call)) {
	if one, recorded := request.Context().Value(callKey{}).(*call); recorded {
		note(one)
	}
}

// allow pins every request to the directory's host and scheme (a CA on loopback
// may use other ports of its host).
func (transport *transport) allow(target *url.URL) error {
	if target.Scheme != "https" && !(transport.insecure && target.Scheme == "http" && isLoopback(target.Hostname())) {
		return fmt.Errorf("%w: %s is not https", errElsewhere, target.Redacted())
	}
	if target.Host == transport.directory.Host {
		return nil
	}
	if target.Hostname() == transport.directory.Hostname() && isLoopback(target.Hostname()) {
		return nil
	}
	return fmt.Errorf("%w: %s instead of %s", errElsewhere, target.Host, transport.directory.Host)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// begin lets a request through or ends the call.
func (one *call) begin(method string) error {
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.over {
		return errNotRepeated
	}
	if method == http.MethodPost {
		one.posts++
		if one.posts > nonceRetryLimit {
			one.over = true
			one.cancel()
			return errNotRepeated
		}
	}
	return nil
}

func (one *call) fail(err error, written bool) {
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.err == nil && one.status == 0 || one.problem.name() == "badNonce" {
		one.err, one.written = err, written
	}
	one.over = true
	one.cancel()
}

func (one *call) end(method string, response *http.Response, body []byte) {
	one.mu.Lock()
	defer one.mu.Unlock()
	failed := response.StatusCode >= 400
	if method != one.method && !failed {
		return // a directory or a nonce: the call itself is still to come
	}
	one.status, one.header, one.body = response.StatusCode, response.Header, body
	one.problem = problem{}
	if failed {
		json.Unmarshal(body, &one.problem)
	}
	if method == http.MethodPost && one.problem.name() == "badNonce" {
		return // the library takes the fresh nonce of this answer and sends once more
	}
	if method == http.MethodPost || failed {
		one.over = true
	}
	if failed && response.StatusCode >= 500 {
		one.cancel() // cuts the library's wait before a repetition short
	}
}

// mayHaveArrived: only failures before the first byte of the request was sent
// are certain not to have.
func mayHaveArrived(err error) bool {
	var operation *net.OpError
	if errors.As(err, &operation) && operation.Op == "dial" {
		return false
	}
	var verification *tls.CertificateVerificationError
	return !errors.As(err, &verification)
}

// trouble classes what the call brought; nil when the CA said yes.
func (one *call) trouble(doing string, now time.Time) *plan.Trouble {
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.status == 0 || one.err != nil {
		return one.silence(doing)
	}
	if one.status < 400 {
		return nil
	}
	trouble := &plan.Trouble{
		Summary:    fmt.Sprintf("%s: the CA answered HTTP %d", doing, one.status),
		Detail:     cut(one.problem.Detail),
		Type:       cut(one.problem.name()),
		Status:     one.status,
		RetryAfter: retryAfter(one.header, now),
		Reachable:  true,
	}
	if trouble.Type != "" {
		trouble.Summary = fmt.Sprintf("%s: the CA refused (%s)", doing, trouble.Type)
	}
	for _, sub := range one.problem.Subproblems {
		if trouble.Names == nil {
			trouble.Names = map[string]string{}
		}
		if len(trouble.Names) < 20 {
			trouble.Names[cut(sub.Identifier.Value)] = cut(sub.Detail)
		}
	}
	trouble.Class = classOf(one.status, one.problem.name())
	return trouble
}

func classOf(status int, name string) plan.Class {
	switch {
	case name == "rateLimited" || status == http.StatusTooManyRequests:
		return plan.RateLimited
	case name == "badNonce" || name == "serverInternal" || status >= 500:
		return plan.ServerError
	case name == "accountDoesNotExist" || status == http.StatusNotFound || status == http.StatusGone:
		return plan.Dead
	}
	return plan.Refused
}

// silence words a call that brought no answer.
func (one *call) silence(doing string) *plan.Trouble {
	trouble := &plan.Trouble{Class: plan.Transport, MaybeDone: one.written}
	err := one.err
	if err == nil {
		err = errors.New("no answer in time")
		trouble.MaybeDone = one.posts > 0
	}
	var verification *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errElsewhere):
		trouble.Class = plan.Refused
	case errors.As(err, &verification):
		trouble.Next = "if this is a private CA, name its HTTPS root with `directory_roots:` under the authority"
	case errors.Is(err, syscall.ECONNREFUSED), isTimeout(err):
		trouble.Next = "backstay doctor"
	}
	trouble.Summary = fmt.Sprintf("%s: %s", doing, cut(err.Error()))
	return trouble
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// retryAfter reads RFC 9110 section 10.2.3: seconds or a date.
func retryAfter(header http.Header, now time.Time) time.Time {
	text := header.Get("Retry-After")
	if text == "" {
		return time.Time{}
	}
	at := time.Time{}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil && seconds >= 0 {
		at = now.Add(time.Duration(min(seconds, int64(retryAfterLimit/time.Second))) * time.Second)
	} else if date, err := http.ParseTime(text); err == nil {
		at = date
	}
	if limit := now.Add(retryAfterLimit); at.After(limit) {
		at = limit
	}
	return at
}

// cut keeps outside text to a length that a row and a line can hold.
func cut(text string) string {
	const limit = 600
	if len(text) > limit {
		return text[:limit] + "…"
	}
	return text
}
