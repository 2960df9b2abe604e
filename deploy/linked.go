package deploy

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Linked is a pair of plain paths that a server opens, made to change together:
//
//	KEYFOLDER/.backstay-NAME/{0,1,2,...}/{fullchain.pem,privkey.pem}
//	KEYFOLDER/.backstay-NAME/current -> NUMBER        the switch
//	CERTIFICATE -> .../current/fullchain.pem
//	KEY         -> .../current/privkey.pem
//
// Folder 0 is a copy of the pair that was there before us. All is kept beside
// the key, because there the operator already decided who may read keys.
//
// Limits: a reader opens two files, and the switch may flip between the two
// opens. Who may read the certificate's folder but not the key's can no longer
// read the certificate. Links are relative, so that they hold where only the
// one folder is mounted into a container; with two folders both must be.
type Linked struct {
	State       string      // the state folder; neither path may lie in it
	Certificate string      // absolute
	Key         string      // absolute; the same as Certificate for one file with key and chain
	Mode        fs.FileMode // of the key; 0 keeps what is there, else 0600
	Owner       *Owner      // of both; nil keeps what is there
}

const (
	switchName   = "current"
	combinedFile = "combined.pem" // key and full chain, for servers that take one PEM
)

// ErrNotStaged is returned by Swap for a placement that Stage did not prepare,
// or whose place changed since.
var ErrNotStaged = errors.New("not staged")

// LinkedStanding is what a Linked holds.
type LinkedStanding struct {
	Generation int                 // as Standing.Generation
	Chain      []*x509.Certificate // of the pair in force, as far as it can be read
	KeyMatches bool
}

func (linked Linked) combined() bool { return linked.Certificate == linked.Key }

// Look reports what is in force for the certificate name. It changes nothing.
// A pair that was put there for another name, or by another hand, is
// generation 0.
func (linked Linked) Look(name string) (LinkedStanding, error) {
	if err := CheckName(name); err != nil {
		return LinkedStanding{}, err
	}
	standing := LinkedStanding{Generation: -1}
	_, certificateMissing := os.Stat(linked.Certificate)
	_, keyMissing := os.Stat(linked.Key)
	if errors.Is(certificateMissing, fs.ErrNotExist) && errors.Is(keyMissing, fs.ErrNotExist) {
		return standing, nil
	}
	standing.Generation = 0
	if place, ours := linked.claimed(name); ours && linked.tied(place) {
		standing.Generation = linked.generation(place)
	}
	chain, matches, err := ReadPair(linked.Certificate, linked.Key)
	if errors.Is(err, fs.ErrPermission) {
		return standing, err // not to be taken for an unreadable pair
	}
	standing.Chain, standing.KeyMatches = chain, matches
	return standing, nil
}

// generation is the number the switch stands at. Content that differs from
// STATE's generation of that number (a state folder restored from elsewhere
// counts anew) is not ours: 0.
func (linked Linked) generation(place place) int {
	number, _ := place.current()
	if number < 1 || linked.State == "" {
		return max(number, 0)
	}
	source := Folder(linked.State, place.name, number)
	full, err := readCapped(filepath.Join(source, FullChainFile))
	if err != nil {
		return number // pruned, or not readable: the switch is all we know
	}
	file := FullChainFile
	if linked.combined() {
		file = combinedFile
	}
	kept, err := readCapped(filepath.Join(place.folder, strconv.Itoa(number), file))
	if err != nil || !bytes.HasSuffix(kept, full) {
		return 0
	}
	return number
}

// Stage makes the two paths links without changing what they hold, and writes
// the placement's files beside what is in force. For generation 0 it only checks
// that there is one.
func (linked Linked) Stage(placement Placement) error {
	_, certificateFolder, err := linked.check(placement)
	if err != nil {
		return err
	}
	if placement.Generation == 0 {
		return linked.CheckStaged(placement)
	}
	files, err := linked.source(placement)
	if err != nil {
		return err
	}
	place, err := linked.claim(placement.Name)
	if err != nil {
		return err
	}
	if err := sweep(place.folder); err != nil {
		return err
	}
	sweepDead(filepath.Dir(place.folder))
	sweepDead(certificateFolder)
	if number := linked.generation(place); !linked.tied(place) || number == 0 && place.at() != 0 {
		if err := linked.adopt(place, certificateFolder); err != nil {
			return err
		}
	}
	place.prune()
	return linked.write(place, placement.Generation, files)
}

// check validates everything about a placement but its files.
func (linked Linked) check(placement Placement) (keyFolder, certificateFolder string, err error) {
	if err := CheckName(placement.Name); err != nil {
		return "", "", err
	}
	if placement.Generation < 0 {
		return "", "", fmt.Errorf("generation %d cannot be placed", placement.Generation)
	}
	if keyFolder, err = checkPath(linked.State, linked.Key); err != nil {
		return "", "", err
	}
	certificateFolder, err = checkPath(linked.State, linked.Certificate)
	return keyFolder, certificateFolder, err
}

