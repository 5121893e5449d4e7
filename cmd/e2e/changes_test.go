package e2e

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

// changes is how many random changes of the members are made.
var changes = flag.Int("changes", 3, "random changes of the coordinators")

// Coordinators are killed, stopped, replaced, added, removed and relieved of the
// lead, one change after another at random: fences go on growing, and each time
// three with a vote are left.
func TestFences_GrowOverRandomChangesOfTheMembers(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	c := newCluster(t, 3)
	f := startFences(t, "web-1", c.plan(4**changes))
	for n := range *changes {
		began := time.Now()
		what := c.changeAtRandom(r)
		f.progress(t, what)
		t.Logf("%d: %s, after %s", n, what, time.Since(began).Round(time.Millisecond))
	}
	f.end()
	for i := 1; i < len(f.seen); i++ {
		if f.seen[i] <= f.seen[i-1] {
			t.Fatalf("fence %d after %d", f.seen[i], f.seen[i-1])
		}
	}
	t.Logf("%d fences, %d requests were refused or lost", len(f.seen), f.errs)
}

// live are the members that run.
func (c *cluster) live() (list []*memberProcess) {
	for _, m := range c.members {
		if m.running() {
			list = append(list, m)
		}
	}
	return list
}

// changeAtRandom makes one change, after which there are three members with a
// vote again, and says which.
func (c *cluster) changeAtRandom(r *rand.Rand) string {
	c.t.Helper()
	live := c.live()
	i := r.IntN(len(live))
	m, other := live[i], live[(i+1)%len(live)]
	switch r.IntN(5) {
	case 0:
		m.kill()
		m.restart()
		return "killing " + m.name
	case 1:
		m.stop()
		time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond) // for how long it stands still
		m.cont()
		return "stopping " + m.name + " for a while"
	case 2:
		must(c.t, m.url, "cluster", "move-leader")
		return "moving the leader by " + m.name
	case 3:
		dead := r.IntN(2) == 0
		if dead {
			m.kill()
		}
		fresh := c.next()
		fresh.coordinatorProcess = c.run(fresh, "--join", other.url, "--join-token-file", c.token("cluster", "replace", m.name))
		c.members = append(c.members, fresh)
		if r.IntN(2) == 0 {
			time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond) // another step of the join each time
			fresh.kill()
			fresh.start()
		}
		fresh.waitReady()
		c.waitVoters(3)
		if dead {
			return "replacing " + m.name + ", which was dead"
		}
		if code := m.exited(); code != 2 { // it learns of it from the others
			c.t.Errorf("%s was replaced and ended with %d, want 2", m.name, code)
		}
		return "replacing " + m.name + ", which was up"
	}
	c.grow(2)
	for _, gone := range []*memberProcess{m, other} {
		must(c.t, c.members[len(c.members)-1].url, "cluster", "remove", gone.name)
		if code := gone.exited(); code != 2 {
			c.t.Errorf("%s was removed and ended with %d, want 2", gone.name, code)
		}
	}
	c.waitVoters(3)
	return "adding two and removing " + m.name + " and " + other.name
}
