package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// HookPoint is when hooks run.
type HookPoint string

// The points, in their order. All but undrain run while the host holds its slot
// and before it is healthy again; each may run again after a crash.
const (
	HookDrain      HookPoint = "drain"       // take the host out of service
	HookPreApply   HookPoint = "pre-apply"   // a bundle's files are about to be put in place
	HookPreReboot  HookPoint = "pre-reboot"  // the host is about to be asked to reboot
	HookPostReboot HookPoint = "post-reboot" // it has; before the health checks
	HookUndrain    HookPoint = "undrain"     // put the host back into service
)

// tryAgain is the exit status of a hook that wants to be asked again.
const tryAgain = 75

// Hook runs the hooks of a point one after another, in the order of their
// names, until one does not succeed. ErrNotYet: it asks to be called again, and
// all of them are then.
func (l *Linux) Hook(ctx context.Context, point HookPoint, env []string) error {
	files, err := l.hooks(point)
	if err != nil {
		return err
	}
	env = append(env[:len(env):len(env)], "LOCKKEEPER_HOOK="+string(point))
	for _, file := range files {
		out, err := l.run(ctx, l.cfg.HookTimeout, env, file)
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == tryAgain {
			err = ErrNotYet
		}
		if err != nil {
			return failed("the hook "+file, out, err)
		}
	}
	return nil
}

// hooks are the executables of a point: the file of that name, or those in the
// folder of that name.
func (l *Linux) hooks(point HookPoint) ([]string, error) {
	place := filepath.Join(l.cfg.HooksDir, string(point))
	info, err := os.Stat(place)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the hooks %s cannot be looked at: %w", place, err)
	}
	if err := trusted(l.cfg.HooksDir); err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{place}, executable(place)
	}
	if err := trusted(place); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(place) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("the hooks %s cannot be looked at: %w", place, err)
	}
	var files []string
	for _, e := range entries {
		if leftover(e.Name()) {
			continue
		}
		file := filepath.Join(place, e.Name())
		if err := executable(file); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// leftover reports names that editors and package managers leave behind.
func leftover(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
		return true
	}
	switch filepath.Ext(name) {
	case ".dpkg-old", ".dpkg-dist", ".dpkg-new", ".dpkg-tmp", ".rpmnew", ".rpmsave", ".rpmorig":
		return true
	}
	return false
}

// executable reports why a file may not be run as a hook. One that was only
// forgotten to be made executable must not be passed over: it may be the drain.
func executable(file string) error {
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return fmt.Errorf("the hook %s cannot be looked at: %w", file, err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return fmt.Errorf("the hook %s cannot be looked at: %w", file, err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("the hook %s is not an executable file (%s): make it one, or move it away", file, info.Mode())
	}
	if err := trusted(filepath.Dir(real)); err != nil {
		return err
	}
	return trusted(real)
}

// trusted reports why something may not decide what this user runs: others can
// change it.
func trusted(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s cannot be looked at: %w", path, err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: its owner is not known", path)
	}
	if st.Uid != 0 && st.Uid != uint32(os.Geteuid()) {
		return fmt.Errorf("%s belongs to user %d, and hooks run as user %d: no hook is run until it belongs to root (chown root)", path, st.Uid, os.Geteuid())
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be changed by others (mode %04o): no hook is run until only its owner can write it (chmod go-w)", path, info.Mode().Perm())
	}
	return nil
}
