package authority

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.SHA384
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
)

// envelope is a flattened JWS (RFC 7515 section 7.2.2), the only form RFC 8555
// section 6.2 allows.
type envelope struct {
	Protected string          `json:"protected"`
	Payload   string          `json:"payload"`
	Signature string          `json:"signature"`
	Header    json.RawMessage `json:"header"`     // unprotected: refused
	Several   json.RawMessage `json:"signatures"` // general form: refused
}

// header is the protected header of a request.
type header struct {
	Algorithm string          `json:"alg"`
	Nonce     string          `json:"nonce"`
	URL       string          `json:"url"`
	KeyID     string          `json:"kid"`
	Key       json.RawMessage `json:"jwk"`
}

// parseEnvelope reads a JWS without believing it: no signature is checked yet.
func parseEnvelope(body []byte) (envelope, header, error) {
	var outer envelope
	if err := json.Unmarshal(body, &outer); err != nil {
		return envelope{}, header{}, fmt.Errorf("the body is no JWS: %w", err)
	}
	if len(outer.Header) > 0 || len(outer.Several) > 0 {
		return envelope{}, header{}, errors.New("a JWS with unprotected headers or several signatures is not allowed")
	}
	raw, err := base64.RawURLEncoding.DecodeString(outer.Protected)
	if err != nil {
		return envelope{}, header{}, fmt.Errorf("protected header: %w", err)
	}
	var protected header
	if err := json.Unmarshal(raw, &protected); err != nil {
		return envelope{}, header{}, fmt.Errorf("protected header: %w", err)
	}
	return outer, protected, nil
}

// verify checks the signature with key and returns the payload. The algorithm
// is taken from the key, never from the sender: that is what makes "none" and
// HMAC-with-a-public-key harmless.
func (outer envelope) verify(algorithm string, key crypto.PublicKey) ([]byte, error) {
	wanted, hash, err := algorithmOf(key)
	if err != nil {
		return nil, err
	}
	if algorithm != wanted {
		return nil, fmt.Errorf("the key needs alg %s, the request says %q", wanted, algorithm)
	}
	signature, err := base64.RawURLEncoding.DecodeString(outer.Signature)
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	digest := hash.New()
	digest.Write([]byte(outer.Protected + "." + outer.Payload))
	sum := digest.Sum(nil)
	switch key := key.(type) {
	case *rsa.PublicKey:
		if err := rsa.VerifyPKCS1v15(key, hash, sum, signature); err != nil {
			return nil, errors.New("the signature does not verify")
		}
	case *ecdsa.PublicKey:
		size := (key.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return nil, errors.New("the signature has the wrong length")
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		if !ecdsa.Verify(key, sum, r, s) {
			return nil, errors.New("the signature does not verify")
		}
	}
	return base64.RawURLEncoding.DecodeString(outer.Payload)
}

// verifyMAC checks an HS256 envelope (RFC 8555 section 7.3.4).
func (outer envelope) verifyMAC(secret []byte) ([]byte, error) {
	signature, err := base64.RawURLEncoding.DecodeString(outer.Signature)
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(outer.Protected + "." + outer.Payload))
	if !hmac.Equal(mac.Sum(nil), signature) {
		return nil, errors.New("the MAC does not verify")
	}
	return base64.RawURLEncoding.DecodeString(outer.Payload)
}

func algorithmOf(key crypto.PublicKey) (string, crypto.Hash, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return "RS256", crypto.SHA256, nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return "ES256", crypto.SHA256, nil
		case elliptic.P384():
			return "ES384", crypto.SHA384, nil
		}
	}
	return "", 0, fmt.Errorf("a key of type %T is not accepted", key)
}

// webKey is a JSON Web Key of the kinds we accept (RFC 7518 section 6).
type webKey struct {
	Type  string `json:"kty"`
	Curve string `json:"crv"`
	X     string `json:"x"`
	Y     string `json:"y"`
	N     string `json:"n"`
	E     string `json:"e"`
}

func parseWebKey(raw []byte) (crypto.PublicKey, error) {
	var key webKey
	if err := json.Unmarshal(raw, &key); err != nil {
		return nil, fmt.Errorf("jwk: %w", err)
	}
	switch key.Type {
	case "EC":
		return key.elliptic()
	case "RSA":
		return key.rsa()
	}
	return nil, fmt.Errorf("jwk: kty %q is not accepted", key.Type)
}

func (key webKey) elliptic() (crypto.PublicKey, error) {
	curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()}
	curve := curves[key.Curve]
	if curve == nil {
		return nil, fmt.Errorf("jwk: crv %q is not accepted", key.Curve)
	}
	x, errX := base64.RawURLEncoding.DecodeString(key.X)
	y, errY := base64.RawURLEncoding.DecodeString(key.Y)
	size := (curve.Params().BitSize + 7) / 8
	if errX != nil || errY != nil || len(x) != size || len(y) != size {
		return nil, errors.New("jwk: x and y must have the length of the curve (RFC 7518 section 6.2.1.2)")
	}
	// ParseUncompressedPublicKey refuses points that are not on the curve.
	return ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...))
}

func (key webKey) rsa() (crypto.PublicKey, error) {
	n, errN := base64.RawURLEncoding.DecodeString(key.N)
	e, errE := base64.RawURLEncoding.DecodeString(key.E)
	if errN != nil || errE != nil || len(n) > 1024 || len(e) > 4 {
		return nil, errors.New("jwk: n or e is no base64url number of a sane size")
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	if public.N.BitLen() < 2048 || public.E < 3 || public.E%2 == 0 {
		return nil, errors.New("jwk: RSA keys need 2048 bits and an odd exponent from 3")
	}
	return public, nil
}

// thumbprint is RFC 7638 with SHA-256, base64url.
func thumbprint(key crypto.PublicKey) string {
	var canonical string
	encode := base64.RawURLEncoding.EncodeToString
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		// Members in lexical order: crv, kty, x, y.
		point, err := key.Bytes()
		if err != nil {
			return ""
		}
		half := (len(point) - 1) / 2
		canonical = fmt.Sprintf(`{"crv":"%s","kty":"EC","x":"%s","y":"%s"}`,
			key.Curve.Params().Name, encode(point[1:1+half]), encode(point[1+half:]))
	case *rsa.PublicKey:
		canonical = fmt.Sprintf(`{"e":"%s","kty":"RSA","n":"%s"}`,
			encode(big.NewInt(int64(key.E)).Bytes()), encode(key.N.Bytes()))
	}
	sum := sha256.Sum256([]byte(canonical))
	return encode(sum[:])
}

// sameKey compares public keys by their SubjectPublicKeyInfo meaning.
func sameKey(one, other crypto.PublicKey) bool {
	comparable, ok := one.(interface{ Equal(crypto.PublicKey) bool })
	return ok && comparable.Equal(other)
}

// isEmptyPayload tells a POST-as-GET (RFC 8555 section 6.3) from a POST.
func isEmptyPayload(payload []byte) bool { return len(bytes.TrimSpace(payload)) == 0 }
