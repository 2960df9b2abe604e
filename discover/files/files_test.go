package files

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/backstay/backstay/cert"
	. "github.com/backstay/backstay/cert/certtest"
)

// found lists observations as "PATH SUBJECT key=… error".
func found(t *testing.T, folder string, paths ...string) (list []string) {
	t.Helper()
	if err := Find(context.Background(), paths, func(seen cert.FileObservation) {
		name, err := filepath.Rel(folder, seen.Path)
		if err != nil {
			t.Fatal(err)
		}
		line := name + " " + seen.Format
		if seen.Certificate != nil {
			line += " " + seen.Certificate.Subject.CommonName + fmt.Sprintf("+%d", len(seen.Beside))
		}
		if seen.KeyPresent {
			keyName, _ := filepath.Rel(folder, seen.KeyPath)
			line += " key=" + keyName
			if seen.KeyMatches != nil {
				line += fmt.Sprintf(":%v", *seen.KeyMatches)
			}
		}
		if seen.KeyReadable {
			line += " readable"
		}
		if seen.Error != "" {
			line += " error"
		}
		if seen.Unreadable != "" {
			line += " unreadable"
		}
		list = append(list, line)
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// world is a folder that every user may enter.
func world(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/tmp", "files-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

func put(t *testing.T, folder, name string, mode os.FileMode, parts ...[]byte) {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Join(parts, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	folder := world(t)
	root := Root(t, "Root")
	one, two, three, four, five := root.Leaf(t, []string{"one"}), root.Leaf(t, []string{"two"}), root.Leaf(t, []string{"three"}), root.Leaf(t, []string{"four"}), root.Leaf(t, []string{"five"})
	put(t, folder, "a/fullchain.pem", 0o644, PEM(one, root))
	put(t, folder, "a/privkey.pem", 0o600, one.KeyPEM(t))
	put(t, folder, "a/chain.pem", 0o644, PEM(root))
	put(t, folder, "b/two.crt", 0o644, two.Certificate.Raw)
	put(t, folder, "b/two.key", 0o644, two.KeyPEM(t))
	put(t, folder, "c/both.pem", 0o600, PEM(three), three.KeyPEM(t), PEM(root))
	put(t, folder, "d/four.pem", 0o644, PEM(four))
	put(t, folder, "d/four.key", 0o600, one.KeyPEM(t))
	put(t, folder, "e/five.pem", 0o644, PEM(five))
	put(t, folder, "e/some-key.pem", 0o600, five.KeyPEM(t))
	put(t, folder, "e/zzz.key", 0o600, one.KeyPEM(t)) // a stranger is no mismatch
	put(t, folder, "f/README", 0o644, []byte("-----BEGIN is how it begins"))
	put(t, folder, "f/binary.bin", 0o644, []byte{0x30, 0x82, 1, 2})
	put(t, folder, "f/broken.pem", 0o644, PEM(one), []byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	put(t, folder, "f/broken.der", 0o644, []byte{0x30, 2, 1, 1})
	put(t, folder, "f/noise.der", 0o644, []byte("noise"))
	put(t, folder, "f/store.p12", 0o600, []byte("x"))
	put(t, folder, "f/huge.pem", 0o644, PEM(one), make([]byte, cert.MaxFileBytes))
	put(t, folder, "g/account.key", 0o644, one.KeyPEM(t))
	put(t, folder, "g/quiet.key", 0o600, one.KeyPEM(t))
	put(t, folder, "h/bundle.pem", 0o644, PEM(root, root))

	want := []string{
		"a/chain.pem pem Root+0",
		"a/fullchain.pem pem one+1 key=a/privkey.pem:true",
		"a/fullchain.pem pem Root+1",
		"b/two.crt der two+0 key=b/two.key:true readable",
		"c/both.pem pem three+1 key=c/both.pem:true",
		"c/both.pem pem Root+1",
		"d/four.pem pem four+0 key=d/four.key:false",
		"e/five.pem pem five+0 key=e/some-key.pem:true",
		"f/broken.der der error unreadable",
		"f/broken.pem pem one+0",
		"f/broken.pem pem error unreadable",
		"f/huge.pem pem error",
		"f/noise.der der error",
		"f/store.p12 pkcs12 error",
		"g/account.key pem key=g/account.key readable",
		"h/bundle.pem pem Root+1",
		"h/bundle.pem pem Root+1",
	}
	if got := found(t, folder, folder); !slices.Equal(got, want) {
		t.Errorf(" got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Named files must be certificates.
	for name, want := range map[string]string{
		"a/fullchain.pem": "a/fullchain.pem pem one+1 key=a/privkey.pem:true", "f/binary.bin": "f/binary.bin  error",
		"nowhere": "nowhere  error", "g/account.key": "g/account.key pem key=g/account.key readable",
	} {
		if got := found(t, folder, filepath.Join(folder, name)); len(got) == 0 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestLinksAndLoops(t *testing.T) {
	folder := world(t)
	one := Root(t, "Root").Leaf(t, []string{"one"})
	put(t, folder, "archive/www/cert1.pem", 0o644, PEM(one))
	put(t, folder, "archive/www/privkey1.pem", 0o600, one.KeyPEM(t))
	for link, target := range map[string]string{
		"live/cert.pem": "../archive/www/cert1.pem", "live/privkey.pem": "../archive/www/privkey1.pem",
		"live/self": ".", "live/above": "..", "live/circle": "circle", "live/nowhere": "/nonexistent", "again": "live",
	} {
		path := filepath.Join(folder, link)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(folder, "pipe.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	// live is reached through "again", which sorts first, and not a second time.
	want := []string{
		"again/cert.pem pem one+0 key=again/privkey.pem:true",
		"archive/www/cert1.pem pem one+0 key=archive/www/privkey1.pem:true",
	}
	if got := found(t, folder, folder); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := found(t, folder, filepath.Join(folder, "pipe.pem")); len(got) != 1 || !strings.HasSuffix(got[0], "error") {
		t.Errorf("a pipe: %q", got)
	}
}

func TestKeyInAClosedFolderIsNotReadable(t *testing.T) {
	folder := world(t)
	one := Root(t, "Root").Leaf(t, []string{"one"})
	put(t, folder, "closed/one.pem", 0o644, PEM(one), one.KeyPEM(t))
	if got := found(t, folder, folder); !strings.HasSuffix(got[0], "readable") {
		t.Fatalf("open folder: %q", got)
	}
	if err := os.Chmod(filepath.Join(folder, "closed"), 0o750); err != nil {
		t.Fatal(err)
	}
	if got := found(t, folder, folder); strings.HasSuffix(got[0], "readable") {
		t.Errorf("closed folder: %q", got)
	}
}

func TestUnreadableFolderIsReported(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root reads everything; a folder in place of a file's parent is an error for all.
		folder := world(t)
		put(t, folder, "file", 0o644, nil)
		if got := found(t, folder, filepath.Join(folder, "file", "below")); len(got) != 1 || !strings.HasSuffix(got[0], "error") {
			t.Errorf("%q", got)
		}
		return
	}
	folder := world(t)
	put(t, folder, "closed/a.pem", 0o644, nil)
	os.Chmod(filepath.Join(folder, "closed"), 0)
	defer os.Chmod(filepath.Join(folder, "closed"), 0o700)
	if got := found(t, folder, folder); len(got) != 1 || !strings.HasSuffix(got[0], "error") {
		t.Errorf("%q", got)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Find(ctx, []string{t.TempDir()}, nil); err == nil {
		t.Error("no error")
	}
}
