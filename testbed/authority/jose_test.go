package authority

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mholt/acmez/v3/acme"
)

// requester signs requests by hand, so that they can be wrong in one place.
type requester struct {
	world *world
	key   crypto.Signer
	id    string // kid; "" sends jwk

	spoilHeader func(map[string]any)
	spoilBody   func(map[string]string)
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

func (reply reply) link(relation string) string {
	for _, value := range reply.header.Values("Link") {
		url, rest, _ := strings.Cut(strings.TrimPrefix(value, "<"), ">")
		if strings.Contains(rest, `rel="`+relation+`"`) {
			return url
		}
	}
	return ""
}

func jwk(key crypto.PublicKey) map[string]string {
	encode := base64.RawURLEncoding.EncodeToString
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		point, _ := key.Bytes()
		half := (len(point) - 1) / 2
		return map[string]string{"kty": "EC", "crv": key.Curve.Params().Name, "x": encode(point[1 : 1+half]), "y": encode(point[1+half:])}
	case *rsa.PublicKey:
		return map[string]string{"kty": "RSA", "n": encode(key.N.Bytes()), "e": "AQAB"}
	}
	panic("no such key")
}

// post sends payload (nil for POST-as-GET) to url.
func (requester requester) post(t *testing.T, url string, payload any) reply {
	t.Helper()
	client := requester.world.Client()
	fresh, err := client.Head(requester.world.link("new-nonce"))
	if err != nil {
		t.Fatal(err)
	}
	fresh.Body.Close()
	algorithm, hash, _ := algorithmOf(requester.key.Public())
	protected := map[string]any{"alg": algorithm, "nonce": fresh.Header.Get("Replay-Nonce"), "url": url}
	if requester.id != "" {
		protected["kid"] = requester.id
	} else {
		protected["jwk"] = jwk(requester.key.Public())
	}
	if requester.spoilHeader != nil {
		requester.spoilHeader(protected)
	}
	body := map[string]string{"protected": encodeJSON(t, protected), "payload": ""}
	if payload != nil {
		body["payload"] = encodeJSON(t, payload)
	}
	digest := hash.New()
	digest.Write([]byte(body["protected"] + "." + body["payload"]))
	body["signature"] = base64.RawURLEncoding.EncodeToString(rawSignature(t, requester.key, digest.Sum(nil), hash))
	if requester.spoilBody != nil {
		requester.spoilBody(body)
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Post(url, "application/jose+json", bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, content}
}

func encodeJSON(t *testing.T, value any) string {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(encoded)
}

func rawSignature(t *testing.T, key crypto.Signer, digest []byte, hash crypto.Hash) []byte {
	t.Helper()
	if key, isEC := key.(*ecdsa.PrivateKey); isEC {
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			t.Fatal(err)
		}
		size := (key.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	}
	signature, err := key.Sign(rand.Reader, digest, hash)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func TestEveryKeyTypeSigns(t *testing.T) {
	world := newWorld(t, Config{})
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{newKey(t), p384, rsa2048} {
		account := world.register(key)
		if _, err := world.client.NewOrder(t.Context(), account, acme.Order{Identifiers: identifiers("a.example")}); err != nil {
			t.Errorf("%T: %v", key, err)
		}
		own, err := account.Thumbprint()
		if err != nil || own != thumbprint(key.Public()) {
			t.Errorf("%T: thumbprint %s, acmez says %s (%v)", key, thumbprint(key.Public()), own, err)
		}
	}
}

func TestBadSignaturesAreRefused(t *testing.T) {
	world := newWorld(t, Config{})
	order, err := world.client.NewOrder(t.Context(), world.account, acme.Order{Identifiers: identifiers("a.example")})
	if err != nil {
		t.Fatal(err)
	}
	used := ""
	table := []struct {
		name   string
		change func(*requester)
		kind   string // "" for accepted
	}{
		{"good", func(requester *requester) {
			requester.spoilHeader = func(header map[string]any) { used = header["nonce"].(string) }
		}, ""},
		{"nonce used twice", func(requester *requester) {
			requester.spoilHeader = func(header map[string]any) { header["nonce"] = used }
		}, "badNonce"},
		{"nonce made up", func(requester *requester) {
			requester.spoilHeader = func(header map[string]any) { header["nonce"] = "AAAA" }
		}, "badNonce"},
		{"other url", func(requester *requester) {
			requester.spoilHeader = func(header map[string]any) { header["url"] = world.link("new-order") }
		}, "unauthorized"},
		{"other key", func(requester *requester) { requester.key = newKey(t) }, "malformed"},
		{"alg none", func(requester *requester) {
			requester.spoilHeader = func(header map[string]any) { header["alg"] = "none" }
		}, "badSignatureAlgorithm"},
		{"alg HS256", func(requester *requester) {
			requester.spoilHeader = func(header map[string]any) { header["alg"] = "HS256" }
		}, "badSignatureAlgorithm"},
		{"payload changed", func(requester *requester) {
			requester.spoilBody = func(body map[string]string) { body["payload"] = "e30" }
		}, "malformed"},
		{"no signature", func(requester *requester) {
			requester.spoilBody = func(body map[string]string) { body["signature"] = "" }
		}, "malformed"},
		{"zero signature", func(requester *requester) {
			requester.spoilBody = func(body map[string]string) {
				body["signature"] = base64.RawURLEncoding.EncodeToString(make([]byte, 64))
			}
		}, "malformed"},
		{"jwk instead of kid", func(requester *requester) { requester.id = "" }, "malformed"},
		{"jwk and kid", func(requester *requester) {
			requester.spoilHeader = func(header map[string]any) { header["jwk"] = jwk(requester.key.Public()) }
		}, "malformed"},
		{"unknown kid", func(requester *requester) { requester.id = world.link("account", "nobody") }, "accountDoesNotExist"},
		{"kid of another host", func(requester *requester) { requester.id = "https://evil.example/account/x" }, "accountDoesNotExist"},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			request := requester{world: world, key: world.account.PrivateKey, id: world.account.Location}
			row.change(&request)
			answer := request.post(t, order.Location, nil)
			if row.kind == "" {
				if answer.status != http.StatusOK {
					t.Errorf("%d %s", answer.status, answer.body)
				}
				return
			}
			var problem acme.Problem
			if err := json.Unmarshal(answer.body, &problem); err != nil || problem.Type != problemPrefix+row.kind {
				t.Errorf("%d %s, want %s", answer.status, answer.body, row.kind)
			}
			if answer.header.Get("Replay-Nonce") == "" {
				t.Error("an error must carry a fresh nonce (RFC 8555 section 6.5)")
			}
		})
	}
}

