package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A supervisor starts the agent, hears that it is ready, and stops it; a second
// one on the same state folder is refused meanwhile.
func TestProcess_TellsSystemdAndStopsOnRequest(t *testing.T) {
	dir := t.TempDir()
	sock, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	// Nothing listens there: the agent waits, and does nothing.
	args := []string{"run", "--server", "http://127.0.0.1:1", "--node", "n1", "--label", "zone=a", "--state-dir", filepath.Join(dir, "state"), "--root", dir}
	cmd := exec.Command(program(t), args...)
	cmd.Env = []string{"NOTIFY_SOCKET=" + sock.LocalAddr().String(), "WATCHDOG_USEC=200000"}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }() // it has ended unless the test failed
	expect := func(want string) {
		t.Helper()
		buf := make([]byte, 256)
		for {
			if err := sock.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			n, err := sock.Read(buf)
			if err != nil {
				t.Fatalf("never %s: %v", want, err)
			}
			if string(buf[:n]) == want {
				return
			}
		}
	}
	expect("READY=1")
	expect("WATCHDOG=1")
	if code, _, stderr := runAgent(t, nil, args...); code != 1 || !strings.Contains(stderr, "another agent uses this state folder") {
		t.Errorf("second agent: exit code %d: %s", code, stderr)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	expect("STOPPING=1")
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("does not stop")
	}
}
