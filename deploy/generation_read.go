package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Read looks at a generation and checks that its files belong together.
// Error: fs.ErrNotExist when there is no such folder, ErrIncomplete, ErrDamaged;
// with the last two the Generation says what is there.
func Read(state, name string, number int) (Generation, error) {
	if err := checkGeneration(state, name, number); err != nil {
		return Generation{}, err
	}
	generation, err := ReadFolder(Folder(state, name, number))
	generation.Name, generation.Number = name, number
	return generation, err
}

// ReadFolder is Read for a folder that is known already (Placement.Folder).
func ReadFolder(folder string) (Generation, error) {
	generation := Generation{Folder: folder}
	if info, err := os.Lstat(folder); err != nil {
		return generation, err
	} else if !info.IsDir() {
		return generation, fmt.Errorf("%s: %w: not a folder", folder, ErrDamaged)
	}
	texts := map[string][]byte{}
	for _, name := range []string{KeyFile, LeafFile, ChainFile, FullChainFile} {
		text, err := readCapped(filepath.Join(folder, name))
		if errors.Is(err, fs.ErrNotExist) {
			generation.Missing = append(generation.Missing, name)
			continue
		}
		if err != nil {
			return generation, err
		}
		texts[name] = text
	}
	return generation, generation.judge(texts)
}

// judge fills in what the files say and names the first thing that is wrong.
func (generation *Generation) judge(texts map[string][]byte) error {
	damaged := func(name string, err error) error {
		return fmt.Errorf("%s: %w: %w", filepath.Join(generation.Folder, name), ErrDamaged, err)
	}
	if text, there := texts[KeyFile]; there {
		if _, err := parseKey(text); err != nil {
			return damaged(KeyFile, err)
		}
		generation.HasKey = true
	}
	if text, there := texts[FullChainFile]; there {
		chain, err := ParseCertificates(text)
		if err != nil {
			return damaged(FullChainFile, err)
		}
		generation.Chain = chain
		_, err = checkPair(text, texts[KeyFile])
		generation.KeyMatches = err == nil
	}
	if len(generation.Missing) > 0 {
		return fmt.Errorf("%s: %w: no %s", generation.Folder, ErrIncomplete, strings.Join(generation.Missing, ", "))
	}
	if _, err := checkPair(texts[FullChainFile], texts[KeyFile]); err != nil {
		return damaged(FullChainFile, err)
	}
	if !bytes.Equal(append(bytes.Clone(texts[LeafFile]), texts[ChainFile]...), texts[FullChainFile]) {
		return damaged(FullChainFile, errors.New("is not cert.pem and chain.pem"))
	}
	generation.Complete = true
	return nil
}

// ReadKey returns the PEM of a stored key: apart from Read, so that a
// Generation can be printed without a second thought.
// Error: fs.ErrNotExist when there is none, ErrDamaged when it is no key.
func ReadKey(state, name string, number int) ([]byte, error) {
	if err := checkGeneration(state, name, number); err != nil {
		return nil, err
	}
	path := filepath.Join(Folder(state, name, number), KeyFile)
	text, err := readCapped(path)
	if err != nil {
		return nil, err
	}
	if _, err := parseKey(text); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	return text, nil
}

// List returns the numbers of all generations of name on disk, complete or not,
// lowest first. A name without any is no error.
func List(state, name string) ([]int, error) {
	if err := errors.Join(checkState(state), CheckName(name)); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(state, "certs", name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var numbers []int
	for _, entry := range entries {
		number, err := strconv.Atoi(entry.Name())
		if err == nil && number > 0 && entry.IsDir() && strconv.Itoa(number) == entry.Name() {
			numbers = append(numbers, number)
		}
	}
	sort.Ints(numbers)
	return numbers, nil
}

// Names returns every certificate name that has a folder under STATE/certs, in
// order: where a restored or emptied store begins to look.
func Names(state string) ([]string, error) {
	if err := checkState(state); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(state, "certs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, entry := range entries { // ReadDir sorts
		if entry.IsDir() && CheckName(entry.Name()) == nil {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// PointLive makes STATE/live/NAME the link to a complete generation, by one
// rename. Going back to a lower number is allowed: the decision is plan's.
func PointLive(state, name string, number int) error {
	if _, err := Read(state, name, number); err != nil {
		return err
	}
	folder := filepath.Join(state, "live")
	if err := ensureFolder(folder, folderMode); err != nil {
		return explain(folder, err)
	}
	path := filepath.Join(folder, name)
	return explain(path, ensureLink(filepath.Join("..", "certs", name, strconv.Itoa(number)), path))
}

// Live returns the generation that STATE/live/NAME points to.
// Error: fs.ErrNotExist when there is no link; another error when it is not ours.
func Live(state, name string) (int, error) {
	if err := errors.Join(checkState(state), CheckName(name)); err != nil {
		return 0, err
	}
	return generationLink(filepath.Join(state, "live", name), filepath.Join("..", "certs", name))
}

// generationLink reads a link of ours whose target is prefix/NUMBER.
func generationLink(path, prefix string) (int, error) {
	target, err := os.Readlink(path)
	if err != nil {
		return 0, err
	}
	number, err := strconv.Atoi(filepath.Base(target))
	if err != nil || number < 1 || target != filepath.Join(prefix, strconv.Itoa(number)) {
		return 0, fmt.Errorf("%s: a link to %q, which is not a generation", path, target)
	}
	return number, nil
}
