package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml/ast"
)

const (
	// secretLimit is the most bytes a secret may have.
	secretLimit = 64 << 10
	// secretPatience is how long a command may take to give a secret.
	secretPatience = 10 * time.Second
)

var secretKeys = keys{owner: "a secret", known: []string{"file", "credential", "exec", "env"}}

// secretFields is fields for a mapping that holds secrets: what is written
// under a key that is not a proper reference, misspelt keys included, stays out
// of every excerpt.
func (in *reader) secretFields(node ast.Node, allowed keys, harmless ...string) []field {
	mapping, ok := node.(*ast.MappingNode)
	if !ok {
		in.from.hideAll(node)
		return in.fields(node, allowed)
	}
	for _, value := range mapping.Values {
		begin := value.Key.GetToken()
		_, reference := value.Value.(*ast.MappingNode)
		if begin == nil || !contains(harmless, begin.Value) && !reference {
			in.from.hideAll(value.Value)
		}
	}
	return in.fields(node, allowed)
}

// secret reads a reference to a secret. A value written out is never repeated
// in a message.
func (draft *draft) secret(in *reader, entry field) Secret {
	secret := Secret{Position: in.from.position(entry.value)}
	mapping, ok := entry.value.(*ast.MappingNode)
	if !ok {
		in.from.hideAll(entry.value)
		in.all.add(secret.Position, SecretPlain, entry.key)
		return secret
	}
	for _, value := range mapping.Values {
		if begin := value.Key.GetToken(); begin == nil || !contains(secretKeys.known, begin.Value) {
			in.from.hideAll(value.Value)
		}
	}
	found := in.fields(mapping, secretKeys)
	if len(found) != 1 {
		in.all.add(entry.at, SecretSource, entry.key)
		return secret
	}
	switch each := found[0]; each.key {
	case "file":
		file, _ := in.word(each.value, "file")
		secret.File = draft.path(file.value)
	case "credential":
		name, ok := in.word(each.value, "credential")
		if ok && !validCredential(name.value) {
			in.all.add(name.at, CredentialName, name.value)
		}
		secret.Credential = name.value
	case "exec":
		secret.Exec = in.argv(each.value, "exec")
	case "env":
		name, ok := in.word(each.value, "env")
		if ok {
			in.all.add(name.at, SecretEnvironment)
		}
		secret.Env = name.value
	}
	return secret
}

// validCredential keeps a credential's name from being a path.
func validCredential(name string) bool {
	return len(name) <= 255 && name != "." && name != ".." && !strings.ContainsAny(name, "/:")
}

// Read returns the secret itself: the file's content, the credential of that
// name, the output of the command (10 s at most) or the variable's value. One
// line end at the end is dropped. Error: it could not be had, is empty, or has
// more than 64 KiB; no error ever holds any of its content.
func (secret Secret) Read(ctx context.Context) ([]byte, error) {
	value, err := secret.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("secret from %s: %w", secret.source(), err)
	}
	if len(value) > secretLimit {
		return nil, fmt.Errorf("secret from %s: more than %d KiB", secret.source(), secretLimit>>10)
	}
	value = bytes.TrimSuffix(value, []byte("\n"))
	value = bytes.TrimSuffix(value, []byte("\r"))
	if len(value) == 0 {
		return nil, fmt.Errorf("secret from %s: empty", secret.source())
	}
	return value, nil
}

// source names where the secret comes from, for messages.
func (secret Secret) source() string {
	switch {
	case secret.File != "":
		return fmt.Sprintf("file %q", secret.File)
	case secret.Credential != "":
		return fmt.Sprintf("credential %q", secret.Credential)
	case len(secret.Exec) > 0:
		return fmt.Sprintf("command %q", secret.Exec[0])
	case secret.Env != "":
		return fmt.Sprintf("environment variable %q", secret.Env)
	}
	return "nowhere"
}

func (secret Secret) read(ctx context.Context) ([]byte, error) {
	switch {
	case secret.File != "":
		return readSecretFile(secret.File)
	case secret.Credential != "":
		folder := os.Getenv("CREDENTIALS_DIRECTORY")
		if folder == "" {
			return nil, errors.New("CREDENTIALS_DIRECTORY is not set: no systemd unit with LoadCredential= started this process")
		}
		if !validCredential(secret.Credential) {
			return nil, errors.New("no name of a credential")
		}
		return readSecretFile(filepath.Join(folder, secret.Credential))
	case len(secret.Exec) > 0:
		return runSecret(ctx, secret.Exec)
	case secret.Env != "":
		value, set := os.LookupEnv(secret.Env)
		if !set {
			return nil, errors.New("not set")
		}
		return []byte(value), nil
	}
	return nil, errors.New("no source was given")
}

func readSecretFile(path string) ([]byte, error) {
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
		return nil, errors.New("not a regular file")
	}
	return io.ReadAll(io.LimitReader(file, secretLimit+1))
}

// runSecret runs a command without a shell, in a process group of its own, and
// ends the whole group when the time is over: a child that keeps the output
// open must not keep us waiting.
func runSecret(ctx context.Context, argv []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, secretPatience)
	defer cancel()
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second
	output := &capped{limit: secretLimit + 1}
	command.Stdout = output
	if err := command.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err // an exit status: what the command wrote stays out of it
	}
	return output.data, nil
}

// capped keeps the first bytes of a stream and drops the rest, so that the
// writer neither fills our memory nor waits for us.
type capped struct {
	data  []byte
	limit int
}

func (to *capped) Write(data []byte) (int, error) {
	room := to.limit - len(to.data)
	to.data = append(to.data, data[:min(room, len(data))]...)
	return len(data), nil
}
