// Package inventory knows which certificates exist and where each is.
//
// Promise: the certificate (an object, by SHA-256) and the sighting (a place, at
// a time) are two things, so that one certificate in many places and one place
// with many certificates over time are both plain. States and findings are
// joins of what is wanted, what is held and what was seen; an endpoint that
// nobody could look at is unverified, never not served.
//
// Limits: the joins are pure; the rows are kept by whoever implements Store.
// Nothing is deleted here: an old sighting is history.
package inventory

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"strconv"
	"time"

	"github.com/backstay/backstay/cert"
)

// Kinds of places.
const (
	KindEndpoint = "endpoint"
	KindFile     = "file"
)

// Object is a certificate, wherever it is.
type Object struct {
	Certificate cert.Certificate
	DER         []byte
	FirstSeen   time.Time
	LastSeen    time.Time
}

// Sighting is a certificate at a place at a time.
type Sighting struct {
	SHA256     string    `json:"sha256"`
	Kind       string    `json:"kind"`             // KindEndpoint, KindFile
	Target     string    `json:"target,omitempty"` // as the user wrote it
	Name       string    `json:"name,omitempty"`   // the name that was asked for
	Address    string    `json:"address,omitempty"`
	Port       int       `json:"port,omitempty"`
	ServerName string    `json:"server_name,omitempty"`
	Transport  string    `json:"transport,omitempty"`
	Path       string    `json:"path,omitempty"`
	SeenAt     time.Time `json:"seen_at"`
}

// Place identifies the place, apart from certificate and time: endpoint:
// ADDRESS:PORT/SNI, or file:PATH.
func (s Sighting) Place() string {
	if s.Kind == KindFile {
		return KindFile + ":" + s.Path
	}
	return KindEndpoint + ":" + s.where()
}

// where is the place in short, for people: ADDRESS:PORT/SNI or the path.
func (s Sighting) where() string {
	if s.Kind == KindFile {
		return s.Path
	}
	where := s.Address + ":" + strconv.Itoa(s.Port)
	if address, err := netip.ParseAddr(s.Address); err == nil {
		where = netip.AddrPortFrom(address, uint16(s.Port)).String()
	}
	if s.ServerName != "" {
		where += "/" + s.ServerName
	}
	return where
}

// ErrNotFound is returned by Store.Get for a certificate that was never seen.
var ErrNotFound = errors.New("no such certificate in the inventory")

// Filter chooses what List returns; its zero value chooses everything.
type Filter struct {
	EndsBefore time.Time // NotAfter before this instant; zero for any
	Issuer     string    // part of the issuer's name, case folded; "" for any
	After      string    // SHA-256 of the last entry of the page before; "" for the first page
	Limit      int       // entries of a page; 0 for the store's own limit
}

// Entry is a certificate with its latest sighting at each place.
type Entry struct {
	Object    Object
	Sightings []Sighting
}

// Store keeps the inventory. It may be used by several goroutines. What Record
// wrote is durable when it returns nil; recording the same again changes only
// the times, so a caller may retry. It does not retry by itself.
type Store interface {
	// Record adds what was seen; times of an object or place that is known
	// already are widened.
	Record(ctx context.Context, objects []Object, sightings []Sighting) error
	// List returns a page, by NotAfter and then SHA-256.
	List(ctx context.Context, filter Filter) ([]Entry, error)
	// Get returns one certificate with all its sightings, or ErrNotFound.
	Get(ctx context.Context, sha256 string) (Entry, error)
}

// FromLook is what one look adds to the inventory: the leaf at its place, and
// every certificate of the chain as an object. A look without certificate adds
// nothing: what could not be seen is no fact about a place.
func FromLook(seen cert.Observation) (objects []Object, sightings []Sighting) {
	if len(seen.Chain) == 0 || !seen.Address.IsValid() {
		return nil, nil
	}
	for _, certificate := range seen.Chain {
		objects = append(objects, object(certificate, seen.ObservedAt))
	}
	return objects, []Sighting{{
		SHA256: objects[0].Certificate.SHA256, Kind: KindEndpoint, Target: seen.Target, Name: seen.Name,
		Address: seen.Address.Addr().String(), Port: int(seen.Address.Port()), ServerName: seen.ServerName,
		Transport: seen.Transport, SeenAt: seen.ObservedAt.UTC(),
	}}
}

// FromFile is what one certificate in a file adds.
func FromFile(seen cert.FileObservation, at time.Time) (objects []Object, sightings []Sighting) {
	if seen.Certificate == nil {
		return nil, nil
	}
	found := object(seen.Certificate, at)
	return []Object{found}, []Sighting{{SHA256: found.Certificate.SHA256, Kind: KindFile, Path: seen.Path, SeenAt: at.UTC()}}
}

func object(certificate *x509.Certificate, at time.Time) Object {
	return Object{Certificate: cert.Describe(certificate), DER: certificate.Raw, FirstSeen: at.UTC(), LastSeen: at.UTC()}
}
