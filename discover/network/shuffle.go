package network

import (
	"iter"
	"math/rand/v2"
)

// shuffled yields 0..count-1 once each, in an order that follows from the seed,
// without holding them: a Feistel network over a power of four that is large
// enough, in which numbers beyond count are walked past (at most three in four).
func shuffled(count, seed uint64) iter.Seq[uint64] {
	half := uint(1)
	for half < 32 && count > 1<<(2*half) {
		half++
	}
	source := rand.New(rand.NewPCG(seed, count))
	var keys [4]uint64
	for i := range keys {
		keys[i] = source.Uint64()
	}
	mask := uint64(1)<<half - 1
	encrypt := func(n uint64) uint64 {
		left, right := n>>half, n&mask
		for _, key := range keys {
			left, right = right, left^(mix(right^key)&mask)
		}
		return left<<half | right
	}
	return func(yield func(uint64) bool) {
		for start := range count {
			n := encrypt(start)
			for n >= count {
				n = encrypt(n)
			}
			if !yield(n) {
				return
			}
		}
	}
}

// mix is the finishing step of SplitMix64; any good hash would do.
func mix(n uint64) uint64 {
	n ^= n >> 30
	n *= 0xbf58476d1ce4e5b9
	n ^= n >> 27
	n *= 0x94d049bb133111eb
	return n ^ n>>31
}
