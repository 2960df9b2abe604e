package daemon

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/backstay/backstay/config"
	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/issue"
	"github.com/backstay/backstay/journal"
	"github.com/backstay/backstay/store"
)

// The outcomes of a check.
const (
	CheckOK      = "ok"
	CheckWarning = "warning"
	CheckFailed  = "failed"
	CheckUnknown = "unknown" // could not look
)

// Check is one thing that Backstay itself depends on.
type Check struct {
	Kind    string `json:"kind"` // "check"
	Schema  int    `json:"schema"`
	Name    string `json:"name"`
	State   string `json:"state"`
	Summary string `json:"summary"`
	Next    string `json:"next,omitempty"`
	Code    string `json:"code,omitempty"`
	// Unreachable: a dependency did not answer, as opposed to something being wrong here.
	Unreachable bool `json:"unreachable,omitempty"`
}

// leastDisk is the free space below which an order is not safe to begin: the
// database, a key and a chain must fit with room to spare.
const leastDisk = 64 << 20

// Doctor checks what a run needs, without changing anything but a probe file in
// the state folder that is removed again.
func Doctor(ctx context.Context, configuration *config.Config, folder string, now func() time.Time) []Check {
	checks := stateChecks(ctx, folder, now())
	return append(checks, authorityChecks(ctx, configuration, folder, now)...)
}

func check(name, state, code, next, format string, arguments ...any) Check {
	return Check{Kind: "check", Schema: 1, Name: name, State: state, Code: code, Next: next, Summary: fmt.Sprintf(format, arguments...)}
}

func stateChecks(ctx context.Context, folder string, now time.Time) (checks []Check) {
	add := func(one Check) { checks = append(checks, one) }
	info, err := os.Stat(folder)
	switch {
	case os.IsNotExist(err):
		add(check("state folder", CheckWarning, "self-state", "backstay renew", "%s does not exist yet; the first run makes it", folder))
		return append(checks, diskCheck(existingParent(folder)))
	case err != nil:
		add(check("state folder", CheckFailed, "self-state", "the same command as root", "%v", err))
		return checks
	case !info.IsDir():
		add(check("state folder", CheckFailed, "self-state", "choose another folder with --state DIR", "%s is not a folder", folder))
		return checks
	case info.Mode().Perm()&0o022 != 0:
		add(check("state folder", CheckFailed, "self-state", "chmod go-w "+folder, "%s can be written by others (mode %04o)", folder, info.Mode().Perm()))
	default:
		add(check("state folder", CheckOK, "", "", "%s, mode %04o", folder, info.Mode().Perm()))
	}
	add(writeCheck(folder))
	add(diskCheck(folder))
	add(keyCheck(folder))
	return append(checks, databaseChecks(ctx, folder, now)...)
}

func existingParent(folder string) string {
	for folder != "/" {
		if _, err := os.Stat(folder); err == nil {
			return folder
		}
		folder = filepath.Dir(folder)
	}
	return folder
}

// writeCheck writes, reads and removes a probe file.
func writeCheck(folder string) Check {
	path := filepath.Join(folder, "doctor.probe")
	if err := durable.WriteFile(path, []byte("probe"), 0o600); err != nil {
		next := "the same command as the user that renews"
		if strings.Contains(err.Error(), "read-only") {
			next = "mount it writable"
		}
		return check("state writable", CheckFailed, "self-state", next, "%v", err)
	}
	text, err := os.ReadFile(path)
	if removing := durable.Remove(path); err == nil {
		err = removing
	}
	if err != nil || string(text) != "probe" {
		return check("state writable", CheckFailed, "self-state", "look at the disk", "what was written to %s was not read back: %v", path, err)
	}
	return check("state writable", CheckOK, "", "", "a file was written, read back and removed")
}

func diskCheck(folder string) Check {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(folder, &stat); err != nil {
		return check("disk", CheckUnknown, "self-disk", "", "%v", err)
	}
	free := int64(stat.Bavail) * stat.Bsize
	if free < leastDisk {
		return check("disk", CheckFailed, "self-disk", "free some space: a key that cannot be stored is not ordered for", "%d MiB free under %s", free>>20, folder)
	}
	return check("disk", CheckOK, "", "", "%d MiB free under %s", free>>20, folder)
}

