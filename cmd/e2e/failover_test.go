package e2e

import (
	"flag"
	"slices"
	"testing"
	"time"
)

// kills is how many leaders TestFailover kills.
var kills = flag.Int("kills", 3, "how many leaders are killed, one after another")

// How long nobody writes after the leader is killed, over many kills. Two must
// agree on who leads now; when both ask at the same moment, neither is chosen,
// and they ask again a moment later.
func TestFailover_WritesGoOnAfterEachKillOfTheLeader(t *testing.T) {
	d := &durable{cluster: newCluster(t, 3)}
	for _, m := range d.members {
		must(t, d.any().url, "group", "set", "pulse-"+m.name, "--slots", "1")
		d.pulses = append(d.pulses, startPulse(t, m))
	}
	var took []time.Duration
	for range *kills {
		dead := d.leader()
		dead.kill()
		at := time.Now()
		first := time.Duration(0)
		for _, p := range d.pulses {
			if p.m == dead {
				continue
			}
			var after time.Duration
			eventually(t, 20*time.Second, p.m.name+" writes", func() (ok bool) { after, ok = p.after(at); return ok })
			first = max(first, after)
		}
		took = append(took, first)
		dead.restart()
		d.waitVoters(3)
		eventually(t, 20*time.Second, "all are in touch", func() bool {
			for _, m := range d.shown() {
				if !m.Reachable {
					return false
				}
			}
			return true
		})
	}
	slices.Sort(took)
	t.Logf("both survivors wrote after each of %d kills: min %s, median %s, max %s", len(took), took[0], took[len(took)/2], took[len(took)-1])
	t.Logf("all: %s", took)
	if median := took[len(took)/2]; median > writesWithin {
		t.Errorf("the median is %s, want within %s", median, writesWithin)
	}
}
