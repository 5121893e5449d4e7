package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/agent"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// buildMortal builds the agent with its failpoints, which no shipped one has.
func buildMortal(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lockkeeper-agent")
	build := exec.Command("go", "build", "-tags", "failpoint", "-o", file, "github.com/lockkeeper/lockkeeper/cmd/lockkeeper-agent")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the agent: %v\n%s", err, out)
	}
	return file
}

// mortal starts a machine whose agent kills itself at a step, 0 for at none.
func mortal(t *testing.T, w witness, program, node, group, server string, at int) (m *machine, steps string) {
	t.Helper()
	steps = filepath.Join(t.TempDir(), "steps")
	return startMachineOf(t, w, node, server, []string{
		"/usr/bin/env", "LOCKKEEPER_FAILPOINT_STEPS=" + steps, "LOCKKEEPER_FAILPOINT_AT=" + strconv.Itoa(at), program,
	}, "--group", group), steps
}

// outcome is all that is left of a job on a host: its files, its journal but for
// attempts, fences, ids and times, its reboots, and what the coordinator knows.
func outcome(t *testing.T, w witness, m *machine, server string) string {
	t.Helper()
	var b bytes.Buffer
	root := filepath.Join(m.dir, "root")
	must0(t, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := []byte{}
		if info.Mode().IsRegular() {
			text, err = os.ReadFile(name)
		}
		rel, _ := filepath.Rel(root, name)
		fmt.Fprintf(&b, "%s %s %q\n", rel, info.Mode(), text)
		return err
	}))
	s, err := agent.ReadJournal(filepath.Join(m.dir, "state"))
	must0(t, err)
	s.Node, s.Request, s.LastFence, s.Starts, s.Tries, s.FailedAt = "", "", 0, 0, nil, time.Time{}
	if s.Failure != nil {
		s.Failure.At, s.Failure.Rollout = time.Time{}, ""
	}
	if s.Ended != nil {
		s.Ended.Rollout = ""
	}
	if s.Undo != nil {
		s.Undo.Request = ""
	}
	text, err := json.Marshal(s)
	must0(t, err)
	n := nodeOf(t, server, m.node)
	fmt.Fprintf(&b, "%s\n%d reboots, held %t, %s %s healthy %t\n", text, w.count(t, "reboot "+m.node), n.Hold != nil, n.Report.Phase, n.Report.Bundle, n.Report.Healthy)
	last := ""
	for _, line := range w.lines(t) {
		for _, what := range []string{"up", "down", "reboot"} {
			if line == what+" "+m.node {
				last = what
			}
		}
	}
	return b.String() + "at last " + last
}

// A real agent is killed with SIGKILL at every step that it takes, each on a host
// of its own, and ends as one that was not; the coordinator is killed meanwhile
// as well. The steps are those that the agent itself counts, so that a new one is
// killed too.
func TestKill_ARealAgentAtEveryStepEndsAsIfNothingHadHappened(t *testing.T) {
	t.Parallel()
	program := buildMortal(t)
	c := startCoordinator(t)
	for name, manifest := range map[string]string{
		"success":  "",
		"rollback": "healthy_deadline: 10s\nhealth:\n  - command: grep -q old \"$LOCKKEEPER_ROOT/etc/app.conf\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWitness(t)
			must(t, c.url, "group", "set", name, "--slots", "48")
			bundle := pushBundle(t, c.url, name, manifest)
			ended := func(id string, nodes int) {
				eventually(t, "the rollout of "+name+" has ended", func() bool {
					r := rolloutOf(t, c.url, id)
					return !r.State.Active() && r.Progress.Updated+r.Progress.Failed == nodes
				})
			}
			start := func(nodes ...string) string {
				args := []string{"rollout", "start", "--bundle", bundle, "--max-failures", "1000", "-o", "json"}
				for _, n := range nodes {
					args = append(args, "--node", n)
				}
				var r api.Rollout
				must0(t, json.Unmarshal([]byte(must(t, c.url, args...)), &r))
				return r.ID
			}
			idle := func(nodes int) {
				eventually(t, "all are idle and known", func() bool {
					var list api.NodeList
					getJSON(t, c.url+"/api/v1/nodes?limit=1000&group="+name, &list)
					quiet := 0
					for _, n := range list.Nodes {
						if n.Report.Phase == api.PhaseIdle && n.Hold == nil {
							quiet++
						}
					}
					return quiet == nodes
				})
			}

			whole, file := mortal(t, w, program, name+"-whole", name, c.url, 0)
			idle(1)
			ended(start(whole.node), 1)
			idle(1)
			want := outcome(t, w, whole, c.url)
			steps, err := os.ReadFile(file)
			must0(t, err)
			lines := bytes.Split(bytes.TrimSpace(steps), []byte("\n"))
			if len(lines) < 25 {
				t.Fatalf("only %d steps: %s", len(lines), steps)
			}

			fleet := make([]*machine, len(lines))
			ids, files := make([]string, len(lines)), make([]string, len(lines))
			for i := range lines {
				ids[i] = fmt.Sprintf("%s-%02d", name, i+1)
				fleet[i], files[i] = mortal(t, w, program, ids[i], name, c.url, i+1)
			}
			idle(1 + len(fleet))
			id := start(ids...)
			eventually(t, "hosts are out", func() bool { return w.most(t) > 2 })
			c.kill()
			c.start()
			c.waitReady()
			ended(id, len(fleet))
			idle(1 + len(fleet))
			for i, m := range fleet {
				if got := outcome(t, w, m, c.url); got != want {
					t.Errorf("killed at step %d, %s:\n%s\nwant:\n%s", i+1, lines[i], got, want)
				}
				m.powerOff()
				if taken, err := os.ReadFile(files[i]); err != nil || bytes.Count(taken, []byte("\n")) <= i {
					t.Errorf("step %d was never come to: %v", i+1, err)
				}
			}
			t.Logf("%s: %d steps, each killed once", name, len(lines))
			whole.powerOff()
		})
	}
}
