package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func statusOf(t *testing.T, url string) (s api.Status) {
	t.Helper()
	getJSON(t, url+"/api/v1/status", &s)
	return s
}

// The worst mistake with a store: an empty one in its place, under the same
// address. The agent does nothing for it, and it doubts itself.
func TestCluster_AnotherOneOnTheSameAddressGetsNothingDoneUntilAPersonTrustsIt(t *testing.T) {
	t.Parallel()
	first := startCoordinator(t)
	w := newWitness(t)
	m := startFleet(t, w, first.url, 1)[0]
	eventually(t, "the agent holds on to its cluster", func() bool { return strings.Contains(m.agent.output(t), "cluster pinned") })
	pinned := statusOf(t, first.url).Cluster.ID
	if code := first.terminate(); code != 0 {
		t.Fatalf("exit %d, want 0", code)
	}

	other := &coordinatorProcess{startProcess(t, "other-lockkeeperd", program("lockkeeperd"),
		"serve", "--data-dir", filepath.Join(t.TempDir(), "data"), "--listen", strings.TrimPrefix(first.url, "http://")), first.url}
	other.waitReady()
	if got := statusOf(t, other.url).Cluster.ID; got == pinned {
		t.Fatalf("both clusters are %s", got)
	}
	eventually(t, "the new cluster has frozen itself", func() bool { return statusOf(t, other.url).Frozen != nil })
	if reason := statusOf(t, other.url).Frozen.Reason; !strings.Contains(reason, pinned) || !strings.Contains(reason, "replacement") {
		t.Errorf("the reason of the freeze is %q, want the other cluster's id and what is feared", reason)
	}
	if _, _, code := lockkeeper(t, other.url, "status"); code != 1 {
		t.Errorf("lockkeeper status: exit %d, want 1: a person is needed", code)
	}
	eventually(t, "the agent says that it is the wrong cluster", func() bool {
		return strings.Contains(m.agent.output(t), "wrong cluster")
	})

	// Freed of its doubts it is left in peace, and still has no host that
	// belongs elsewhere.
	must(t, other.url, "unfreeze")
	deadline := time.Now().Add(3 * time.Second)
	for time.Now().Before(deadline) {
		if got := statusOf(t, other.url); got.Frozen != nil || got.Figures.Nodes != 0 {
			t.Fatalf("frozen again (%v), or %d nodes came over by themselves", got.Frozen, got.Figures.Nodes)
		}
		time.Sleep(200 * time.Millisecond)
	}
	if got := w.most(t); got != 0 {
		t.Fatal("the host went out of service for a strange cluster")
	}

	trust := exec.Command(program("lockkeeper-agent"), "trust", "--state-dir", filepath.Join(m.dir, "state"))
	out, err := trust.CombinedOutput()
	if err != nil || !strings.Contains(string(out), pinned) {
		t.Fatalf("trust: %v, %s", err, out)
	}
	allReport(t, other.url, 1)
	id := startRollout(t, other.url, pushBundle(t, other.url, "new", ""))
	eventually(t, "the trusting host is updated", func() bool {
		return rolloutOf(t, other.url, id).State == api.RolloutSucceeded
	})
	if got := m.file(t, "etc/app.conf"); got != "new\n" {
		t.Errorf("the file is %q", got)
	}
}