// keyCheck looks for private keys that others may read.
func keyCheck(folder string) Check {
	var readable []string
	looked := 0
	for _, part := range []string{"certs", "accounts"} {
		filepath.WalkDir(filepath.Join(folder, part), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".key") && entry.Name() != "privkey.pem" {
				return nil
			}
			looked++
			if info, err := entry.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
				readable = append(readable, path)
			}
			return nil
		})
	}
	if len(readable) > 0 {
		return check("private keys", CheckFailed, "file-key-readable", "chmod 600 "+readable[0], "%d of %d keys can be read by others, such as %s", len(readable), looked, readable[0])
	}
	return check("private keys", CheckOK, "", "", "%d keys, none readable by others", looked)
}

func databaseChecks(ctx context.Context, folder string, now time.Time) (checks []Check) {
	state, err := store.Open(ctx, store.Config{Folder: folder, ReadOnly: true})
	if os.IsNotExist(err) {
		return append(checks, check("database", CheckWarning, "self-state", "backstay renew", "there is none yet"))
	}
	if err != nil {
		return append(checks, check("database", CheckFailed, "self-state", "move it aside and run `backstay renew`: the certificates on disk are taken up again", "%v", err))
	}
	defer state.Close()
	if err := state.Check(ctx); err != nil {
		return append(checks, check("database", CheckFailed, "self-state", "restore a backup", "%v", err))
	}
	checks = append(checks, check("database", CheckOK, "", "", "whole, schema %d", store.Schema))
	verification, err := journal.Verify(ctx, folder, state, nil, now)
	switch {
	case os.IsNotExist(err):
		checks = append(checks, check("journal", CheckWarning, "self-state", "backstay renew", "there is none yet"))
	case err != nil:
		checks = append(checks, check("journal", CheckUnknown, "self-state", "", "%v", err))
	case !verification.OK:
		checks = append(checks, check("journal", CheckFailed, "self-state", "backstay log verify", "%s", verification.Problems[0]))
	default:
		checks = append(checks, check("journal", CheckOK, "", "", "whole: %d acts, %d signed checkpoints", verification.Acts, verification.Checkpoints))
	}
	return checks
}

// clockLimit is how far our clock may be from the CA's before it matters.
const clockLimit = 2 * time.Minute

// authorityChecks read every CA's directory, side by side, and compare clocks.
func authorityChecks(ctx context.Context, configuration *config.Config, folder string, now func() time.Time) []Check {
	authorities, err := authoritiesOf(configuration)
	if err != nil {
		return []Check{check("authorities", CheckFailed, "self-dependency", "backstay config check", "%v", err)}
	}
	executor, err := issue.New(issue.Config{
		Folder: AccountsFolder(folder), Authorities: authorities, Generations: generations{folder},
		Random: strings.NewReader(""), Now: now, CallTimeout: 10 * time.Second,
	})
	if err != nil {
		return []Check{check("authorities", CheckFailed, "self-dependency", "", "%v", err)}
	}
	both := make([][]Check, len(configuration.Authorities))
	var group sync.WaitGroup
	for index, authority := range configuration.Authorities {
		group.Go(func() { both[index] = lookAtAuthority(ctx, executor, authority) })
	}
	group.Wait()
	return slices.Concat(both...)
}

func lookAtAuthority(ctx context.Context, executor *issue.Executor, authority config.Authority) []Check {
	ahead, trouble := executor.Look(ctx, authority.Name)
	name := "authority " + authority.Name
	if trouble != nil {
		next := trouble.Next
		if next == "backstay doctor" || next == "" {
			next = "look at the network and at the CA's status page; other CAs are not affected"
		}
		one := check(name, CheckFailed, "authority-unreachable", next, "%s", trouble.Summary)
		one.Unreachable = !trouble.Reachable
		return []Check{one}
	}
	checks := []Check{check(name, CheckOK, "", "", "its directory answers at %s", authority.Directory)}
	if ahead.Abs() > clockLimit {
		return append(checks, check("clock", CheckFailed, "self-clock", "set the clock, with NTP best", "%s from the clock of %s", ahead.Round(time.Second), authority.Name))
	}
	return append(checks, check("clock", CheckOK, "", "", "within %s of the clock of %s", clockLimit, authority.Name))
}
