package nginx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/deploy"
)

// place is one thing that a swap changes by one rename.
type place interface {
	look(placement deploy.Placement) (deploy.LinkedStanding, error)
	stage(placement deploy.Placement) error
	checkStaged(placement deploy.Placement) error
	swap(placement deploy.Placement, back bool) error
	// staged is the pair that Check lets nginx load.
	staged(placement deploy.Placement) (certificate, key string, err error)
	// paths are those in force.
	paths() (certificate, key string)
	// opens are the files that the server's configuration names.
	opens() []string
}

// included is our own text, included by server blocks.
type included struct {
	text  deploy.Text
	found Pair // what another hand's text at that path names
}

func (place included) opens() []string { return []string{place.text.Path()} }
func (place plain) opens() []string {
	return []string{place.linked.Certificate, place.linked.Key}
}
func (place record) opens() []string { return []string{place.pair.Certificate, place.pair.Key} }

// content is the text of a generation: exactly the two directives.
func content(placement deploy.Placement) []byte {
	return fmt.Appendf(nil, "# Written by Backstay for the certificate %s, generation %d. Do not edit:\n"+
		"# the next deployment replaces this file by one rename.\n"+
		"ssl_certificate     %s;\nssl_certificate_key %s;\n", placement.Name, placement.Generation,
		quote(filepath.Join(placement.Folder, deploy.FullChainFile)), quote(filepath.Join(placement.Folder, deploy.KeyFile)))
}

// quote writes one word of an nginx configuration.
func quote(word string) string {
	if !strings.ContainsAny(word, " \t\r\n;{}\"'\\#") {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}

func (place included) look(deploy.Placement) (deploy.LinkedStanding, error) {
	standing := deploy.LinkedStanding{}
	var err error
	if standing.Generation, err = place.text.InForce(); err != nil || standing.Generation < 0 {
		return standing, err
	}
	certificate, key := place.paths()
	if certificate == "" {
		return standing, nil
	}
	standing.Chain, standing.KeyMatches, err = deploy.ReadPair(certificate, key)
	if errors.Is(err, os.ErrPermission) {
		return standing, err
	}
	return standing, nil
}

func (place included) paths() (certificate, key string) {
	switch number, err := place.text.InForce(); {
	case err != nil || number < 0:
		return "", ""
	case number == 0:
		return place.found.Certificate, place.found.Key
	default:
		folder := deploy.Folder(place.text.State, place.text.Name, number)
		return filepath.Join(folder, deploy.FullChainFile), filepath.Join(folder, deploy.KeyFile)
	}
}

func (place included) stage(placement deploy.Placement) error {
	if placement.Generation == 0 {
		return place.text.CheckStaged(0, nil)
	}
	if err := whole(place.text.State, placement); err != nil {
		return err
	}
	return place.text.Stage(placement.Generation, content(placement))
}

func (place included) checkStaged(placement deploy.Placement) error {
	if placement.Generation > 0 {
		if err := whole(place.text.State, placement); err != nil {
			return err
		}
	}
	return place.text.CheckStaged(placement.Generation, content(placement))
}

func (place included) swap(placement deploy.Placement, back bool) error {
	return place.text.Swap(placement.Generation, content(placement), back)
}

func (place included) staged(placement deploy.Placement) (certificate, key string, err error) {
	return filepath.Join(placement.Folder, deploy.FullChainFile), filepath.Join(placement.Folder, deploy.KeyFile), nil
}

// whole checks that the placement's generation is complete, and is the one of
// that name and number: texts and links can say nothing else.
func whole(state string, placement deploy.Placement) error {
	if want := deploy.Folder(state, placement.Name, placement.Generation); placement.Folder != want {
		return fmt.Errorf("generation %d of %s lies in %s, not in %s", placement.Generation, placement.Name, want, placement.Folder)
	}
	_, err := deploy.Read(state, placement.Name, placement.Generation)
	return err
}

// plain is a pair of plain paths, switched by deploy.Linked.
type plain struct{ linked deploy.Linked }

func (place plain) look(placement deploy.Placement) (deploy.LinkedStanding, error) {
	return place.linked.Look(placement.Name)
}
func (place plain) stage(placement deploy.Placement) error { return place.linked.Stage(placement) }
func (place plain) checkStaged(placement deploy.Placement) error {
	return place.linked.CheckStaged(placement)
}
func (place plain) swap(placement deploy.Placement, back bool) error {
	return place.linked.Swap(placement, back)
}
func (place plain) staged(placement deploy.Placement) (certificate, key string, err error) {
	return place.linked.Staged(placement)
}
func (place plain) paths() (certificate, key string) {
	return place.linked.Certificate, place.linked.Key
}

// record is a server block that names files behind a link of ours,
// STATE/targets/TARGET/NAME or STATE/live/NAME: the link is the switch.
type record struct {
	state, target, name string
	live                bool
	pair                Pair
}

func (place record) number() (int, error) {
	read := func() (int, error) { return deploy.Recorded(place.state, place.target, place.name) }
	if place.live {
		read = func() (int, error) { return deploy.Live(place.state, place.name) }
	}
	number, err := read()
	if errors.Is(err, os.ErrNotExist) {
		return -1, nil
	}
	return number, err
}

func (place record) look(deploy.Placement) (deploy.LinkedStanding, error) {
	number, err := place.number()
	standing := deploy.LinkedStanding{Generation: number}
	if err != nil || number < 0 {
		return standing, err
	}
	standing.Chain, standing.KeyMatches, err = deploy.ReadPair(place.pair.Certificate, place.pair.Key)
	if errors.Is(err, os.ErrPermission) {
		return standing, err
	}
	return standing, nil
}

// Nothing has to be written: the link leads to the generation itself.
func (place record) stage(placement deploy.Placement) error { return place.checkStaged(placement) }

func (place record) checkStaged(placement deploy.Placement) error {
	if placement.Generation == 0 {
		return fmt.Errorf("%s is Backstay's own link, no pair was there before: %w", place.pair.Certificate, deploy.ErrNotStaged)
	}
	return whole(place.state, placement)
}

func (place record) swap(placement deploy.Placement, back bool) error {
	number, err := place.number()
	if err != nil {
		return err
	}
	if number > placement.Generation && !back {
		return deploy.ErrOlderGeneration
	}
	if place.live {
		return deploy.PointLive(place.state, place.name, placement.Generation)
	}
	return deploy.Record(place.state, place.target, place.name, placement.Generation)
}

func (place record) staged(placement deploy.Placement) (certificate, key string, err error) {
	return filepath.Join(placement.Folder, deploy.FullChainFile), filepath.Join(placement.Folder, deploy.KeyFile), nil
}

func (place record) paths() (certificate, key string) {
	return place.pair.Certificate, place.pair.Key
}
