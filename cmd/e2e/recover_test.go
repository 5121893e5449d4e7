package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// treeOf lists what a folder holds, with sizes.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var list []string
	must0(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		list = append(list, fmt.Sprint(path, " ", info.Size()))
		return err
	}))
	return strings.Join(list, "\n")
}

// lose kills all members for good but one, and returns that one and what names
// the others as lost.
func (c *cluster) lose() (left *memberProcess, lost []*memberProcess, flags []string) {
	c.t.Helper()
	left = c.followers()[0]
	for _, m := range c.members {
		if m != left {
			m.kill()
			lost = append(lost, m)
			flags = append(flags, "--lost", m.name)
		}
	}
	return left, lost, flags
}

// Two of three are gone for good while hosts are out. The one that is left
// becomes the cluster, with the holds that it knows; nobody passes them; and it
// grows to three again.
func TestRecover_OneThatIsLeftGoesOnAndNobodyPassesTheHostsThatAreOut(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	w := newWitness(t)
	const hosts, slots = 4, 2
	must(t, c.any().url, "group", "set", "default", "--slots", fmt.Sprint(slots))
	all := c.plan(2)
	var fleet []*machine
	for i := range hosts {
		fleet = append(fleet, startMachine(t, w, fmt.Sprintf("host-%d", i+1), all))
	}
	allReport(t, c.any().url, hosts)
	at := c.any().url
	id := startRollout(t, at, pushBundle(t, at, "new", "healthy_deadline: 5m\nhealth:\n  - command: test -e \"$LOCKKEEPER_ROOT/healthy\"\n"))
	eventually(t, "two hosts were rebooted and are not healthy", func() bool {
		n := 0
		for i := range hosts {
			n += w.count(t, fmt.Sprintf("reboot host-%d", i+1))
		}
		return n == slots
	})
	before := holdsOf(t, at)
	cluster, incarnation := identity(t, at)

	left, lost, flags := c.lose()
	recoverIt := append([]string{"recover", "--data-dir", left.data}, flags...)
	wantWords(t, refused(t, 1, recoverIt...), "in use by process")
	left.kill()
	wantWords(t, refused(t, 2, "recover", "--data-dir", left.data), "--lost", "missing is", lost[0].name, lost[1].name)
	wantWords(t, refused(t, 2, "recover", "--data-dir", left.data, "--lost", lost[0].name), "missing is "+lost[1].name)
	wantWords(t, refused(t, 2, append(recoverIt, "--lost", left.name)...), "not one of them")
	lost[0].start()
	eventually(t, "a lost one is there for the others", func() bool { // long after it answers clients
		conn, err := net.Dial("tcp", lost[0].peer)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	wantWords(t, refused(t, 1, recoverIt...), "a majority may be there", lost[0].name, "takes connections")
	lost[0].kill()
	was := treeOf(t, left.data)
	wantWords(t, restored(t, append(recoverIt, "--dry-run")...), "Lost", lost[0].name, "May be lost", "Nothing was changed")
	if is := treeOf(t, left.data); is != was {
		t.Errorf("a dry run changed the folder:\n%s\nwas\n%s", is, was)
	}

	wantWords(t, restored(t, recoverIt...), cluster, fmt.Sprintf("holds %d", slots), "Paused       "+id, "Frozen")
	left.restart()
	c.members = []*memberProcess{left}
	if again, now := identity(t, left.url); again != cluster || now <= incarnation {
		t.Errorf("cluster %s incarnation %d became %s incarnation %d", cluster, incarnation, again, now)
	}
	if after := holdsOf(t, left.url); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("holds are %v, were %v", after, before)
	}
	st := fleetStatus(t, left.url)
	if st.Frozen == nil || !strings.Contains(st.Frozen.Reason, "after the loss of "+lost[0].name) || rolloutOf(t, left.url, id).State != api.RolloutPaused {
		t.Errorf("frozen %+v, rollout %s", st.Frozen, rolloutOf(t, left.url, id).State)
	}

	// One of before comes back with what it had: it is nobody's member.
	lost[0].start()
	eventually(t, "it is up", func() bool { status, _ := get(lost[0].url + "/healthz"); return status == http.StatusOK })
	if status, text := get(lost[0].url + "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("one of before is ready: %d %s", status, text)
	}
	if list := c.shown(); len(list) != 1 {
		t.Errorf("members are %+v", list)
	}
	lost[0].kill()

	eventually(t, "all hosts were heard", func() bool {
		_, errs, code := lockkeeper(t, left.url, "unfreeze")
		if code != 0 && code != 3 && code != 4 { // 3: no answer in time
			t.Fatalf("unfreeze: exit %d %s", code, errs)
		}
		return code == 0
	})
	must(t, left.url, "rollout", "resume", id)
	for _, m := range fleet {
		must0(t, os.WriteFile(filepath.Join(m.dir, "root", "healthy"), nil, 0o600))
	}
	// Emptied it joins, as does one more.
	must0(t, os.RemoveAll(lost[0].data))
	lost[0].coordinatorProcess = c.run(lost[0], c.joining(c.token("cluster", "token"))...)
	c.grow(1)
	lost[0].waitReady()
	c.members = append(c.members, lost[0])
	c.waitVoters(3)
	eventually(t, "the rollout has succeeded", func() bool { return rolloutOf(t, c.any().url, id).State == api.RolloutSucceeded })
	if most := w.most(t); most > slots {
		t.Errorf("%d hosts were out at once, with %d slots:\n%s", most, slots, strings.Join(w.lines(t), "\n"))
	}
	for i := range hosts {
		if n := w.count(t, fmt.Sprintf("reboot host-%d", i+1)); n != 1 {
			t.Errorf("host-%d was rebooted %d times, want once", i+1, n)
		}
	}
}

// wantOneOwner makes sure that all in a folder is of its owner.
func wantOneOwner(t *testing.T, dir string) {
	t.Helper()
	owner := func(path string) uint32 {
		info, err := os.Lstat(path)
		must0(t, err)
		return info.Sys().(*syscall.Stat_t).Uid
	}
	want := owner(dir)
	must0(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if got := owner(path); got != want {
			t.Errorf("%s is of user %d, its folder of %d", path, got, want)
		}
		return err
	}))
}

