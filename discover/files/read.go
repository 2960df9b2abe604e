package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/backstay/backstay/cert"
)

// contents is what a file held; the zero value is a file of no interest.
type contents struct {
	format string
	parsed cert.Parsed
}

// sniffBytes of a file are searched for a BEGIN line.
const sniffBytes = 64 << 10

// read parses one file. In a folder, files that do not look like certificates
// are contents{}; one that the user named must be one.
func read(path string, named bool) (contents, error) {
	switch format := formatOf(path); format {
	case "pkcs12", "jks", "pkcs7":
		return contents{}, fmt.Errorf("the format %s is not read", format)
	}
	// A pipe that took the place of a file must not hold us: O_NONBLOCK.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return contents{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return contents{}, err
	}
	if !info.Mode().IsRegular() {
		return contents{}, errors.New("not a regular file")
	}
	head, err := io.ReadAll(io.LimitReader(file, sniffBytes))
	if err != nil {
		return contents{}, err
	}
	isPEM := bytes.Contains(head, []byte("-----BEGIN "))
	if !isPEM && !named && !derName(path) {
		return contents{}, nil
	}
	// One byte more than allowed, so that too large is seen.
	rest, err := io.ReadAll(io.LimitReader(file, cert.MaxFileBytes+1-int64(len(head))))
	if err != nil {
		return contents{}, err
	}
	return parse(append(head, rest...), isPEM)
}

func parse(data []byte, isPEM bool) (found contents, err error) {
	if isPEM {
		found.format = "pem"
		found.parsed, err = cert.ParsePEM(data)
		if errors.Is(err, cert.ErrNotPEM) { // the words occur, a block does not
			return contents{}, nil
		}
		return found, err
	}
	found.format = "der"
	found.parsed, err = cert.ParseDER(data)
	var unreadable *cert.Unreadable
	if errors.As(err, &unreadable) && unreadable.SHA256 != "" {
		found.parsed.Unreadable = append(found.parsed.Unreadable, unreadable)
		return found, nil
	}
	return found, err
}

// derName: endings under which certificates are kept in DER.
func derName(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".der", ".cer", ".crt", ".cert":
		return true
	}
	return false
}
