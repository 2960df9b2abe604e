package issue

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/backstay/backstay/plan"
)

// requestsAtOnce bounds the requests under way at one CA, however many
// certificates are worked on.
const requestsAtOnce = 8

// client speaks to one CA.
type client struct {
	executor    *Executor
	authority   Authority
	wire        *acme.Client
	registering sync.Mutex    // held while an account is made
	inFlight    chan struct{} // a place for each request under way
	mu          sync.Mutex
	account     *account
	ahead       time.Duration // the CA's clock minus ours, as last seen
}

func (executor *Executor) client(name string) (*client, *plan.Trouble) {
	executor.mu.Lock()
	defer executor.mu.Unlock()
	if known, exists := executor.clients[name]; exists {
		return known, nil
	}
	authority, exists := executor.cfg.Authorities[name]
	if !exists {
		return nil, &plan.Trouble{Class: plan.Setup, Summary: fmt.Sprintf("authority %q is not configured any more", name), Next: "backstay config check"}
	}
	directory, err := url.Parse(authority.Directory)
	if err != nil || directory.Host == "" {
		return nil, &plan.Trouble{Class: plan.Setup, Summary: fmt.Sprintf("authority %q: its directory is not a URL", name), Next: "backstay config check"}
	}
	made := &client{executor: executor, authority: authority, inFlight: make(chan struct{}, requestsAtOnce)}
	made.wire = &acme.Client{
		Directory:   authority.Directory,
		UserAgent:   executor.cfg.UserAgent,
		PollTimeout: 1, // a nanosecond: polling is decided by package plan
		HTTPClient: &http.Client{
			Timeout: executor.cfg.CallTimeout,
			Transport: &transport{
				directory: directory,
				insecure:  authority.InsecureTestCA,
				observe:   made.observe,
				base: &http.Transport{
					Proxy:                 executor.proxy(),
					DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
					TLSClientConfig:       &tls.Config{RootCAs: authority.DirectoryRoots, MinVersion: tls.VersionTLS12},
					ForceAttemptHTTP2:     true,
					MaxIdleConnsPerHost:   16,
					IdleConnTimeout:       90 * time.Second,
					TLSHandshakeTimeout:   10 * time.Second,
					ResponseHeaderTimeout: executor.cfg.CallTimeout,
				},
			},
		},
	}
	executor.clients[name] = made
	return made, nil
}

// proxy is the configured one, else the environment's.
func (executor *Executor) proxy() func(*http.Request) (*url.URL, error) {
	if executor.cfg.Proxy == "" {
		return http.ProxyFromEnvironment
	}
	configured, err := url.Parse(executor.cfg.Proxy)
	return func(*http.Request) (*url.URL, error) { return configured, err }
}

// observe keeps how far the CA's clock is from ours.
func (at *client) observe(date time.Time) {
	at.mu.Lock()
	defer at.mu.Unlock()
	at.ahead = date.Sub(at.executor.cfg.Now())
}

// do sends one request through the wire library and returns what the CA said.
// The library's own verdict is ignored: it mixes answers with its repetitions.
func (at *client) do(ctx context.Context, doing string, send func(context.Context) error) (*call, *plan.Trouble) {
	return at.request(ctx, http.MethodPost, doing, send)
}

// request is do for a request with another method than POST.
func (at *client) request(ctx context.Context, method, doing string, send func(context.Context) error) (*call, *plan.Trouble) {
	// Waiting for a place is not the CA's slowness: the deadline begins after it.
	select {
	case at.inFlight <- struct{}{}:
		defer func() { <-at.inFlight }()
	case <-ctx.Done():
		return &call{}, &plan.Trouble{Class: plan.Transport, Summary: doing + " at " + at.authority.Name + ": stopped before it was sent"}
	}
	ctx, cancel := context.WithTimeout(ctx, at.executor.cfg.CallTimeout)
	defer cancel()
	one := &call{method: method, cancel: cancel}
	err := send(context.WithValue(ctx, callKey{}, one))
	now := at.executor.cfg.Now()
	if one.status == 0 && one.err == nil && err != nil && ctx.Err() == nil {
		// Nothing was sent: the library itself refused.
		return one, &plan.Trouble{Class: plan.Setup, Summary: fmt.Sprintf("%s: %s", doing, cut(err.Error()))}
	}
	trouble := one.trouble(doing+" at "+at.authority.Name, now)
	if trouble != nil {
		at.mu.Lock()
		trouble.Clock = at.ahead
		at.mu.Unlock()
		if trouble.Type == "accountDoesNotExist" {
			at.forgetAccount()
		}
	}
	return one, trouble
}