// holdsOf is each hold of the default group with its fence.
func holdsOf(t *testing.T, url string) (list []string) {
	t.Helper()
	var g api.Group
	getJSON(t, url+"/api/v1/groups/default", &g)
	for _, h := range g.Holds {
		list = append(list, fmt.Sprint(h.Node, " ", h.Fence))
	}
	slices.Sort(list)
	return list
}

// A recovery that is cut off, at whatever step, is done by running it again; and
// from its last step on nothing is served before that.
func TestRecover_KilledAtAnyStepIsFinishedByTheSameCommand(t *testing.T) {
	t.Parallel()
	strace := needTool(t, "strace")
	c := newCluster(t, 3)
	k := newCaller(t, "web-1", c.any().url)
	hold := k.take()
	cluster, incarnation := identity(t, c.any().url)
	for _, m := range c.members {
		m.hasAll(c.any())
	}
	left, _, flags := c.lose()
	left.kill()
	for _, step := range []struct {
		name      string
		kills     []string // for each try the path at whose renaming it is killed
		switching bool
	}{
		{"what it has is collected", []string{"recovering/all.snapshot"}, false},
		{"the switch begins", []string{"lockkeeper.json"}, false},
		{"the old data go aside", []string{"etcd"}, true},
		{"the old authority goes aside, and later the marker is written", []string{"peer", "lockkeeper.json"}, true},
		{"the new data take their place", []string{"recovering/new/etcd"}, true},
	} {
		data := filepath.Join(t.TempDir(), "data")
		if out, err := exec.Command("cp", "-a", left.data, data).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		if os.Geteuid() == 0 { // as the folder of a service's own user is
			must0(t, os.Chown(data, 65534, 65534))
		}
		recoverIt := append([]string{"recover", "--data-dir", data}, flags...)
		for _, path := range step.kills {
			line := append([]string{"-f", "-qq", "-o", "/dev/null", "-P", filepath.Join(data, path),
				"-e", "trace=renameat,renameat2,rename", "-e", "inject=renameat,renameat2,rename:signal=KILL", program("lockkeeperd")}, recoverIt...)
			out, err := exec.Command(strace, line...).CombinedOutput()
			if err == nil {
				t.Fatalf("when %s: it was not killed at %s\n%s", step.name, path, out)
			}
		}
		if step.switching {
			out := refused(t, 2, "serve", "--data-dir", data, "--listen", "127.0.0.1:0")
			wantWords(t, out, "a recovery of it was not finished", "lockkeeperd recover")
		}
		restored(t, recoverIt...)
		wantOneOwner(t, data)
		p := &memberProcess{name: left.name, data: data, addr: freePort(t), peer: freePort(t)}
		p.coordinatorProcess = c.run(p)
		p.waitReady()
		again, now := identity(t, p.url)
		if got := holdsOf(t, p.url); again != cluster || now <= incarnation || len(got) != 1 || got[0] != fmt.Sprint("web-1 ", hold.Fence) {
			t.Errorf("killed when %s: cluster %s incarnation %d became %s incarnation %d, with holds %v", step.name, cluster, incarnation, again, now, got)
		}
		p.kill()
		wantWords(t, refused(t, 1, recoverIt...), "is the only member")
	}
}

// A snapshot is restored in the place of one of three, while the others still
// have their data. They are members of what was before: they are not let in, and
// join anew with empty folders.
func TestRestore_MembersOfBeforeAreNotLetInAndJoinAnew(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	k := newCaller(t, "web-1", c.any().url)
	hold := k.take()
	snapshot := filepath.Join(t.TempDir(), "a.snapshot")
	must(t, c.any().url, "snapshot", "create", snapshot)
	for _, m := range c.members {
		m.terminate()
	}
	first, others := c.members[0], c.members[1:]
	must0(t, os.RemoveAll(first.data))
	restored(t, "restore", snapshot, "--data-dir", first.data)
	first.restart()
	c.members = []*memberProcess{first}
	others[0].start()
	eventually(t, "one of before is up", func() bool {
		status, text := get(others[0].url + "/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, "it has another authority")
	})
	if list := c.shown(); len(list) != 1 || !strings.Contains(fmt.Sprint(holdsOf(t, first.url)), fmt.Sprint(hold.Fence)) {
		t.Errorf("members are %+v, holds %v", list, holdsOf(t, first.url))
	}
	// Nor with a token, as long as it has what it had.
	others[0].kill()
	others[0].coordinatorProcess = c.run(others[0], c.joining(c.token("cluster", "token"))...)
	eventually(t, "it is up again", func() bool {
		status, _ := get(others[0].url + "/readyz")
		return status == http.StatusServiceUnavailable
	})
	if list := c.shown(); len(list) != 1 {
		t.Errorf("members are %+v", list)
	}
	for _, m := range others {
		m.kill()
		must0(t, os.RemoveAll(m.data))
		m.coordinatorProcess = c.run(m, c.joining(c.token("cluster", "token"))...)
		m.waitReady()
		c.members = append(c.members, m)
	}
	c.waitVoters(3)
}
