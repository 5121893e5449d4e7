package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// A majority is gone for longer than a hold may last. That time counts against
// nobody: not while it is, and not when it is over, and the rollout goes on.
func TestOutage_LongerThanADeadlineMakesNobodyOverdue(t *testing.T) {
	t.Parallel()
	const deadline, lasts = 20 * time.Second, 32 * time.Second // a time without a word is an outage after 30 s
	c := newCluster(t, 3)
	d := &durable{cluster: c, w: newWitness(t), slots: 2, hosts: names("host", 2)}
	must(t, c.any().url, "group", "set", "fleet", "--slots", "2", "--hold-timeout", deadline.String())
	var hosts []*machine
	for _, node := range d.hosts {
		hosts = append(hosts, startMachine(t, d.w, node, c.urls(), "--group", "fleet"))
	}
	allReport(t, c.any().url, len(d.hosts))
	// They are healthy again when it is over, and the test says so.
	bundle := pushBundle(t, c.any().url, "new", "healthy_deadline: 10m\nhealth:\n  - command: test -e \"$LOCKKEEPER_ROOT/healthy\"\n")
	gone := []*memberProcess{c.leader()}
	left := slicesWithout(c.members, gone[0])
	gone, left = append(gone, left[0]), left[1:]
	d.rollout = startRollout(t, c.any().url, bundle, "--group", "fleet")
	eventually(t, "both hosts are out", func() bool { return len(d.w.begun(t)) == len(d.hosts) })
	var held map[string]int64
	eventually(t, "the one that is left shows both holds", func() bool { held = d.holds(left[0]); return len(held) == len(d.hosts) })

	// overdue is what a coordinator says is, in all the places where it is said.
	overdue := func(m *memberProcess) (list []string) {
		for _, a := range statusOf(t, m.url).Attention {
			if a.Kind == "overdue" {
				list = append(list, "attention: "+a.Title)
			}
		}
		var g api.Group
		getJSON(t, m.url+"/api/v1/groups/fleet", &g)
		for _, h := range g.Holds {
			if h.Overdue {
				list = append(list, fmt.Sprintf("hold of %s, since %s, until %s", h.Node, h.Since, h.Deadline))
			}
		}
		var n api.NodeList
		getJSON(t, m.url+"/api/v1/nodes", &n)
		for _, node := range n.Nodes {
			if node.State == api.NodeOverdue {
				list = append(list, "node "+node.ID)
			}
		}
		if r := rolloutOf(t, m.url, d.rollout); r.Progress.Failed > 0 || r.State == api.RolloutHalted {
			list = append(list, fmt.Sprintf("the rollout is %s: %s", r.State, r.Why))
		}
		return list
	}

	for _, m := range gone {
		m.kill()
	}
	began := time.Now()
	for time.Since(began) < lasts {
		if got := overdue(left[0]); len(got) > 0 {
			t.Fatalf("%s after the majority was lost: %v", time.Since(began).Round(time.Second), got)
		}
		time.Sleep(time.Second)
	}
	for _, m := range gone {
		m.start()
	}
	for _, m := range c.members {
		m.waitReady()
	}
	back := time.Now()
	if now := d.holds(left[0]); !maps.Equal(now, held) {
		t.Errorf("holds are %v, were %v", now, held)
	}
	eventually(t, "the rollout has succeeded", func() bool {
		if time.Since(back) > 5*time.Second { // for as long all is as it was
			for _, m := range hosts {
				must0(t, os.WriteFile(filepath.Join(m.dir, "root", "healthy"), nil, 0o600))
			}
		}
		for _, m := range c.members {
			if got := overdue(m); len(got) > 0 {
				t.Fatalf("%s says %s after the majority was back: %v", m.name, time.Since(back).Round(time.Second), got)
			}
		}
		return rolloutOf(t, c.any().url, d.rollout).State == api.RolloutSucceeded
	})
	d.finishes()
}
