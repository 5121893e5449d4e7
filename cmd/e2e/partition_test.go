package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Coordinators that cannot hear each other: who is with the majority goes on,
// who is not waits, and nobody has to help when the network is whole again.
func TestPartition_WhoIsWithTheMajorityGoesOn(t *testing.T) {
	t.Parallel()
	n := newNetlab(t)
	c := n.cluster()
	d := &durable{cluster: c, w: newWitness(t), slots: 4}
	must(t, c.any().url, "group", "set", "fleet", "--slots", fmt.Sprint(d.slots))
	near, away := names("near", 20), names("far", 10)
	d.hosts = append(near, away...)
	servers := strings.Split(c.urls(), ",")
	startHerd(t, "near", herd{Servers: servers, Nodes: near, Group: "fleet", Witness: string(d.w), Reboot: 2 * time.Second})
	startHerd(t, "far", herd{Servers: servers, Nodes: away, Group: "fleet", Witness: string(d.w), Reboot: 2 * time.Second}, n.in(far)...)
	d.start()
	d.waitUpdated(2, "the rollout is under way")

	others := func(m *memberProcess) (list []string) {
		for _, o := range slicesWithout(c.members, m) {
			list = append(list, o.name)
		}
		return list
	}
	for _, cut := range []struct {
		what  string
		rules func(others []string) []string
	}{
		{"the leader was cut off", func(o []string) []string { return append(n.deaf(o...), n.mute(o...)...) }},
		{"the leader heard nobody any more", func(o []string) []string { return n.deaf(o...) }},
		{"nobody heard the leader any more", func(o []string) []string { return n.mute(o...) }},
	} {
		what := cut.what
		m, held := c.leader(), d.holds()
		n.filter(m.name, cut.rules(others(m))...)
		d.writesGoOn(time.Now(), what, m)
		eventually(t, 15*time.Second, "the one that led knows that it has no quorum", func() bool {
			status, _ := get(m.url + "/readyz")
			return status == http.StatusServiceUnavailable
		})
		d.keeps(held)
		d.waitUpdated(1, "hosts are updated after "+what)
		n.filter(m.name)
		healed := time.Now()
		m.waitReady()
		t.Logf("%s was ready %s after it heard the others again", m.name, time.Since(healed).Round(time.Millisecond))
	}

	// A follower, with the far hosts on its side.
	m := c.followers()[0]
	o := others(m)
	n.filter(far, append(n.deaf(o...), n.mute(o...)...)...)
	n.filter(m.name, append(n.deaf(o...), n.mute(o...)...)...)
	cut := time.Now()
	d.writesGoOn(cut, m.name+" was cut off with hosts", m)
	eventually(t, 15*time.Second, "it knows that it has no quorum", func() bool {
		status, _ := get(m.url + "/readyz")
		return status == http.StatusServiceUnavailable
	})
	time.Sleep(time.Until(cut.Add(gateCounts + 2*time.Second))) // those behind their gate go on
	begun := func() map[string]bool {
		list := d.w.begun(t)
		maps.DeleteFunc(list, func(node string, _ bool) bool { return !slices.Contains(away, node) })
		return list
	}
	before := begun()
	if len(before) == len(away) {
		t.Log("all far hosts had begun before the cut: nothing is shown of those that wait")
	}
	near0 := d.updated(c.leader().url)
	eventually(t, 60*time.Second, "near hosts are updated, or none is left that could be", func() bool {
		return d.updated(c.leader().url) > near0 || len(d.w.begun(t)) == len(near)+len(before)
	})
	if after := begun(); !maps.Equal(before, after) {
		t.Errorf("hosts that were cut off went out: %v, were %v", after, before)
	}
	n.filter(far)
	n.filter(m.name)
	m.waitReady()
	d.finishes()
}
