package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// taker takes and returns slots of a group for one node, as its agent would.
type taker struct {
	t           *testing.T
	c           *client.Client
	node, group string
	seq         uint64
}

func newTaker(t *testing.T, url, group, node string) *taker {
	t.Helper()
	c, err := client.New(client.Config{Servers: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	k := &taker{t: t, c: c, node: node, group: group}
	k.report(api.PhaseIdle, 0)
	return k
}

func (k *taker) report(phase api.Phase, fence int64) {
	k.t.Helper()
	k.seq++
	req := api.PollRequest{Instance: k.node, BootID: "boot", Report: api.Report{Seq: k.seq, Group: k.group, Phase: phase, Fence: fence, Healthy: true}}
	settled(k.t, func() error { _, err := k.c.Poll(k.t.Context(), k.node, req); return err })
}

// take takes a slot and confirms it.
func (k *taker) take() int64 {
	k.t.Helper()
	k.seq++
	var got api.AcquireResponse
	settled(k.t, func() (err error) {
		got, err = k.c.Acquire(k.t.Context(), k.group, k.node, api.AcquireRequest{Instance: k.node, Request: fmt.Sprint("r", k.seq), BootID: "boot"}, 0)
		return err
	})
	settled(k.t, func() error {
		_, err := k.c.Confirm(k.t.Context(), k.group, k.node, api.ConfirmRequest{Fence: got.Hold.Fence, Instance: k.node, BootID: "boot"})
		return err
	})
	return got.Hold.Fence
}

func (k *taker) giveBack(fence int64) {
	k.t.Helper()
	settled(k.t, func() error { return k.c.Release(k.t.Context(), k.group, k.node, fence, k.node) })
}

// loseAndRestore kills the coordinator, deletes its data, puts the snapshot back
// and serves again. It returns what restore said.
func (c *coordinatorProcess) loseAndRestore(data, snapshot string) string {
	c.t.Helper()
	c.kill()
	must0(c.t, os.RemoveAll(data))
	out := restored(c.t, "restore", snapshot, "--data-dir", data)
	c.start()
	c.waitReady()
	return out
}

func identity(t *testing.T, url string) (id string, incarnation int64) {
	t.Helper()
	var cl api.Cluster
	getJSON(t, url+"/api/v1/cluster", &cl)
	return cl.ID, cl.Incarnation
}

func fleetStatus(t *testing.T, url string) (s api.Status) {
	t.Helper()
	getJSON(t, url+"/api/v1/status", &s)
	return s
}

// What a fence guards must never see the same one twice, nor an older one after
// a newer: not those given after the snapshot, not those of a group that the
// snapshot does not know, and not when one snapshot is restored twice.
func TestRestore_NoFenceIsEverGivenTwice(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	snapshot := filepath.Join(t.TempDir(), "a.snapshot")
	c := startCoordinator(t, "--data-dir", data)
	must(t, c.url, "group", "set", "web", "--slots", "2")
	id, incarnation := identity(t, c.url)
	web := newTaker(t, c.url, "web", "web-1")
	last := web.take()
	web.giveBack(last)
	must(t, c.url, "snapshot", "create", snapshot)
	var lastLater int64

	for round := range 3 {
		for range 3 {
			fence := web.take()
			if fence <= last {
				t.Fatalf("round %d: fence %d after %d", round, fence, last)
			}
			last = fence
			web.giveBack(fence)
		}
		must(t, c.url, "group", "set", "later", "--slots", "1") // not in the snapshot
		later := newTaker(t, c.url, "later", "later-1")
		fence := later.take()
		if fence <= lastLater {
			t.Fatalf("round %d: fence %d in a group that was made again, %d was given before", round, fence, lastLater)
		}
		lastLater = fence

		out := c.loseAndRestore(data, snapshot)
		wantWords(t, out, id, "Incarnation", "Fences", "Frozen")
		again, next := identity(t, c.url)
		if again != id || next <= incarnation {
			t.Fatalf("round %d: cluster %s incarnation %d became %s incarnation %d", round, id, incarnation, again, next)
		}
		incarnation = next
		if s := fleetStatus(t, c.url); s.Frozen == nil || s.Frozen.By != "restore" || !strings.HasPrefix(s.Frozen.Reason, "restored from a.snapshot") {
			t.Fatalf("round %d: frozen %+v, want by restore", round, s.Frozen)
		}
		if _, errs, code := lockkeeper(t, c.url, "unfreeze"); code != 4 || !strings.Contains(errs, "web-1") {
			t.Fatalf("round %d: lifted although web-1 was not heard: exit %d %s", round, code, errs)
		}
		web.report(api.PhaseIdle, 0)
		must(t, c.url, "unfreeze")
	}
}

// One host went out after the snapshot was taken, so that the restored store
// knows nothing of it. It counts all the same, and nobody passes it.
func TestRestore_HostsThatAreOutGoOnAndNobodyPassesThem(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	snapshot := filepath.Join(t.TempDir(), "a.snapshot")
	c := startCoordinator(t, "--data-dir", data)
	w := newWitness(t)
	fleet := startFleet(t, w, c.url, 2)
	must(t, c.url, "freeze", "until the snapshot is taken")
	// Healthy is who may be: the hosts stay out until the test says so.
	bundle := pushBundle(t, c.url, "new", "healthy_deadline: 10m\nhealth:\n  - command: test -e \"$LOCKKEEPER_ROOT/healthy\"\n")
	id := startRollout(t, c.url, bundle)
	eventually(t, "both hosts wait", func() bool { return rolloutOf(t, c.url, id).Progress.Waiting == 2 })
	silent := newTaker(t, c.url, "default", "silent-1")
	must(t, c.url, "snapshot", "create", snapshot)
	must(t, c.url, "unfreeze")
	var out api.Hold
	eventually(t, "one host was rebooted", func() bool {
		var g api.Group
		getJSON(t, c.url+"/api/v1/groups/default", &g)
		if len(g.Holds) == 1 {
			out = g.Holds[0]
		}
		return len(g.Holds) == 1 && w.count(t, "reboot "+g.Holds[0].Node) == 1
	})

	wantWords(t, c.loseAndRestore(data, snapshot), "Paused       "+id, "holds 0")
	if r := rolloutOf(t, c.url, id); r.State != api.RolloutPaused {
		t.Errorf("the rollout is %s, want paused", r.State)
	}
	eventually(t, "the host that is out holds again, and the other waits", func() bool {
		s := fleetStatus(t, c.url)
		return len(s.Groups[0].Holds) == 1 && s.Groups[0].Holds[0].Node == out.Node &&
			s.Groups[0].Holds[0].Fence == out.Fence && s.Groups[0].Holds[0].State == "confirmed"
	})
	eventually(t, "the other host was heard too, and the node without an agent is named", func() bool {
		_, errs, code := lockkeeper(t, c.url, "unfreeze")
		if code != 3 && code != 4 { // 3: no answer in time
			t.Fatalf("unfreeze: exit %d, want 4: %s", code, errs)
		}
		return strings.Contains(errs, "1 node was not heard since ("+silent.node+")") && strings.Contains(errs, "--accept-unheard 1")
	})
	must(t, c.url, "unfreeze", "--accept-unheard", "1")
	must(t, c.url, "rollout", "resume", id)

	for _, m := range fleet {
		must0(t, os.WriteFile(filepath.Join(m.dir, "root", "healthy"), nil, 0o600))
	}
	eventually(t, "the rollout has succeeded", func() bool {
		return rolloutOf(t, c.url, id).State == api.RolloutSucceeded
	})
	for _, m := range fleet {
		if n := w.count(t, "reboot "+m.node); n != 1 {
			t.Errorf("%s was rebooted %d times, want once", m.node, n)
		}
	}
	if got := w.most(t); got != 1 {
		t.Errorf("%d hosts were out at once, with 1 slot:\n%s", got, strings.Join(w.lines(t), "\n"))
	}
}

func TestRestore_WhatCannotBeRestoredIsSaidAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data, good := filepath.Join(dir, "data"), filepath.Join(dir, "good.snapshot")
	c := startCoordinator(t, "--data-dir", data)
	must(t, c.url, "snapshot", "create", good)
	whole, err := os.ReadFile(good)
	must0(t, err)
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		must0(t, os.WriteFile(path, b, 0o600))
		return path
	}
	flipped := append([]byte{}, whole...)
	flipped[len(flipped)/2] ^= 1
	target := filepath.Join(dir, "target")
	for path, says := range map[string]string{
		file("short", whole[:len(whole)-4096]):              "the snapshot is damaged",
		file("cut", whole[:len(whole)-100]):                 "cut short",
		file("bit", flipped):                                "the snapshot is damaged",
		file("letter", []byte("dear restore\n")):            "no snapshot",
		filepath.Join(data, "etcd", "member", "snap", "db"): "no snapshot",
		filepath.Join(dir, "none"):                          "no such file",
	} {
		out := refused(t, 1, "restore", path, "--data-dir", target)
		wantWords(t, out, path, says)
		if _, err := os.Stat(target); !os.IsNotExist(err) {
			t.Fatalf("%s: a data dir was made all the same", path)
		}
	}
	wantWords(t, refused(t, 1, "restore", good, "--data-dir", data), data, "it is not empty", "etcd")
	wantWords(t, refused(t, 2, "restore", "--data-dir", target), "want the FILE of a snapshot")
	c.kill()
	wantWords(t, refused(t, 1, "restore", good, "--data-dir", data), "it is not empty")
	c.start()
	c.waitReady()
	if s := fleetStatus(t, c.url); s.Frozen != nil {
		t.Error("a refused restore froze the fleet")
	}
}

