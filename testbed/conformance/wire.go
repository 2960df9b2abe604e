package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// wire is an HTTP transport that remembers every exchange and can spoil one.
type wire struct {
	base    *http.Client
	mutex   sync.Mutex
	seen    []exchange
	nonce   string // put in the place of the next nonce that comes in
	loseURL string // the next answer from here is lost
}

// exchange is one request and what came back: "201", "403 orderNotReady", "lost".
type exchange struct {
	url    string
	answer string
	retry  bool // with Retry-After
}

func newWire(base *http.Client) *wire { return &wire{base: base} }

func (wire *wire) client() *http.Client {
	return &http.Client{Transport: wire, Timeout: 30 * time.Second}
}

// RoundTrip is http.RoundTripper.
func (wire *wire) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := wire.base.Transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	answer := strconv.Itoa(response.StatusCode)
	if kind := problemType(body); response.StatusCode >= 400 && kind != "" {
		answer += " " + kind
	}
	wire.mutex.Lock()
	defer wire.mutex.Unlock()
	if wire.loseURL != "" && wire.loseURL == request.URL.String() && response.StatusCode < 300 {
		wire.loseURL = ""
		wire.seen = append(wire.seen, exchange{url: request.URL.String(), answer: "lost"})
		return nil, errors.New("the answer was lost on purpose")
	}
	if wire.nonce != "" && response.Header.Get("Replay-Nonce") != "" {
		response.Header.Set("Replay-Nonce", wire.nonce)
		wire.nonce = ""
	}
	wire.seen = append(wire.seen, exchange{request.URL.String(), answer, response.Header.Get("Retry-After") != ""})
	return response, nil
}

func problemType(body []byte) string {
	var problem struct{ Type string }
	if json.Unmarshal(body, &problem) != nil {
		return ""
	}
	return strings.TrimPrefix(problem.Type, "urn:ietf:params:acme:error:")
}

// answers are what came back from a URL, oldest first.
func (wire *wire) answers(url string) []string {
	wire.mutex.Lock()
	defer wire.mutex.Unlock()
	var all []string
	for _, one := range wire.seen {
		if one.url == url {
			all = append(all, one.answer)
		}
	}
	return all
}

// during runs act and returns the latest answer that a URL gave meanwhile.
// Refused nonces are left out: some CAs refuse good ones to keep clients in
// practice.
func (wire *wire) during(url string, act func()) string {
	before := len(wire.answers(url))
	act()
	last := "nothing was sent"
	for _, answer := range wire.answers(url)[before:] {
		if !strings.HasSuffix(answer, " badNonce") {
			last = answer
		}
	}
	return last
}

// retryAfter tells whether the latest answer from a URL that begins so had a
// Retry-After header.
func (wire *wire) retryAfter(prefix string) bool {
	wire.mutex.Lock()
	defer wire.mutex.Unlock()
	found := false
	for _, one := range wire.seen {
		if strings.HasPrefix(one.url, prefix) {
			found = one.retry
		}
	}
	return found
}

func (wire *wire) spoilNonce(nonce string) {
	wire.mutex.Lock()
	defer wire.mutex.Unlock()
	wire.nonce = nonce
}

func (wire *wire) lose(url string) {
	wire.mutex.Lock()
	defer wire.mutex.Unlock()
	wire.loseURL = url
}