func TestAnothersThingsAreNotShown(t *testing.T) {
	world := newWorld(t, Config{})
	_, order, err := world.issue(acme.Order{}, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	stranger := world.register(newKey(t))
	request := requester{world: world, key: stranger.PrivateKey, id: stranger.Location}
	for _, url := range []string{order.Location, order.Authorizations[0], order.Certificate} {
		if answer := request.post(t, url, nil); answer.status != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", url, answer.status)
		}
	}
	if answer := request.post(t, world.account.Location, nil); answer.status != http.StatusForbidden {
		t.Errorf("account: status %d, want 403", answer.status)
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(`{"protected":"eyJhbGciOiJFUzI1NiJ9","payload":"e30","signature":"AAAA"}`))
	f.Add([]byte(`{"protected":"e30","payload":"","signature":"","header":{}}`))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(fmt.Sprintf(`{"protected":"%x"}`, sha256.Sum256(nil))))
	f.Fuzz(func(t *testing.T, body []byte) {
		outer, protected, err := parseEnvelope(body)
		if err != nil {
			return
		}
		if public, err := parseWebKey(protected.Key); err == nil && thumbprint(public) == "" {
			t.Error("a key that was accepted has no thumbprint")
		}
		if _, err := outer.verify(protected.Algorithm, &key.PublicKey); err == nil {
			t.Error("a signature nobody made verifies")
		}
	})
}
