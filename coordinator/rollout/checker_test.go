package rollout

import (
	"flag"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

var checkerBudget = flag.Duration("checker", 2*time.Second, "how long the model checker of the engine explores a world at most")

// checkerWorlds bounds the memory of one world, which is some 400 bytes each.
var checkerWorlds = flag.Int("checker-worlds", 4_000_000, "how many states of a world the model checker of the engine keeps at most")

// explored is what a search found.
type explored struct {
	states    int
	complete  bool // every reachable world was seen
	violation string
	trace     []string
	ends      map[api.RolloutState]int // worlds in which nothing is left to happen, by the rollout's state
}

// enoughWorlds are searched on a slow machine too.
const enoughWorlds = 1000

// explore searches breadth-first until a violation, the end, or the deadline, but
// no fewer than enoughWorlds.
func explore(m *model, budget time.Duration) explored {
	type visit struct {
		parent int32
		what   string
	}
	start := m.start()
	seen := map[mWorld]struct{}{start: {}}
	visits := []visit{{parent: -1}}
	queue := []mWorld{start}
	e := explored{ends: map[api.RolloutState]int{}}
	deadline := time.Now().Add(budget)
	trace := func(at int32) (steps []string) {
		for ; at > 0; at = visits[at].parent {
			steps = append([]string{visits[at].what}, steps...)
		}
		return steps
	}
	for at := int32(0); int(at) < len(queue); at++ {
		late := at%256 == 0 && len(queue) >= enoughWorlds && time.Now().After(deadline)
		if late || len(queue) > *checkerWorlds {
			e.states = len(queue)
			return e
		}
		steps := m.steps(queue[at])
		if len(steps) == 0 {
			if e.violation = m.brokenEnd(queue[at]); e.violation != "" {
				e.states, e.trace = len(queue), trace(at)
				return e
			}
			e.ends[m.main(queue[at]).Head.State]++
		}
		for _, s := range steps {
			if _, known := seen[s.world]; known && s.violation == "" {
				continue
			}
			seen[s.world] = struct{}{}
			visits = append(visits, visit{at, s.what})
			queue = append(queue, s.world)
			if s.violation != "" {
				e.states, e.violation, e.trace = len(queue), s.violation, trace(int32(len(queue)-1))
				return e
			}
		}
	}
	e.states, e.complete = len(queue), true
	return e
}

// worlds are what is explored: three nodes in two waves, a soak and an approval
// between them, or in one wave; engines that die, pause, and are followed by
// others between any two writes; a coordinator that sees the store late; nodes
// that fail; time that passes.
var worlds = map[string]mConfig{
	"one failure is too many":       {slots: 1, budget: 0, fails: 1, rollback: api.RollbackAll},
	"two at a time in one wave":     {flat: true, small: true, slots: 2, budget: 0, fails: 1, rollback: api.RollbackAll},
	"writes that come and are late": {flat: true, small: true, late: true, slots: 2, budget: 0, fails: 1, rollback: api.RollbackAll},
	"the failed wave is undone":     {slots: 1, budget: 0, fails: 1, rollback: api.RollbackFailedWave},
	"one failure is in the budget":  {slots: 1, budget: 1, fails: 1},
	"a person resumes and retries":  {slots: 1, budget: 0, fails: 1, resumes: 1, retries: 1},
}

// larger are worlds for a night.
var larger = map[string]mConfig{
	"two may fail at two at a time":         {slots: 2, budget: 0, fails: 2, resumes: 1, rollback: api.RollbackAll},
	"all at once, and two fail":             {flat: true, slots: 3, budget: 1, fails: 2, rollback: api.RollbackAll},
	"all at once, and a person resumes":     {flat: true, slots: 3, budget: 0, fails: 2, resumes: 1, rollback: api.RollbackAll},
	"a person resumes and retries, or undo": {slots: 1, budget: 0, fails: 1, resumes: 1, retries: 1, rollback: api.RollbackFailedWave},
	"a person retries twice":                {slots: 1, budget: 0, fails: 2, retries: 2},
}

func TestChecker_NothingIsDoneTwiceWhoeverDiesWhenever(t *testing.T) {
	all := maps.Clone(worlds)
	if *checkerBudget >= time.Minute {
		maps.Copy(all, larger)
	}
	for name, c := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newModel(c)
			e := explore(m, *checkerBudget)
			if e.violation != "" {
				t.Fatalf("%s, by\n  %s", e.violation, strings.Join(e.trace, "\n  "))
			}
			t.Logf("%d worlds, all of them: %v, ends %v", e.states, e.complete, e.ends)
			if broken := m.unlike(); broken != "" {
				t.Error(broken)
			}
			if e.states < enoughWorlds && !e.complete {
				t.Errorf("only %d worlds", e.states)
			}
		})
	}
}

// brokenRule is what is broken, and a part of what is then found.
type brokenRule struct {
	change func(*mConfig)
	want   string
}

// Each rule that the checker is to guard is broken once, and it must see that.
func TestChecker_FindsEachBrokenRule(t *testing.T) {
	rules := map[string]brokenRule{
		"a write that compares no head":               {func(c *mConfig) { c.blindHead = true }, ""},
		"a write that compares no election":           {func(c *mConfig) { c.blindTerm = true }, "elected"},
		"a node that begins without asking":           {func(c *mConfig) { c.blindBegin, c.slots = true, 2 }, "begins"},
		"a slot returned before the failure is told":  {func(c *mConfig) { c.lateSettle, c.slots = true, 2 }, "begins"},
		"nodes brought back at once":                  {func(c *mConfig) { c.hastyUndo, c.flat, c.small, c.slots = true, true, true, 2 }, "after its rollback"},
		"a rollback made by a write of its own":       {func(c *mConfig) { c.looseUndo = true }, "rollback"},
		"waves that begin without the one before":     {func(c *mConfig) { c.allWaves = true }, "begins"},
		"an approval that nobody gave":                {func(c *mConfig) { c.freeGate = true }, "approval"},
		"a resume while its rollback is made or runs": {func(c *mConfig) { c.resumes, c.freeResume = 1, true }, "rollback"},
	}
	if *checkerBudget >= time.Minute { // it takes 80,000 worlds to find
		rules["a halt noted before a resume"] = brokenRule{func(c *mConfig) {
			*c = larger["all at once, and a person resumes"]
			c.oldHalt, c.atWork = true, 2
		}, "after its rollback"}
	}
	for name, c := range rules {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := worlds["one failure is too many"]
			c.change(&cfg)
			e := explore(newModel(cfg), 5*time.Minute)
			if e.violation == "" {
				t.Fatalf("not found in %d worlds (all: %v)", e.states, e.complete)
			}
			if !strings.Contains(e.violation, c.want) {
				t.Errorf("found %q, want %q", e.violation, c.want)
			}
			t.Logf("%s, after %d worlds in %d steps", e.violation, e.states, len(e.trace))
		})
	}
}
