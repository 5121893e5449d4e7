package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hooked is a host with a folder of hooks for one point.
func hooked(t *testing.T, point HookPoint) (l *Linux, folder string) {
	t.Helper()
	dir := t.TempDir()
	folder = filepath.Join(dir, string(point))
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return NewLinux(LinuxConfig{HooksDir: dir, Supervised: true, HookTimeout: time.Minute}), folder
}

func TestHooks_RunInTheOrderOfTheirNamesUntilOneDoesNotSucceed(t *testing.T) {
	l, dir := hooked(t, HookPreReboot)
	log := filepath.Join(t.TempDir(), "log")
	said := "echo $LOCKKEEPER_HOOK $LOCKKEEPER_NODE ${0##*/} >> " + log + "\n"
	hook(t, dir, "20-second", said)
	hook(t, dir, "10-first", said)
	hook(t, dir, "30-third", said+"echo the peers resync; exit 75")
	hook(t, dir, "40-fourth", said)
	for _, leftover := range []string{"50-edited~", ".60-hidden", "70-packaged.dpkg-old"} {
		hook(t, dir, leftover, said)
	}
	err := l.Hook(t.Context(), HookPreReboot, []string{"LOCKKEEPER_NODE=n1"})
	if !errors.Is(err, ErrNotYet) || !strings.Contains(err.Error(), "30-third: not yet: the peers resync") {
		t.Errorf("got %v", err)
	}
	b, _ := os.ReadFile(log)
	if want := "pre-reboot n1 10-first\npre-reboot n1 20-second\npre-reboot n1 30-third\n"; string(b) != want {
		t.Errorf("ran %q, want %q", b, want)
	}
}

func TestHooks_OneThatOthersCanChangeIsNotRun(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(hooksDir, folder, file string) error
		want  string
	}{
		"writable by all":      {func(_, _, f string) error { return os.Chmod(f, 0o757) }, "chmod go-w"},
		"writable by group":    {func(_, _, f string) error { return os.Chmod(f, 0o775) }, "chmod go-w"},
		"another's":            {func(_, _, f string) error { return os.Chown(f, 65534, 0) }, "belongs to user 65534"},
		"in a writable folder": {func(_, d, _ string) error { return os.Chmod(d, 0o777) }, "chmod go-w"},
		"below another's":      {func(h, _, _ string) error { return os.Chown(h, 65534, 0) }, "belongs to user 65534"},
		"not executable":       {func(_, _, f string) error { return os.Chmod(f, 0o644) }, "is not an executable file"},
		"a folder": {func(_, _, f string) error {
			if err := os.Remove(f); err != nil {
				return err
			}
			return os.Mkdir(f, 0o755)
		}, "is not an executable file"},
		"a link into a writable folder": {func(_, _, f string) error {
			open := filepath.Join(filepath.Dir(filepath.Dir(f)), "open")
			if err := os.Mkdir(open, 0o755); err != nil {
				return err
			}
			if err := os.Rename(f, filepath.Join(open, "hook")); err != nil {
				return err
			}
			if err := os.Symlink(filepath.Join(open, "hook"), f); err != nil {
				return err
			}
			return os.Chmod(open, 0o777)
		}, "chmod go-w"},
		"a link to nothing": {func(_, _, f string) error {
			if err := os.Remove(f); err != nil {
				return err
			}
			return os.Symlink("/nonexistent", f)
		}, "cannot be looked at"},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Fatal("this test needs root, as the agent does: it gives files away")
			}
			l, dir := hooked(t, HookDrain)
			ran := filepath.Join(t.TempDir(), "ran")
			hook(t, dir, "hook", "touch "+ran)
			if err := c.spoil(filepath.Dir(dir), dir, filepath.Join(dir, "hook")); err != nil {
				t.Fatal(err)
			}
			if err := l.Drain(t.Context(), nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if _, err := os.Stat(ran); err == nil {
				t.Error("it was run")
			}
		})
	}
}

func TestHooks_BadOnesEndAndSayWhy(t *testing.T) {
	l, dir := hooked(t, HookPreApply)
	for script, want := range map[string]string{
		"exit 127":                "exit status 127",
		"/no/such/program":        "exit status 127: " + dir + "/hook: 2: /no/such/program: not found",
		"kill -SEGV $$; sleep 60": "exit status 139",
	} {
		hook(t, dir, "hook", script)
		if err := l.Hook(t.Context(), HookPreApply, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", script, err, want)
		}
	}
	hook(t, dir, "hook", "sleep 600")
	impatient := *l
	impatient.cfg.HookTimeout = 500 * time.Millisecond
	if err := impatient.Hook(t.Context(), HookPreApply, nil); err == nil || !strings.Contains(err.Error(), "did not end within 500ms") {
		t.Errorf("one that does not end: %v", err)
	}
	hook(t, dir, "hook", "")
	if err := os.WriteFile(filepath.Join(dir, "hook"), []byte("\x7fELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := l.Hook(t.Context(), HookPreApply, nil); err == nil || !strings.Contains(err.Error(), "exec format error") {
		t.Errorf("a damaged program: %v", err)
	}
}
