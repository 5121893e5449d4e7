package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// needRoot skips a test that mounts a disk where nobody may; under `make test`
// nothing may skip, so there it fails.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") != "" {
		t.Fatal("root is needed to mount a disk")
	}
	t.Skip("needs root to mount a disk")
}

// goOn makes sure that the other two members grant and take back, and do it
// without waiting for the one that has the fault.
func (c *cluster) goOn(during string, faulty *memberProcess) {
	c.t.Helper()
	for _, m := range c.members {
		if m == faulty {
			continue
		}
		k := newCaller(c.t, "web-"+m.name, m.url)
		var took time.Duration
		// Once, since another member may have to take the lead first.
		eventually(c.t, fmt.Sprintf("%s grants, %s", m.name, during), func() bool {
			if _, err := k.Poll(c.t.Context(), k.node, api.PollRequest{Instance: k.node, BootID: "boot", Report: api.Report{Seq: 1, Group: "default"}}); err != nil {
				return false
			}
			began := time.Now()
			h, err := k.ask(c.t.Context(), 0)
			if err != nil || k.Release(c.t.Context(), "default", k.node, h.Fence, k.node) != nil {
				return false
			}
			took = time.Since(began)
			return took < 2*time.Second
		})
	}
}

// saysAndEnds runs a member that is to give up, and returns what it said.
func (c *cluster) saysAndEnds(m *memberProcess, code int) string {
	c.t.Helper()
	out, got := serveOnce(c.t, nil, c.arguments(m)[1:]...)
	if got != code {
		c.t.Errorf("%s ended with %d, want %d\n%s", m.name, got, code, out)
	}
	return out
}

// under starts a member's process below another program, such as strace.
func (c *cluster) under(m *memberProcess, line ...string) *process {
	c.t.Helper()
	line = append(line, program("lockkeeperd"))
	return startProcess(c.t, m.name+"-under-"+filepath.Base(line[0]), line[0], append(line[1:], c.arguments(m)...)...)
}

