package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// writesWithin is how long writes may stand still when the leader is killed.
const writesWithin = 2500 * time.Millisecond

// Of three coordinators the one that leads is killed: writes go on at both of
// the others, and nothing that was granted is lost.
func TestMembers_WritesGoOnAfterTheLeaderIsKilled(t *testing.T) {
	c := newCluster(t, 3)
	must(t, c.any().url, "group", "set", "default", "--slots", "3")
	holder := newCaller(t, "holder", c.any().url)
	hold := holder.take()
	survivors, dead := c.followers(), c.leader()
	var writers sync.WaitGroup
	took := make([]time.Duration, len(survivors))
	ready := make(chan struct{}, len(survivors))
	killed := make(chan time.Time)
	for i, m := range survivors {
		w := newCaller(t, "writer-"+m.name, m.url)
		w.release(w.take())
		writers.Go(func() {
			ready <- struct{}{}
			at := <-killed
			for time.Since(at) < patience {
				if h, err := w.ask(t.Context(), 0); err == nil {
					took[i] = time.Since(at)
					_ = w.Release(t.Context(), "default", w.node, h.Fence, w.node)
					return
				}
				time.Sleep(10 * time.Millisecond) // paces the attempts
			}
		})
	}
	for range survivors {
		<-ready
	}
	dead.kill()
	since := c.stopwatch()
	for range survivors {
		killed <- since.began
	}
	writers.Wait()
	for i, m := range survivors {
		t.Logf("%s wrote %s after the leader was killed", m.name, took[i].Round(time.Millisecond))
		if took[i] == 0 {
			t.Errorf("%s did not write", m.name)
		}
		since.within(t, took[i], writesWithin, m.name+" wrote when the leader was killed")
	}
	eventually(t, "the hold is known", func() bool { return slices.Contains(strings.Fields(holders(t, survivors[0].url)), "holder") })
	dead.restart()
	newCaller(t, "holder", dead.url).holdsStill(hold)
}

// One coordinator becomes three, then five, then three others, and hosts update
// and reboot all the while, each once and never more at a time than there are
// slots.
func TestMembers_GrowFromOneToFiveAndShrinkToThreeWhileHostsWork(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	all := c.plan(4)
	w := newWitness(t)
	const hosts, slots = 8, 2
	must(t, c.any().url, "group", "set", "default", "--slots", fmt.Sprint(slots))
	for i := range hosts {
		startMachine(t, w, fmt.Sprintf("host-%d", i+1), all)
	}
	allReport(t, c.any().url, hosts)
	id := startRollout(t, c.any().url, pushBundle(t, c.any().url, "new", ""))

	c.grow(2)
	c.grow(2)
	old := c.members[:2]
	for _, m := range old {
		must(t, c.members[4].url, "cluster", "remove", m.name)
		if code := m.exited(); code != 2 {
			t.Errorf("%s was removed and ended with %d, want 2", m.name, code)
		}
	}
	c.waitVoters(3)
	c.inTouch()
	eventually(t, "those that are left are shown with all that is known of them", func() bool { // each tells it of itself
		return !slices.ContainsFunc(c.shown(), func(m api.Member) bool {
			return m.Role == "learner" || m.DBSize == 0 || m.StartedAt.IsZero() || m.PeerURL != "https://"+c.of(m).peer
		})
	})
	at := c.members[4].url
	eventually(t, "the rollout has succeeded", func() bool { return rolloutOf(t, at, id).State == api.RolloutSucceeded })
	eventually(t, "one rollout engine is elected, of the coordinators that are left", func() bool {
		elected := 0
		for _, m := range c.members[2:] {
			_, metrics := get(m.url + "/metrics")
			elected += strings.Count(metrics, "\nlockkeeper_rollout_leader 1\n")
		}
		return elected == 1
	})
	if most := w.most(t); most > slots {
		t.Errorf("%d hosts were out at once, with %d slots", most, slots)
	}
	for i := range hosts {
		if n := w.count(t, fmt.Sprintf("reboot host-%d", i+1)); n != 1 {
			t.Errorf("host-%d was rebooted %d times, want once", i+1, n)
		}
	}
	if most := largestHeld(t, at, "default"); most > slots {
		t.Errorf("the audit trail has %d holds at once, with %d slots", most, slots)
	}
}

