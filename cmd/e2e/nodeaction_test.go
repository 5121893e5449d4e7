package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// A node fails, stays out with its slot, is repaired and tried again; then it is
// taken back to what it had, by real reboots each time.
func TestNode_IsTriedAgainAndRolledBackByAPerson(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	w := newWitness(t)
	m := startFleet(t, w, c.url, 1)[0]
	broken := m.dir + "/broken"
	writeFiles(t, m.dir, map[string]string{"broken": "x"})
	bundle := pushBundle(t, c.url, "new", "healthy_deadline: 10s\nhealth:\n  - command: test ! -e "+broken+"\n")
	id := startRollout(t, c.url, bundle)
	eventually(t, "the host has failed and the rollout is halted", func() bool {
		return nodeOf(t, c.url, m.node).Report.Phase == api.PhaseFailed && rolloutOf(t, c.url, id).State == api.RolloutHalted
	})
	n := nodeOf(t, c.url, m.node)
	if n.Hold == nil || n.Report.Failure == nil || n.Report.Failure.Healthy || m.file(t, "etc/app.conf") != "old\n" || w.count(t, "reboot "+m.node) != 2 {
		t.Fatalf("%d reboots, %+v", w.count(t, "reboot "+m.node), n)
	}
	if _, errs, code := lockkeeper(t, c.url, "node", "rollback", m.node); code == 0 || !strings.Contains(errs, "failed") {
		t.Errorf("a rollback of a failed node: exit %d, %s", code, errs)
	}

	writeFiles(t, m.dir, map[string]string{"repaired": "x"})
	must0(t, os.Remove(broken))
	out := must(t, c.url, "node", "retry", m.node, "--reason", "repaired", "-o", "json")
	var asked api.Node
	if err := json.Unmarshal([]byte(out), &asked); err != nil || asked.ID != m.node {
		t.Errorf("retry -o json: %v %s", err, out)
	}
	eventually(t, "the rollout has succeeded", func() bool { return rolloutOf(t, c.url, id).State == api.RolloutSucceeded })
	if got := m.file(t, "etc/app.conf"); got != "new\n" {
		t.Errorf("app.conf is %q", got)
	}
	if _, errs, code := lockkeeper(t, c.url, "node", "retry", m.node); code == 0 || !strings.Contains(errs, "has not failed") {
		t.Errorf("a retry of what has succeeded: exit %d, %s", code, errs)
	}

	boots := w.count(t, "reboot "+m.node)
	must(t, c.url, "node", "rollback", m.node, "--reason", "too slow")
	eventually(t, "the host is back at what it had", func() bool {
		n = nodeOf(t, c.url, m.node)
		return n.Order == nil && n.Report.Phase == api.PhaseIdle && n.Hold == nil
	})
	if got := m.file(t, "etc/app.conf"); got != "old\n" || n.Report.Bundle != "" || n.Report.Failure != nil || w.count(t, "reboot "+m.node) != boots+1 {
		t.Errorf("app.conf is %q, %d reboots, %+v", got, w.count(t, "reboot "+m.node)-boots, n)
	}
	if got := w.lines(t); got[len(got)-1] != "up "+m.node {
		t.Errorf("it is not back in service: %v", got)
	}
	for _, kind := range []string{"rollout.retried", "node.rollback"} {
		if out := must(t, c.url, "events", "-o", "json"); !strings.Contains(out, kind) {
			t.Errorf("the audit trail has no %s", kind)
		}
	}
	eventually(t, "the shell is offered the node", func() bool { // if it answers before the shell has waited for long
		return strings.Contains(must(t, c.url, "__complete", "node", "rollback", ""), m.node)
	})
}
