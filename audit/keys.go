package audit

import (
	"crypto/dsa" //lint:ignore SA1019 old certificates still hold such keys, and that is what is reported //nolint:staticcheck // to say that it is weak
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/finding"
)

// checkKeys judges the key of the leaf and of the authorities between it and the
// root; the root's own key is the trust store's business. One finding for the
// endpoint, for the first weak key.
func checkKeys(looked facts) []finding.Finding {
	for _, certificate := range belowRoot(looked) {
		if why := weakKey(certificate.PublicKey); why != "" {
			record := cert.Describe(certificate)
			return one(finding.New(finding.KeyWeak, "the key of "+record.Subject+" is weak: "+why,
				"why", why, "subject", record.Subject, "sha256", record.SHA256))
		}
	}
	return nil
}

// belowRoot is the path that was judged, without its root.
func belowRoot(looked facts) []*x509.Certificate {
	path := looked.trust.Path
	if len(path) == 0 {
		return []*x509.Certificate{looked.leaf}
	}
	top := path[len(path)-1]
	if len(path) > 1 && (looked.trust.Anchored || cert.SelfSigned(top)) {
		return path[:len(path)-1]
	}
	return path
}

// weakKey says why a key can be broken; "" when we know no reason. Baseline
// Requirements sections 6.1.1.3 and 6.1.5.
func weakKey(public any) string {
	switch key := public.(type) {
	case *rsa.PublicKey:
		switch {
		case key.N.BitLen() < 2048:
			return fmt.Sprintf("RSA of %d bits", key.N.BitLen())
		case key.E <= 3:
			return fmt.Sprintf("RSA with exponent %d", key.E)
		case infineon(key.N):
			return "RSA key with the pattern of CVE-2017-15361 (ROCA)"
		case closePrimes(key.N):
			return "RSA key whose primes are close to each other"
		}
	case *ecdsa.PublicKey:
		if bits := key.Curve.Params().BitSize; bits < 256 {
			return fmt.Sprintf("elliptic curve of %d bits", bits)
		}
	case *dsa.PublicKey:
		return "DSA"
	}
	return ""
}

// fermatRounds is what Baseline Requirements section 6.1.1.3 asks for.
const fermatRounds = 100

// closePrimes tries Fermat's factorisation: N = a² - b² with a near the root of N.
func closePrimes(modulus *big.Int) bool {
	a := new(big.Int).Sqrt(modulus)
	square, b := new(big.Int), new(big.Int)
	for range fermatRounds {
		square.Sub(square.Mul(a, a), modulus)
		if square.Sign() >= 0 && maybeSquare(square) {
			b.Sqrt(square)
			if b.Mul(b, b).Cmp(square) == 0 {
				return true
			}
		}
		a.Add(a, big.NewInt(1))
	}
	return false
}

// maybeSquare looks at the last six bits, in which a square has one of twelve
// patterns; it saves most of the costly roots.
func maybeSquare(number *big.Int) bool {
	const patterns = 1<<0 | 1<<1 | 1<<4 | 1<<9 | 1<<16 | 1<<17 | 1<<25 | 1<<33 | 1<<36 | 1<<41 | 1<<49 | 1<<57
	last := uint64(0)
	if words := number.Bits(); len(words) > 0 {
		last = uint64(words[0]) & 63
	}
	return patterns>>last&1 == 1
}

// infineonPrimes are those of the published fingerprint of ROCA keys: their
// modulus is a power of 65537 modulo each of them.
var infineonPrimes = []uint64{
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
	101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
}

func infineon(modulus *big.Int) bool {
	rest, prime := new(big.Int), new(big.Int)
	for _, p := range infineonPrimes {
		residue := rest.Mod(modulus, prime.SetUint64(p)).Uint64()
		power, seen := uint64(1), residue == 1
		for range p {
			power = power * 65537 % p
			seen = seen || power == residue
		}
		if !seen {
			return false
		}
	}
	return true
}
