package e2e

import (
	"flag"
	"slices"
	"testing"
	"time"
)

// kills is how many leaders TestFailover kills.
var kills = flag.Int("kills", 3, "how many leaders are killed, one after another")

// electionTimeout is the default.
const electionTimeout = time.Second

// How long nobody writes after the leader is killed, over many kills. Its process
// has ended, which the others know at once: no election timeout is waited for, and
// one of them asks for votes after the other.
func TestFailover_WritesGoOnAfterEachKillOfTheLeader(t *testing.T) {
	d := &durable{cluster: newCluster(t, 3)}
	for _, m := range d.members {
		must(t, d.any().url, "group", "set", "pulse-"+m.name, "--slots", "1")
		d.pulses = append(d.pulses, startPulse(t, m))
	}
	var took, busy []time.Duration
	for range *kills {
		dead := d.leader()
		dead.kill()
		since := d.stopwatch()
		first := time.Duration(0)
		for _, p := range d.pulses {
			if p.m == dead {
				continue
			}
			var after time.Duration
			eventually(t, p.m.name+" writes", func() (ok bool) { after, ok = p.after(since.began); return ok })
			first = max(first, after)
		}
		took, busy = append(took, first), append(busy, since.stretch(0))
		dead.restart()
		d.waitVoters(3)
		d.inTouch()
	}
	t.Logf("both survivors wrote after each kill: %s", took)
	t.Logf("meanwhile they waited for a processor: %s", busy)
	for i := range took {
		took[i] -= busy[i]
	}
	slices.Sort(took)
	t.Logf("of %d kills, without that: min %s, median %s, max %s", len(took), took[0], took[len(took)/2], took[len(took)-1])
	if slowest := took[len(took)-1]; slowest > writesWithin {
		t.Errorf("the slowest is %s, want within %s", slowest, writesWithin)
	}
	if median := took[len(took)/2]; median > electionTimeout {
		t.Errorf("the median is %s, which is no less than the election timeout of %s", median, electionTimeout)
	}
}