// Of all moments at which a restore can be cut off none leaves a folder that is
// served with the fences of the past.
func TestRestore_KilledAtAnyMomentIsServedOnlyWhenItWasDone(t *testing.T) {
	t.Parallel()
	strace := needTool(t, "strace")
	dir := t.TempDir()
	snapshot := filepath.Join(dir, "a.snapshot")
	c := startCoordinator(t)
	must(t, c.url, "snapshot", "create", snapshot)
	c.terminate()
	for i := range 6 {
		data := filepath.Join(dir, fmt.Sprint("data", i))
		marker := filepath.Join(data, "lockkeeper.json")
		line := []string{program("lockkeeperd"), "restore", snapshot, "--data-dir", data}
		if i == 0 { // for certain in the middle: when the store's log gets its name
			line = append([]string{strace, "-f", "-qq", "-o", "/dev/null", "-P", filepath.Join(data, "etcd", "member", "wal"),
				"-e", "trace=renameat,renameat2,rename", "-e", "inject=renameat,renameat2,rename:signal=KILL"}, line...)
		}
		p := startProcess(t, "restore", line[0], line[1:]...)
		if i == 0 {
			<-p.ended()
		} else {
			eventually(t, "the restore has begun", func() bool {
				_, err := os.Stat(marker)
				return err == nil
			})
			time.Sleep(time.Duration(i-1) * 80 * time.Millisecond) // another moment each time
			p.kill()
		}
		text, err := os.ReadFile(marker)
		must0(t, err)
		if strings.Contains(string(text), `"complete": true`) {
			if i == 0 {
				t.Error("the restore was not cut off in the middle: the test shows nothing")
			}
			continue
		}
		out := refused(t, 2, "serve", "--data-dir", data, "--listen", "127.0.0.1:0")
		wantWords(t, out, "a restore into it was not finished", "lockkeeperd restore", snapshot)
		restored(t, "restore", snapshot, "--data-dir", data)
	}
}

