package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// told waits until the coordinator shows that the node's agent can do nothing,
// and why; a person sees it in the node, and is called by the status.
func told(t *testing.T, server, node string, words ...string) {
	t.Helper()
	eventually(t, "the trouble is told: "+strings.Join(words, ", "), func() bool {
		trouble := nodeOf(t, server, node).Report.Trouble
		for _, word := range words {
			if !strings.Contains(trouble, word) {
				return false
			}
		}
		return true
	})
	if out := must(t, server, "node", "show", node); !strings.Contains(out, "Trouble") || !strings.Contains(out, words[0]) {
		t.Errorf("node show does not say %q:\n%s", words, out)
	}
	if out, _, code := lockkeeper(t, server, "status"); code != 1 || !strings.Contains(out, node) {
		t.Errorf("status: exit %d\n%s", code, out)
	}
}

func untroubled(t *testing.T, server, node string) {
	t.Helper()
	eventually(t, "no trouble any more", func() bool {
		r := nodeOf(t, server, node).Report
		return r.Trouble == "" && r.Phase == api.PhaseIdle
	})
}

// A state folder on a file system of its own becomes full, and read-only, under a
// running agent: nothing is begun, a person is told, and it goes on by itself.
func TestTrouble_AFullOrReadOnlyStateFolderIsToldAndWaitedFor(t *testing.T) {
	t.Parallel()
	unshare, nsenter := needTool(t, "unshare"), needTool(t, "nsenter")
	c := startCoordinator(t)
	w := newWitness(t)
	state := filepath.Join(t.TempDir(), "state")
	must0(t, os.Mkdir(state, 0o700))
	script := fmt.Sprintf(`mount -t tmpfs -o size=2m none %s && exec "$@"`, state)
	m := startMachineOf(t, w, "host-1", c.url, []string{unshare, "--mount", "/bin/sh", "-c", script, "sh", program("lockkeeper-agent")}, "--state-dir", state)
	allReport(t, c.url, 1)
	inside := fmt.Sprintf("/proc/%d/root%s", m.agent.pid(), state)
	remount := func(how string) {
		t.Helper()
		if out, err := exec.Command(nsenter, "-t", fmt.Sprint(m.agent.pid()), "-m", "mount", "-o", "remount,"+how, state).CombinedOutput(); err != nil {
			t.Fatalf("remount %s: %v %s", how, err, out)
		}
	}
	for i, step := range []struct {
		word       string
		damage     func()
		mend       func()
		wasApplied string
	}{
		{"read-only", func() { remount("ro") }, func() { remount("rw") }, "old\n"},
		{"no space left", func() {
			_ = os.Remove(filepath.Join(inside, "reserve"))
			fill, err := os.Create(filepath.Join(inside, "fill"))
			must0(t, err)
			defer fill.Close()
			for err == nil {
				_, err = fill.Write(make([]byte, 4096))
			}
		}, func() { must0(t, os.Remove(filepath.Join(inside, "fill"))) }, "v0\n"},
	} {
		step.damage()
		content := fmt.Sprintf("v%d", i)
		id := startRollout(t, c.url, pushBundle(t, c.url, content, "files:\n  /etc/app.conf: {interrupt: none}\n"))
		told(t, c.url, m.node, step.word, state)
		if n := nodeOf(t, c.url, m.node); n.Hold != nil || m.file(t, "etc/app.conf") != step.wasApplied {
			t.Errorf("%s: hold %+v, app.conf %q", step.word, n.Hold, m.file(t, "etc/app.conf"))
		}
		step.mend()
		untroubled(t, c.url, m.node)
		// It could not even look at the bundle, and reports that now.
		eventually(t, "the rollout is halted", func() bool { return rolloutOf(t, c.url, id).State == api.RolloutHalted })
		must(t, c.url, "node", "retry", m.node)
		eventually(t, "the rollout has succeeded", func() bool { return rolloutOf(t, c.url, id).State == api.RolloutSucceeded })
		untroubled(t, c.url, m.node)
		if got := m.file(t, "etc/app.conf"); got != content+"\n" {
			t.Errorf("app.conf is %q", got)
		}
	}
}

func TestTrouble_ADamagedJournalIsToldAndTheHostStaysAsItIs(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	w := newWitness(t)
	m := startFleet(t, w, c.url, 1)[0]
	// A host that is unhealthy keeps its slot, and is out.
	startRollout(t, c.url, pushBundle(t, c.url, "new", "files:\n  /etc/app.conf: {interrupt: none}\nhealthy_deadline: 2s\nhealth:\n  - command: \"false\"\n"))
	eventually(t, "the host has failed", func() bool { return nodeOf(t, c.url, m.node).Report.Phase == api.PhaseFailed })
	file := filepath.Join(m.dir, "state", "journal.json")
	text, err := os.ReadFile(file)
	must0(t, err)
	text[len(text)/2] ^= 1
	must0(t, os.WriteFile(file, text, 0o600))
	before := w.lines(t)
	m.crash()
	told(t, c.url, m.node, "damaged", file)
	if n := nodeOf(t, c.url, m.node); n.Hold == nil || n.State != api.NodeFailed || len(w.lines(t)) != len(before) {
		t.Errorf("%+v, witness %v", n, w.lines(t))
	}
	must0(t, os.Rename(file, file+".damaged"))
	eventually(t, "the agent has begun anew and returned the slot", func() bool {
		n := nodeOf(t, c.url, m.node)
		return n.Report.Trouble == "" && n.Hold == nil
	})
}
