package e2e

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// holdersOf replays the audit trail: the largest number of holds of the group
// at once, and whether any grant passed the slots.
func largestHeld(t *testing.T, server, group string) int {
	t.Helper()
	var list api.EventList
	getJSON(t, server+"/api/v1/events?limit=10000", &list)
	held, most := map[string]bool{}, 0
	for _, e := range list.Events {
		if e.Group != group {
			continue
		}
		switch e.Kind {
		case "hold.granted":
			held[e.Node] = true
			if len(held) > e.Slots {
				t.Errorf("event %d: %d holds of %d slots", e.Revision, len(held), e.Slots)
			}
		case "hold.released", "hold.freed", "hold.expired":
			delete(held, e.Node)
		}
		most = max(most, len(held))
	}
	return most
}

func startRollout(t *testing.T, server, bundle string, args ...string) string {
	t.Helper()
	out := must(t, server, append([]string{"rollout", "start", "--bundle", bundle, "--group", "default", "-o", "json"}, args...)...)
	_, rest, found := strings.Cut(out, `"id": "`)
	id, _, ended := strings.Cut(rest, `"`)
	if !found || !ended {
		t.Fatalf("rollout start printed no id: %s", out)
	}
	return id
}

// rolloutOf is a rollout as a coordinator knows it. One that was made at another
// it hears of a moment later.
func rolloutOf(t *testing.T, server, id string) (r api.Rollout) {
	t.Helper()
	url := server + "/api/v1/rollouts/" + id
	eventually(t, "rollout "+id+" is known at "+server, func() bool { status, _ := get(url); return status != http.StatusNotFound })
	getJSON(t, url, &r)
	return r
}

// The promise of the whole: a fleet is updated by its agents, never more of it
// out than slots, whoever is killed on the way.
func TestFleet_IsUpdatedWithinItsSlotsThoughCoordinatorAndAgentsAreKilled(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	c := startCoordinator(t, "--data-dir", data)
	must(t, c.url, "group", "set", "default", "--slots", "2")
	w := newWitness(t)
	fleet := startFleet(t, w, c.url, 5)
	id := startRollout(t, c.url, pushBundle(t, c.url, "new", ""))

	eventually(t, "two hosts are out", func() bool { return w.most(t) >= 2 })
	c.kill()
	for _, m := range fleet[:2] {
		m.crash()
	}
	c.start()
	c.waitReady()
	eventually(t, "the rollout has ended", func() bool {
		r := rolloutOf(t, c.url, id)
		if r.State == api.RolloutHalted || r.State == api.RolloutFailed {
			t.Fatalf("the rollout is %s: %s %+v", r.State, r.Why, r.Nodes)
		}
		return r.State == api.RolloutSucceeded
	})

	for _, m := range fleet {
		if got := m.file(t, "etc/app.conf"); got != "new\n" {
			t.Errorf("%s has %q", m.node, got)
		}
		if n := w.count(t, "reboot "+m.node); n != 1 {
			t.Errorf("%s was rebooted %d times, want once", m.node, n)
		}
	}
	if got := w.most(t); got > 2 {
		t.Errorf("%d hosts were out of service at once, with 2 slots:\n%s", got, strings.Join(w.lines(t), "\n"))
	}
	if got := largestHeld(t, c.url, "default"); got > 2 {
		t.Errorf("%d holds at once, with 2 slots", got)
	}
	var g api.Group
	getJSON(t, c.url+"/api/v1/groups/default", &g)
	if len(g.Holds) != 0 || len(g.Queue) != 0 {
		t.Errorf("left behind: %d holds, %d waiters", len(g.Holds), len(g.Queue))
	}
}

func TestFleet_AFailedHostIsRolledBackAndHaltsTheRollout(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	w := newWitness(t)
	fleet := startFleet(t, w, c.url, 3)
	// Healthy is who still has the old file: the new one breaks the service.
	bundle := pushBundle(t, c.url, "broken", "healthy_deadline: 3s\nhealth:\n  - command: test \"$(cat \"$LOCKKEEPER_ROOT/etc/app.conf\")\" = old\n")
	id := startRollout(t, c.url, bundle)
	eventually(t, "the rollout has halted", func() bool {
		return rolloutOf(t, c.url, id).State == api.RolloutHalted
	})
	r := rolloutOf(t, c.url, id)
	if r.Progress.Failed != 1 || r.Progress.Updated != 0 {
		t.Errorf("progress %+v, want one failed and none updated", r.Progress)
	}
	eventually(t, "the failed host is back in service and has returned its slot", func() bool {
		var g api.Group
		getJSON(t, c.url+"/api/v1/groups/default", &g)
		return len(g.Holds) == 0
	})
	for _, m := range fleet {
		if got := m.file(t, "etc/app.conf"); got != "old\n" {
			t.Errorf("%s has %q, want the old file", m.node, got)
		}
	}
	if _, _, code := lockkeeper(t, c.url, "status"); code != 1 {
		t.Errorf("lockkeeper status: exit %d, want 1: a person is needed", code)
	}
}

func TestFleet_WithoutACoordinatorNobodyStarts(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	w := newWitness(t)
	startFleet(t, w, c.url, 2)
	must(t, c.url, "freeze", "the operator looks first")
	id := startRollout(t, c.url, pushBundle(t, c.url, "new", ""))
	eventually(t, "both hosts wait", func() bool {
		return rolloutOf(t, c.url, id).Progress.Waiting == 2
	})
	c.kill()
	// The hosts ask again meanwhile; each failure is one more chance to go wrong.
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) {
		if got := w.most(t); got != 0 {
			t.Fatal("a host went out of service without a coordinator")
		}
		time.Sleep(200 * time.Millisecond)
	}
	c.start()
	c.waitReady()
	must(t, c.url, "unfreeze")
	eventually(t, "the rollout has succeeded", func() bool {
		return rolloutOf(t, c.url, id).State == api.RolloutSucceeded
	})
	if got := w.most(t); got != 1 {
		t.Errorf("%d hosts were out at once, with 1 slot", got)
	}
}
