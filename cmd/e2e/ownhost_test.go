package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// hostOf makes a machine the host of a coordinator: its reboot asks the
// coordinator what it is, and takes it down. It comes back a moment later.
func hostOf(t *testing.T, m *machine, c *memberProcess) {
	t.Helper()
	path := filepath.Join(m.dir, "reboot")
	script, err := os.ReadFile(path)
	must0(t, err)
	down := fmt.Sprintf("#!/bin/sh\n%s --server %s cluster status -o json > %s/cluster.json\nkill -9 %d\n", program("lockkeeper"), c.url, m.dir, c.pid())
	must0(t, os.WriteFile(path, []byte(down+strings.TrimPrefix(string(script), "#!/bin/sh\n")), 0o755)) //nolint:gosec // a program
	var back sync.WaitGroup
	stop := make(chan struct{})
	back.Go(func() {
		select {
		case <-c.ended():
			time.Sleep(time.Second) // the boot
			c.start()
		case <-stop:
		}
	})
	t.Cleanup(func() { close(stop); back.Wait() })
}

// The hosts of the coordinators are updated like all others: when those are
// done, one at a time though there are slots for three, and none while its
// coordinator leads. Each takes its coordinator down with it.
func TestOwnHosts_GoLastOneAtATimeWhileAnotherLeads(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, calm(t)...)
	w := newWitness(t)
	at := c.any().url
	must(t, at, "group", "set", "default", "--slots", "3")
	hosts := map[string]*machine{
		"c1":     startMachine(t, w, "c1", c.urls()),
		"c2":     startMachine(t, w, "c2", c.urls()),
		"rack-9": startMachine(t, w, "rack-9", c.urls(), "--label", "coordinator=c3"),
	}
	hostOf(t, hosts["c1"], c.members[0])
	hostOf(t, hosts["c2"], c.members[1])
	hostOf(t, hosts["rack-9"], c.members[2])
	others := []string{"web-1", "web-2", "web-3"}
	for _, node := range others {
		startMachine(t, w, node, c.urls())
	}
	allReport(t, at, 6)
	id := startRollout(t, at, pushBundle(t, at, "new", ""))
	eventually(t, "it is said that they go last", func() bool {
		r := rolloutOf(t, at, id)
		return slices.ContainsFunc(r.Nodes, func(n api.RolloutNode) bool { return n.Node == "c1" && strings.Contains(n.Detail, "goes last") })
	})
	eventually(t, "the rollout has succeeded", func() bool {
		status, body := get(c.any().url + "/api/v1/rollouts/" + id)
		var r api.Rollout
		return status == 200 && json.Unmarshal([]byte(body), &r) == nil && r.State == api.RolloutSucceeded
	})

	up, out := map[string]bool{}, 0
	for _, line := range w.lines(t) {
		what, node, _ := strings.Cut(line, " ")
		switch _, host := hosts[node]; {
		case what == "up":
			up[node] = true
			if host {
				out--
			}
		case what == "down" && host:
			if out++; out > 1 {
				t.Errorf("%s went out while the host of another coordinator was", node)
			}
			for _, other := range others {
				if !up[other] {
					t.Errorf("%s went out before %s was back", node, other)
				}
			}
		}
	}
	for node, m := range hosts {
		if n := w.count(t, "reboot "+node); n != 1 {
			t.Errorf("%s was rebooted %d times, want once", node, n)
		}
		text, err := os.ReadFile(filepath.Join(m.dir, "cluster.json"))
		must0(t, err)
		var seen api.Cluster
		must0(t, json.Unmarshal(text, &seen))
		for _, member := range seen.Members {
			if member.Self && member.Role == "leader" {
				t.Errorf("%s led when its host %s was rebooted", member.Name, node)
			}
			// One that only was late stood on a busy machine, since the gate.
			if !member.Reachable && !member.Self && !strings.Contains(member.Unreachable, "no answer within") {
				t.Errorf("%s was rebooted while %s could not be reached: %s", node, member.Name, member.Unreachable)
			}
		}
	}
	var moved api.EventList
	getJSON(t, c.any().url+"/api/v1/events?limit=10000", &moved)
	if !slices.ContainsFunc(moved.Events, func(e api.Event) bool { return e.Kind == "cluster.leader.moved" }) {
		t.Error("nobody made another lead, and one of the three did")
	}
	t.Logf("in order:\n%s", strings.Join(w.lines(t), "\n"))
}
