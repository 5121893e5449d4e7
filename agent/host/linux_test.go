package host

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

func hook(t *testing.T, dir, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestLinux_ReadsTheRealBootIDAndClock(t *testing.T) {
	l := NewLinux(LinuxConfig{})
	id, err := l.BootID()
	if err != nil || len(id) != 36 {
		t.Errorf("boot id %q, %v", id, err)
	}
	a := l.Clock()
	if b := l.Clock(); a <= 0 || b < a {
		t.Errorf("clock %s, then %s", a, b)
	}
	if l.Simulated() || l.Root() != "/" || l.OS() == "" {
		t.Errorf("simulated %t, root %q, os %q", l.Simulated(), l.Root(), l.OS())
	}
}

func TestLinux_AnEmptyBootIDIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "boot_id")
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewLinux(LinuxConfig{BootIDFile: file}).BootID(); err == nil {
		t.Error("accepted")
	}
}

func TestHooks_ExitStatusSaysDoneNotYetOrFailed(t *testing.T) {
	dir := t.TempDir()
	l := NewLinux(LinuxConfig{HooksDir: dir})
	ctx := t.Context()
	if err := l.Drain(ctx, nil); err != nil {
		t.Errorf("without a hook: %v", err)
	}
	hook(t, dir, "drain", `test "$LOCKKEEPER_NODE" = n1 || exit 1`)
	if err := l.Drain(ctx, []string{"LOCKKEEPER_NODE=n1"}); err != nil {
		t.Errorf("done: %v", err)
	}
	hook(t, dir, "drain", "exit 75")
	if err := l.Drain(ctx, nil); !errors.Is(err, ErrNotYet) {
		t.Errorf("not yet: %v", err)
	}
	hook(t, dir, "undrain", "echo the load balancer does not answer >&2; exit 3")
	if err := l.Undrain(ctx, nil); err == nil || !strings.Contains(err.Error(), "exit status 3: the load balancer does not answer") {
		t.Errorf("failed: %v", err)
	}
}

func TestRun_EndsTheWholeGroupAfterTheTimeout(t *testing.T) {
	l := NewLinux(LinuxConfig{})
	start := time.Now()
	_, err := l.Run(t.Context(), Command{Line: "sleep 600 & sleep 600", Timeout: 100 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "did not end within 100ms") {
		t.Errorf("got %v", err)
	}
	if time.Since(start) > time.Minute {
		t.Error("waited for the background process")
	}
}

func TestRun_KeepsTheEndOfLongOutput(t *testing.T) {
	out, err := NewLinux(LinuxConfig{}).Run(t.Context(), Command{Line: "seq 100000; exit 4", Timeout: time.Minute})
	if err == nil || len(out) > maxOutput || !strings.HasSuffix(out, "100000") {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

func TestRun_EndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewLinux(LinuxConfig{}).Run(ctx, Command{Line: "sleep 60", Timeout: time.Minute}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestReboot_RunsTheCommandAndSaysWhyItFailed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rebooted")
	if err := NewLinux(LinuxConfig{RebootCommand: "touch " + file}).Reboot(t.Context(), false); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	err := NewLinux(LinuxConfig{RebootCommand: "echo no authority; false"}).Reboot(t.Context(), false)
	if err == nil || !strings.Contains(err.Error(), "no authority") {
		t.Errorf("got %v", err)
	}
}

func TestNeedsReboot_LooksForTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "reboot-required")
	l := NewLinux(LinuxConfig{RebootRequiredFile: file})
	if _, needs := l.NeedsReboot(); needs {
		t.Error("without the file")
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if why, needs := l.NeedsReboot(); !needs || why != "" {
		t.Errorf("with the file: %t, %q", needs, why)
	}
	if err := os.WriteFile(file+".pkgs", []byte("linux-image-6.1.0-9\nlibc6\nlibc6\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if why, needs := l.NeedsReboot(); !needs || why != "libc6, linux-image-6.1.0-9" {
		t.Errorf("with the packages: %t, %q", needs, why)
	}
}

func TestCheck_EachKindPassesAndFails(t *testing.T) {
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer srv.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	l, patience := NewLinux(LinuxConfig{}), bundle.Duration(time.Minute)
	probes := []bundle.Probe{
		{Command: `test "$LOCKKEEPER_NODE" = n1`, Timeout: patience}, {HTTP: srv.URL, Timeout: patience}, {TCP: addr, Timeout: patience},
	}
	check := func() error { return l.Check(t.Context(), "", probes, []string{"LOCKKEEPER_NODE=n1"}) }
	if err := check(); err != nil {
		t.Fatal(err)
	}
	status = http.StatusServiceUnavailable
	if err := check(); err == nil || !strings.Contains(err.Error(), "HTTP status 503, want 200 to 299") {
		t.Errorf("http: %v", err)
	}
	status = http.StatusNoContent
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := check(); err == nil || !strings.Contains(err.Error(), "tcp "+addr) {
		t.Errorf("tcp: %v", err)
	}
	probes = []bundle.Probe{{Command: "echo broken; false", Timeout: patience}}
	if err := check(); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("command: %v", err)
	}
}
