package deploy

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// tied reports whether both paths are links through the place's switch.
func (linked Linked) tied(place place) bool {
	if place.folder == "" {
		return false
	}
	for _, end := range linked.ends() {
		folder, err := filepath.EvalSymlinks(filepath.Dir(end.path))
		if err != nil {
			return false
		}
		if target, err := os.Readlink(end.path); err != nil || target != linkTarget(place, folder, end.file) {
			return false
		}
	}
	return true
}

// end is one path the server opens, and the file of a generation behind it.
type end struct{ path, file string }

func (linked Linked) ends() []end {
	if linked.combined() {
		return []end{{linked.Key, combinedFile}}
	}
	return []end{{linked.Certificate, FullChainFile}, {linked.Key, KeyFile}}
}

// linkTarget is the relative path from folder (resolved) through the switch.
func linkTarget(place place, folder, file string) string {
	target := filepath.Join(place.folder, switchName, file)
	if relative, err := filepath.Rel(folder, target); err == nil {
		return relative
	}
	return target // both are absolute: Rel does not fail
}

// tie makes each path a link through the switch: one rename each.
func (linked Linked) tie(place place, certificateFolder string) error {
	for _, end := range linked.ends() {
		folder := certificateFolder
		if end.path == linked.Key {
			folder = filepath.Dir(place.folder)
		}
		if err := explain(end.path, ensureLink(linkTarget(place, folder, end.file), end.path)); err != nil {
			return err
		}
	}
	return nil
}

// adopt keeps a copy of the pair in force, points the switch at the copy and
// makes the paths links. Each step leaves the content behind both paths as it
// was, so a server that starts in between sees the old pair. Where one file or
// both are missing no server can start anyway: what is there is kept, and Swap
// makes the links.
//
// The copy is kept as it is, readable or not: what was in force is the
// operator's, and putting it back must give exactly that.
func (linked Linked) adopt(place place, certificateFolder string) error {
	texts, wants := map[string][]byte{}, map[string]access{}
	for _, end := range linked.ends() {
		text, err := readCapped(end.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		info, err := os.Stat(end.path)
		if err != nil {
			return err
		}
		owner := ownerOf(info)
		texts[end.file], wants[end.file] = text, access{mode: info.Mode().Perm(), owner: &owner}
	}
	if len(texts) == 0 {
		return nil
	}
	name, err := place.keep(texts, wants)
	if err != nil || !linked.present() {
		return err
	}
	// A path that is a link already reads through the switch what it read before:
	// the copy was made through it.
	path := filepath.Join(place.folder, switchName)
	if err := ensureLink(name, path); err != nil {
		return explain(path, err)
	}
	return linked.tie(place, certificateFolder)
}

// keep writes the pair into the next free folder for adopted pairs. The last
// one is used again when it holds the same, or was left half-written.
func (place place) keep(texts map[string][]byte, wants map[string]access) (name string, err error) {
	name = "0"
	if list := place.adopted(); len(list) > 0 {
		name = list[len(list)-1]
		if target, _ := os.Readlink(filepath.Join(place.folder, switchName)); !place.same(name, texts) && (target == name || place.whole(name, texts)) {
			name = adoptedAgain + strconv.Itoa(adoptedOrder(name)+1)
		}
	}
	folder := filepath.Join(place.folder, name)
	if err := ensureFolder(folder, folderMode); err != nil {
		return "", explain(folder, err)
	}
	if err := sweep(folder); err != nil {
		return "", err
	}
	for _, file := range []string{KeyFile, combinedFile, FullChainFile} {
		if text, wanted := texts[file]; wanted {
			path := filepath.Join(folder, file)
			if err := ensureFile(path, text, wants[file]); err != nil {
				return "", explain(path, err)
			}
		}
	}
	return name, nil
}

func (place place) same(name string, texts map[string][]byte) bool {
	for file, text := range texts {
		kept, err := readCapped(filepath.Join(place.folder, name, file))
		if err != nil || !bytes.Equal(kept, text) {
			return false
		}
	}
	return true
}

// whole reports whether a folder holds all files, whatever is in them.
func (place place) whole(name string, texts map[string][]byte) bool {
	for file := range texts {
		if _, err := os.Lstat(filepath.Join(place.folder, name, file)); err != nil {
			return false
		}
	}
	return true
}
