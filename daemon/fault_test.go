package daemon

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/finding"
	"github.com/backstay/backstay/plan"
	"github.com/backstay/backstay/store"
	"github.com/backstay/backstay/testbed/authority"
)

// renew asks for a new certificate now and runs until it waits for long.
func (rig *rig) renew(configuration *config.Config, selection Selection) (Report, error) {
	rig.t.Helper()
	lock, err := store.TryLock(rig.State())
	if err != nil {
		return Report{}, err
	}
	defer lock.Release()
	daemon, err := Open(context.Background(), Config{Folder: rig.State(), Configuration: configuration, Now: time.Now, Timing: rig.timing})
	if err != nil {
		return Report{}, err
	}
	defer daemon.Close()
	if err := daemon.Ask(context.Background(), []string{"www"}, true); err != nil {
		return Report{}, err
	}
	rig.findings = nil
	return daemon.Run(context.Background(), selection, func(found finding.Finding) { rig.findings = append(rig.findings, found) }, nil, "test")
}

// servedNow is the serial that the server shows.
func (rig *rig) servedNow() string {
	rig.t.Helper()
	connection, err := tls.Dial("tcp", rig.Server.Address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		rig.t.Fatalf("the server does not answer: %v", err)
	}
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// TestAuthorityFaults: whatever the CA does, the certificate in force stays
// served, the finding names the cause, and once the CA is well again one run
// renews, with the orders that the row says.
func TestAuthorityFaults(t *testing.T) {
	always := func(at authority.Kind, what authority.What) authority.Rule { return authority.Rule{At: at, What: what} }
	answer := func(at authority.Kind, status int, problem string, retry time.Duration) authority.Rule {
		return authority.Rule{At: at, What: authority.Answer, Status: status, Problem: problem, RetryAfter: retry}
	}
	for _, one := range []struct {
		name    string
		rule    authority.Rule
		code    finding.Code
		class   plan.Class
		orders  int // spent by both runs together
		issued  int // certificates that the CA made by both runs together
		renewed bool
	}{
		{"500 at newOrder", answer(authority.Order, 500, "", 0), "authority-unreachable", plan.ServerError, 1, 1, false},
		{"503 with Retry-After at newOrder", answer(authority.Order, 503, "", time.Hour), "authority-unreachable", plan.ServerError, 1, 1, false},
		{"429 at newOrder", answer(authority.Order, 429, "rateLimited", time.Hour), "authority-rate-limited", plan.RateLimited, 1, 1, false},
		{"500 at finalize", answer(authority.Finalize, 500, "serverInternal", 0), "authority-unreachable", plan.ServerError, 1, 1, false},
		{"429 at finalize", answer(authority.Finalize, 429, "rateLimited", time.Hour), "authority-rate-limited", plan.RateLimited, 1, 1, false},
		{"500 at the download", answer(authority.Certificate, 500, "", 0), "authority-unreachable", plan.ServerError, 1, 1, false},
		{"reset before newOrder", always(authority.Order, authority.ResetBefore), "authority-unreachable", plan.Transport, 1, 1, false},
		{"garbage as an order", always(authority.Order, authority.Garbage), "authority-unreachable", plan.ServerError, 1, 1, false},
		{"answer of newOrder lost once", authority.Rule{At: authority.Order, What: authority.ResetAfter, Times: 1}, "authority-unreachable", "", 1, 1, true},
		{"answer of finalize lost once", authority.Rule{At: authority.Finalize, What: authority.ResetAfter, Times: 1}, "authority-unreachable", "", 1, 1, true},
		{"answer of the download cut once", authority.Rule{At: authority.Certificate, What: authority.Truncate, Times: 1}, "authority-unreachable", "", 1, 1, true},
		{"one 404 at the download", authority.Rule{At: authority.Certificate, What: authority.Answer, Status: 404, Times: 1}, "", "", 1, 1, true},
		{"one 403 at a poll after finalize", authority.Rule{At: authority.PollOrder, What: authority.Answer, Status: 403, Times: 1}, "", "", 1, 1, true},
		{"one bad nonce", authority.Rule{At: authority.Order, What: authority.BadNonce, Times: 1}, "", "", 1, 1, true},
		{"a certificate for another key", always(authority.Finalize, authority.WrongKey), "authority-wrong-certificate", plan.WrongCertificate, 2, 2, false},
		{"a certificate for other names", always(authority.Finalize, authority.WrongNames), "authority-wrong-certificate", plan.WrongCertificate, 2, 2, false},
		{"an expired certificate", always(authority.Finalize, authority.Expired), "authority-wrong-certificate", plan.WrongCertificate, 2, 2, false},
		{"a reversed chain", always(authority.Certificate, authority.ChainReversed), "authority-wrong-certificate", plan.WrongCertificate, 2, 2, false},
		{"a foreign chain", always(authority.Certificate, authority.ChainForeign), "authority-wrong-certificate", plan.WrongCertificate, 2, 2, false},
		{"a key among the chain", always(authority.Certificate, authority.ChainWithKey), "authority-wrong-certificate", plan.WrongCertificate, 2, 2, false},
		{"an order that turns invalid", always(authority.Finalize, authority.OrderInvalid), "renew-failing", plan.Dead, 2, 1, false},
		{"tokens with a path", always(authority.Order, authority.TokenTraversal), "authority-refused", plan.Refused, 2, 1, false},
		{"hostile text", always(authority.Order, authority.HostileText), "authority-refused", plan.Refused, 1, 1, false},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			rig := newRig(t, func(cfg *authority.Config) { cfg.OrdersList = true })
			timing := plan.DefaultTiming()
			timing.Retry = []time.Duration{50 * time.Millisecond, 50 * time.Millisecond, time.Hour}
			rig.timing = &timing
			configuration := rig.load("www: www.example.com")
			rig.run(configuration, Selection{})
			before, ordersBefore := rig.servedNow(), len(rig.Authority.Orders())
			remove := rig.Authority.Faults().Add(one.rule)
			report, err := rig.renew(configuration, Selection{Patience: 300 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if one.renewed {
				if len(report.Issued) != 1 || rig.servedNow() == before {
					t.Errorf("a passing fault stopped the renewal: %+v", report)
				}
			} else {
				if rig.servedNow() != before {
					t.Error("the certificate in force was replaced")
				}
				if len(report.Issued) != 0 || len(report.Left) == 0 || report.Left[0].Trouble == nil || report.Left[0].Trouble.Class != one.class {
					t.Errorf("report %+v", report)
				}
			}
			if one.code != "" && !rig.found(one.code) {
				t.Errorf("no finding %s among %+v", one.code, rig.findings)
			}
			remove()
			if !one.renewed {
				if report, err = rig.renew(configuration, Selection{}); err != nil || len(report.Issued) != 1 || rig.servedNow() == before {
					t.Errorf("not renewed after the fault: %+v %v %+v", report, err, rig.findings)
				}
			}
			if orders := len(rig.Authority.Orders()) - ordersBefore; orders != one.orders {
				t.Errorf("%d orders spent, want %d", orders, one.orders)
			}
			if issued := len(rig.Authority.Issued()) - 1; issued != one.issued {
				t.Errorf("%d certificates made, want %d", issued, one.issued)
			}
			if left := rig.ChallengeFiles(); len(left) > 0 {
				t.Errorf("challenge files left: %v", left)
			}
			rig.verifyJournal()
		})
	}
}

func (rig *rig) found(code finding.Code) bool {
	for _, found := range rig.findings {
		if found.Code == code {
			return true
		}
	}
	return false
}

// TestValidationFails: the name's answer cannot be reached.
func TestValidationFails(t *testing.T) {
	rig := newRig(t, nil)
	configuration := rig.load("www: www.example.com")
	if err := os.WriteFile(filepath.Join(rig.Webroot, ".well-known"), []byte("a file in the way"), 0o644); err != nil {
		t.Fatal(err)
	}
	report := rig.run(configuration, Selection{Patience: time.Second})
	if len(report.Issued) != 0 || !rig.found("solver-failed") {
		t.Fatalf("report %+v findings %+v", report, rig.findings)
	}
	if err := os.Remove(filepath.Join(rig.Webroot, ".well-known")); err != nil {
		t.Fatal(err)
	}
	report, err := rig.renew(configuration, Selection{})
	if err != nil || len(report.Issued) != 1 {
		t.Fatalf("report %+v %v %+v", report, err, rig.findings)
	}
}

// TestServerServesAnother: the deployment is rolled back when the server goes on
// serving the old certificate.
func TestServerServesAnother(t *testing.T) {
	rig := newRig(t, nil)
	configuration := rig.load("www: www.example.com")
	rig.run(configuration, Selection{})
	timing := plan.DefaultTiming()
	timing.VerifyPatience = 500 * time.Millisecond
	rig.timing = &timing
	before := rig.servedNow()
	// Old workers: the server keeps the pair that it has read.
	stuck, err := tls.LoadX509KeyPair(rig.Path("tls.pem"), rig.Path("tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	rig.Server.Hold(&stuck)
	report, err := rig.renew(configuration, Selection{Patience: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Served) != 0 || !rig.found("target-rolled-back") || rig.servedNow() != before {
		t.Fatalf("report %+v findings %+v", report, rig.findings)
	}
	pair, err := tls.LoadX509KeyPair(rig.Path("tls.pem"), rig.Path("tls.key"))
	if err != nil || pair.Leaf.SerialNumber.String() != before {
		t.Fatalf("the files were not put back: %v", err)
	}
	rig.Server.Hold(nil)
	issued := len(rig.Authority.Issued())
	lock, _ := store.TryLock(rig.State())
	daemon, err := Open(context.Background(), Config{Folder: rig.State(), Configuration: configuration, Now: time.Now, Timing: rig.timing})
	if err != nil {
		t.Fatal(err)
	}
	daemon.Ask(context.Background(), []string{"www"}, false)
	report, err = daemon.Run(context.Background(), Selection{}, nil, nil, "test")
	daemon.Close()
	lock.Release()
	if err != nil || len(report.Served) != 1 || rig.servedNow() == before {
		t.Fatalf("not deployed after the server was mended: %+v %v", report, err)
	}
	if len(rig.Authority.Issued()) != issued {
		t.Fatal("a failed deployment cost a new order")
	}
}
