package issue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mholt/acmez/v3/acme"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/plan"
)

// account is what is stored of an account beside its key:
// STATE/accounts/CA/ID.json and ID.key, the ID taken from the directory's URL,
// so that a CA whose directory moves gets an account of its own.
type account struct {
	Directory string `json:"directory"`
	URL       string `json:"url"`
	Orders    string `json:"orders,omitempty"` // RFC 8555 section 7.1.2.1, where offered
	Key       string `json:"key,omitempty"`    // thumbprint of the key that it belongs to (RFC 7638)
	signer    acme.Account
}

func (at *client) accountPath(ending string) string {
	sum := sha256.Sum256([]byte(at.authority.Directory))
	return filepath.Join(at.executor.cfg.Folder, at.authority.Name, hex.EncodeToString(sum[:6])+ending)
}

// keyPath is the account key's file. With SharedKey all CAs know us by one key.
func (at *client) keyPath() string {
	if at.executor.cfg.SharedKey {
		return SharedKeyPath(at.executor.cfg.Folder)
	}
	return at.accountPath(".key")
}

// SharedKeyPath is the account key that serves all CAs when a web server answers
// http-01 by itself.
func SharedKeyPath(folder string) string { return filepath.Join(folder, "shared.key") }

// loadAccount reads the account file; a missing one is an account without URL.
func (at *client) loadAccount() (account, error) {
	at.mu.Lock()
	defer at.mu.Unlock()
	return at.load()
}

func (at *client) load() (account, error) {
	if at.account != nil && at.account.URL != "" {
		return *at.account, nil
	}
	known := account{Directory: at.authority.Directory}
	text, err := os.ReadFile(at.accountPath(".json"))
	switch {
	case err == nil:
		if err := json.Unmarshal(text, &known); err != nil {
			return account{}, fmt.Errorf("%s: %w", at.accountPath(".json"), err)
		}
	case !isMissing(err):
		return account{}, err
	}
	// Without its key an account is worth nothing; with another key (the shared one
	// came or went) it is somebody else's, and the CA refuses all that we sign.
	if known.URL != "" && !at.keyFits(known.Key) {
		known.URL, known.Orders = "", ""
	}
	at.account = &known
	return known, nil
}

// keyFits reports whether the key on disk has the thumbprint.
func (at *client) keyFits(thumbprint string) bool {
	text, err := os.ReadFile(at.keyPath())
	if err != nil {
		return false
	}
	signer, err := cert.ParseKey(text)
	if err != nil {
		return false
	}
	made, err := (&acme.Account{PrivateKey: signer}).Thumbprint()
	return err == nil && (thumbprint == "" || made == thumbprint)
}

// signer is the account as the wire library wants it, its key made if missing.
func (at *client) signer() (acme.Account, error) {
	at.mu.Lock()
	defer at.mu.Unlock()
	known, err := at.load()
	if err != nil {
		return acme.Account{}, err
	}
	if at.account.signer.PrivateKey == nil {
		// One at a time over all CAs: they may share the key that is made here.
		at.executor.keys.Lock()
		signer, err := AccountKey(at.keyPath(), at.executor.cfg)
		at.executor.keys.Unlock()
		if err != nil {
			return acme.Account{}, err
		}
		at.account.signer.PrivateKey = signer.PrivateKey
	}
	made := at.account.signer
	made.Location = known.URL
	return made, nil
}

// AccountKey reads an account key, making it if there is none. The key is on
// disk before the CA hears of it.
func AccountKey(path string, cfg Config) (acme.Account, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		signer, err := cert.ParseKey(text)
		return acme.Account{PrivateKey: signer}, err
	}
	if !isMissing(err) {
		return acme.Account{}, err
	}
	signer, err := cert.GenerateKey("ecdsa-p256", cfg.Random)
	if err != nil {
		return acme.Account{}, err
	}
	if text, err = cert.MarshalKey(signer); err != nil {
		return acme.Account{}, err
	}
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return acme.Account{}, err
	}
	return acme.Account{PrivateKey: signer}, durable.WriteFile(path, text, 0o600)
}

