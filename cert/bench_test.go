package cert_test

import (
	"testing"

	"github.com/backstay/backstay/cert"
	. "github.com/backstay/backstay/cert/certtest"
)

// The cost of judging one endpoint beside that of its handshake (some 300 µs).
func BenchmarkEvaluate(b *testing.B) {
	root := Root(b, "Root")
	middle := root.Authority(b, "Middle")
	leaf := middle.Leaf(b, []string{"a.test"})
	trusted, mozilla := cert.NewTrust("test", Chain(root)), cert.Mozilla()
	b.Run("trusted", func(b *testing.B) {
		for b.Loop() {
			trusted.Evaluate(Chain(leaf, middle), nil, Now)
		}
	})
	b.Run("untrusted", func(b *testing.B) {
		for b.Loop() {
			mozilla.Evaluate(Chain(leaf, middle), nil, Now)
		}
	})
	b.Run("describe", func(b *testing.B) {
		for b.Loop() {
			cert.Describe(leaf.Certificate)
		}
	})
}
