package stepca

import (
	"testing"

	"github.com/backstay/backstay/testbed/conformance"
)

// The same behaviours as our own authority and Pebble.
func TestConformance(t *testing.T) {
	conformance.Run(t, "step-ca", func(t *testing.T, world *conformance.World, wish conformance.Wish) *conformance.Peer {
		if wish != (conformance.Wish{}) {
			return nil
		}
		server, err := Start(t.Context(), Config{
			Folder: t.TempDir(), HTTPPort: world.HTTPPort, TLSPort: world.TLSPort, DNS: world.DNS.Address().String(),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		return &conformance.Peer{Directory: server.URL(), Client: server.Client(), Roots: server.Roots()}
	})
}
