package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// loadModules loads a folder of modules in the order of their names.
func loadModules(dir string) error {
	files, err := os.ReadDir(dir) // sorted
	if err != nil {
		return err
	}
	for _, f := range files {
		m, err := os.Open(filepath.Join(dir, f.Name()))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(m.Fd()), "", 0)
		m.Close()
		if err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("loading %s: %w", f.Name(), err)
		}
	}
	return nil
}

// enterDisk makes the ext4 file system of a device the root, and mounts on it
// what every system has.
func enterDisk(device string) error {
	if err := syscall.Mount("dev", "/dev", "devtmpfs", 0, ""); err != nil {
		return fmt.Errorf("mounting /dev: %w", err)
	}
	if err := appears(device); err != nil {
		return err
	}
	if err := syscall.Mount(device, "/disk", "ext4", 0, ""); err != nil {
		return fmt.Errorf("mounting %s: %w", device, err)
	}
	if err := syscall.Chdir("/disk"); err != nil {
		return err
	}
	if err := syscall.Mount(".", "/", "", syscall.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the disk to /: %w", err)
	}
	if err := syscall.Chroot("."); err != nil {
		return err
	}
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"}} {
		if err := syscall.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m[1], err)
		}
	}
	return nil
}

// appears waits until the kernel has found a device.
func appears(device string) error {
	for range 100 {
		if _, err := os.Stat(device); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%s has not appeared within 5 s", device)
}

// lines are those of a file of variables.
func lines(text []byte) (all []string) {
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}