// Thumbprint of the shared account key (RFC 7638), for servers that answer
// http-01 by themselves.
func Thumbprint(folder string, cfg Config) (string, error) {
	account, err := AccountKey(SharedKeyPath(folder), cfg)
	if err != nil {
		return "", err
	}
	return account.Thumbprint()
}

// newAccount registers, or finds the account that this key already has
// (RFC 8555 section 7.3.1), and stores its URL.
func (at *client) newAccount(ctx context.Context) (*plan.Resource, *plan.Trouble) {
	// Several certificates may need the account at the same moment: one registers.
	at.registering.Lock()
	defer at.registering.Unlock()
	if known, err := at.loadAccount(); err == nil && known.URL != "" {
		return &plan.Resource{URL: known.URL}, nil
	}
	signed, err := at.signer()
	if err != nil {
		return nil, local("making the account key", err)
	}
	signed.Location, signed.TermsOfServiceAgreed = "", true
	if at.authority.Contact != "" {
		signed.Contact = []string{"mailto:" + at.authority.Contact}
	}
	if trouble := at.bind(ctx, &signed); trouble != nil {
		return nil, trouble
	}
	one, trouble := at.do(ctx, "registering", func(ctx context.Context) error {
		_, err := at.wire.NewAccount(ctx, signed)
		return err
	})
	if trouble != nil {
		return nil, trouble
	}
	var answer struct {
		Status string `json:"status"`
		Orders string `json:"orders"`
	}
	if err := json.Unmarshal(one.body, &answer); err != nil || one.header.Get("Location") == "" {
		return nil, &plan.Trouble{Class: plan.ServerError, Reachable: true, Summary: at.authority.Name + " sent an account that cannot be read"}
	}
	if answer.Status != "" && answer.Status != plan.StatusValid {
		return nil, &plan.Trouble{Class: plan.Setup, Reachable: true, Summary: fmt.Sprintf("our account at %s is %s", at.authority.Name, cut(answer.Status)),
			Next: "move " + at.accountPath(".key") + " aside to register anew"}
	}
	if err := at.saveAccount(one.header.Get("Location"), answer.Orders); err != nil {
		return nil, local("storing the account", err)
	}
	return &plan.Resource{URL: one.header.Get("Location"), Status: answer.Status}, nil
}

// bind adds the external account binding (RFC 8555 section 7.3.4) when one is
// configured, and says so when one is needed and is not.
func (at *client) bind(ctx context.Context, signed *acme.Account) *plan.Trouble {
	directory, trouble := at.directory(ctx)
	if trouble != nil {
		return trouble
	}
	needed := directory.Meta != nil && directory.Meta.ExternalAccountRequired
	if at.authority.EAB == nil {
		if needed {
			return &plan.Trouble{Class: plan.Setup, Summary: at.authority.Name + " registers only accounts with an external binding",
				Next: "get a key id and an HMAC key from the CA and name them with `eab:` under the authority"}
		}
		return nil
	}
	keyID, hmac, err := at.authority.EAB(ctx)
	if err != nil {
		return &plan.Trouble{Class: plan.Setup, Summary: "reading the external account binding of " + at.authority.Name + ": " + err.Error(), Next: "backstay config check"}
	}
	if err := signed.SetExternalAccountBinding(ctx, at.wire, acme.EAB{KeyID: keyID, MACKey: hmac}); err != nil {
		return &plan.Trouble{Class: plan.Setup, Summary: "the external account binding of " + at.authority.Name + " cannot be used: " + err.Error(), Next: "the HMAC key must be base64url as the CA gave it"}
	}
	return nil
}

func (at *client) saveAccount(url, orders string) error {
	at.mu.Lock()
	defer at.mu.Unlock()
	thumbprint, err := at.account.signer.Thumbprint()
	if err != nil {
		return err
	}
	at.account.URL, at.account.Orders, at.account.Key = url, orders, thumbprint
	text, err := json.Marshal(at.account)
	if err != nil {
		return err
	}
	path := at.accountPath(".json")
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(path, append(text, '\n'), 0o600)
}

// forgetAccount drops an account URL that the CA does not know any more; the key
// stays and registers anew.
func (at *client) forgetAccount() {
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.account != nil {
		at.account.URL = ""
		durable.Remove(at.accountPath(".json"))
	}
}
