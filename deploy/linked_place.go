package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/durable"
)

// place is the folder beside the key in which a Linked keeps its generations.
type place struct {
	folder string // resolved
	name   string // the managed certificate
}

const (
	claimFile    = "claim.json"
	placePrefix  = ".backstay-"
	mostPlaces   = 100  // pairs of paths for one certificate in one folder
	adoptedAgain = "0." // 0.1, 0.2, ...: later pairs of another hand
)

// claim is written first into a place and says whose it is, so that two pairs
// of paths in one folder never share a switch.
type claim struct {
	Certificate string `json:"certificate"` // name of the managed certificate
	Chain       string `json:"chain_path"`
	Key         string `json:"key_path"`
}

func (linked Linked) claimOf(name string) claim {
	return claim{Certificate: name, Chain: linked.Certificate, Key: linked.Key}
}

// claimed finds our place for a name; ours is false when there is none yet.
func (linked Linked) claimed(name string) (found place, ours bool) {
	folder, err := filepath.EvalSymlinks(filepath.Dir(linked.Key))
	if err != nil {
		return place{}, false
	}
	for _, candidate := range places(folder, name) {
		text, err := readCapped(filepath.Join(candidate, claimFile))
		if errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Lstat(candidate); err == nil {
				continue // made, not yet claimed
			}
			return place{}, false
		}
		var stored claim
		if err == nil && json.Unmarshal(text, &stored) == nil && stored == linked.claimOf(name) {
			return place{folder: candidate, name: name}, true
		}
	}
	return place{}, false
}

// claim finds or makes our place for a name.
func (linked Linked) claim(name string) (place, error) {
	if found, ours := linked.claimed(name); ours {
		return found, nil
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(linked.Key))
	if err != nil {
		return place{}, err
	}
	for _, candidate := range places(folder, name) {
		if _, err := os.Lstat(filepath.Join(candidate, claimFile)); err == nil {
			continue // another pair of paths
		}
		if err := ensureFolder(candidate, folderMode); err != nil {
			return place{}, explain(candidate, err)
		}
		if err := sweep(candidate); err != nil {
			return place{}, err
		}
		text, err := json.MarshalIndent(linked.claimOf(name), "", "  ")
		if err != nil {
			return place{}, err
		}
		path := filepath.Join(candidate, claimFile)
		return place{folder: candidate, name: name}, explain(path, ensureFile(path, append(text, '\n'), access{mode: openMode}))
	}
	return place{}, fmt.Errorf("%s holds %d pairs of paths for %s already", folder, mostPlaces, name)
}

func places(folder, name string) []string {
	list := []string{filepath.Join(folder, placePrefix+name)}
	for number := 2; number <= mostPlaces; number++ {
		list = append(list, filepath.Join(folder, placePrefix+name+"+"+strconv.Itoa(number))) // "+" is in no name
	}
	return list
}

// InForce finds which certificate the switch behind the two paths belongs to,
// and where it stands. Folder is where its files are. Ok is false when the
// paths are not links of ours.
func (linked Linked) InForce() (name string, number int, folder string, ok bool) {
	keyFolder, err := filepath.EvalSymlinks(filepath.Dir(linked.Key))
	if err != nil {
		return "", 0, "", false
	}
	target, err := os.Readlink(linked.Key)
	if err != nil {
		return "", 0, "", false
	}
	// The link itself says where to look: a folder may hold thousands of places.
	found := place{folder: filepath.Join(keyFolder, filepath.Dir(filepath.Dir(target)))}
	var stored claim
	text, err := readCapped(filepath.Join(found.folder, claimFile))
	if err != nil || json.Unmarshal(text, &stored) != nil || stored != linked.claimOf(stored.Certificate) || !linked.tied(found) {
		return "", 0, "", false
	}
	number, stands := found.current()
	if !stands || CheckName(stored.Certificate) != nil {
		return "", 0, "", false
	}
	return stored.Certificate, number, found.number(number), true
}

// prune removes the copies of generations that nobody will go back to without
// staging them again: private keys should not pile up. Kept are the one in
// force, the one before it, and what was there before us. A failure to tidy is
// no reason to fail.
func (place place) prune() {
	inForce, stands := place.current()
	if !stands || inForce < 1 {
		return
	}
	var older []int
	entries, _ := os.ReadDir(place.folder)
	for _, entry := range entries {
		if number, err := strconv.Atoi(entry.Name()); err == nil && entry.IsDir() && number > 0 && number < inForce {
			older = append(older, number)
		}
	}
	slices.Sort(older)
	for index := 0; index+1 < len(older); index++ {
		os.RemoveAll(filepath.Join(place.folder, strconv.Itoa(older[index])))
	}
}

// sweep removes what a killed writer left in a folder that is ours alone.
func sweep(folder string) error { return explain(folder, durable.Sweep(folder)) }

// current is where the switch stands; ok is false when there is none.
func (place place) current() (number int, ok bool) {
	target, err := os.Readlink(filepath.Join(place.folder, switchName))
	if err != nil {
		return -1, false
	}
	if target == "0" || strings.HasPrefix(target, adoptedAgain) {
		return 0, true
	}
	if number, err = strconv.Atoi(target); err != nil || number < 1 {
		return -1, false
	}
	return number, true
}

func (place place) at() int {
	number, _ := place.current()
	return number
}

// number is the folder of a generation; for 0 the pair adopted last.
func (place place) number(generation int) string {
	if generation == 0 {
		if list := place.adopted(); len(list) > 0 {
			return filepath.Join(place.folder, list[len(list)-1])
		}
	}
	return filepath.Join(place.folder, strconv.Itoa(generation))
}

// adopted lists the folders of pairs from another hand, oldest first.
func (place place) adopted() []string {
	var list []string
	entries, _ := os.ReadDir(place.folder)
	for _, entry := range entries {
		if name := entry.Name(); entry.IsDir() && adoptedOrder(name) >= 0 {
			list = append(list, name)
		}
	}
	slices.SortFunc(list, func(a, b string) int { return adoptedOrder(a) - adoptedOrder(b) })
	return list
}

// adoptedOrder is 0 for "0", N for "0.N", and -1 for any other name.
func adoptedOrder(name string) int {
	if name == "0" {
		return 0
	}
	rest, found := strings.CutPrefix(name, adoptedAgain)
	number, err := strconv.Atoi(rest)
	if !found || err != nil || number < 1 || strconv.Itoa(number) != rest {
		return -1
	}
	return number
}