// The disk under one of three members fills. Between the floors it begins nothing
// and the others do; below the second it writes nothing; when it is full the
// member ends, and waits and says why when it is started again. With room it goes
// on by itself.
func TestFaults_ADiskThatFillsStopsItsMemberOnly(t *testing.T) {
	needRoot(t)
	t.Parallel()
	c := newCluster(t, 1)
	c.plan(2)
	full := c.planned[0]
	must0(t, os.MkdirAll(full.data, 0o700))
	must0(t, syscall.Mount("tmpfs", full.data, "tmpfs", 0, "size=900m"))
	t.Cleanup(func() { must0(t, syscall.Unmount(full.data, syscall.MNT_DETACH)) })
	c.grow(2)
	// Beside the folder of the store, which takes no strange file at its start.
	ballast := filepath.Join(full.data, "tls", "ballast")
	must0(t, os.MkdirAll(filepath.Dir(ballast), 0o700))
	leave := func(mb int64) {
		t.Helper()
		eventually(t, fmt.Sprintf("a file leaves %d MB", mb), func() bool {
			must0(t, os.RemoveAll(ballast))
			var st syscall.Statfs_t
			must0(t, syscall.Statfs(full.data, &st))
			f, err := os.Create(ballast)
			if errors.Is(err, syscall.ENOSPC) {
				return false
			}
			must0(t, err)
			defer f.Close()
			err = syscall.Fallocate(int(f.Fd()), 0, 0, max(1, int64(st.Bavail)*st.Bsize-mb<<20))
			if errors.Is(err, syscall.ENOSPC) { // the member has written meanwhile
				return false
			}
			must0(t, err)
			return true
		})
	}
	must(t, full.url, "group", "set", "default", "--slots", "4")
	k, other := newCaller(t, "held", full.url), newCaller(t, "other", full.url)
	hold := k.take()
	other.poll()

	leave(400) // between the floors
	eventually(t, "it grants nothing", func() bool { _, err := other.ask(t.Context(), 0); return isKind(err, api.DiskLow) })
	eventually(t, "it asks for attention", func() bool { return strings.Contains(fmt.Sprint(statusOf(t, full.url).Attention), "disk_low") })
	k.release(hold) // goes on
	c.goOn("while a disk is low", full)

	leave(60)
	eventually(t, "it writes nothing", func() bool {
		_, errs, code := lockkeeper(t, full.url, "freeze", "x")
		return code != 0 && strings.Contains(errs, "disk_low")
	})
	c.goOn("while a disk is nearly full", full)

	leave(0)
	eventually(t, "the member with the full disk ends", func() bool {
		c.goOn("while a disk is full", full)
		return !full.running()
	})
	if code := full.exited(); code != 3 {
		t.Errorf("on a full disk it ended with %d, want 3", code)
	}
	full.start()
	eventually(t, "it waits and says so", func() bool { return strings.Contains(full.output(t), "the disk is too full to start on") })
	eventually(t, "it answers that it has not started", func() bool {
		status, text := get(full.url + "/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, "has not started yet")
	})
	c.goOn("while it waits", full)
	if !full.running() {
		t.Error("it does not wait for room")
	}
	must0(t, os.Remove(ballast))
	full.waitReady()
	c.waitVoters(3)
	c.goOn("afterwards", nil)
}

// The disk of one of three members takes no writes, or fails. It ends and says
// so, with the code after which systemd leaves it stopped; the others go on; and
// it comes back when the disk is well.
func TestFaults_ADiskThatFailsStopsItsMemberOnly(t *testing.T) {
	needRoot(t)
	t.Parallel()
	strace := needTool(t, "strace")
	c := newCluster(t, 1)
	c.plan(2)
	m := c.planned[0]
	must0(t, os.MkdirAll(m.data, 0o700))
	must0(t, syscall.Mount("tmpfs", m.data, "tmpfs", 0, "size=1500m"))
	t.Cleanup(func() { must0(t, syscall.Unmount(m.data, syscall.MNT_DETACH)) })
	c.grow(2)

	// Slow: one of three may be, and nobody waits for it.
	slow := startProcess(t, "slow", strace, "-f", "-qq", "-o", "/dev/null", "-p", fmt.Sprint(m.pid()), "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=700000")
	eventually(t, "it is traced", func() bool { return traced(t, m.pid()) })
	for range 3 {
		c.goOn("while the disk of one is slow", m)
	}
	if !m.running() {
		t.Error("a slow disk ended its member")
	}
	slow.signal(syscall.SIGTERM)

	// Failing while it runs, and when it is started again.
	broken := startProcess(t, "broken", strace, "-f", "-qq", "-o", "/dev/null", "-p", fmt.Sprint(m.pid()), "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO")
	eventually(t, "the member whose disk fails ends", func() bool {
		c.goOn("while the disk of one fails", m)
		return !m.running()
	})
	if code := m.exited(); code != 3 || !strings.Contains(m.output(t), "input/output error") {
		t.Errorf("on a disk that fails it ended with %d, want 3\n%s", code, m.output(t))
	}
	<-broken.ended()
	again := c.under(m, strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO")
	if code := again.exited(); code != 2 {
		t.Errorf("started on a disk that fails it ended with %d, want 2", code)
	}
	wantWords(t, again.output(t), "the disk refuses", "input/output error", m.data)
	m.restart()
	c.waitVoters(3)

	m.terminate()
	must0(t, syscall.Mount("", m.data, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	wantWords(t, c.saysAndEnds(m, 2), "the disk refuses", "read-only file system", m.data)
	c.goOn("while the disk of one is read-only", m)
	must0(t, syscall.Mount("", m.data, "", syscall.MS_REMOUNT, ""))
	m.restart()
	c.goOn("afterwards", nil)
}

func traced(t *testing.T, pid int) bool {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must0(t, err)
	return !strings.Contains(string(text), "TracerPid:\t0\n")
}

// The data of one of three members are damaged. It says so, is left stopped, and
// is replaced; the others go on.
func TestFaults_DamagedDataOfOneMemberAreSaidAndReplaced(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	for _, fault := range []struct {
		name string
		harm func(member string) error
		says []string
	}{
		{"bytes of the database flipped", func(member string) error {
			path := filepath.Join(member, "snap", "db")
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for i := 2 * 4096; i < len(b); i += 512 { // behind the two pages that name the others
				b[i] ^= 0xff
			}
			return os.WriteFile(path, b, 0o600)
		}, []string{"the data are damaged", "snap/db"}},
		{"the end of the log cut off", cutLog, []string{"the data are damaged", "its end is missing"}},
		{"the log gone", func(member string) error { return os.RemoveAll(filepath.Join(member, "wal")) }, []string{"the data are gone", "member/wal"}},
	} {
		m := c.followers()[0]
		m.terminate()
		must0(t, fault.harm(filepath.Join(m.data, "etcd", "member")))
		for range 2 {
			wantWords(t, c.saysAndEnds(m, 2), append(fault.says, m.data, "lockkeeper cluster replace "+m.name)...)
		}
		c.goOn("with "+fault.name, m)
		// As the runbook has it.
		token := c.token("cluster", "replace", m.name)
		must0(t, os.Rename(m.data, m.data+".damaged"))
		m.coordinatorProcess = c.run(m, c.joining(token)...)
		m.waitReady()
		c.waitVoters(3)
		must0(t, os.RemoveAll(m.data+".damaged"))
		if list := c.shown(); len(list) != 3 {
			t.Errorf("after %s: members are %+v", fault.name, list)
		}
	}
}

// cutLog cuts the newest log off behind its first records, which is shorter than
// what the member had told the others that it has.
func cutLog(member string) error {
	logs, err := filepath.Glob(filepath.Join(member, "wal", "*.wal"))
	if err != nil {
		return err
	}
	path := logs[len(logs)-1]
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	at := 0
	for range 8 { // records: their length is in the low 56 bits, then padding to 8
		field := binary.LittleEndian.Uint64(b[at:])
		n, pad := int(field&^(uint64(0xff)<<56)), 0
		if field>>63 == 1 {
			pad = int(field >> 56 & 7)
		}
		at += 8 + n + pad
	}
	return os.WriteFile(path, b[:at], 0o600)
}
