package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
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

// Coordinators that cannot hear each other: who is with the majority goes on,
// who is not waits, and nobody has to help when the network is whole again.
func TestPartition_WhoIsWithTheMajorityGoesOn(t *testing.T) {
	t.Parallel()
	n := newNetlab(t)
	c := n.cluster()
	const slots, awaySlots = 3, 1
	d := &durable{cluster: c, w: newWitness(t), slots: slots + awaySlots}
	must(t, c.any().url, "group", "set", "fleet", "--slots", fmt.Sprint(slots))
	must(t, c.any().url, "group", "set", "away", "--slots", fmt.Sprint(awaySlots))
	near, away := names("near", 24), names("far", 6)
	d.hosts = append(near, away...)
	servers := strings.Split(c.urls(), ",")
	startHerd(t, "near", herd{Servers: servers, Nodes: near, Group: "fleet", Witness: string(d.w), Reboot: 2 * time.Second})
	startHerd(t, "far", herd{Servers: servers, Nodes: away, Group: "away", Witness: string(d.w), Reboot: 2 * time.Second}, n.in(far)...)
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
		led, held := c.leader(), d.holds()
		n.filter(led.name, cut.rules(others(led))...)
		d.writesGoOn(time.Now(), cut.what, led)
		eventually(t, 15*time.Second, "the one that led knows that it has no quorum", func() bool {
			status, _ := get(led.url + "/readyz")
			return status == http.StatusServiceUnavailable
		})
		d.keeps(held)
		d.waitUpdated(1, "hosts are updated after "+cut.what)
		n.filter(led.name)
		healed := time.Now()
		led.waitReady()
		t.Logf("%s was ready %s after it heard the others again", led.name, time.Since(healed).Round(time.Millisecond))
		time.Sleep(streamsWithin)
	}

	// A follower, with the far hosts on its side, whose own rollout is under way.
	second := startRollout(t, c.any().url, pushBundle(t, c.any().url, "newer", ""), "--group", "away")
	begun := func() map[string]bool {
		list := d.w.begun(t)
		maps.DeleteFunc(list, func(node string, _ bool) bool { return !slices.Contains(away, node) })
		return list
	}
	eventually(t, 30*time.Second, "a far host is out", func() bool { return len(begun()) > 0 })
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
	before := begun()
	if len(before) == len(away) {
		t.Error("all far hosts had begun before the cut: nothing is shown of those that wait")
	}
	time.Sleep(5 * time.Second)
	if after := begun(); !maps.Equal(before, after) {
		t.Errorf("hosts that were cut off went out: %v, were %v", after, before)
	}
	n.filter(far)
	n.filter(m.name)
	m.waitReady()
	eventually(t, 3*time.Minute, "the far hosts are updated", func() bool { return rolloutOf(t, m.url, second).State == api.RolloutSucceeded })
	d.finishes()
	for group, most := range map[string]int{"fleet": slots, "away": awaySlots} {
		if got := largestHeld(t, m.url, group); got > most {
			t.Errorf("%d holds at once in group %s, with %d slots", got, group, most)
		}
	}
}
