package e2e

import (
	"testing"
	"time"
)

// After a long cut the member that was cut off goes on with the leader at once.
// The leader may be lost a moment later: the two that are left must have found
// each other by then, though TCP would have let them wait.
func TestPartition_TheLeaderMayBeLostRightAfterALongCut(t *testing.T) {
	t.Parallel()
	n := newNetlab(t)
	d := &durable{cluster: n.cluster()}
	cut := func(m *memberProcess) {
		var others []string
		for _, o := range slicesWithout(d.members, m) {
			others = append(others, o.name)
		}
		n.filter(m.name, append(n.deaf(others...), n.mute(others...)...)...)
	}
	m := d.followers()[0]
	cut(m)
	time.Sleep(30 * time.Second) // TCP waits for ever longer before it sends again
	n.filter(m.name)
	m.waitReady()
	for _, m := range d.members {
		must(t, d.any().url, "group", "set", "pulse-"+m.name, "--slots", "1")
		d.pulses = append(d.pulses, startPulse(t, m))
	}
	time.Sleep(streamsWithin)
	led := d.leader()
	cut(led)
	since := d.stopwatch(led)
	since.began = since.began.Add(100 * time.Millisecond) // what was under way may have come through
	d.writesGoOn(since, "the leader was cut off 6 s after a cut of 30 s", led)
}
