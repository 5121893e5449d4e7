package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rebootCode is nspawn's exit code when the container has rebooted.
const rebootCode = 133

// container is a host with a systemd of its own as the first process. Its /etc
// and /var are a folder that outlives its boots; its /usr is this machine's, read
// only, with some files laid over it. So it needs no Debian to be unpacked, and
// runs this machine's systemd. The kernel and the network are this machine's
// too: it gets a new boot id at each boot, but a reboot is not one of the kernel.
type container struct {
	t    *testing.T
	name string
	root string // of its file system
	over string // laid over /usr
	log  *os.File
	run  *process
}

// newContainer makes a container that boots into multi-user.target, with these
// files (path → content).
func newContainer(t *testing.T, files map[string]string) *container {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("systemd-nspawn needs root: run make test-vm as root")
	}
	dir := t.TempDir()
	c := &container{
		t: t, name: fmt.Sprintf("lockkeeper-%d", os.Getpid()),
		root: filepath.Join(dir, "root"), over: filepath.Join(dir, "over"), log: output(t, "container"),
	}
	for _, d := range []string{"dev", "etc/systemd/system/multi-user.target.wants", "proc", "root", "run", "sys", "tmp", "usr", "var/lib", "var/log/journal"} {
		must(t, os.MkdirAll(filepath.Join(c.root, d), 0o755))
	}
	must(t, os.MkdirAll(filepath.Join(c.over, "bin"), 0o755))
	for _, link := range [][2]string{
		{"usr/bin", "bin"}, {"usr/sbin", "sbin"}, {"usr/lib", "lib"}, {"usr/lib64", "lib64"},
		{"/usr/lib/systemd/system/multi-user.target", "etc/systemd/system/default.target"},
		{"/dev/null", "etc/systemd/system/console-getty.service"}, // nobody logs in
	} {
		must(t, os.Symlink(link[0], filepath.Join(c.root, link[1])))
	}
	writeFiles(t, c.root, map[string]string{
		"etc/hostname":   "container\n",
		"etc/machine-id": strings.Repeat("5c", 16) + "\n", // without one, systemd would enable all units that it finds
		"etc/os-release": "PRETTY_NAME=\"Lockkeeper test container\"\n",
		"etc/passwd":     "root:x:0:0:root:/root:/bin/sh\nmessagebus:x:100:100::/nonexistent:/usr/sbin/nologin\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n",
		"etc/group":      "root:x:0:\nmessagebus:x:100:\nnogroup:x:65534:\n",
	})
	writeFiles(t, c.root, files)
	t.Cleanup(c.remove)
	return c
}

// enable has units started at each boot.
func (c *container) enable(units ...string) {
	c.t.Helper()
	for _, unit := range units {
		must(c.t, os.Symlink("../"+unit, filepath.Join(c.root, "etc/systemd/system/multi-user.target.wants", unit)))
	}
}

// boot starts the container and waits until systemd has started everything.
func (c *container) boot() {
	c.t.Helper()
	// Where the first process of this machine is no systemd, the container shares
	// its control group with this test unless it is given one of its own.
	const ownGroup = `for h in systemd unified; do
	g=/sys/fs/cgroup/$h
	[ -d $g ] && mkdir -p $g/$0 && echo $$ > $g/$0/cgroup.procs
done
exec "$@"`
	// A kill of nspawn would leave the container running: it shuts it down.
	p, err := startBound(c.log, syscall.SIGTERM, "sh", "-c", ownGroup, c.name, "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot",
		"--machine="+c.name, "--directory="+c.root, "--overlay-ro=/usr:"+c.over+":/usr")
	must(c.t, err)
	c.run = p
	eventually(c.t, "the container has booted", func() bool {
		out, _ := c.try("systemctl", "is-system-running") // it exits with 1 until it is
		return out == "running"
	})
}

// first is the container's first process as this machine numbers it: the only
// child of nspawn.
func (c *container) first() (string, error) {
	out, err := exec.Command("pgrep", "-P", strconv.Itoa(c.run.cmd.Process.Pid)).Output()
	return strings.TrimSpace(string(out)), err
}

// try runs a program in the container.
func (c *container) try(args ...string) (string, error) {
	select {
	case <-c.run.done:
		return "", fmt.Errorf("the container has ended: %s", c.run.cmd.ProcessState)
	default:
	}
	first, err := c.first()
	if err != nil {
		return "", fmt.Errorf("the container has no first process: %w", err)
	}
	out, err := exec.Command("nsenter", append([]string{"-a", "-t", first}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// exec is try for what has to succeed.
func (c *container) exec(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.try(args...)
	if err != nil {
		t.Fatalf("%v in the container: %v\n%s", args, err, out)
	}
	return out
}

// property is one property of a unit.
func (c *container) property(t *testing.T, unit, name string) string {
	t.Helper()
	return c.exec(t, "systemctl", "show", "--value", "--property="+name, unit)
}

// rebooted waits until the container has ended by a reboot of its own.
func (c *container) rebooted(t *testing.T) {
	t.Helper()
	select {
	case <-c.run.done:
	case <-time.After(patience):
		t.Fatalf("the container has not rebooted within %s", patience)
	}
	if code := c.run.cmd.ProcessState.ExitCode(); code != rebootCode {
		t.Fatalf("the container ended with exit code %d, want %d: a reboot", code, rebootCode)
	}
}

// journal is what the unit's log had at the end of the last boot, read from the
// container's disk.
func (c *container) journal(t *testing.T, unit string) string {
	t.Helper()
	// Of this unit, and what systemd says of it.
	return tool(t, "journalctl", "--directory="+filepath.Join(c.root, "var/log/journal"), "--no-pager", "--output=cat", "--boot=0", "--unit="+unit)
}

// remove ends the container and takes away what nspawn leaves behind.
func (c *container) remove() {
	if c.run != nil {
		if first, err := c.first(); err == nil {
			_ = exec.Command("kill", "-KILL", first).Run() // the kernel ends the others
		}
		select {
		case <-c.run.done:
		case <-time.After(patience):
			c.t.Errorf("nspawn (process %d) does not end", c.run.cmd.Process.Pid)
		}
	}
	for _, h := range []string{"systemd", "unified"} {
		// Those that are not there, or not empty, are no harm.
		_ = exec.Command("find", filepath.Join("/sys/fs/cgroup", h, c.name), "-depth", "-type", "d", "-exec", "rmdir", "{}", "+").Run()
	}
	_ = os.RemoveAll(filepath.Join("/run/systemd/nspawn/propagate", c.name))
}

// background runs a program in the container until the returned function is
// called.
func (c *container) background(t *testing.T, args ...string) (end func()) {
	t.Helper()
	unit := fmt.Sprintf("background-%d", time.Now().UnixNano())
	// With the control groups of old, systemd in a container may not see that the
	// last of several processes has ended, and waits for as long as this.
	c.exec(t, append([]string{"systemd-run", "--quiet", "--unit=" + unit, "--property=TimeoutStopSec=1"}, args...)...)
	return func() {
		t.Helper()
		c.exec(t, "systemctl", "stop", unit)
	}
}
