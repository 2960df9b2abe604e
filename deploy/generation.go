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

	"github.com/backstay/backstay/durable"
)

// A generation is one issuance on disk, STATE/certs/NAME/NUMBER. The key is
// written before the order is finalised, so that no certificate can exist whose
// key we lost; the other files after the CA's answer, fullchain.pem last: its
// presence marks a complete generation, which is never written again.
const (
	KeyFile       = "privkey.pem"
	LeafFile      = "cert.pem"
	ChainFile     = "chain.pem"
	FullChainFile = "fullchain.pem"
)

const (
	folderMode fs.FileMode = 0o755 // servers that run as somebody else must reach their certificate
	keyMode    fs.FileMode = 0o600
	openMode   fs.FileMode = 0o644
)

var (
	// ErrIncomplete: the generation lacks files; WriteKey and WriteChain finish it.
	ErrIncomplete = errors.New("the generation is not complete")
	// ErrDamaged: a file of the generation cannot be read, or the files do not belong together.
	ErrDamaged = errors.New("the generation is damaged")
	// ErrImmutable: the generation already holds something else.
	ErrImmutable = errors.New("the generation already holds something else")
)

// Generation is what STATE/certs/NAME/NUMBER holds.
type Generation struct {
	Name       string
	Number     int
	Folder     string
	HasKey     bool                // privkey.pem is there and can be read
	KeyMatches bool                // and belongs to the leaf
	Complete   bool                // all four files are there and belong together
	Missing    []string            // names of the files that are not there
	Chain      []*x509.Certificate // of fullchain.pem, leaf first; nil when there is none
}

// Folder is where generation number of name lives, whether or not it exists.
func Folder(state, name string, number int) string {
	return filepath.Join(state, "certs", name, strconv.Itoa(number))
}

func checkGeneration(state, name string, number int) error {
	if err := checkState(state); err != nil {
		return err
	}
	if err := CheckName(name); err != nil {
		return err
	}
	if number < 1 {
		return fmt.Errorf("generation %d of %s: they count from 1", number, name)
	}
	return nil
}

// WriteKey stores the private key (PEM) of a generation, mode 0600. The same
// key again is no error. Error: ErrImmutable when another key is there, unless
// that file cannot be a key at all (what a lying disk leaves) and no
// certificate depends on it.
func WriteKey(state, name string, number int, text []byte) error {
	if err := checkGeneration(state, name, number); err != nil {
		return err
	}
	if _, err := parseKey(text); err != nil {
		return err
	}
	folder, err := openGeneration(state, name, number)
	if err != nil {
		return err
	}
	path := filepath.Join(folder, KeyFile)
	if stored, err := readCapped(path); err == nil && !bytes.Equal(stored, text) {
		_, unreadable := parseKey(stored)
		_, absent := os.Lstat(filepath.Join(folder, LeafFile))
		if unreadable == nil || !errors.Is(absent, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", path, ErrImmutable)
		}
	}
	return explain(path, ensureFile(path, text, access{mode: keyMode}))
}

// openGeneration makes the folder, and removes what a killed writer left in it.
// The caller holds the lock on the state folder: nobody else writes here.
func openGeneration(state, name string, number int) (string, error) {
	folder := Folder(state, name, number)
	for _, path := range []string{filepath.Join(state, "certs"), filepath.Dir(folder), folder} {
		if err := ensureFolder(path, folderMode); err != nil {
			return "", explain(path, err)
		}
	}
	return folder, durable.Sweep(folder)
}

// WriteChain stores the CA's answer: the leaf alone, and the certificates above
// it (may be empty), both PEM. Blocks of another type are refused; what stands
// between blocks is dropped. Call it again with the same answer after a kill.
// Error: fs.ErrNotExist without a key; the leaf is not for the stored key;
// ErrImmutable when the generation is complete with other certificates.
func WriteChain(state, name string, number int, leafPEM, chainPEM []byte) error {
	if err := checkGeneration(state, name, number); err != nil {
		return err
	}
	leaf, above, err := parseAnswer(leafPEM, chainPEM)
	if err != nil {
		return err
	}
	keyPEM, err := readCapped(filepath.Join(Folder(state, name, number), KeyFile))
	if err != nil {
		return fmt.Errorf("the key must be stored before its certificate: %w", err)
	}
	if _, err := checkPair(encode(leaf), keyPEM); err != nil {
		return err
	}
	folder, err := openGeneration(state, name, number)
	if err != nil {
		return err
	}
	full := encode(append(leaf[:1:1], above...))
	if stored, err := readCapped(filepath.Join(folder, FullChainFile)); err == nil && !bytes.Equal(stored, full) {
		if _, unreadable := ParseCertificates(stored); unreadable == nil {
			return fmt.Errorf("%s: %w", folder, ErrImmutable)
		}
	}
	// fullchain.pem last: a kill before it leaves a generation that says so.
	var missing []durable.File
	for _, file := range []durable.File{
		{Name: LeafFile, Data: encode(leaf), Mode: openMode}, {Name: ChainFile, Data: encode(above), Mode: openMode},
		{Name: FullChainFile, Data: full, Mode: openMode},
	} {
		if !holds(filepath.Join(folder, file.Name), file.Data, access{mode: file.Mode}) {
			missing = append(missing, file)
		}
	}
	return explain(folder, durable.WriteFiles(folder, missing...))
}

func parseAnswer(leafPEM, chainPEM []byte) (leaf, above []*x509.Certificate, err error) {
	if leaf, err = onlyCertificates(leafPEM); err != nil {
		return nil, nil, fmt.Errorf("leaf: %w", err)
	}
	if len(leaf) != 1 {
		return nil, nil, fmt.Errorf("leaf: %d certificates instead of one", len(leaf))
	}
	if len(bytes.TrimSpace(chainPEM)) == 0 {
		return leaf, nil, nil
	}
	if above, err = onlyCertificates(chainPEM); err != nil {
		return nil, nil, fmt.Errorf("chain: %w", err)
	}
	if len(above) >= longestChain {
		return nil, nil, errors.New("chain: too long")
	}
	return leaf, above, nil
}