// An etcd that others run is put back by them; this begins the incarnation.
func TestRestore_OfAnExistingEtcdGivesNoFenceTwiceEither(t *testing.T) {
	t.Parallel()
	etcd, url := startEtcd(t)
	data, backup := filepath.Join(etcd.args[1], "data"), filepath.Join(t.TempDir(), "backup")
	c := startCoordinator(t, "--etcd-endpoints", url)
	id, incarnation := identity(t, c.url)
	k := newTaker(t, c.url, "default", "web-1")
	k.giveBack(k.take())
	c.terminate()
	etcd.terminate()
	must0(t, os.CopyFS(backup, os.DirFS(data)))
	etcd.start()
	c.start()
	c.waitReady()
	if _, errs, code := lockkeeper(t, c.url, "snapshot", "create", filepath.Join(t.TempDir(), "a")); code != 4 || !strings.Contains(errs, "etcdctl snapshot save") {
		t.Errorf("a snapshot of somebody else's etcd: exit %d %s", code, errs)
	}
	var last int64
	for range 3 {
		last = k.take()
		k.giveBack(last)
	}

	wantWords(t, refused(t, 1, "restore", "--etcd-endpoints", url), "stop them all")
	wantWords(t, refused(t, 2, "restore", "a.snapshot", "--etcd-endpoints", url), "etcd's own tools")
	if again, now := identity(t, c.url); again != id || now != incarnation || fleetStatus(t, c.url).Frozen != nil {
		t.Error("a refused restore changed the cluster")
	}
	c.kill()
	etcd.kill()
	must0(t, os.RemoveAll(data))
	must0(t, os.Rename(backup, data))
	etcd.start()
	wantWords(t, restored(t, "restore", "--etcd-endpoints", url), id, "Frozen")
	c.start()
	c.waitReady()
	k.report(api.PhaseIdle, 0)
	must(t, c.url, "unfreeze")
	if fence := k.take(); fence <= last {
		t.Errorf("fence %d after the restore, %d was given before", fence, last)
	}
	if again, now := identity(t, c.url); again != id || now <= incarnation {
		t.Errorf("cluster %s incarnation %d became %s incarnation %d", id, incarnation, again, now)
	}
}

// restored runs lockkeeperd for a command that has to succeed.
func restored(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(program("lockkeeperd"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("lockkeeperd %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
