package issue_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/issue"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/testbed/authority"
)

var start = time.Date(2031, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a CA, a web server that answers http-01 for every name, and an
// executor that knows both. Its clock stands still unless the row waits.
type world struct {
	t           *testing.T
	ca          *authority.Authority
	answers     *answers
	generations *generations
	folder      string
	config      issue.Config
	executor    *issue.Executor
	row         plan.Row

	mutex sync.Mutex
	now   time.Time
}

func newWorld(t *testing.T, config authority.Config) *world {
	t.Helper()
	made := &world{t: t, now: start, answers: newAnswers(t), generations: &generations{files: map[string][]byte{}}, folder: t.TempDir()}
	config.Now = made.clock
	if config.HTTPPort == 0 {
		config.HTTPPort = made.answers.port
	}
	var err error
	if made.ca, err = authority.New(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { made.ca.Close() })
	made.config = issue.Config{
		Folder:      made.folder,
		Authorities: map[string]issue.Authority{"first": {Name: "first", Directory: made.ca.URL(), DirectoryRoots: pool(t, made.ca), Contact: "a@example.org"}},
		Solvers:     map[string]issue.Solver{"web": made.answers},
		Generations: made.generations, Random: rand.Reader, Now: made.clock, CallTimeout: 10 * time.Second, UserAgent: "test",
	}
	made.restart()
	made.row = plan.Row{Certificate: &plan.Certificate{Name: "shop", Since: start, Want: plan.Want{
		Domains: []string{"a.example.org", "b.example.org"}, Authorities: []string{"first"}, Key: "ecdsa-p256",
		Solvers: []plan.Solver{{Name: "web", Type: "http-01"}},
	}}}
	return made
}

func pool(t *testing.T, ca *authority.Authority) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.HTTPSRoots()) {
		t.Fatal("the CA has no HTTPS root")
	}
	return roots
}

func (world *world) clock() time.Time {
	world.mutex.Lock()
	defer world.mutex.Unlock()
	return world.now
}

func (world *world) wait(until time.Time) {
	world.mutex.Lock()
	defer world.mutex.Unlock()
	world.now = until
}

// restart makes a new executor over the same folder, as a new process would.
func (world *world) restart() {
	world.t.Helper()
	var err error
	if world.executor, err = issue.New(world.config); err != nil {
		world.t.Fatal(err)
	}
}

func (world *world) do(effect plan.Effect) plan.Event {
	world.t.Helper()
	return world.executor.Do(world.t.Context(), world.row, effect)
}

// until lets package plan drive the real executor until the next effect is of
// this kind, and returns it; nothing goes wrong on the way.
func (world *world) until(kind plan.EffectKind) plan.Effect {
	world.t.Helper()
	rules := plan.Rules{Timing: plan.DefaultTiming(), Seed: []byte("seed")}
	decision := rules.Decide(world.row, plan.Woken(world.clock(), plan.Around{}), world.clock())
	for range 500 {
		world.row = decision.Row
		if len(decision.Effects) == 0 {
			if kind == "" && world.row.Certificate.Held != nil {
				return plan.Effect{}
			}
			world.wait(decision.Next)
			decision = rules.Decide(world.row, plan.Woken(world.clock(), plan.Around{}), world.clock())
			continue
		}
		row := world.row
		for _, effect := range decision.Effects {
			if effect.Kind == kind {
				return effect
			}
			event := plan.Event{Effect: effect.Kind, Index: effect.Index, At: world.clock()}
			if effect.Kind != plan.PointLive {
				event = world.executor.Do(world.t.Context(), row, effect)
			}
			if event.Trouble != nil {
				world.t.Fatalf("on the way to %q, %s: %+v", kind, effect.Kind, event.Trouble)
			}
			decision = rules.Decide(decision.Row, event, world.clock())
		}
	}
	world.t.Fatalf("%q never came", kind)
	return plan.Effect{}
}

// held plays to the end.
func (world *world) held() *plan.Held {
	world.t.Helper()
	world.until("")
	return world.row.Certificate.Held
}

// answers is a solver: a web server on a port of its own, for all names.
type answers struct {
	port   int
	mutex  sync.Mutex
	set    map[string]string
	broken error
}

func newAnswers(t *testing.T) *answers {
	made := &answers{set: map[string]string{}}
	web := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		made.mutex.Lock()
		text, found := made.set[strings.TrimPrefix(request.URL.Path, "/.well-known/acme-challenge/")]
		made.mutex.Unlock()
		if !found {
			http.NotFound(writer, request)
			return
		}
		writer.Write([]byte(text))
	}))
	t.Cleanup(web.Close)
	made.port = web.Listener.Addr().(*net.TCPAddr).Port
	return made
}

func (answers *answers) Set(_ context.Context, answer issue.Answer) error {
	answers.mutex.Lock()
	defer answers.mutex.Unlock()
	if answers.broken != nil {
		return answers.broken
	}
	answers.set[answer.Token] = answer.KeyAuthorization
	return nil
}

func (answers *answers) Check(_ context.Context, answer issue.Answer) error {
	answers.mutex.Lock()
	defer answers.mutex.Unlock()
	if answers.set[answer.Token] != answer.KeyAuthorization {
		return errors.New("not there")
	}
	return answers.broken
}

func (answers *answers) Clean(_ context.Context, answer issue.Answer) error {
	answers.mutex.Lock()
	defer answers.mutex.Unlock()
	delete(answers.set, answer.Token)
	return answers.broken
}

// generations is a store in memory.
type generations struct {
	mutex  sync.Mutex
	files  map[string][]byte
	writes []string
	broken error
}

func (all *generations) put(name string, data []byte) error {
	all.mutex.Lock()
	defer all.mutex.Unlock()
	if all.broken != nil {
		return all.broken
	}
	all.files[name], all.writes = data, append(all.writes, name)
	return nil
}

func (all *generations) get(name string) ([]byte, error) {
	all.mutex.Lock()
	defer all.mutex.Unlock()
	data, exists := all.files[name]
	if !exists {
		return nil, fs.ErrNotExist
	}
	return data, nil
}

func path(name string, generation int, file string) string {
	return name + "/" + string(rune('0'+generation)) + "/" + file
}

func (all *generations) WriteKey(name string, generation int, keyPEM []byte) error {
	return all.put(path(name, generation, "key"), keyPEM)
}

func (all *generations) ReadKey(name string, generation int) ([]byte, error) {
	return all.get(path(name, generation, "key"))
}

func (all *generations) WriteChain(name string, generation int, leafPEM, chainPEM []byte) error {
	return errors.Join(all.put(path(name, generation, "leaf"), leafPEM), all.put(path(name, generation, "chain"), chainPEM))
}

func (all *generations) ReadLeaf(name string, generation int) (*x509.Certificate, error) {
	text, err := all.get(path(name, generation, "leaf"))
	if err != nil {
		return nil, err
	}
	chain, err := cert.ParseChain(text)
	if err != nil {
		return nil, err
	}
	return chain[0], nil
}
