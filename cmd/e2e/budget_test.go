package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// pushAtOnce makes and uploads a bundle that is in place at once: no interrupt,
// and healthy from the first look on. A host that goes back to it returns its
// slot as fast as a host can.
func pushAtOnce(t *testing.T, server, content, manifest string) string {
	t.Helper()
	dir := writeFiles(t, t.TempDir(), map[string]string{
		"bundle.yaml":        "name: app-" + content + "\ndefault_interrupt: none\nmin_healthy_time: 0s\n" + manifest,
		"files/etc/app.conf": content + "\n",
	})
	return digestIn(t, must(t, server, "bundle", "create", dir))
}

func digestIn(t *testing.T, out string) string {
	t.Helper()
	for word := range strings.FieldsSeq(out) {
		if digest := strings.TrimPrefix(word, "sha256:"); len(digest) == 64 {
			return digest
		}
	}
	t.Fatalf("bundle create printed no digest: %q", out)
	return ""
}

// waitingFleet is a fleet with the bundle "good" in place and one slot, and a
// rollout of a bundle that makes every host unhealthy and may fail nowhere. Its
// hosts ask the servers in turn, or c.
func waitingFleet(t *testing.T, c *coordinatorProcess, w witness, servers ...string) (fleet []*machine, rollout string) {
	t.Helper()
	if len(servers) == 0 {
		servers = []string{c.url}
	}
	for i := range 4 {
		fleet = append(fleet, startMachine(t, w, fmt.Sprintf("host-%d", i+1), servers[i%len(servers)]))
	}
	allReport(t, c.url, len(fleet))
	good := startRollout(t, c.url, pushAtOnce(t, c.url, "good", ""))
	eventually(t, "the good bundle is everywhere", func() bool {
		return rolloutOf(t, c.url, good).State == api.RolloutSucceeded
	})
	bad := pushAtOnce(t, c.url, "bad", "healthy_deadline: 2s\nhealth:\n  - command: test \"$(cat \"$LOCKKEEPER_ROOT/etc/app.conf\")\" = good\n")
	return fleet, startRollout(t, c.url, bad, "--max-failures", "0")
}

// oneTookIt fails the test unless exactly one host went out of service for the
// rollout that halted, and all are as they were before it.
func oneTookIt(t *testing.T, c *coordinatorProcess, w witness, fleet []*machine, rollout string) {
	t.Helper()
	eventually(t, "the rollout has halted, and nobody holds, waits or works", func() bool {
		var g api.Group
		getJSON(t, c.url+"/api/v1/groups/default", &g)
		r := rolloutOf(t, c.url, rollout)
		return r.State == api.RolloutHalted && r.Progress.Waiting+r.Progress.Updating+len(g.Holds)+len(g.Queue) == 0
	})
	if r := rolloutOf(t, c.url, rollout); r.Progress.Failed != 1 || r.Progress.Pending != 3 {
		t.Errorf("progress %+v, want 1 failed and 3 pending", r.Progress)
	}
	out := 0
	for _, m := range fleet {
		if got := m.file(t, "etc/app.conf"); got != "good\n" {
			t.Errorf("%s has %q", m.node, got)
		}
		out += w.count(t, "down "+m.node) - 1 // once for the good bundle
	}
	if out != 1 {
		t.Errorf("the bad bundle reached %d hosts, want 1:\n%s", out, strings.Join(w.lines(t), "\n"))
	}
}

func anyBroken(t *testing.T, fleet []*machine) bool {
	t.Helper()
	return slices.ContainsFunc(fleet, func(m *machine) bool { return m.file(t, "etc/app.conf") == "bad\n" })
}

// someTookIt waits until a host has the bad bundle. It goes back after two seconds,
// and whoever looks late finds that it has been out twice.
func someTookIt(t *testing.T, w witness, fleet []*machine) {
	t.Helper()
	eventually(t, "a host has the bad bundle", func() bool {
		back := func(m *machine) bool { return w.count(t, "up "+m.node) > 1 }
		return anyBroken(t, fleet) || slices.ContainsFunc(fleet, back)
	})
}

// A host that goes back at once returns its slot within milliseconds of its
// failure, and the release gives it on in the same transaction. Whoever gets it
// must find the rollout halted.
func TestFailure_StopsTheFleetHoweverFastTheHostReturnsItsSlot(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	w := newWitness(t)
	fleet, rollout := waitingFleet(t, c, w)
	oneTookIt(t, c, w, fleet, rollout)
}

func TestFailure_StopsTheFleetThoughTheCoordinatorWasGoneWhenItHappened(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	c := startCoordinator(t, "--data-dir", data)
	w := newWitness(t)
	fleet, rollout := waitingFleet(t, c, w)
	someTookIt(t, w, fleet)
	c.kill()
	eventually(t, "that host has gone back", func() bool { return !anyBroken(t, fleet) })
	c.start()
	c.waitReady()
	oneTookIt(t, c, w, fleet, rollout)
}

// The host that failed, those that wait and the elected engine need not be at one
// coordinator.
func TestFailure_StopsTheFleetOverTwoCoordinators(t *testing.T) {
	t.Parallel()
	p := startTwins(t)
	w := newWitness(t)
	fleet, rollout := waitingFleet(t, p.a, w, p.a.url+","+p.b.url, p.b.url+","+p.a.url)
	oneTookIt(t, p.b, w, fleet, rollout)
}

// What no engine sees must stop the fleet all the same.
func TestFailure_StopsTheFleetWhileTheElectedEngineIsStopped(t *testing.T) {
	t.Parallel()
	p := startTwins(t)
	w := newWitness(t)
	elected, other := p.a, p.b
	eventually(t, "an engine is elected", func() bool {
		const said = "rollout engine is elected"
		if strings.Contains(p.b.output(t), said) {
			elected, other = p.b, p.a
		}
		return strings.Contains(elected.output(t), said)
	})
	fleet, rollout := waitingFleet(t, other, w, other.url)
	someTookIt(t, w, fleet)
	must0(t, elected.send(syscall.SIGSTOP))
	oneTookIt(t, other, w, fleet, rollout)
}
