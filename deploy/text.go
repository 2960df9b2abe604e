package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Text is one file that a server includes, switched between the texts of
// generations by one rename:
//
//	STATE/targets/TARGET/NAME.conf -> .conf/NAME/NUMBER.conf
//
// A server opens one file and gets the text of one generation, which names that
// generation's own files: nothing can be mixed, whenever the server starts. The
// texts lie in a hidden folder so that a server which includes *.conf reads
// each certificate once. A link, not a copy: going back needs no disk space.
type Text struct {
	State, Target, Name string
}

const textFolder = ".conf"

// Path is the file to include.
func (text Text) Path() string {
	return filepath.Join(TargetFolder(text.State, text.Target), text.Name+".conf")
}

// Staged is where the text of a generation is kept.
func (text Text) Staged(number int) string {
	return filepath.Join(filepath.Dir(text.Path()), text.link(number))
}

func (text Text) link(number int) string {
	return filepath.Join(textFolder, text.Name, strconv.Itoa(number)+".conf")
}

// InForce is the generation whose text is included: 0 when the text is of
// another hand, -1 when there is none.
func (text Text) InForce() (int, error) {
	target, err := os.Readlink(text.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err == nil {
		number, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(target), ".conf"))
		if err == nil && number >= 0 && target == text.link(number) {
			return number, nil
		}
	}
	if _, err := os.Stat(text.Path()); errors.Is(err, fs.ErrNotExist) {
		return -1, nil // a link that leads nowhere
	} else if err != nil {
		return -1, err
	}
	return 0, nil
}

// Stage keeps the text of a generation beside the one in force. A text of
// another hand is kept as generation 0 first, and included from there.
func (text Text) Stage(number int, content []byte) error {
	if err := CheckName(text.Name); err != nil {
		return err
	}
	folder, err := OpenTarget(text.State, text.Target)
	if err != nil {
		return err
	}
	for _, path := range []string{filepath.Join(folder, textFolder), filepath.Dir(text.Staged(number))} {
		if err := ensureFolder(path, folderMode); err != nil {
			return explain(path, err)
		}
	}
	for _, path := range []string{folder, filepath.Dir(text.Staged(number))} {
		if err := sweep(path); err != nil { // ours alone, under the target's lock
			return err
		}
	}
	if err := text.adopt(); err != nil {
		return err
	}
	path := text.Staged(number)
	return explain(path, ensureFile(path, content, access{mode: openMode}))
}

// adopt keeps a text of another hand; what is included stays the same.
func (text Text) adopt() error {
	info, err := os.Lstat(text.Path())
	if err != nil || !info.Mode().IsRegular() {
		return nil // nothing there, or a link, which is ours to replace
	}
	content, err := readCapped(text.Path())
	if err != nil {
		return err
	}
	path := text.Staged(0)
	if err := ensureFile(path, content, access{mode: openMode}); err != nil {
		return explain(path, err)
	}
	return explain(text.Path(), ensureLink(text.link(0), text.Path()))
}

// Swap includes the staged text of a generation: one rename. Content is what
// Stage was given, nil for generation 0. Errors: ErrNotStaged, ErrOlderGeneration.
func (text Text) Swap(number int, content []byte, back bool) error {
	if err := text.CheckStaged(number, content); err != nil {
		return err
	}
	inForce, err := text.InForce()
	if err != nil {
		return err
	}
	if inForce > number && !back {
		return ErrOlderGeneration
	}
	if info, err := os.Lstat(text.Path()); err == nil && info.Mode().IsRegular() {
		return fmt.Errorf("%s was replaced after staging: %w", text.Path(), ErrNotStaged)
	}
	return explain(text.Path(), ensureLink(text.link(number), text.Path()))
}

// CheckStaged reads the staged text back.
func (text Text) CheckStaged(number int, content []byte) error {
	kept, err := readCapped(text.Staged(number))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil || number > 0 && string(kept) != string(content) {
		return fmt.Errorf("generation %d of %s: %w", number, text.Name, ErrNotStaged)
	}
	return nil
}