// fences takes and returns the slot of one group again and again, and hears of
// every fence.
type fences struct {
	mu   sync.Mutex
	seen []int64
	errs int
	stop chan struct{}
	done sync.WaitGroup
}

func startFences(t *testing.T, node, urls string) *fences {
	t.Helper()
	f := &fences{stop: make(chan struct{})}
	k := newCaller(t, node, strings.Split(urls, ",")...)
	k.poll()
	f.done.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-f.stop:
				return
			default:
			}
			h, err := k.ask(t.Context(), 0)
			f.mu.Lock()
			if err != nil {
				f.errs++
			} else if n := len(f.seen); n == 0 || f.seen[n-1] != h.Fence { // its hold, asked for again
				f.seen = append(f.seen, h.Fence)
			}
			f.mu.Unlock()
			if err != nil || k.Release(t.Context(), "default", node, h.Fence, node) != nil {
				time.Sleep(20 * time.Millisecond) // paces the attempts
			}
		}
	})
	t.Cleanup(f.end)
	return f
}

func (f *fences) end() {
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	f.done.Wait()
}

func (f *fences) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.seen)
}

// progress waits until some more fences were given.
func (f *fences) progress(t *testing.T, after string) {
	t.Helper()
	n := f.count()
	eventually(t, "fences are given after "+after, func() bool { return f.count() >= n+5 })
}

// What a fence guards must never see an older one after a newer: not when a
// member is added, gets its vote, leads, is killed, is replaced or is removed.
func TestFences_GrowOverEveryChangeOfTheMembers(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, calm(t)...)
	f := startFences(t, "web-1", c.plan(4))
	f.progress(t, "the start")
	c.grow(2)
	f.progress(t, "growing from one to three")
	c.grow(1)
	f.progress(t, "adding a fourth without a vote")
	if out := must(t, c.any().url, "cluster", "promote", "c4"); !strings.Contains(out, "has a vote") {
		t.Errorf("promote said %q", out)
	}
	c.waitVoters(4)
	f.progress(t, "giving the fourth a vote")
	must(t, c.any().url, "cluster", "remove", "c4")
	f.progress(t, "removing it")
	was := c.leader()
	must(t, c.any().url, "cluster", "move-leader")
	if now := c.leader(); now == was {
		t.Errorf("%s still leads", was.name)
	}
	f.progress(t, "moving the leader")
	lost := c.leader()
	lost.kill()
	f.progress(t, "killing the leader")
	token := c.token("cluster", "replace", lost.name)
	m := c.next()
	m.coordinatorProcess = c.run(m, c.joining(token)...)
	c.members = append(c.members, m)
	m.waitReady()
	c.waitVoters(3)
	f.progress(t, "replacing it")
	if got := c.shownOf(lost); got.Name != "" {
		t.Errorf("%s was replaced and is still a member", lost.name)
	}
	must(t, m.url, "cluster", "remove", c.leader().name)
	f.progress(t, "removing the leader")
	f.end()
	for i := 1; i < len(f.seen); i++ {
		if f.seen[i] <= f.seen[i-1] {
			t.Fatalf("fence %d after %d", f.seen[i], f.seen[i-1])
		}
	}
	t.Logf("%d fences, %d requests were refused or lost", len(f.seen), f.errs)
}

