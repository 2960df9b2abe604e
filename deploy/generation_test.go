package deploy_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/deploy/deploytest"
)

func TestGenerationGrowsInTwoSteps(t *testing.T) {
	state, issued := deploytest.State(t), deploytest.NewAuthority(t).Issue(t, "www.example.com")

	if _, err := deploy.Read(state, "www", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("reading nothing: %v", err)
	}
	if err := deploy.WriteChain(state, "www", 1, issued.Leaf, issued.Chain); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a chain without a key: %v", err)
	}
	if err := deploy.WriteKey(state, "www", 1, issued.Key); err != nil {
		t.Fatal(err)
	}
	half, err := deploy.Read(state, "www", 1)
	if !errors.Is(err, deploy.ErrIncomplete) || !half.HasKey || half.Complete || len(half.Missing) != 3 {
		t.Fatalf("after the key: %+v, %v", half, err)
	}
	if err := deploy.PointLive(state, "www", 1); !errors.Is(err, deploy.ErrIncomplete) {
		t.Fatalf("live at half a generation: %v", err)
	}
	for range 2 { // the second time for nothing
		if err := deploy.WriteChain(state, "www", 1, issued.Leaf, issued.Chain); err != nil {
			t.Fatal(err)
		}
		if err := deploy.PointLive(state, "www", 1); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := deploy.Read(state, "www", 1)
	if err != nil || !whole.Complete || len(whole.Chain) != 2 || !whole.Chain[0].Equal(issued.Certificate) {
		t.Fatalf("after the chain: %+v, %v", whole, err)
	}
	if number, err := deploy.Live(state, "www"); number != 1 || err != nil {
		t.Fatalf("live: %d, %v", number, err)
	}
	link, _ := os.Readlink(filepath.Join(state, "live", "www"))
	if link != "../certs/www/1" {
		t.Errorf("live link: %q", link)
	}
	for name, mode := range map[string]fs.FileMode{"privkey.pem": 0o600, "cert.pem": 0o644, "chain.pem": 0o644, "fullchain.pem": 0o644} {
		info, err := os.Stat(filepath.Join(state, "live", "www", name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	key, err := deploy.ReadKey(state, "www", 1)
	if err != nil || !bytes.Equal(key, issued.Key) {
		t.Errorf("the key read back differs: %v", err)
	}
}

func TestGenerationsNeverChange(t *testing.T) {
	state, authority := deploytest.State(t), deploytest.NewAuthority(t)
	first, second := authority.Issue(t, "www.example.com"), authority.Issue(t, "www.example.com")
	deploytest.Store(t, state, "www", 1, first)

	if err := deploy.WriteKey(state, "www", 1, second.Key); !errors.Is(err, deploy.ErrImmutable) {
		t.Errorf("another key: %v", err)
	}
	if err := deploy.WriteChain(state, "www", 1, second.Leaf, second.Chain); err == nil {
		t.Error("a leaf of another key was accepted")
	}
	if err := deploy.WriteChain(state, "www", 1, first.Leaf, nil); !errors.Is(err, deploy.ErrImmutable) {
		t.Errorf("another chain: %v", err)
	}
	if generation, err := deploy.Read(state, "www", 1); err != nil || !generation.Chain[0].Equal(first.Certificate) {
		t.Errorf("the generation changed: %v", err)
	}
}

func TestGenerationRefusesForeignText(t *testing.T) {
	state, issued := deploytest.State(t), deploytest.NewAuthority(t).Issue(t, "www.example.com")
	if err := deploy.WriteKey(state, "www", 1, []byte("no key")); err == nil {
		t.Error("a key that is none was stored")
	}
	if err := deploy.WriteKey(state, "www", 1, issued.Key); err != nil {
		t.Fatal(err)
	}
	stray := slices.Concat(issued.Chain, issued.Key)
	noise := slices.Concat([]byte("<script>subject: x</script>\n"), issued.Chain, []byte("\ntrailing noise"))
	for _, row := range []struct {
		name        string
		leaf, chain []byte
		fails       bool
	}{
		{"a private key in the chain", issued.Leaf, stray, true},
		{"a private key beside the leaf", slices.Concat(issued.Leaf, issued.Key), issued.Chain, true},
		{"two leaves", issued.Full(), issued.Chain, true},
		{"no leaf", nil, issued.Chain, true},
		{"no certificate", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), nil, true},
		{"noise between the blocks", issued.Leaf, noise, false},
	} {
		err := deploy.WriteChain(state, "www", 1, row.leaf, row.chain)
		if (err != nil) != row.fails {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(deploy.Folder(state, "www", 1), "fullchain.pem"))
	if err != nil || !bytes.Equal(text, issued.Full()) {
		t.Errorf("noise reached the file: %q, %v", text, err)
	}
}

func TestGenerationNames(t *testing.T) {
	state := deploytest.State(t)
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/etc", ".hidden", "-rf", "A", "a b", "a\n", "a\x00", "_x", "_wildcard.", "ü", strings.Repeat("a", 241)} {
		if err := deploy.WriteKey(state, name, 1, nil); err == nil || !strings.Contains(err.Error(), "certificate name") {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for _, name := range []string{"www", "a..b", "_wildcard.example.com", "1", "a_b-c.d"} {
		if err := deploy.CheckName(name); err != nil {
			t.Error(err)
		}
	}
	if err := deploy.WriteKey("relative", "www", 1, nil); err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Errorf("a relative state folder: %v", err)
	}
	if err := deploy.WriteKey(state, "www", 0, nil); err == nil {
		t.Error("generation 0 was accepted")
	}
	if _, err := os.Stat(state); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}

func TestGenerationsAreListed(t *testing.T) {
	state, authority := deploytest.State(t), deploytest.NewAuthority(t)
	for _, number := range []int{10, 2, 1} {
		deploytest.Store(t, state, "www", number, authority.Issue(t, "www.example.com"))
	}
	for _, other := range []string{"007", "0", "-3", "x"} {
		if err := os.Mkdir(filepath.Join(state, "certs", "www", other), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if numbers, err := deploy.List(state, "www"); err != nil || !slices.Equal(numbers, []int{1, 2, 10}) {
		t.Errorf("List: %v, %v", numbers, err)
	}
	if numbers, err := deploy.List(state, "absent"); err != nil || numbers != nil {
		t.Errorf("List of nothing: %v, %v", numbers, err)
	}
	if names, err := deploy.Names(state); err != nil || !slices.Equal(names, []string{"www"}) {
		t.Errorf("Names: %v, %v", names, err)
	}
}

// What a disk that lied about its sync may leave is recognised, and healed
// where nothing depends on it.
func TestDamagedGenerations(t *testing.T) {
	authority := deploytest.NewAuthority(t)
	issued, other := authority.Issue(t, "www.example.com"), authority.Issue(t, "www.example.com")
	for _, row := range []struct {
		name   string
		damage func(folder string)
		heals  bool
	}{
		{"empty key, nothing else", func(folder string) {
			empty(t, folder, "privkey.pem")
			remove(t, folder, "cert.pem", "chain.pem", "fullchain.pem")
		}, true},
		{"empty key under a certificate", func(folder string) { empty(t, folder, "privkey.pem") }, false},
		{"empty leaf", func(folder string) { empty(t, folder, "cert.pem") }, true},
		{"empty full chain", func(folder string) { empty(t, folder, "fullchain.pem") }, true},
		{"another key", func(folder string) { overwrite(t, folder, "privkey.pem", other.Key) }, false},
		{"a leaf of another order", func(folder string) { overwrite(t, folder, "cert.pem", other.Leaf) }, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			state := deploytest.State(t)
			folder := deploytest.Store(t, state, "www", 1, issued).Folder
			row.damage(folder)
			if generation, err := deploy.Read(state, "www", 1); err == nil || generation.Complete {
				t.Fatalf("the damage was not seen: %+v", generation)
			}
			err := errors.Join(deploy.WriteKey(state, "www", 1, issued.Key), deploy.WriteChain(state, "www", 1, issued.Leaf, issued.Chain))
			if (err == nil) != row.heals {
				t.Fatalf("written again: %v", err)
			}
			if _, err := deploy.Read(state, "www", 1); (err == nil) != row.heals {
				t.Fatalf("read again: %v", err)
			}
		})
	}
}

func empty(t *testing.T, folder, name string) { overwrite(t, folder, name, nil) }

func overwrite(t *testing.T, folder, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, folder string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// Killed before and after every write: what is left is absent, or incomplete
// and said so, or complete; the same calls again finish it.
func TestGenerationKilledAnywhere(t *testing.T) {
	issued := deploytest.NewAuthority(t).Issue(t, "www.example.com")
	incomplete := 0
	kills := deploytest.Kill(t, "generation", func(t *testing.T) any {
		return written{State: deploytest.State(t), Key: issued.Key, Leaf: issued.Leaf, Chain: issued.Chain}
	}, func(t *testing.T, argument any) {
		state := argument.(written).State
		generation, err := deploy.Read(state, "www", 1)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, deploy.ErrIncomplete):
			incomplete++
		case err != nil:
			t.Fatalf("after the kill: %v", err)
		}
		if len(generation.Chain) > 0 && !generation.HasKey {
			t.Fatal("a certificate without its key")
		}
		if _, err := deploy.Live(state, "www"); err == nil && !generation.Complete {
			t.Fatal("live points at half a generation")
		}
		filepath.WalkDir(state, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				text, _ := os.ReadFile(path)
				info, _ := entry.Info()
				if bytes.Contains(text, []byte("PRIVATE")) && info.Mode().Perm() != 0o600 {
					t.Errorf("%s: a key with mode %v", path, info.Mode())
				}
			}
			return nil
		})
	}, func(t *testing.T, argument any) {
		state := argument.(written).State
		if _, err := deploy.Read(state, "www", 1); err != nil {
			t.Fatal(err)
		}
		if number, err := deploy.Live(state, "www"); number != 1 || err != nil {
			t.Fatalf("live: %d, %v", number, err)
		}
		entries, _ := os.ReadDir(deploy.Folder(state, "www", 1))
		if len(entries) != 4 {
			t.Fatalf("left over: %v", entries)
		}
	})
	if kills < 15 || incomplete == 0 {
		t.Fatalf("%d kills, %d half generations: too few to prove anything", kills, incomplete)
	}
}

func TestGenerationOnAFullDisk(t *testing.T) {
	disk := deploytest.SmallDisk(t, 64)
	state := filepath.Join(disk, "state")
	issued := deploytest.NewAuthority(t).Issue(t, "www.example.com")
	if err := deploy.WriteKey(state, "www", 1, issued.Key); err != nil {
		t.Fatal(err)
	}
	free := deploytest.Fill(t, disk)
	err := deploy.WriteChain(state, "www", 1, issued.Leaf, issued.Chain)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("on a full disk: %v", err)
	}
	if generation, err := deploy.Read(state, "www", 1); !errors.Is(err, deploy.ErrIncomplete) || !generation.HasKey {
		t.Fatalf("left behind: %+v, %v", generation, err)
	}
	free()
	if err := deploy.WriteChain(state, "www", 1, issued.Leaf, issued.Chain); err != nil {
		t.Fatal(err)
	}
	if _, err := deploy.Read(state, "www", 1); err != nil {
		t.Fatal(err)
	}
}

func TestGenerationOnAReadOnlyDisk(t *testing.T) {
	disk := deploytest.SmallDisk(t, 256)
	state := filepath.Join(disk, "state")
	authority := deploytest.NewAuthority(t)
	issued, next := authority.Issue(t, "www.example.com"), authority.Issue(t, "www.example.com")
	deploytest.Store(t, state, "www", 1, issued)
	deploytest.ReadOnly(t, disk, true)
	if err := deploy.WriteKey(state, "www", 2, next.Key); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("on a read-only disk: %v", err)
	}
	if _, err := deploy.Read(state, "www", 1); err != nil {
		t.Errorf("the old generation: %v", err)
	}
	deploytest.ReadOnly(t, disk, false)
	if err := deploy.WriteKey(state, "www", 2, next.Key); err != nil {
		t.Error(err)
	}
}
