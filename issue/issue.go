// Package issue carries out plan's effects at a CA: accounts, orders,
// challenges, downloads (RFC 8555), renewal information (RFC 9773).
//
// Promise: one effect is one ACME request (a rejected nonce apart), with a
// deadline; it is never repeated behind the caller's back, because whether it
// may be repeated is decided by package plan. Every failure comes back as a
// classed plan.Trouble. What a CA sends is bounded in size, its URLs must stay
// on its directory's host, its tokens must be tokens, and a certificate is
// stored only after it was compared with what was asked for.
//
// Limits: it decides nothing and keeps no state but account files and the
// challenge answers that are set. The protocol's wire format is
// github.com/mholt/acmez/v3/acme, low-level calls only; its own polling and
// repeating are switched off (see call).
package issue

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/plan"
)

// Authority is a CA as the executor needs it.
type Authority struct {
	Name           string
	Directory      string         // URL
	DirectoryRoots *x509.CertPool // for the CA's own HTTPS; nil: the system's
	Contact        string         // e-mail address; "" for none
	// EAB reads the external account binding when a new account needs it; nil:
	// none is configured. Its values are secrets.
	EAB func(ctx context.Context) (keyID, hmac string, err error)
	// InsecureTestCA allows plain http on loopback.
	InsecureTestCA bool
}

// Answer is one challenge's answer.
type Answer struct {
	Identifier       string // without the star of a wildcard
	Type             string // http-01, …
	Token            string
	KeyAuthorization string // RFC 8555 section 8.1
}

// Solver puts answers where a CA looks for them. Concurrent. Set and Clean are
// idempotent and durable on return; the caller repeats them after failures and
// kills. Clean of an answer that is not there is no error and never takes away
// what somebody else put there.
type Solver interface {
	Set(ctx context.Context, answer Answer) error
	// Check looks at the answer as the CA would. A nil error: it is seen
	// everywhere we can look.
	Check(ctx context.Context, answer Answer) error
	Clean(ctx context.Context, answer Answer) error
}

// Volatile is a solver whose answers end with the process: they must be set
// again after a restart, before the order goes on.
type Volatile interface{ Volatile() }

// Generations is where keys and chains are stored. Writes are durable and
// idempotent; ReadKey's error is fs.ErrNotExist when there is none.
type Generations interface {
	WriteKey(name string, generation int, keyPEM []byte) error
	ReadKey(name string, generation int) ([]byte, error)
	WriteChain(name string, generation int, leafPEM, chainPEM []byte) error
	// ReadLeaf returns the stored leaf of a complete generation.
	ReadLeaf(name string, generation int) (*x509.Certificate, error)
}

// Config is what an Executor needs. All fields but SharedKey are required.
type Config struct {
	Folder      string // for account files: STATE/accounts
	Authorities map[string]Authority
	Solvers     map[string]Solver
	Generations Generations
	Random      io.Reader
	Now         func() time.Time
	CallTimeout time.Duration // of one request; 0: 20 s
	// SharedKey makes one account key serve all CAs: needed when a web server
	// answers http-01 by itself with one thumbprint.
	SharedKey bool
	UserAgent string
	Proxy     string // URL of an HTTP proxy for CAs; "": HTTPS_PROXY and its kin
}

// Executor carries out effects. Concurrent for different rows.
type Executor struct {
	cfg     Config
	keys    sync.Mutex // held while an account key is read or made
	mu      sync.Mutex
	clients map[string]*client
}

// New checks the configuration.
func New(cfg Config) (*Executor, error) {
	switch {
	case cfg.Folder == "":
		return nil, errors.New("issue: Config.Folder is required")
	case cfg.Generations == nil:
		return nil, errors.New("issue: Config.Generations is required")
	case cfg.Random == nil || cfg.Now == nil:
		return nil, errors.New("issue: Config.Random and Config.Now are required")
	}
	if cfg.CallTimeout == 0 {
		cfg.CallTimeout = 20 * time.Second
	}
	return &Executor{cfg: cfg, clients: map[string]*client{}}, nil
}

// Do carries out one effect on a certificate or challenge row.
func (executor *Executor) Do(ctx context.Context, row plan.Row, effect plan.Effect) plan.Event {
	started := executor.cfg.Now()
	event := plan.Event{Effect: effect.Kind, Index: effect.Index}
	switch {
	case row.Challenge != nil:
		event.Trouble = executor.clean(ctx, row.Challenge)
	case effect.Kind == plan.GetRenewalInfo:
		event.Renewal, event.Trouble = executor.renewalInfo(ctx, row.Certificate)
	case row.Certificate != nil && row.Certificate.Attempt != nil:
		executor.attempt(ctx, row.Certificate, effect, &event)
	default:
		event.Trouble = &plan.Trouble{Class: plan.Dead, Summary: fmt.Sprintf("effect %s has no attempt", effect.Kind)}
	}
	event.At = executor.cfg.Now()
	event.Took = event.At.Sub(started)
	return event
}

