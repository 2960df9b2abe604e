package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/backstay/backstay/finding"
)

// MaxFileSize is the most bytes one configuration file may have.
const MaxFileSize = 16 << 20

// excerptWidth is how many characters of a line an excerpt shows at most.
const excerptWidth = 100

// source is one file as it was read.
type source struct {
	path   string // as positions show it
	data   []byte
	main   bool
	hidden []span // never shown: secrets that were written out
}

// span is a part of a file, from a position up to, not including, another.
type span struct{ line, column, endLine, endColumn int }

// at is a position in this file.
func (from *source) at(line, column int) Position {
	return Position{File: from.path, Line: line, Column: column}
}

// hide keeps a part of the file out of every excerpt.
func (from *source) hide(part span) { from.hidden = append(from.hidden, part) }

// hiddenFrom returns the first column of a line, from 1, that must not be
// shown; 0 when the whole line may be. Everything behind it stays hidden too.
func (from *source) hiddenFrom(line int) int {
	first := 0
	for _, part := range from.hidden {
		column := 1
		switch {
		case line < part.line || line > part.endLine:
			continue
		case line == part.line:
			column = part.column
		case line == part.endLine:
			// The next token's line: only its indentation lies in the span,
			// unless the end of the secret stands before it.
			text := []rune(string(from.line(line)))
			if strings.TrimSpace(string(text[:min(len(text), part.endColumn-1)])) == "" {
				continue
			}
		}
		if first == 0 || column < first {
			first = column
		}
	}
	return first
}

// secretKey finds what may be a secret on a line that could not be parsed.
var secretKey = regexp.MustCompile(secretWords + `\w*["']?\s*:\s*`)

// secretName finds keys whose value may be a secret.
var secretName = regexp.MustCompile(secretWords)

const secretWords = `(?i)(hmac|secret|key_id|token|passw|passphrase|credential|url|proxy|webhook)`

// excerpt cuts the line of a position to a window around it and makes it
// printable. The caret is a column in the excerpt, from 0.
func (from *source) excerpt(at Position, unparsed bool) (text string, caret int) {
	line := []rune(string(from.line(at.Line)))
	hidden := from.hiddenFrom(at.Line)
	if unparsed {
		if match := secretKey.FindStringIndex(string(line)); match != nil {
			hidden = utf8.RuneCountInString(string(line)[:match[1]]) + 1
		}
	}
	if hidden > 0 && hidden <= len(line) {
		line = append(line[:hidden-1:hidden-1], []rune("(not shown)")...)
	}
	start := 0
	for start < len(line) && (line[start] == ' ' || line[start] == '\t') {
		start++
	}
	column := min(max(at.Column-1, start), len(line))
	if column-start > excerptWidth*2/3 {
		start = column - excerptWidth/2
	}
	end := min(len(line), start+excerptWidth)
	before, after := clean(line[start:column]), clean(line[column:end])
	return before + strings.TrimRight(after, " "), utf8.RuneCountInString(before)
}

func clean(part []rune) string {
	return finding.Text(strings.ReplaceAll(string(part), "\t", " "))
}

// line returns a line of the file, numbered from 1, without its end.
func (from *source) line(number int) []byte {
	rest := from.data
	for range number - 1 {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return nil
		}
		rest = rest[end+1:]
	}
	if end := bytes.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end]
	}
	return bytes.TrimSuffix(rest, []byte("\r"))
}

// errTooLarge says that a file is over MaxFileSize.
var errTooLarge = errors.New("file too large")

// readFile reads a regular file of at most MaxFileSize bytes. It does not wait
// for a named pipe that nobody writes to.
func readFile(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	if info.Size() > MaxFileSize {
		return nil, errTooLarge
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxFileSize+1))
	if err == nil && len(data) > MaxFileSize {
		err = errTooLarge
	}
	return data, err
}

// filesOf lists the files of the configuration at path: itself, then
// conf.d/*.yaml beside it in name order. Names in passed over end in .yml and
// are probably meant to be read.
func filesOf(path string) (files, passedOver []string, err error) {
	files = []string{path}
	folder := filepath.Join(filepath.Dir(path), "conf.d")
	entries, err := os.ReadDir(folder) // sorted by name
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return files, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") || entry.IsDir() {
			continue
		}
		switch filepath.Ext(name) {
		case ".yaml":
			files = append(files, filepath.Join(folder, name))
		case ".yml":
			passedOver = append(passedOver, filepath.Join(folder, name))
		}
	}
	return files, passedOver, nil
}

// Hash is the SHA-256, in lower-case hex, over the configuration at path: each
// file's absolute path and content. It parses nothing, so that a caller can
// skip an unchanged configuration; the Hash method of a loaded Config gives the
// same value for the same files. Error: a file could not be read, or is over
// MaxFileSize.
func Hash(path string) (string, []File, error) {
	paths, _, err := filesOf(path)
	if err != nil {
		return "", nil, err
	}
	files := make([]File, 0, len(paths))
	for _, path := range paths {
		data, err := readFile(path)
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", path, err)
		}
		file, err := fileOf(path, data)
		if err != nil {
			return "", nil, err
		}
		files = append(files, file)
	}
	return hashOf(files), files, nil
}

// Hash is the value that the function Hash gives for the files as they were
// when the configuration was loaded.
func (config *Config) Hash() string { return hashOf(config.Files) }

func fileOf(path string, data []byte) (File, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return File{}, err
	}
	sum := sha256.Sum256(data)
	return File{Path: absolute, SHA256: hex.EncodeToString(sum[:])}, nil
}

func hashOf(files []File) string {
	hash := sha256.New()
	for _, file := range files {
		// Lengths first: no path can pretend to be the next record.
		fmt.Fprintf(hash, "%s %d %s\n", file.SHA256, len(file.Path), file.Path)
	}
	return hex.EncodeToString(hash.Sum(nil))
}
