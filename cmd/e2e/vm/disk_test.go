package vm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// applets are what the lines of bundles and hooks may call.
var applets = []string{"cat", "echo", "grep", "reboot", "sh", "sleep", "touch"}

// makeDisk makes an ext4 disk with a small system: a shell, the agent, and the
// files given (path → content).
func makeDisk(t *testing.T, k kernel, disk string, files map[string]string) {
	t.Helper()
	makeDiskOf(t, k, disk, "64M", map[string]string{"usr/bin/lockkeeper-agent": program("lockkeeper-agent")}, files)
}

// makeDiskOf is makeDisk with another size and other programs (path → file here).
func makeDiskOf(t *testing.T, k kernel, disk, size string, programs, files map[string]string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	for _, dir := range []string{"bin", "dev", "proc", "run", "sys", "tmp", "usr/bin", "var/lib"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	for _, name := range applets {
		must(t, os.Symlink("busybox", filepath.Join(root, "bin", name)))
	}
	copyFile(t, k.busybox, filepath.Join(root, "bin/busybox"))
	for path, program := range programs {
		copyFile(t, program, filepath.Join(root, path))
	}
	writeFiles(t, root, files)
	tool(t, "mkfs.ext4", "-q", "-F", "-E", "root_owner=0:0", "-d", root, disk, size)
	must(t, os.RemoveAll(root))
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, b, 0o755))
}

// disk is that of a machine which is off, as its next boot will find it: a copy
// to which the file system's own journal was applied.
type disk string

// openDisk fails the test when the file system is not sound after that.
func openDisk(t *testing.T, image string) disk {
	t.Helper()
	d := filepath.Join(t.TempDir(), "copy.img")
	tool(t, "cp", "--sparse=always", image, d)
	cmd := exec.Command("e2fsck", "-p", d)
	if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != 1 { // 1: it was corrected
		t.Fatalf("e2fsck: %v\n%s", err, out)
	}
	tool(t, "e2fsck", "-fn", d)
	return disk(d)
}

// file is a file's content, and whether it is there.
func (d disk) file(t *testing.T, path string) (string, bool) {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command("debugfs", "-R", "cat "+path, string(d))
	cmd.Stderr = &errs
	out, err := cmd.Output()
	must(t, err)
	return string(out), !bytes.Contains(errs.Bytes(), []byte("File not found"))
}

// folder is what the files in a folder hold, by name.
func (d disk) folder(t *testing.T, path string) map[string]string {
	t.Helper()
	to := t.TempDir()
	tool(t, "debugfs", "-R", "rdump "+path+" "+to, string(d))
	all := map[string]string{}
	entries, err := os.ReadDir(filepath.Join(to, filepath.Base(path)))
	must(t, err)
	for _, e := range entries {
		all[e.Name()] = read(t, filepath.Join(to, filepath.Base(path), e.Name()))
	}
	return all
}

// holds reports whether bytes are anywhere on a disk, also of a running machine.
func holds(t *testing.T, image, text string) bool {
	t.Helper()
	b, err := os.ReadFile(image)
	must(t, err)
	return bytes.Contains(b, []byte(text))
}