// directory reads the directory, at most once in a while (the library keeps it).
func (at *client) directory(ctx context.Context) (acme.Directory, *plan.Trouble) {
	ctx, cancel := context.WithTimeout(ctx, at.executor.cfg.CallTimeout)
	defer cancel()
	one := &call{method: http.MethodGet, cancel: cancel}
	directory, err := at.wire.GetDirectory(context.WithValue(ctx, callKey{}, one))
	if err == nil {
		return directory, nil
	}
	if trouble := one.trouble("reading the directory of "+at.authority.Name, at.executor.cfg.Now()); trouble != nil {
		if trouble.Class == plan.Dead || trouble.Class == plan.Refused {
			trouble.Class = plan.Setup
		}
		return directory, trouble
	}
	return directory, &plan.Trouble{Class: plan.Setup, Reachable: true,
		Summary: fmt.Sprintf("reading the directory of %s: what it sent is no ACME directory", at.authority.Name), Detail: cut(err.Error())}
}

// ask learns what the CA offers, and which account we have there.
func (at *client) ask(ctx context.Context) (*plan.Resource, *plan.Trouble) {
	directory, trouble := at.directory(ctx)
	if trouble != nil {
		return nil, trouble
	}
	resource := &plan.Resource{RenewalInfo: directory.RenewalInfo != ""}
	if directory.Meta != nil { // step-ca sends none
		for profile := range directory.Meta.Profiles { // order does not matter: sorted below
			resource.Profiles = append(resource.Profiles, profile)
		}
		slices.Sort(resource.Profiles)
	}
	known, err := at.loadAccount()
	if err != nil {
		return nil, local("reading the account", err)
	}
	resource.URL = known.URL
	return resource, nil
}

// orderAnswer is an order as sent by the CA (RFC 8555 section 7.1.3).
type orderAnswer struct {
	Status         string            `json:"status"`
	Expires        time.Time         `json:"expires"`
	Identifiers    []acme.Identifier `json:"identifiers"`
	Authorizations []string          `json:"authorizations"`
	Finalize       string            `json:"finalize"`
	Certificate    string            `json:"certificate"`
	Error          *problem          `json:"error"`
}

// order reads an order out of a call.
func (at *client) order(one *call, url string) (*plan.Resource, *plan.Trouble) {
	var answer orderAnswer
	if err := json.Unmarshal(one.body, &answer); err != nil {
		return nil, &plan.Trouble{Class: plan.ServerError, Reachable: true, MaybeDone: true, Summary: at.authority.Name + " sent an order that cannot be read", Detail: cut(err.Error())}
	}
	if location := one.header.Get("Location"); location != "" && url == "" {
		url = location
	}
	resource := &plan.Resource{
		URL: url, Status: answer.Status, Expires: answer.Expires, Authorizations: answer.Authorizations,
		FinalizeURL: answer.Finalize, Certificate: answer.Certificate,
		RetryAfter: retryAfter(one.header, at.executor.cfg.Now()),
	}
	if url == "" {
		return nil, &plan.Trouble{Class: plan.ServerError, Reachable: true, MaybeDone: true, Summary: at.authority.Name + " sent an order without its address"}
	}
	if answer.Error != nil {
		resource.Error = at.validation("the order failed", answer.Error)
	}
	return resource, nil
}

// validation words why the CA did not find what it looked for.
func (at *client) validation(what string, problem *problem) *plan.Trouble {
	trouble := &plan.Trouble{
		Class: plan.Dead, Reachable: true, Type: cut(problem.name()), Detail: cut(problem.Detail),
		Summary: fmt.Sprintf("%s: %s says %s", what, at.authority.Name, cut(problem.name())),
	}
	for _, sub := range problem.Subproblems {
		if trouble.Identifier == "" {
			trouble.Identifier = cut(sub.Identifier.Value)
		}
	}
	return trouble
}

func (at *client) newOrder(ctx context.Context, attempt *plan.Attempt) (*plan.Resource, *plan.Trouble) {
	account, err := at.signer()
	if err != nil {
		return nil, local("reading the account key", err)
	}
	order := acme.Order{Identifiers: identifiers(attempt.Domains), Profile: attempt.Profile, Replaces: attempt.Replaces}
	one, trouble := at.do(ctx, "ordering", func(ctx context.Context) error {
		_, err := at.wire.NewOrder(ctx, account, order)
		return err
	})
	if trouble != nil {
		return nil, trouble
	}
	return at.order(one, "")
}

