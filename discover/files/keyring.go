package files

import (
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/cert"
)

// keyring finds the private key that belongs to the certificates of a file.
type keyring struct {
	folder  string
	names   []string        // of the folder's entries; empty when one file was named
	claimed map[string]bool // key files that belong to a certificate
}

// key is where a key was found. matches is nil when it cannot be read.
type key struct {
	path    string
	matches *bool
}

// find returns the index of the certificate that a key belongs to, and the key;
// its path is "" when there is none. A key in the same file comes first, then
// one whose name says that it belongs, and last any key of the folder, which
// counts only if it matches: two strangers in one folder are no mismatch.
func (k *keyring) find(path string, parsed cert.Parsed) (owner int, found key) {
	if len(parsed.Certificates) == 0 {
		return 0, key{}
	}
	for _, held := range parsed.Keys {
		for i, certificate := range parsed.Certificates {
			if cert.KeyMatches(certificate, held) {
				return i, key{path, verdict(true)}
			}
		}
	}
	leaf := parsed.Certificates[0]
	if len(parsed.Keys) > 0 {
		return 0, key{path, verdict(false)}
	}
	if leaf.BasicConstraintsValid && leaf.IsCA {
		return 0, key{} // an authority's key is not expected beside it
	}
	if beside := k.byName(path, leaf); beside.path != "" {
		return 0, beside
	}
	return 0, k.byTrying(leaf)
}

func verdict(matches bool) *bool { return &matches }

// byName looks for the key under the names that belong to the certificate's.
func (k *keyring) byName(path string, leaf *x509.Certificate) key {
	for _, name := range keyNames(filepath.Base(path)) {
		candidate := filepath.Join(k.folder, name)
		if info, err := os.Stat(candidate); err != nil || !info.Mode().IsRegular() {
			continue
		}
		k.claim(candidate)
		found, err := read(candidate, false)
		if err != nil || len(found.parsed.Keys) == 0 {
			return key{candidate, nil}
		}
		return key{candidate, verdict(cert.KeyMatches(leaf, found.parsed.Keys[0]))}
	}
	return key{}
}

// keyNames: x.crt goes with x.key and the like; cert3.pem and fullchain3.pem
// with privkey3.pem, as ACME clients write them.
func keyNames(name string) (names []string) {
	stem := strings.TrimSuffix(name, filepath.Ext(name))
	for _, ending := range []string{".key", "-key.pem", "_key.pem", ".key.pem"} {
		names = append(names, stem+ending)
	}
	for _, ending := range []string{"-cert", "_cert", ".cert", "-fullchain", "_fullchain", ".fullchain"} {
		if short, ok := strings.CutSuffix(stem, ending); ok {
			names = append(names, short+".key", short+"-key.pem", short+"_key.pem", short+".key.pem")
		}
	}
	for _, begin := range []string{"fullchain", "cert"} {
		if number, ok := strings.CutPrefix(stem, begin); ok && strings.Trim(number, "0123456789") == "" {
			names = append(names, "privkey"+number+".pem", "key"+number+".pem")
		}
	}
	return names
}

// maxTried bounds how many keys of a folder are compared with one certificate.
const maxTried = 20

func (k *keyring) byTrying(leaf *x509.Certificate) key {
	tried := 0
	for _, name := range k.names {
		lower := strings.ToLower(name)
		if !strings.HasSuffix(lower, ".key") && !(strings.Contains(lower, "key") && strings.HasSuffix(lower, ".pem")) {
			continue
		}
		if tried++; tried > maxTried {
			break
		}
		candidate := filepath.Join(k.folder, name)
		found, err := read(candidate, false)
		if err == nil && len(found.parsed.Keys) > 0 && cert.KeyMatches(leaf, found.parsed.Keys[0]) {
			k.claim(candidate)
			return key{candidate, verdict(true)}
		}
	}
	return key{}
}

func (k *keyring) claim(path string) {
	if k.claimed == nil {
		k.claimed = map[string]bool{}
	}
	k.claimed[path] = true
}

// othersMayRead reports whether any user of the machine can read the file: its
// own mode says so and no folder above it keeps them out. What cannot be looked
// at keeps them out.
func othersMayRead(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	if real, err = filepath.Abs(real); err != nil {
		return false
	}
	info, err := os.Stat(real)
	if err != nil || info.Mode()&0o004 == 0 {
		return false
	}
	for folder := filepath.Dir(real); ; folder = filepath.Dir(folder) {
		info, err := os.Stat(folder)
		if err != nil || info.Mode()&fs.FileMode(0o001) == 0 {
			return false
		}
		if folder == filepath.Dir(folder) {
			return true
		}
	}
}