// source reads the placement's generation and gives its files the names and
// contents they have here.
func (linked Linked) source(placement Placement) (map[string][]byte, error) {
	if _, err := ReadFolder(placement.Folder); err != nil {
		return nil, err
	}
	full, err := readCapped(filepath.Join(placement.Folder, FullChainFile))
	if err != nil {
		return nil, err
	}
	key, err := readCapped(filepath.Join(placement.Folder, KeyFile))
	if err != nil {
		return nil, err
	}
	if linked.combined() {
		return map[string][]byte{combinedFile: bytes.Join([][]byte{bytes.TrimRight(key, "\n"), full}, []byte("\n"))}, nil
	}
	return map[string][]byte{KeyFile: key, FullChainFile: full}, nil
}

// write puts the files of a generation into the place, the key with its final
// mode from its first byte.
func (linked Linked) write(place place, number int, files map[string][]byte) error {
	folder := filepath.Join(place.folder, strconv.Itoa(number))
	if err := ensureFolder(folder, folderMode); err != nil {
		return explain(folder, err)
	}
	if err := sweep(folder); err != nil {
		return err
	}
	for _, name := range []string{KeyFile, combinedFile, FullChainFile} {
		text, wanted := files[name]
		if !wanted {
			continue
		}
		path := filepath.Join(folder, name)
		if err := ensureFile(path, text, linked.access(name)); err != nil {
			return explain(path, err)
		}
	}
	return nil
}

// access is who may read a file: as configured, else as the file at the
// server's own path, else the default.
func (linked Linked) access(name string) access {
	want, path := access{mode: openMode}, linked.Certificate
	if name != FullChainFile {
		want.mode, path = keyMode, linked.Key
	}
	if info, err := os.Stat(path); err == nil {
		owner := ownerOf(info)
		want.mode, want.owner = info.Mode().Perm(), &owner
	}
	if name != FullChainFile && linked.Mode != 0 {
		want.mode = linked.Mode
	}
	if linked.Owner != nil {
		want.owner = linked.Owner
	}
	return want
}

// Staged is the pair of paths at which Stage left a generation, for a server's
// own test.
func (linked Linked) Staged(placement Placement) (certificate, key string, err error) {
	place, ours := linked.claimed(placement.Name)
	if !ours {
		return "", "", fmt.Errorf("%s: %w", linked.Key, ErrNotStaged)
	}
	folder := place.number(placement.Generation)
	if linked.combined() {
		path := filepath.Join(folder, combinedFile)
		return path, path, nil
	}
	return filepath.Join(folder, FullChainFile), filepath.Join(folder, KeyFile), nil
}

// CheckStaged reads back what Stage left: what the disk holds, not what we
// remember writing, goes in force.
func (linked Linked) CheckStaged(placement Placement) error {
	certificate, key, err := linked.Staged(placement)
	if err != nil {
		return err
	}
	if placement.Generation == 0 {
		for _, path := range []string{certificate, key} {
			if _, err := os.Stat(path); err != nil {
				return fmt.Errorf("no pair from before Backstay is kept for %s: %w", linked.Key, ErrNotStaged)
			}
		}
		return nil // it goes back as it was, whatever it was
	}
	chain, matches, err := ReadPair(certificate, key)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("generation %d of %s: %w", placement.Generation, placement.Name, ErrNotStaged)
	}
	if err != nil {
		return err
	}
	if !matches {
		return fmt.Errorf("the staged key %s does not belong to its certificate", key)
	}
	source, err := ReadFolder(placement.Folder)
	if err != nil {
		return err
	}
	if !chain[0].Equal(source.Chain[0]) {
		return fmt.Errorf("generation %d of %s: another certificate is staged: %w", placement.Generation, placement.Name, ErrNotStaged)
	}
	return nil
}

// Swap flips the switch: one rename. Where the paths did not exist at all they
// are made after it.
func (linked Linked) Swap(placement Placement, back bool) error {
	_, certificateFolder, err := linked.check(placement)
	if err != nil {
		return err
	}
	if err := linked.CheckStaged(placement); err != nil {
		return err
	}
	place, _ := linked.claimed(placement.Name)
	if at := place.at(); linked.tied(place) && at > placement.Generation && !back && linked.generation(place) > 0 {
		return ErrOlderGeneration
	}
	if !linked.tied(place) && linked.present() {
		return fmt.Errorf("%s was replaced after staging: %w", linked.Certificate, ErrNotStaged)
	}
	if err := sweep(place.folder); err != nil {
		return err
	}
	// A kill before this rename leaves the old pair in force, after it the new one.
	path := filepath.Join(place.folder, switchName)
	if err := ensureLink(filepath.Base(place.number(placement.Generation)), path); err != nil {
		return explain(path, err)
	}
	return linked.tie(place, certificateFolder)
}

// present reports whether a server that starts now would find both files.
func (linked Linked) present() bool {
	_, certificate := os.Stat(linked.Certificate)
	_, key := os.Stat(linked.Key)
	return certificate == nil && key == nil
}
