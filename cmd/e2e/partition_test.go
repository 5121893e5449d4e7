package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// streamsWithin is how long etcd goes on with a connection that brings nothing,
// and a moment to make another. A member that was cut off may go on at once with
// one of the two others; when the way to the third is open nobody can see, and
// the next cut may leave just these two.
const streamsWithin = 6 * time.Second

// hostsWithin is how long it takes until a host has been updated that waited at
// the coordinator which was cut off: until it is sent away, and its own work.
const hostsWithin = 20 * time.Second

func (c *cluster) othersOf(m *memberProcess) (list []string) {
	for _, o := range slicesWithout(c.members, m) {
		list = append(list, o.name)
	}
	return list
}

// refuses waits until a coordinator says that it has no quorum.
func (m *memberProcess) refuses() {
	m.t.Helper()
	eventually(m.t, m.name+" knows that it has no quorum", func() bool {
		status, _ := get(m.url + "/readyz")
		return status == http.StatusServiceUnavailable
	})
}

// A leader that cannot hear the others, or that they cannot hear: they go on
// with all hosts, also with those that waited at it, it waits, and nobody has to
// help when the network is whole again.
func TestPartition_WithoutTheirLeaderTheOthersGoOn(t *testing.T) {
	t.Parallel()
	n := newNetlab(t)
	c := n.cluster()
	const slots = 3
	d := &durable{cluster: c, w: newWitness(t), slots: slots, hosts: names("near", 48)}
	must(t, c.any().url, "group", "set", "fleet", "--slots", fmt.Sprint(slots))
	// All ask the same coordinator first, and it leads.
	near := startHerd(t, "near", herd{Servers: strings.Split(c.urls(), ","), Nodes: d.hosts, Group: "fleet", Witness: string(d.w), Reboot: 2 * time.Second})
	d.start()
	d.waitUpdated(2, "the rollout is under way")
	let := func(slots int) { must(t, c.any().url, "group", "set", "fleet", "--slots", fmt.Sprint(slots)) }

	for _, cut := range []struct {
		what  string
		rules func(others []string) []string
	}{
		{"the leader was cut off", func(o []string) []string { return append(n.deaf(o...), n.mute(o...)...) }},
		{"the leader heard nobody any more", func(o []string) []string { return n.deaf(o...) }},
		{"nobody heard the leader any more", func(o []string) []string { return n.mute(o...) }},
	} {
		let(slots)
		led := c.leader()
		other := slicesWithout(c.members, led)[0]
		eventually(t, "hosts are out", func() bool { return len(d.holds(other)) > 0 })
		held := d.holds(other)
		n.filter(led.name, cut.rules(c.othersOf(led))...)
		since, hosts := d.stopwatch(led), startStopwatch(near)
		d.writesGoOn(since, cut.what, led)
		led.refuses()
		d.keeps(other, held)
		if left := rolloutOf(t, c.any().url, d.rollout).Progress.Waiting; left == 0 {
			t.Fatalf("no host waits any more when %s: nothing would be shown", cut.what)
		}
		d.waitUpdated(slots+1, "hosts that waited are updated after "+cut.what) // more than were out
		took := time.Since(since.began).Round(time.Millisecond)
		t.Logf("hosts that waited were updated %s after %s", took, cut.what)
		since.within(t, took, hosts.stretch(hostsWithin), "hosts that waited were updated when "+cut.what)
		let(0) // so that hosts are left for the next cut, however long this takes
		n.filter(led.name)
		healed := time.Now()
		led.waitReady()
		t.Logf("%s was ready %s after it heard the others again", led.name, time.Since(healed).Round(time.Millisecond))
		time.Sleep(streamsWithin)
	}
	if most := d.w.most(t); most > slots {
		t.Errorf("%d hosts were out at once, with %d slots", most, slots)
	}
	if most := largestHeld(t, c.any().url, "fleet"); most > slots {
		t.Errorf("%d holds at once, with %d slots", most, slots)
	}
	d.slots = 16 // the rest
	let(d.slots)
	d.finishes()
}

// A follower is cut off together with the hosts on its side, whose rollout is
// under way: those that are behind their gate finish, and nobody else goes out.
func TestPartition_HostsCutOffWithAFollowerWait(t *testing.T) {
	t.Parallel()
	n := newNetlab(t)
	c := n.cluster()
	d := &durable{cluster: c, w: newWitness(t), slots: 1, hosts: names("far", 6)}
	must(t, c.any().url, "group", "set", "fleet", "--slots", "1")
	startHerd(t, "far", herd{Servers: strings.Split(c.urls(), ","), Nodes: d.hosts, Group: "fleet", Witness: string(d.w), Reboot: 2 * time.Second}, n.in(far)...)
	d.start()
	eventually(t, "a far host is out", func() bool { return len(d.w.begun(t)) > 0 })

	m := c.followers()[0]
	o := c.othersOf(m)
	n.filter(far, append(n.deaf(o...), n.mute(o...)...)...)
	n.filter(m.name, append(n.deaf(o...), n.mute(o...)...)...)
	cut := d.stopwatch(m)
	d.writesGoOn(cut, m.name+" was cut off with hosts", m)
	m.refuses()
	time.Sleep(time.Until(cut.began.Add(gateCounts + 5*time.Second))) // those behind their gate go on
	before := d.w.begun(t)
	if len(before) == len(d.hosts) {
		t.Error("all had begun before the cut: nothing is shown of those that wait")
	}
	time.Sleep(5 * time.Second)
	if after := d.w.begun(t); !maps.Equal(before, after) {
		t.Errorf("hosts that were cut off went out: %v, were %v", after, before)
	}
	n.filter(far)
	n.filter(m.name)
	m.waitReady()
	eventually(t, "the far hosts are updated", func() bool { return rolloutOf(t, m.url, d.rollout).State == api.RolloutSucceeded })
	d.finishes()
}
