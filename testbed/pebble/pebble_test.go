package pebble

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

func TestIssueFromTwoServersAtOnce(t *testing.T) {
	t.Setenv("PEBBLE_VA_SLEEPTIME", "7")
	var servers []*Server
	for index := range 2 {
		server, err := Start(Config{
			AlwaysValid: true, NonceRejectPercent: 30 * index, AlternateRoots: index, Validity: time.Duration(index+1) * 24 * time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		servers = append(servers, server)
	}
	if got := os.Getenv("PEBBLE_VA_SLEEPTIME"); got != "7" {
		t.Errorf("the environment was changed: %q", got)
	}
	if _, present := os.LookupEnv("PEBBLE_VA_ALWAYS_VALID"); present {
		t.Error("the environment was not cleaned")
	}
	if bytes.Equal(servers[0].Roots(), servers[1].Roots()) {
		t.Error("two servers share a root")
	}
	for index, server := range servers {
		leaf, chains := issue(t, server)
		if life := leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Minute); life != time.Duration(index+1)*24*time.Hour {
			t.Errorf("server %d: life %s", index, life)
		}
		if chains != index+1 {
			t.Errorf("server %d: %d chains, want %d", index, chains, index+1)
		}
		start := time.Now().Add(-time.Hour).Truncate(time.Second)
		if err := server.SetRenewalWindow(leaf, start, start.Add(time.Minute), ""); err != nil {
			t.Fatal(err)
		}
		client := &acme.Client{Directory: server.URL(), HTTPClient: server.Client()}
		if got, err := client.GetRenewalInfo(t.Context(), leaf); err != nil || !got.SuggestedWindow.Start.Equal(start) {
			t.Errorf("server %d: %+v %v", index, got, err)
		}
	}
}

func issue(t *testing.T, server *Server) (*x509.Certificate, int) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"a.example"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	accountKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	client := &acme.Client{Directory: server.URL(), HTTPClient: server.Client(), PollInterval: 10 * time.Millisecond}
	account, err := client.NewAccount(ctx, acme.Account{PrivateKey: accountKey, TermsOfServiceAgreed: true})
	if err != nil {
		t.Fatal(err)
	}
	order, err := client.NewOrder(ctx, account, acme.Order{Identifiers: []acme.Identifier{{Type: "dns", Value: "a.example"}}})
	if err != nil {
		t.Fatal(err)
	}
	authorization, err := client.GetAuthorization(ctx, account, order.Authorizations[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.InitiateChallenge(ctx, account, authorization.Challenges[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PollAuthorization(ctx, account, authorization); err != nil {
		t.Fatal(err)
	}
	if order, err = client.FinalizeOrder(ctx, account, order, request); err != nil {
		t.Fatal(err)
	}
	chains, err := client.GetCertificateChain(ctx, account, order.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(chains[0].ChainPEM)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool, rest := x509.NewCertPool(), x509.NewCertPool()
	pool.AppendCertsFromPEM(server.Roots())
	rest.AppendCertsFromPEM(chains[0].ChainPEM)
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "a.example", Roots: pool, Intermediates: rest}); err != nil {
		t.Error(err)
	}
	return leaf, len(chains)
}

func TestBadKeyIsAnError(t *testing.T) {
	if server, err := Start(Config{ExternalAccounts: map[string]string{"kid": "not base64url!"}}); err == nil {
		server.Close()
		t.Error("a bad HMAC key must be refused")
	}
}

func TestCloseAtOnce(t *testing.T) {
	server, err := Start(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if _, err := server.Client().Get(server.URL()); err == nil {
		t.Error("it still answers")
	}
}
