package config

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSecretRead(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", folder)
	t.Setenv("BACKSTAY_TEST_SECRET", "canary\n")
	t.Setenv("BACKSTAY_TEST_EMPTY", "")
	put := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := map[string]struct {
		secret Secret
		want   string
	}{
		"file":             {Secret{File: put("a", "canary\r\n")}, "canary"},
		"one line end":     {Secret{File: put("b", "canary\n\n")}, "canary\n"},
		"binary":           {Secret{File: put("c", "\x00\xff")}, "\x00\xff"},
		"credential":       {Secret{Credential: "a"}, "canary"},
		"exec":             {Secret{Exec: []string{"echo", "$HOME `id`"}}, "$HOME `id`"},
		"env":              {Secret{Env: "BACKSTAY_TEST_SECRET"}, "canary"},
		"64 KiB":           {Secret{File: put("d", strings.Repeat("x", secretLimit))}, strings.Repeat("x", secretLimit)},
		"exec, much noise": {Secret{Exec: []string{"sh", "-c", "echo noise >&2; echo canary"}}, "canary"},
	}
	for name, each := range good {
		got, err := each.secret.Read(t.Context())
		if err != nil || string(got) != each.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	bad := map[string]Secret{
		"nothing":            {},
		"empty file":         {File: put("e", "\n")},
		"no file":            {File: filepath.Join(folder, "none")},
		"folder":             {File: folder},
		"over 64 KiB":        {File: put("f", "canary"+strings.Repeat("x", secretLimit))},
		"escaping name":      {Credential: "../" + filepath.Base(folder) + "/a"},
		"no credential":      {Credential: "none"},
		"exec fails":         {Exec: []string{"sh", "-c", "echo canary; echo canary >&2; exit 3"}},
		"exec not there":     {Exec: []string{filepath.Join(folder, "none")}},
		"exec says nothing":  {Exec: []string{"true"}},
		"exec, over 64 KiB":  {Exec: []string{"head", "-c", "70000", "/dev/zero"}},
		"variable not set":   {Env: "BACKSTAY_TEST_NOT_SET"},
		"variable is empty":  {Env: "BACKSTAY_TEST_EMPTY"},
		"device without end": {File: "/dev/zero"},
	}
	for name, secret := range bad {
		got, err := secret.Read(t.Context())
		if err == nil {
			t.Errorf("%s: no error, %d bytes", name, len(got))
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := (Secret{Credential: "a"}).Read(t.Context()); err == nil {
		t.Error("a credential without a folder for them")
	}
}

// TestSecretHangs: a command, or a child that it leaves behind with the output
// open, cannot keep us longer than the caller waits.
func TestSecretHangs(t *testing.T) {
	for _, argv := range [][]string{{"sleep", "60"}, {"sh", "-c", "sleep 60 & wait"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		begin := time.Now()
		_, err := Secret{Exec: argv}.Read(ctx)
		cancel()
		if err == nil || time.Since(begin) > 5*time.Second {
			t.Errorf("%q: %v after %v", argv, err, time.Since(begin))
		}
	}
}
