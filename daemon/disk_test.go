package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallState puts the state folder on a disk of its own, of so many bytes.
func (rig *rig) smallState(size string) {
	rig.t.Helper()
	if os.Geteuid() != 0 {
		rig.t.Skip("only root may mount a small disk")
	}
	if err := os.Mkdir(rig.State(), 0o700); err != nil {
		rig.t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", rig.State(), "tmpfs", 0, "mode=0700,size="+size); err != nil {
		rig.t.Skipf("no small disk can be mounted here: %v", err)
	}
	rig.t.Cleanup(func() { syscall.Unmount(rig.State(), syscall.MNT_DETACH) })
}

// TestDiskFull: with no room for the next key nothing is ordered or lost, the
// old pair stays served, and a run after space was freed finishes.
func TestDiskFull(t *testing.T) {
	rig := newRig(t, nil)
	rig.smallState("3m")
	configuration := rig.load("www: www.example.com")
	rig.run(configuration, Selection{})
	before, orders := rig.servedNow(), len(rig.Authority.Orders())
	for _, room := range []int{0, 8 << 10, 40 << 10} {
		filler := fill(t, rig.State(), room)
		report, err := rig.renew(configuration, Selection{Patience: time.Millisecond})
		if err == nil && len(report.Issued) > 0 {
			t.Fatalf("room %d: issued on a full disk: %+v", room, report)
		}
		if err != nil && !strings.Contains(err.Error(), "full") && !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("room %d: %v", room, err)
		}
		if rig.servedNow() != before {
			t.Fatalf("room %d: the certificate in force was replaced", room)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
	report, err := rig.renew(configuration, Selection{})
	if err != nil || len(report.Issued) != 1 || len(report.Served) != 1 || rig.servedNow() == before {
		t.Fatalf("not finished once there was room: %+v %v %+v", report, err, rig.findings)
	}
	if spent := len(rig.Authority.Orders()) - orders; spent > 2 {
		t.Errorf("%d orders for one need", spent)
	}
	if issued := len(rig.Authority.Issued()); issued != 2 {
		t.Errorf("%d certificates for two needs", issued)
	}
	rig.verifyJournal()
}

// fill takes all space but room bytes.
func fill(t *testing.T, folder string, room int) string {
	t.Helper()
	path := filepath.Join(folder, "filler")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	block := make([]byte, 4096)
	for {
		if _, err := file.Write(block); err != nil {
			break
		}
	}
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Truncate(max(0, info.Size()-int64(room))); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestReadOnlyState: a state folder that cannot be written stops before anything
// is done to the outside.
func TestReadOnlyState(t *testing.T) {
	rig := newRig(t, nil)
	rig.smallState("8m")
	configuration := rig.load("www: www.example.com")
	rig.run(configuration, Selection{})
	before, orders := rig.servedNow(), len(rig.Authority.Orders())
	if err := syscall.Mount("", rig.State(), "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "mode=0700,size=8m"); err != nil {
		t.Skipf("cannot be made read-only here: %v", err)
	}
	if _, err := rig.renew(configuration, Selection{}); !errors.Is(err, syscall.EROFS) {
		t.Fatalf("error %v, want read-only", err)
	}
	if rig.servedNow() != before || len(rig.Authority.Orders()) != orders {
		t.Fatal("something was done to the outside")
	}
	if err := syscall.Mount("", rig.State(), "", syscall.MS_REMOUNT, "mode=0700,size=8m"); err != nil {
		t.Fatal(err)
	}
	report, err := rig.renew(configuration, Selection{})
	if err != nil || len(report.Issued) != 1 || rig.servedNow() == before {
		t.Fatalf("%+v %v", report, err)
	}
}
