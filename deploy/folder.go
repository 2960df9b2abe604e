package deploy

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// checkPath refuses a path we may not replace safely. The folder it lies in
// comes back with all links resolved.
func checkPath(state, path string) (folder string, err error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%s: must be absolute", path)
	}
	if folder, err = filepath.EvalSymlinks(filepath.Dir(path)); err != nil {
		return "", fmt.Errorf("the folder of %s: %w", path, err)
	}
	if state != "" {
		if inside, err := within(state, folder); err != nil {
			return "", err
		} else if inside {
			return "", fmt.Errorf("%s lies inside the state folder %s; name the path that the server opens", path, state)
		}
	}
	if err := trusted(folder); err != nil {
		return "", err
	}
	info, err := os.Lstat(path)
	if err == nil && info.IsDir() {
		return "", fmt.Errorf("%s is a folder", path)
	}
	if mounted(filepath.Join(folder, filepath.Base(path))) {
		return "", fmt.Errorf("%s cannot be replaced by a rename, it is a mount point of its own; mount its folder instead", path)
	}
	return folder, nil
}

// within reports whether folder (links resolved) is state or below it.
func within(state, folder string) (bool, error) {
	if resolved, err := filepath.EvalSymlinks(state); err == nil {
		state = resolved
	}
	relative, err := filepath.Rel(state, folder)
	if err != nil {
		return false, err
	}
	return relative == "." || relative != ".." && !strings.HasPrefix(relative, "../"), nil
}

// trusted refuses a folder in which somebody else could exchange files or
// folders under our hands: each folder up to the root belongs to root or to us,
// and only a sticky one may be writable by all. What the group may do is the
// operator's word.
func trusted(folder string) error {
	us := os.Geteuid()
	for path := folder; ; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if owner := ownerOf(info).UID; owner != 0 && owner != us {
			return fmt.Errorf("the folder %s belongs to user %d, who could replace what is written there; it must belong to root or to user %d", path, owner, us)
		}
		if info.Mode().Perm()&0o002 != 0 && (path == folder || info.Mode()&fs.ModeSticky == 0) {
			return fmt.Errorf("the folder %s may be written by everybody (mode %04o)", path, info.Mode().Perm())
		}
		if path == filepath.Dir(path) {
			return nil
		}
	}
}

// mounted reports whether path itself is a mount point, as single files in
// containers are: a rename over one fails. Unknown (no /proc) counts as no; the
// rename will say so then.
func mounted(path string) bool {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text()) // proc(5): the fifth is the mount point, with blanks as octal
		if len(fields) > 4 && unescapeMount.Replace(fields[4]) == path {
			return true
		}
	}
	return false
}

var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