// A member that was removed stops and says so, and says so again at each start,
// with the exit code after which a supervisor lets it be. So does one that was
// down when it was removed.
func TestMembers_ARemovedOneSaysSoAndStaysStopped(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	live, down := c.twoFollowers()
	must(t, c.any().url, "cluster", "remove", live.name)
	if code := live.exited(); code != 2 {
		t.Errorf("the removed member ended with %d, want 2", code)
	}
	for range 2 {
		out, code := serveOnce(t, nil, c.arguments(live)[1:]...)
		if code != 2 || !strings.Contains(out, "was removed from its cluster") || !strings.Contains(out, "cluster token") {
			t.Errorf("the removed member started again: exit %d\n%s", code, out)
		}
	}
	c.members = slicesWithout(c.members, live)
	c.grow(1) // of two with a vote none may die
	c.waitVoters(3)
	down.kill()
	must(t, c.any().url, "cluster", "remove", down.name)
	out, code := serveOnce(t, nil, c.arguments(down)[1:]...)
	if code != 2 || !strings.Contains(out, "was removed from its cluster") {
		t.Errorf("the member that was removed while it was down: exit %d\n%s", code, out)
	}
}

func slicesWithout(list []*memberProcess, m *memberProcess) (out []*memberProcess) {
	for _, x := range list {
		if x != m {
			out = append(out, x)
		}
	}
	return out
}

// A member whose data are gone is not believed to be what it was: without a
// token it is not taken in, and with one it comes in as a new member.
func TestMembers_AWipedOneIsReplacedNeverBelieved(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	old := c.token("cluster", "token")
	wiped := c.followers()[0]
	before := c.shownOf(wiped)
	wiped.kill()
	must0(t, os.RemoveAll(filepath.Join(wiped.data, "etcd")))
	out, code := serveOnce(t, nil, c.arguments(wiped, c.joining(old)...)[1:]...)
	if code == 0 || !strings.Contains(out, "the data are gone") {
		t.Errorf("without its data: exit %d\n%s", code, out)
	}
	must0(t, os.RemoveAll(wiped.data))
	// With the token of anybody else it has no place of its own to take, and is
	// found by its URL.
	wiped.coordinatorProcess = c.run(wiped, c.joining(c.token("cluster", "replace", before.Name))...)
	wiped.waitReady()
	c.waitVoters(3)
	after := c.shownOf(wiped)
	if after.ID == before.ID || after.Name == before.Name || len(c.shown()) != 3 {
		t.Errorf("the wiped member came back as %+v, was %+v; members are %+v", after, before, c.shown())
	}
	k := newCaller(t, "web-1", wiped.url)
	k.release(k.take())

	// The same by its peer URL alone, with a plain token.
	wiped.kill()
	must0(t, os.RemoveAll(wiped.data))
	wiped.coordinatorProcess = c.run(wiped, c.joining(old)...)
	wiped.waitReady()
	c.waitVoters(3)
	if again := c.shownOf(wiped); again.ID == after.ID || len(c.shown()) != 3 {
		t.Errorf("the wiped member came back as %+v, was %+v", again, after)
	}
}

// The addresses of a member change: it tells the others at its next start.
func TestMembers_AreFoundAtTheirNewPeerURL(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	m := c.followers()[0]
	id := c.shownOf(m).ID
	m.terminate()
	m.peer = freePort(t)
	m.coordinatorProcess = c.run(m)
	m.waitReady()
	eventually(t, "the others find it there", func() bool {
		got := clusterOf(t, c.leader().url)
		for _, x := range got.Members {
			if x.ID == id {
				return x.PeerURL == "https://"+m.peer && x.Reachable
			}
		}
		return false
	})
}