func (executor *Executor) attempt(ctx context.Context, row *plan.Certificate, effect plan.Effect, event *plan.Event) {
	attempt := row.Attempt
	at, trouble := executor.client(attempt.Authority)
	if trouble != nil {
		event.Trouble = trouble
		return
	}
	switch effect.Kind {
	case plan.AskAuthority:
		event.Resource, event.Trouble = at.ask(ctx)
	case plan.NewAccount:
		event.Resource, event.Trouble = at.newAccount(ctx)
	case plan.MakeKey:
		event.Resource, event.Trouble = executor.makeKey(row)
	case plan.NewOrder:
		event.Resource, event.Trouble = at.newOrder(ctx, attempt)
	case plan.FindOrder:
		event.Resource, event.Trouble = at.findOrder(ctx, attempt)
	case plan.GetAuth:
		event.Resource, event.Trouble = at.authorization(ctx, attempt.Authorizations[effect.Index].URL)
	case plan.SetChallenge, plan.CheckChallenge:
		event.Trouble = executor.solve(ctx, at, effect.Kind, &attempt.Authorizations[effect.Index])
	case plan.OfferChallenge:
		event.Resource, event.Trouble = at.offer(ctx, attempt.Authorizations[effect.Index].Challenge)
	case plan.Finalize:
		event.Resource, event.Trouble = at.finalize(ctx, attempt)
	case plan.PollOrder:
		event.Resource, event.Trouble = at.pollOrder(ctx, attempt.Order.URL)
	case plan.Collect:
		event.Issued, event.Trouble = executor.collect(ctx, at, row)
	case plan.Abandon:
		at.abandon(ctx, attempt)
	default:
		event.Trouble = &plan.Trouble{Class: plan.Dead, Summary: fmt.Sprintf("unknown effect %q", effect.Kind)}
	}
}

// Resume sets again, after a restart, what ended with the earlier process.
func (executor *Executor) Resume(ctx context.Context, row plan.Row) {
	if row.Certificate == nil || row.Certificate.Attempt == nil {
		return
	}
	attempt := row.Certificate.Attempt
	at, trouble := executor.client(attempt.Authority)
	if trouble != nil {
		return
	}
	for index := range attempt.Authorizations {
		authorization := &attempt.Authorizations[index]
		if _, volatile := executor.cfg.Solvers[authorization.Solver].(Volatile); volatile && authorization.Set && authorization.Status == plan.StatusPending {
			// If it cannot be set, the CA's refusal will say so; nothing to decide here.
			executor.solve(ctx, at, plan.SetChallenge, authorization)
		}
	}
}

// solve sets or checks one challenge's answer.
func (executor *Executor) solve(ctx context.Context, at *client, kind plan.EffectKind, authorization *plan.Authorization) *plan.Trouble {
	solver, trouble := executor.solver(authorization.Solver)
	if trouble != nil {
		return trouble
	}
	answer, err := at.answer(authorization.Identifier, authorization.Type, authorization.Token)
	if err != nil {
		return local("reading the account key", err)
	}
	if kind == plan.CheckChallenge {
		if err := solver.Check(ctx, answer); err != nil {
			return &plan.Trouble{Class: plan.SolverFault, Summary: err.Error(), Identifier: authorization.Identifier}
		}
		return nil
	}
	if err := solver.Set(ctx, answer); err != nil {
		return &plan.Trouble{Class: plan.SolverFault, Identifier: authorization.Identifier,
			Summary: fmt.Sprintf("solver %s could not set the answer for %s: %v", authorization.Solver, authorization.Identifier, err),
			Next:    "run `backstay doctor`, or look at the solver's configuration"}
	}
	return nil
}

func (executor *Executor) clean(ctx context.Context, challenge *plan.Challenge) *plan.Trouble {
	solver, trouble := executor.solver(challenge.Solver)
	if trouble != nil {
		return trouble
	}
	at, trouble := executor.client(challenge.Authority)
	if trouble != nil {
		return trouble
	}
	answer, err := at.answer(challenge.Identifier, challenge.Type, challenge.Token)
	if err != nil {
		return local("reading the account key", err)
	}
	if err := solver.Clean(ctx, answer); err != nil {
		return &plan.Trouble{Class: plan.SolverFault, Summary: fmt.Sprintf("solver %s could not take an answer away: %v", challenge.Solver, err)}
	}
	return nil
}

func (executor *Executor) solver(name string) (Solver, *plan.Trouble) {
	solver, exists := executor.cfg.Solvers[name]
	if !exists {
		return nil, &plan.Trouble{Class: plan.SolverFault, Summary: fmt.Sprintf("solver %q is not configured any more", name), Next: "backstay config check"}
	}
	return solver, nil
}

// makeKey makes the attempt's key unless an earlier process did, and the request
// over it. The key is on disk, durably, before anything is signed with it.
func (executor *Executor) makeKey(row *plan.Certificate) (*plan.Resource, *plan.Trouble) {
	signer, err := executor.key(row.Name, row.Attempt)
	if err != nil {
		return nil, local("making the key", err)
	}
	request, err := cert.Request(signer, row.Attempt.Domains, executor.cfg.Random)
	if err != nil {
		return nil, local("making the request", err)
	}
	return &plan.Resource{Request: request}, nil
}

func (executor *Executor) key(name string, attempt *plan.Attempt) (crypto.Signer, error) {
	text, err := executor.cfg.Generations.ReadKey(name, attempt.Generation)
	if err == nil {
		return cert.ParseKey(text)
	}
	if !isMissing(err) {
		return nil, err
	}
	signer, err := cert.GenerateKey(attempt.Key, executor.cfg.Random)
	if err != nil {
		return nil, err
	}
	if text, err = cert.MarshalKey(signer); err != nil {
		return nil, err
	}
	return signer, executor.cfg.Generations.WriteKey(name, attempt.Generation, text)
}