func identifiers(domains []string) []acme.Identifier {
	all := make([]acme.Identifier, 0, len(domains))
	for _, domain := range domains {
		kind := "dns"
		if _, err := netip.ParseAddr(domain); err == nil {
			kind = "ip" // RFC 8738
		}
		all = append(all, acme.Identifier{Type: kind, Value: domain})
	}
	return all
}

// get is a POST-as-GET (RFC 8555 section 6.3) of any resource. The library has
// none, so its call for orders is used and the answer taken from the record.
func (at *client) get(ctx context.Context, doing, url string) (*call, *plan.Trouble) {
	account, err := at.signer()
	if err != nil {
		return nil, local("reading the account key", err)
	}
	return at.do(ctx, doing, func(ctx context.Context) error {
		_, err := at.wire.GetOrder(ctx, account, acme.Order{Location: url})
		return err
	})
}

func (at *client) pollOrder(ctx context.Context, url string) (*plan.Resource, *plan.Trouble) {
	one, trouble := at.get(ctx, "looking at the order", url)
	if trouble != nil {
		return nil, trouble
	}
	return at.order(one, url)
}

// findOrder looks for the order whose creation was not confirmed, in the
// account's list (RFC 8555 section 7.1.2.1), newest first. A resource without
// URL: it is not there, or the CA keeps no list.
func (at *client) findOrder(ctx context.Context, attempt *plan.Attempt) (*plan.Resource, *plan.Trouble) {
	known, err := at.loadAccount()
	if err != nil {
		return nil, local("reading the account", err)
	}
	if known.Orders == "" {
		return &plan.Resource{}, nil
	}
	urls, trouble := at.orderList(ctx, known.Orders)
	if trouble != nil {
		return nil, trouble
	}
	const most = 25
	for looked := 0; looked < most && looked < len(urls); looked++ {
		url := urls[len(urls)-1-looked]
		one, trouble := at.get(ctx, "looking for the order", url)
		if trouble != nil {
			if trouble.Class == plan.Dead {
				continue
			}
			return nil, trouble
		}
		var answer orderAnswer
		if json.Unmarshal(one.body, &answer) != nil || answer.Status != plan.StatusPending && answer.Status != plan.StatusReady {
			continue
		}
		if sameIdentifiers(answer.Identifiers, attempt.Domains) {
			return at.order(one, url)
		}
	}
	return &plan.Resource{}, nil
}

// orderList reads the pages of the account's orders.
func (at *client) orderList(ctx context.Context, page string) (urls []string, trouble *plan.Trouble) {
	for pages := 0; page != "" && pages < 20; pages++ {
		one, trouble := at.get(ctx, "reading the list of orders", page)
		if trouble != nil {
			return nil, trouble
		}
		var list struct {
			Orders []string `json:"orders"`
		}
		if err := json.Unmarshal(one.body, &list); err != nil {
			return nil, &plan.Trouble{Class: plan.Dead, Summary: "the list of orders cannot be read"}
		}
		urls = append(urls, list.Orders...)
		page = nextLink(one.header)
	}
	return urls, nil
}

func nextLink(header http.Header) string {
	for _, link := range header.Values("Link") {
		target, parameters, _ := strings.Cut(link, ";")
		if strings.Contains(parameters, `rel="next"`) {
			return strings.Trim(strings.TrimSpace(target), "<>")
		}
	}
	return ""
}

func sameIdentifiers(sent []acme.Identifier, domains []string) bool {
	if len(sent) != len(domains) {
		return false
	}
	for _, identifier := range sent {
		if !slices.Contains(domains, identifier.Value) {
			return false
		}
	}
	return true
}

func (at *client) finalize(ctx context.Context, attempt *plan.Attempt) (*plan.Resource, *plan.Trouble) {
	account, err := at.signer()
	if err != nil {
		return nil, local("reading the account key", err)
	}
	order := acme.Order{Location: attempt.Order.URL, Finalize: attempt.Order.FinalizeURL, Status: plan.StatusReady}
	one, trouble := at.do(ctx, "finalizing the order", func(ctx context.Context) error {
		_, err := at.wire.FinalizeOrder(ctx, account, order, attempt.Request)
		return err
	})
	if trouble != nil {
		return nil, trouble
	}
	return at.order(one, attempt.Order.URL)
}

// local words a failure of our own machine.
func local(doing string, err error) *plan.Trouble {
	trouble := &plan.Trouble{Class: plan.Local, Summary: fmt.Sprintf("%s: %v", doing, err), Next: "backstay doctor"}
	if errors.Is(err, fs.ErrPermission) {
		trouble.Permission = true
	}
	return trouble
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
