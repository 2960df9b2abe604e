package cli

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestScriptAlone runs the scripts of testdata/script/alone in a network of
// their own, where ports 80 and 443 are free whatever runs on this machine, and
// from which no packet leaves. A kernel that does not let us have one skips it.
func TestScriptAlone(t *testing.T) {
	const inside = "BACKSTAY_SCRIPT_ALONE"
	if os.Getenv(inside) != "" {
		if err := loopbackUp(); err != nil {
			t.Fatal(err)
		}
		runScripts(t, "testdata/script/alone")
		return
	}
	if os.Geteuid() != 0 {
		// A user namespace would do for the ports, but in it the folders above the
		// test's belong to nobody that is trusted.
		t.Skip("a network of one's own needs root")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	again := exec.Command(self, "-test.run=^TestScriptAlone$", "-test.v", "-test.parallel=1") // one at a time: they share the ports
	again.Env = append(os.Environ(), inside+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	output, err := again.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		t.Logf("%s", output)
	case errors.As(err, &exit):
		t.Errorf("%s", output)
	default:
		t.Skipf("no network of one's own: %v", err)
	}
}

// loopbackUp switches the loopback device of a new network on.
func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	device, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	device.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, device)
}