// What would cost the quorum, or the cluster, is refused and changes nothing.
func TestMembers_WhatWouldLoseTheQuorumIsRefused(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	refuse := func(words string, args ...string) {
		t.Helper()
		before := fmt.Sprint(c.ids())
		out, errs, code := lockkeeper(t, c.any().url, args...)
		if code != 4 && code != 6 || !strings.Contains(errs, words) {
			t.Errorf("lockkeeper %v: exit %d %s%s, want %q", args, code, out, errs, words)
		}
		if after := fmt.Sprint(c.ids()); after != before {
			t.Errorf("lockkeeper %v: members were %s, are %s", args, before, after)
		}
	}
	refuse("last member with a vote", "cluster", "remove", "c1")
	refuse("no other member", "cluster", "move-leader")
	refuse("no such member", "cluster", "promote", "c9")
	c.grow(1)
	warns := func(words string) {
		t.Helper()
		eventually(t, "it warns only: "+words, func() bool {
			got := clusterOf(t, c.any().url).Warnings
			return len(got) == 1 && strings.Contains(got[0], words)
		})
	}
	warns("no vote")
	refuse("last member with a vote", "cluster", "remove", "c1")
	refuse("has no vote", "cluster", "move-leader", "c2")

	// A learner that lags gets no vote.
	c.members[1].stop()
	k := newCaller(t, "web-1", c.members[0].url)
	for range 60 {
		k.release(k.take())
	}
	refuse("not caught up", "cluster", "promote", "c2")
	c.members[1].cont()
	c.grow(1)
	c.waitVoters(3)
	down, up := c.twoFollowers()
	down.kill()
	refuse(down.name, "cluster", "remove", up.name)
	// It is refused as long as the other one does not answer, as on a busy machine.
	eventually(t, "the one that is down is removed", func() bool {
		_, _, code := lockkeeper(t, c.any().url, "cluster", "remove", down.name)
		return code == 0
	})
	warns("even number")
}

// ids are those of the members that are there, and which have a vote. Who leads may
// change at any time on a busy machine.
func (c *cluster) ids() (list []string) {
	for _, m := range c.shown() {
		list = append(list, fmt.Sprint(m.ID, " votes ", m.Role != "learner"))
	}
	return list
}

// A coordinator that is started while most of the others are down serves what it
// last knew, and goes on by itself when a second one comes.
func TestMembers_OneThatStartsAloneServesWhatItKnew(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	k := newCaller(t, "web-1", c.any().url)
	hold := k.take()
	first, second := c.members[1], c.members[2]
	first.hasAll(c.any())
	for _, m := range c.members {
		m.kill()
	}
	first.start()
	eventually(t, "it answers", func() bool {
		status, _ := get(first.url + "/healthz")
		return status == http.StatusOK
	})
	eventually(t, "it says that the others cannot be reached", func() bool {
		status, text := get(first.url + "/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, "cannot be reached")
	})
	st := statusOf(t, first.url)
	if !st.Stale || st.Figures.Held != 1 || len(st.Cluster.Members) != 3 {
		t.Errorf("alone it says stale %v, %d holds, %d members", st.Stale, st.Figures.Held, len(st.Cluster.Members))
	}
	other := newCaller(t, "web-2", first.url)
	if _, err := other.ask(t.Context(), 0); !isKind(err, api.NoQuorum) {
		t.Errorf("acquiring alone: %v", err)
	}
	second.start()
	first.waitReady()
	newCaller(t, "web-1", first.url).holdsStill(hold)
}

// hasAll waits until a member has all that was answered until now, and knows that
// it was agreed on: a majority has it by then, and this one may be the third. What
// is written behind it brings it that word.
func (m *memberProcess) hasAll(by *memberProcess) {
	m.t.Helper()
	must(m.t, by.url, "group", "set", "behind-it", "--slots", "1")
	eventually(m.t, m.name+" has all that was answered", func() bool {
		status, _ := get(m.url + "/api/v1/groups/behind-it")
		return status == http.StatusOK
	})
}

// holdsStill asks for the slot that its node has, and is given that.
func (c *caller) holdsStill(want api.Hold) {
	c.t.Helper()
	var got api.Hold
	settled(c.t, func() (err error) { got, err = c.ask(c.t.Context(), 0); return err })
	if got.Fence != want.Fence {
		c.t.Errorf("the holder has fence %d, want %d", got.Fence, want.Fence)
	}
}

func isKind(err error, kind api.Kind) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Kind == kind
}
