package deploy

import (
	"fmt"
	"path/filepath"
	"strings"
)

// longestName keeps NAME plus our longest suffix and prefix within the 255
// bytes a file name may have.
const longestName = 240

// CheckName refuses a certificate name that is not [a-z0-9][a-z0-9._-]*, with
// "_wildcard." as the one other beginning. Such a name is one path element: it
// cannot climb out of a folder, hide, or look like an option.
func CheckName(name string) error {
	rest := strings.TrimPrefix(name, "_wildcard.")
	if rest == "" || len(name) > longestName {
		return fmt.Errorf("certificate name %q: must have 1 to %d characters", name, longestName)
	}
	for position := range len(rest) {
		letter := rest[position]
		plain := letter >= 'a' && letter <= 'z' || letter >= '0' && letter <= '9'
		if plain || position > 0 && (letter == '.' || letter == '_' || letter == '-') {
			continue
		}
		return fmt.Errorf("certificate name %q: only a-z, 0-9, dot, underscore and hyphen, beginning with a letter or digit", name)
	}
	return nil
}

// checkTarget refuses a target name that is not one plain path element.
func checkTarget(name string) error {
	if name == "" || len(name) > longestName || strings.HasPrefix(name, ".") {
		return fmt.Errorf("target name %q: must have 1 to %d characters and no leading dot", name, longestName)
	}
	for _, letter := range name {
		if letter == '/' || letter < ' ' || letter == 0x7f {
			return fmt.Errorf("target name %q: must not hold a slash or a control character", name)
		}
	}
	return nil
}

// checkState refuses a state folder that is not absolute: a relative one would
// change its meaning with the working folder of whoever reads our links.
func checkState(state string) error {
	if !filepath.IsAbs(state) {
		return fmt.Errorf("state folder %q: must be absolute", state)
	}
	return nil
}
