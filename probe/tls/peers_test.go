package tlsprobe

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startOpenSSL runs `openssl s_server` on a free port of loopback and returns
// its address. It is ended with the test.
func startOpenSSL(t testing.TB, arguments ...string) netip.AddrPort {
	t.Helper()
	command := exec.Command("openssl", append([]string{"s_server", "-accept", "127.0.0.1:0"}, arguments...)...)
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// s_server ends when its input does; this end is held open.
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	command.Stderr = &complaints
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { input.Close(); command.Process.Kill(); command.Wait() })
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "ACCEPT "); ok {
			go func() { // a full pipe would stop the server
				for lines.Scan() {
				}
			}()
			return netip.MustParseAddrPort(address)
		}
	}
	t.Fatalf("openssl %v did not start: %s", arguments, complaints.String())
	return netip.AddrPort{}
}

// openssl runs a command in folder.
func openssl(t testing.TB, folder string, arguments ...string) {
	t.Helper()
	command := exec.Command("openssl", arguments...)
	command.Dir = folder
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
}

func write(t testing.TB, folder, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve answers each connection with a function, on a free port of loopback.
func serve(t testing.TB, answer func(net.Conn)) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				answer(connection)
			}()
		}
	}()
	return netip.MustParseAddrPort(listener.Addr().String())
}

func lookAt(t testing.TB, address netip.AddrPort, name string) (seen observed) {
	t.Helper()
	return observed{Look(context.Background(), Target{Target: name, Named: true, Name: name, ServerName: name, Address: address}, Options{ConnectTimeout: 5 * time.Second})}
}
