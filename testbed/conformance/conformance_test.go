package conformance

import (
	"encoding/base64"
	"testing"

	"github.com/backstay/backstay/testbed/authority"
	"github.com/backstay/backstay/testbed/pebble"
)

func TestOwnAuthority(t *testing.T) {
	Run(t, "own", func(t *testing.T, world *World, wish Wish) *Peer {
		config := authority.Config{
			HTTPPort: world.HTTPPort, TLSPort: world.TLSPort, Network: world.DNS, ReuseAuthorizations: wish.Reuse, Terms: "https://ca.test/terms",
		}
		if wish.ExternalAccountID != "" {
			key, err := base64.RawURLEncoding.DecodeString(wish.ExternalAccountKey)
			if err != nil {
				t.Fatal(err)
			}
			config.ExternalAccountRequired, config.ExternalAccounts = true, map[string][]byte{wish.ExternalAccountID: key}
		}
		if wish.Profile != "" {
			config.Profiles = map[string]authority.Profile{wish.Profile: {Description: "asked for", Validity: wish.ProfileLife}}
		}
		server, err := authority.New(config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		return &Peer{Directory: server.URL(), Client: server.Client(), Roots: server.Roots()}
	})
}

func TestPebble(t *testing.T) {
	Run(t, "pebble", func(t *testing.T, world *World, wish Wish) *Peer {
		config := pebble.Config{HTTPPort: world.HTTPPort, TLSPort: world.TLSPort, DNS: world.DNS.Address().String()}
		if wish.Reuse {
			config.AuthzReusePercent = 100
		}
		if wish.ExternalAccountID != "" {
			config.ExternalAccountRequired = true
			config.ExternalAccounts = map[string]string{wish.ExternalAccountID: wish.ExternalAccountKey}
		}
		if wish.Profile != "" {
			config.Profiles = map[string]pebble.Profile{wish.Profile: {Description: "asked for", Validity: wish.ProfileLife}}
		}
		server, err := pebble.Start(config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		return &Peer{Directory: server.URL(), Client: server.Client(), Roots: server.Roots()}
	})
}

// What is no difference must fail, and so must what is in no table.
func TestTheTableIsHeld(t *testing.T) {
	for _, one := range Differences {
		if _, known := expected[one.What]; !known && one.Instead != "no" {
			t.Errorf("difference %q is about nothing that is looked at", one.What)
		}
	}
}
