// Package files finds certificates in files and folders.
//
// Promise: every certificate of every readable PEM or DER file is observed, one
// observation each; a file or folder that cannot be read, is too large or holds
// a damaged certificate is observed with its error, and spoils no other. Links
// are followed, and a loop of links ends. Nothing is changed, and no pipe or
// device is opened to be read.
//
// Limits: PKCS#12, JKS and PKCS#7 are recognised by name and reported as not
// read. In a folder, a PEM file is recognised by a BEGIN line in its first
// 64 kB, a DER file by its name. Keys that need a passphrase are not compared.
package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/backstay/backstay/cert"
)

// maxDepth is how deep folders are followed.
const maxDepth = 40

// Find walks paths, in name order, and hands each observation to emit. Error:
// the context's.
func Find(ctx context.Context, paths []string, emit func(cert.FileObservation)) error {
	search := &search{ctx: ctx, emit: emit, folders: map[identity]bool{}}
	for _, path := range paths {
		search.visit(filepath.Clean(path), 0)
	}
	return ctx.Err()
}

// identity is a file apart from its names.
type identity struct{ device, inode uint64 }

type search struct {
	ctx     context.Context
	emit    func(cert.FileObservation)
	folders map[identity]bool // seen already: loops end here
}

// visit takes a path that the user named: unlike in a folder, what is not a
// certificate is worth a word.
func (s *search) visit(path string, depth int) {
	info, err := os.Stat(path)
	if err != nil {
		s.fail(path, err)
		return
	}
	if info.IsDir() {
		s.folder(path, info, depth)
		return
	}
	found, err := read(path, true)
	if err != nil {
		s.fail(path, err)
		return
	}
	keys := &keyring{folder: filepath.Dir(path)}
	s.observe(path, found, keys)
	switch parsed := found.parsed; {
	case len(parsed.Certificates)+len(parsed.Unreadable) > 0:
	case len(parsed.Keys) > 0:
		s.lonelyKey(path, found)
	default:
		s.fail(path, errors.New("no certificate in the file"))
	}
}

func (s *search) folder(path string, info fs.FileInfo, depth int) {
	if depth > maxDepth {
		s.fail(path, errors.New("folders are nested too deep"))
		return
	}
	if status, ok := info.Sys().(*syscall.Stat_t); ok {
		id := identity{uint64(status.Dev), status.Ino}
		if s.folders[id] {
			return
		}
		s.folders[id] = true
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		s.fail(path, err)
		return
	}
	keys := &keyring{folder: path}
	for _, entry := range entries {
		keys.names = append(keys.names, entry.Name())
	}
	lonely := map[string]contents{}
	for _, entry := range entries {
		if s.ctx.Err() != nil {
			return
		}
		s.entry(filepath.Join(path, entry.Name()), depth, keys, lonely)
	}
	// Keys last, when it is known which of them belong to a certificate here.
	for _, name := range keys.names {
		key := filepath.Join(path, name)
		if found, ok := lonely[key]; ok && !keys.claimed[key] {
			s.lonelyKey(key, found)
		}
	}
}

func (s *search) entry(path string, depth int, keys *keyring, lonely map[string]contents) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ELOOP):
		return // a link to nowhere, or in a circle
	case err != nil:
		s.fail(path, err)
	case info.IsDir():
		s.folder(path, info, depth+1)
	case info.Mode().IsRegular():
		found, err := read(path, false)
		if err != nil {
			s.fail(path, err)
			return
		}
		s.observe(path, found, keys)
		if len(found.parsed.Keys) > 0 && len(found.parsed.Certificates) == 0 {
			lonely[path] = found
		}
	}
}

func (s *search) fail(path string, err error) {
	if s.ctx.Err() != nil {
		return
	}
	s.emit(cert.FileObservation{Path: path, Format: formatOf(path), Error: reason(err)})
}

// reason is an error without the path, which the observation has already.
func reason(err error) string {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return failed.Op + ": " + failed.Err.Error()
	}
	return err.Error()
}

// lonelyKey reports a private key without a certificate, if all may read it.
func (s *search) lonelyKey(path string, found contents) {
	if len(found.parsed.Keys) > 0 && othersMayRead(path) {
		s.emit(cert.FileObservation{Path: path, Format: found.format, KeyPresent: true, KeyPath: path, KeyReadable: true})
	}
}

// observe emits one observation for each certificate of a file, and one for
// each that cannot be parsed.
func (s *search) observe(path string, found contents, keys *keyring) {
	certificates := found.parsed.Certificates
	owner, key := keys.find(path, found.parsed)
	for i, certificate := range certificates {
		seen := cert.FileObservation{Path: path, Format: found.format, Certificate: certificate}
		seen.Beside = append(append(seen.Beside, certificates[:i]...), certificates[i+1:]...)
		if i == owner && key.path != "" {
			seen.KeyPresent, seen.KeyMatches, seen.KeyPath = true, key.matches, key.path
			seen.KeyReadable = othersMayRead(key.path)
		}
		s.emit(seen)
	}
	for _, unreadable := range found.parsed.Unreadable {
		s.emit(cert.FileObservation{
			Path: path, Format: found.format, Error: unreadable.Error(), Unreadable: unreadable.SHA256,
		})
	}
}

// formatOf guesses by name; "" when the name says nothing.
func formatOf(path string) string {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".pem":
		return "pem"
	case ".der":
		return "der"
	case ".p12", ".pfx":
		return "pkcs12"
	case ".jks", ".keystore", ".jceks":
		return "jks"
	case ".p7b", ".p7c", ".p7s":
		return "pkcs7"
	}
	return ""
}
