package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// nextMinor builds the coordinator and the agent of the next minor version: the
// same, but with another version string, and reading and writing stored values
// of one schema more.
func nextMinor(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	const module = "github.com/lockkeeper/lockkeeper/"
	out, err := exec.Command("go", "build", "-race", "-o", dir+"/",
		"-ldflags", "-X "+module+"semaphore.maxV=2 -X "+module+"cmd/internal/cli.release=v1.1.0",
		module+"cmd/lockkeeperd", module+"cmd/lockkeeper-agent").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// update ends a member as a package's upgrade does, and starts it as another
// program.
func (m *memberProcess) update(path string) {
	m.t.Helper()
	m.terminate()
	m.args[0] = path
	m.restart()
}

// Three coordinators and the agents are updated one after another, while a
// rollout is under way. While an old coordinator is there it grants as the others
// do, and nothing is written that it could not read. One that is put back to the
// old version afterwards says so, and grants nothing that it does not understand.
func TestSkew_CoordinatorsAndAgentsAreUpdatedOneAfterAnotherUnderARollout(t *testing.T) {
	t.Parallel()
	later := nextMinor(t)
	c := newCluster(t, 3)
	w := newWitness(t)
	const hosts, slots = 5, 2
	at := c.any().url
	must(t, at, "group", "set", "default", "--slots", fmt.Sprint(slots))
	must(t, at, "group", "set", "pulse", "--slots", "3")
	var fleet []*machine
	for i := range hosts {
		fleet = append(fleet, startMachine(t, w, fmt.Sprintf("host-%d", i+1), c.urls()))
	}
	allReport(t, at, hosts)
	id := startRollout(t, at, pushBundle(t, at, "new", ""))

	taking := map[*memberProcess]*taker{}
	for _, m := range c.members {
		taking[m] = newTaker(t, m.url, "pulse", "pulse-"+m.name)
	}
	all := func(when string) {
		t.Helper()
		for m, k := range taking {
			fence := k.take()
			k.giveBack(fence)
			if got := clusterOf(t, m.url).Schema; got != 1 {
				t.Errorf("%s writes schema %d, %s", m.name, got, when)
			}
		}
	}
	first, second := c.twoFollowers()
	order := []*memberProcess{first, second, slicesWithout(slicesWithout(c.members, first), second)[0]}
	for i, m := range order[:2] {
		m.update(filepath.Join(later, "lockkeeperd"))
		all(fmt.Sprintf("with %d of 3 updated", i+1))
	}
	eventually(t, "two are shown with the later version", func() bool {
		later := 0
		for _, p := range clusterOf(t, order[0].url).Coordinators {
			want := map[bool]int{true: 1, false: 2}[strings.HasPrefix(p.Name, order[2].name)]
			if p.MaxV != want || (want == 2) != (p.Version == "v1.1.0") {
				return false
			}
			later += want - 1
		}
		return later == 2
	})
	wantWords(t, must(t, order[0].url, "cluster"), "1; to be updated: "+order[2].name+" (up to 1)")
	oldProgram := order[2].args[0]
	order[2].update(filepath.Join(later, "lockkeeperd"))
	eventually(t, "the new schema is written", func() bool {
		for _, m := range c.members {
			if clusterOf(t, m.url).Schema != 2 {
				return false
			}
		}
		return true
	})
	for _, k := range taking { // writes it
		k.giveBack(k.take())
	}
	for _, m := range fleet {
		m.mu.Lock()
		m.agent.args[4] = filepath.Join(later, "lockkeeper-agent")
		m.mu.Unlock()
		m.crash()
	}

	next := startRollout(t, order[1].url, pushBundle(t, order[1].url, "next", ""), "--on-conflict", "queue", "--not-before", time.Now().Add(time.Hour).Format(time.RFC3339))

	// One is put back to the old version.
	back := order[0]
	held := taking[order[1]].take()
	back.update(oldProgram)
	eventually(t, "everybody is told", func() bool {
		for _, a := range statusOf(t, order[1].url).Attention {
			if a.Kind == "schema_behind" && strings.Contains(a.Title, back.name) {
				return true
			}
		}
		return false
	})
	eventually(t, "it says so itself", func() bool {
		said := back.output(t)
		return strings.Contains(said, "of a later version") && strings.Contains(said, "update it")
	})
	k := taking[back]
	wantRefusal(t, "acquiring at the old one", api.NewerSchema, func() error {
		_, err := k.c.Acquire(t.Context(), k.group, k.node, api.AcquireRequest{Instance: k.node, Request: "late", BootID: "boot"}, 0)
		return err
	})
	if list := holdsIn(t, order[1].url, "pulse"); len(list) != 1 {
		t.Errorf("holds are %v", list)
	}
	if shown := rolloutOf(t, back.url, next); !strings.Contains(shown.Why, "newer version") {
		t.Errorf("the old one says of a rollout: %s", shown.Why)
	}
	_, said, code := lockkeeper(t, back.url, "rollout", "abort", next)
	if wantWords(t, said, "was written by a newer version", "update this coordinator"); code == 0 {
		t.Error("the old one aborted a rollout that it cannot read")
	}
	must(t, back.url+","+order[1].url, "rollout", "abort", next) // another one can
	taking[order[1]].giveBack(held)
	// Nor does an old one join.
	late := c.next()
	out, code := serveOnce(t, nil, append(c.arguments(late)[1:], "--join", order[1].url, "--join-token-file", tokenFile(t, order[1].url))...)
	if code != 2 || !strings.Contains(out, "must be updated first") {
		t.Errorf("an old one that joins: exit %d\n%s", code, out)
	}
	back.update(filepath.Join(later, "lockkeeperd"))
	k.giveBack(k.take())

	eventually(t, "the rollout has succeeded", func() bool { return rolloutOf(t, c.any().url, id).State == api.RolloutSucceeded })
	if most := w.most(t); most > slots {
		t.Errorf("%d hosts were out at once, with %d slots", most, slots)
	}
	for i := range hosts {
		node := fmt.Sprintf("host-%d", i+1)
		if n := w.count(t, "reboot "+node); n != 1 {
			t.Errorf("%s was rebooted %d times, want once", node, n)
		}
		eventually(t, node+" reports the later version", func() bool {
			return nodeOf(t, c.any().url, node).Report.Version == "v1.1.0"
		})
	}
}

func holdsIn(t *testing.T, url, group string) []api.Hold {
	t.Helper()
	var g api.Group
	getJSON(t, url+"/api/v1/groups/"+group, &g)
	return g.Holds
}

func tokenFile(t *testing.T, url string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "join.token")
	must0(t, os.WriteFile(path, []byte(must(t, url, "cluster", "token")), 0o600))
	return path
}
