package deploy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/deploy/deploytest"
)

// paths makes a Linked over two folders that exist and are empty.
func paths(t *testing.T) deploy.Linked {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return pathsBelow(t, root)
}

func pathsBelow(t *testing.T, root string) deploy.Linked {
	t.Helper()
	for _, folder := range []string{"certs", "private", "state"} {
		if err := os.Mkdir(filepath.Join(root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return deploy.Linked{
		State:       filepath.Join(root, "state"),
		Certificate: filepath.Join(root, "certs", "www.pem"),
		Key:         filepath.Join(root, "private", "www.key"),
	}
}

func put(t *testing.T, linked deploy.Linked, issued deploytest.Issued, keyMode fs.FileMode) {
	t.Helper()
	for path, text := range map[string][]byte{linked.Certificate: issued.Full(), linked.Key: issued.Key} {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(linked.Key, keyMode); err != nil {
		t.Fatal(err)
	}
}

// opened fails unless a server would read exactly this pair.
func opened(t *testing.T, when string, linked deploy.Linked, issued deploytest.Issued) {
	t.Helper()
	full, err := os.ReadFile(linked.Certificate)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	key, err := os.ReadFile(linked.Key)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	if !bytes.Equal(full, issued.Full()) || !bytes.Equal(key, issued.Key) {
		t.Fatalf("%s: another pair is in force", when)
	}
}

func deployed(t *testing.T, linked deploy.Linked, placement deploy.Placement) {
	t.Helper()
	if err := linked.Stage(placement); err != nil {
		t.Fatal(err)
	}
	if err := linked.Swap(placement, false); err != nil {
		t.Fatal(err)
	}
}

func TestLinkedKeepsModeAndOwner(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	old, next := authority.Issue(t, "www.example.com"), authority.Issue(t, "www.example.com")
	us := deploy.Owner{UID: os.Geteuid(), GID: os.Getegid()}
	for _, row := range []struct {
		name   string
		before fs.FileMode // 0: no file
		mode   fs.FileMode
		owner  *deploy.Owner
		found  *deploy.Owner
		want   fs.FileMode
		whose  deploy.Owner
	}{
		{name: "nothing there", want: 0o600, whose: us},
		{name: "as found", before: 0o640, want: 0o640, whose: us},
		{name: "as configured", before: 0o640, mode: 0o400, want: 0o400, whose: us},
		{name: "owner as found", before: 0o640, found: &deploy.Owner{UID: 0, GID: 1234}, want: 0o640, whose: deploy.Owner{UID: 0, GID: 1234}},
		{name: "owner as configured", before: 0o600, owner: &deploy.Owner{UID: 1234, GID: 4321}, want: 0o600, whose: deploy.Owner{UID: 1234, GID: 4321}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if (row.found != nil || row.owner != nil) && os.Geteuid() != 0 {
				t.Skip("giving files away needs root")
			}
			linked := paths(t)
			linked.Mode, linked.Owner = row.mode, row.owner
			if row.before != 0 {
				put(t, linked, old, row.before)
			}
			if row.found != nil {
				if err := os.Chown(linked.Key, row.found.UID, row.found.GID); err != nil {
					t.Fatal(err)
				}
			}
			deployed(t, linked, deploytest.Store(t, linked.State, "www", 1, next))
			opened(t, "swapped", linked, next)
			info, err := os.Stat(linked.Key)
			if err != nil {
				t.Fatal(err)
			}
			system := info.Sys().(*syscall.Stat_t)
			if whose := (deploy.Owner{UID: int(system.Uid), GID: int(system.Gid)}); info.Mode().Perm() != row.want || whose != row.whose {
				t.Errorf("key: mode %v, owner %+v", info.Mode().Perm(), whose)
			}
		})
	}
}

// A link of another tool (certbot's live folder) is replaced where it stands;
// what it led to stays as it was.
func TestLinkedReplacesForeignLinks(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	old, next := authority.Issue(t, "www.example.com"), authority.Issue(t, "www.example.com")
	linked, elsewhere := paths(t), paths(t)
	put(t, elsewhere, old, 0o600)
	for from, to := range map[string]string{linked.Certificate: elsewhere.Certificate, linked.Key: elsewhere.Key} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	deployed(t, linked, deploytest.Store(t, linked.State, "www", 1, next))
	opened(t, "swapped", linked, next)
	opened(t, "the other tool's files", elsewhere, old)
	if err := linked.Swap(deploy.Placement{Name: "www"}, true); err != nil {
		t.Fatal(err)
	}
	opened(t, "rolled back", linked, old)
}

// Another hand replaced the files after us: its pair is kept, found in force as
// generation 0, and given back by a roll-back.
func TestLinkedAdoptsAgain(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	first, second, byHand := authority.Issue(t, "www.example.com"), authority.Issue(t, "www.example.com"), authority.Issue(t, "www.example.com")
	for _, row := range []struct {
		name string
		hand func(linked deploy.Linked)
	}{
		{"written over both links", func(linked deploy.Linked) {
			for _, path := range []string{linked.Certificate, linked.Key} {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			put(t, linked, byHand, 0o600)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			linked := paths(t)
			put(t, linked, first, 0o600)
			one := deploytest.Store(t, linked.State, "www", 1, second)
			deployed(t, linked, one)
			row.hand(linked)
			standing, err := linked.Look("www")
			if err != nil || standing.Generation != 0 || !standing.Chain[0].Equal(byHand.Certificate) {
				t.Fatalf("the drift was not seen: %+v, %v", standing, err)
			}
			if err := linked.Swap(one, false); !errors.Is(err, deploy.ErrNotStaged) {
				t.Fatalf("swapped over a pair that was not kept: %v", err)
			}
			opened(t, "refused", linked, byHand)
			if err := linked.Stage(one); err != nil {
				t.Fatal(err)
			}
			opened(t, "staged", linked, byHand)
			if err := linked.Swap(one, false); err != nil {
				t.Fatal(err)
			}
			opened(t, "swapped", linked, second)
			if err := linked.Swap(deploy.Placement{Name: "www"}, true); err != nil {
				t.Fatal(err)
			}
			opened(t, "back to the hand's", linked, byHand)
		})
	}
}

func TestLinkedKeepsNoOldKeys(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	linked := paths(t)
	put(t, linked, authority.Issue(t, "www.example.com"), 0o600)
	for number := 1; number <= 6; number++ {
		deployed(t, linked, deploytest.Store(t, linked.State, "www", number, authority.Issue(t, "www.example.com")))
	}
	kept, err := filepath.Glob(filepath.Join(filepath.Dir(linked.Key), ".backstay-www", "*", "privkey.pem"))
	if err != nil || len(kept) != 5 { // 0, 4, 5, 6 and current
		t.Errorf("kept %v, %v", kept, err)
	}
	third := deploy.Placement{Name: "www", Generation: 3, Folder: deploy.Folder(linked.State, "www", 3)}
	if err := linked.Swap(third, true); !errors.Is(err, deploy.ErrNotStaged) {
		t.Errorf("back to what is not kept: %v", err)
	}
	if err := linked.Stage(third); err != nil {
		t.Fatal(err)
	}
	if err := linked.Swap(third, true); err != nil {
		t.Fatal(err)
	}
}

// Two certificates, or one at two pairs of paths, in one folder never share a switch.
func TestLinkedSharesNoSwitch(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	linked := paths(t)
	other := linked
	other.Certificate, other.Key = linked.Certificate+".2", linked.Key+".2"
	oldOne, oldTwo, next := authority.Issue(t, "a.example.com"), authority.Issue(t, "b.example.com"), authority.Issue(t, "c.example.com")
	put(t, linked, oldOne, 0o600)
	put(t, other, oldTwo, 0o600)
	placement := deploytest.Store(t, linked.State, "www", 1, next)
	deployed(t, linked, placement)
	deployed(t, other, placement)
	opened(t, "first", linked, next)
	opened(t, "second", other, next)
	if err := other.Swap(deploy.Placement{Name: "www"}, true); err != nil {
		t.Fatal(err)
	}
	opened(t, "first after the second's roll-back", linked, next)
	opened(t, "second", other, oldTwo)

	// the same paths, now for a certificate of another name
	renamed := deploytest.Store(t, linked.State, "www2", 1, authority.Issue(t, "a.example.com"))
	if standing, err := linked.Look("www2"); err != nil || standing.Generation != 0 {
		t.Fatalf("another name's pair: %+v, %v", standing, err)
	}
	deployed(t, linked, renamed)
	if name, number, _, ok := linked.InForce(); name != "www2" || number != 1 || !ok {
		t.Fatalf("in force: %s %d %v", name, number, ok)
	}
	if err := linked.Swap(deploy.Placement{Name: "www2"}, true); err != nil {
		t.Fatal(err)
	}
	opened(t, "before the renaming", linked, next)
}

func TestLinkedRefusesUnsafePlaces(t *testing.T) {
	issued := deploytest.NewAuthority(t).Issue(t, "www.example.com")
	for _, row := range []struct {
		name string
		want string
		make func(t *testing.T, linked *deploy.Linked)
	}{
		{"inside the state folder", "inside the state folder", func(t *testing.T, linked *deploy.Linked) {
			linked.Certificate = filepath.Join(linked.State, "cert.pem")
		}},
		{"inside the state folder through a link", "inside the state folder", func(t *testing.T, linked *deploy.Linked) {
			link := filepath.Join(filepath.Dir(linked.Key), "elsewhere")
			if err := os.Symlink(linked.State, link); err != nil {
				t.Fatal(err)
			}
			linked.Key = filepath.Join(link, "key.pem")
		}},
		{"relative", "absolute", func(t *testing.T, linked *deploy.Linked) { linked.Key = "key.pem" }},
		{"no such folder", "no such file", func(t *testing.T, linked *deploy.Linked) {
			linked.Key = filepath.Join(linked.State, "..", "absent", "key.pem")
		}},
		{"a folder of somebody else", "belongs to user 12345", func(t *testing.T, linked *deploy.Linked) {
			if err := os.Chown(filepath.Dir(linked.Key), 12345, 12345); err != nil {
				t.Skip("giving a folder away needs root")
			}
		}},
		{"a folder writable by all", "written by everybody", func(t *testing.T, linked *deploy.Linked) {
			if err := os.Chmod(filepath.Dir(linked.Certificate), 0o777); err != nil {
				t.Fatal(err)
			}
		}},
		{"a folder above writable by all", "written by everybody", func(t *testing.T, linked *deploy.Linked) {
			if err := os.Chmod(filepath.Dir(linked.State), 0o777); err != nil {
				t.Fatal(err)
			}
		}},
		{"the path is a folder", "is a folder", func(t *testing.T, linked *deploy.Linked) {
			if err := os.Mkdir(linked.Key, 0o755); err != nil {
				t.Fatal(err)
			}
		}},
		{"the path is a mount point", "mount point", func(t *testing.T, linked *deploy.Linked) {
			put(t, *linked, issued, 0o600)
			if err := syscall.Mount(linked.Key, linked.Key, "", syscall.MS_BIND, ""); err != nil {
				t.Skipf("mounting is not allowed: %v", err)
			}
			path := linked.Key
			t.Cleanup(func() { syscall.Unmount(path, syscall.MNT_DETACH) })
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			linked := paths(t)
			placement := deploytest.Store(t, linked.State, "www", 1, issued)
			row.make(t, &linked)
			err := linked.Stage(placement)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("Stage: %v", err)
			}
			if err := linked.Swap(placement, false); err == nil {
				t.Error("Swap was done")
			}
		})
	}
}

// Killed at every step of the first deployment and of a later one: a server
// that starts at that instant finds the old pair or the new pair, whole.
func TestLinkedKilledAnywhere(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	names := []string{"www.example.com"}
	zero, one, two := authority.Issue(t, names...), authority.Issue(t, names...), authority.Issue(t, names...)
	for _, row := range []struct {
		name   string
		begin  func(t *testing.T, linked deploy.Linked) deploy.Placement
		before *deploytest.Issued
		after  deploytest.Issued
		kills  int
	}{
		{"first, over a pair in force", func(t *testing.T, linked deploy.Linked) deploy.Placement {
			put(t, linked, zero, 0o640)
			return deploytest.Store(t, linked.State, "www", 1, one)
		}, &zero, one, 20},
		{"first, over nothing", func(t *testing.T, linked deploy.Linked) deploy.Placement {
			return deploytest.Store(t, linked.State, "www", 1, one)
		}, nil, one, 12},
		{"later", func(t *testing.T, linked deploy.Linked) deploy.Placement {
			put(t, linked, zero, 0o640)
			deployed(t, linked, deploytest.Store(t, linked.State, "www", 1, one))
			return deploytest.Store(t, linked.State, "www", 2, two)
		}, &one, two, 9},
		{"one file for both", func(t *testing.T, linked deploy.Linked) deploy.Placement {
			return deploytest.Store(t, linked.State, "www", 1, one)
		}, nil, one, 8},
	} {
		t.Run(row.name, func(t *testing.T) {
			combined := row.name == "one file for both"
			olds, news := 0, 0
			look := func(t *testing.T, w written) {
				full, fullErr := os.ReadFile(w.Linked.Certificate)
				key, keyErr := os.ReadFile(w.Linked.Key)
				switch {
				case bytes.Contains(full, row.after.Full()) && bytes.Contains(key, bytes.TrimSpace(row.after.Key)):
					news++
				case row.before != nil && bytes.Equal(full, row.before.Full()) && bytes.Equal(key, row.before.Key):
					olds++
				case row.before == nil && (fullErr != nil || keyErr != nil):
					olds++
				default:
					t.Fatalf("a server that starts now finds no whole pair (%v, %v)", fullErr, keyErr)
				}
			}
			kills := deploytest.Kill(t, "both", func(t *testing.T) any {
				linked := paths(t)
				if combined {
					linked.Certificate = linked.Key
				}
				placement := row.begin(t, linked)
				return written{Linked: linked, Placement: placement}
			}, func(t *testing.T, argument any) { look(t, argument.(written)) }, func(t *testing.T, argument any) {
				w := argument.(written)
				standing, err := w.Linked.Look("www")
				if err != nil || standing.Generation != w.Placement.Generation || !standing.KeyMatches || !standing.Chain[0].Equal(row.after.Certificate) {
					t.Fatalf("after another run: %+v, %v", standing, err)
				}
				leftOver(t, filepath.Dir(w.Linked.Key), filepath.Dir(w.Linked.Certificate))
			})
			if kills < row.kills || olds == 0 || news == 0 {
				t.Fatalf("%d kills (%d old, %d new): too few to prove anything", kills, olds, news)
			}
		})
	}
}

func leftOver(t *testing.T, folders ...string) {
	t.Helper()
	for _, folder := range folders {
		filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if strings.HasPrefix(filepath.Base(path), ".backstay-tmp-") {
				t.Errorf("left over: %s", path)
			}
			return err
		})
	}
}

// A disk that is full, or read-only, at each step leaves what was in force.
func TestLinkedOnBadDisks(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	old, next := authority.Issue(t, "www.example.com"), authority.Issue(t, "www.example.com")
	for _, row := range []struct {
		name string
		bad  func(t *testing.T, disk string) (mend func())
		want error
	}{
		{"full", deploytest.Fill, syscall.ENOSPC},
		{"read-only", func(t *testing.T, disk string) func() {
			deploytest.ReadOnly(t, disk, true)
			return func() { deploytest.ReadOnly(t, disk, false) }
		}, syscall.EROFS},
	} {
		for staged := range 2 {
			t.Run(fmt.Sprintf("%s, staged %d", row.name, staged), func(t *testing.T) {
				linked := pathsBelow(t, deploytest.SmallDisk(t, 128))
				linked.State = filepath.Join(t.TempDir(), "state") // on a sound disk
				placement := deploytest.Store(t, linked.State, "www", 1, next)
				put(t, linked, old, 0o600)
				if staged == 1 {
					if err := linked.Stage(placement); err != nil {
						t.Fatal(err)
					}
				}
				mend := row.bad(t, filepath.Dir(filepath.Dir(linked.Key)))
				err := linked.Stage(placement)
				if err == nil {
					err = linked.Swap(placement, false)
				}
				if errors.Is(err, row.want) {
					opened(t, "refused", linked, old)
				} else if err != nil || staged == 0 {
					t.Fatalf("on a bad disk: %v", err)
				} else {
					opened(t, "swapped although the disk is full: a link needs no block", linked, next)
				}
				mend()
				deployed(t, linked, placement)
				opened(t, "mended", linked, next)
			})
		}
	}
}
