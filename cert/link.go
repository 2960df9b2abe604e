package cert

import (
	"crypto"
	"crypto/ecdsa"
	_ "crypto/md5" // to recognise what it once signed; see signedBy
	"crypto/rsa"
	_ "crypto/sha1"
	"crypto/x509"
	"slices"
)

// link is how one certificate hangs on another.
type link int

const (
	linkBroken link = iota // not signed by that key
	linkWeak               // signed, with a hash that is broken
	linkGood
)

// signedBy reports whether parent's key made child's signature. It looks at the
// signature only, not at parent's right to sign. crypto/x509 refuses MD5 and
// SHA-1 outright; we check those ourselves, because "signed with a broken hash"
// is another sentence than "not signed by anyone we know".
func signedBy(child, parent *x509.Certificate) link {
	if !slices.Equal(child.RawIssuer, parent.RawSubject) {
		return linkBroken
	}
	hash := WeakHash(child)
	if hash == 0 {
		if parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature) == nil {
			return linkGood
		}
		return linkBroken
	}
	if weakSignature(parent.PublicKey, hash, child) {
		return linkWeak
	}
	return linkBroken
}

// WeakHash is the broken hash (MD5 or SHA-1) that a certificate is signed with;
// 0 when its hash is not one of those.
func WeakHash(certificate *x509.Certificate) crypto.Hash {
	switch certificate.SignatureAlgorithm {
	case x509.MD5WithRSA:
		return crypto.MD5
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1:
		return crypto.SHA1
	}
	return 0
}

func weakSignature(public any, hash crypto.Hash, child *x509.Certificate) bool {
	digest := hash.New()
	digest.Write(child.RawTBSCertificate)
	sum := digest.Sum(nil)
	switch key := public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, hash, sum, child.Signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, sum, child.Signature)
	}
	return false
}
