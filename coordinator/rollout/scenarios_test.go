package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// What goes wrong with a node, in every phase, in every wave, within the budget
// and past it.
func TestScenarios_EveryFailureInEveryPhase(t *testing.T) {
	phases := []api.Phase{
		api.PhaseWaiting, api.PhaseHolding, api.PhaseDraining, api.PhaseApplying, api.PhaseRebooting, api.PhaseVerifying, api.PhaseReleasing,
	}
	failures := map[string]struct {
		how    func(v NodeView) NodeView
		counts func(phase api.Phase) bool
	}{
		"rolled back and healthy": {
			func(v NodeView) NodeView { return failedAt(noon, v.Node) },
			func(api.Phase) bool { return true },
		},
		"out of order, keeps its slot": {
			func(v NodeView) NodeView {
				f := failedAt(noon, v.Node)
				f.Report.Phase, f.Report.Healthy, f.Held, f.Fence = api.PhaseFailed, false, true, 7
				f.Report.Failure.Healthy = false
				return f
			},
			func(api.Phase) bool { return true },
		},
		"past the deadline of its hold": {
			func(v NodeView) NodeView { v.Overdue = true; return v },
			func(p api.Phase) bool { return p != api.PhaseWaiting }, // it has no hold
		},
		"past healthy_deadline": {
			func(v NodeView) NodeView { v.Busy, v.BusyAttempt = time.Hour, 1; return v },
			func(p api.Phase) bool { return p != api.PhaseWaiting }, // the clock has not begun
		},
		"silent": {
			func(v NodeView) NodeView { v.LastHeard = noon.Add(-time.Hour); return v },
			func(api.Phase) bool { return false },
		},
		"forgotten": {
			func(v NodeView) NodeView { return NodeView{Node: v.Node, Group: v.Group} },
			func(api.Phase) bool { return false },
		},
		"back as it was before": {
			func(v NodeView) NodeView { return idle(v.Node) },
			func(api.Phase) bool { return false },
		},
		"busy with something else": {
			func(v NodeView) NodeView { v.Report.Rollout = "ro-0"; return v },
			func(api.Phase) bool { return false },
		},
	}
	n := 0
	for what, f := range failures {
		for _, phase := range phases {
			for wave := range 3 {
				for budget := range 2 {
					n++
					t.Run(fmt.Sprintf("%s, %s, in wave %d, budget %d", what, phase, wave+1, budget), func(t *testing.T) {
						failIn(t, phase, wave, budget, f.how, f.counts(phase))
					})
				}
			}
		}
	}
	if n != len(failures)*len(phases)*3*2 {
		t.Errorf("%d scenarios", n)
	}
}

// failIn lets the node of one of three waves fail in a phase.
func failIn(t *testing.T, phase api.Phase, wave, budget int, how func(NodeView) NodeView, counts bool) {
	st := inWaves([]api.WaveSpec{{Count: 1, Soak: "1m"}, {Count: 2, Soak: "1m"}, {}}, 1, 1, 1)
	st.Head.Spec.MaxFailures, st.Head.Spec.HealthyDeadline = api.Slots(fmt.Sprint(budget)), "30m"
	fleet := []NodeView{idle("n1"), idle("n2"), idle("n3")}
	now := noon
	step := func() {
		now = now.Add(time.Minute)
		st = at(t, now, st, fleet...)
	}
	for w := range wave {
		fleet[w] = done(fleet[w].Node)
		step()
		step()
	}
	node := fleet[wave].Node
	if got := asked(st, now, fleet...); got != node {
		t.Fatalf("in wave %d %q is asked", wave+1, got)
	}
	fleet[wave] = in(phase, node)
	step()
	fleet[wave] = how(fleet[wave])
	step()
	failed := 0
	if counts {
		failed = 1
	}
	if st.Head.Failures != int64(failed) {
		t.Fatalf("%d failures are counted: %+v", st.Head.Failures, st.Results[node])
	}
	step()
	last := wave == 2
	switch h := &st.Head; {
	case counts && budget == 0:
		if h.State != api.RolloutHalted || !strings.Contains(h.Why, node) {
			t.Fatalf("past the budget it is %s: %s", h.State, h.Why)
		}
		for _, other := range fleet {
			if other.Node != node && asked(st, now, other) != "" {
				t.Errorf("halted, it asks %s", other.Node)
			}
		}
		st = act(t, st, ActResume)
		step()
	case !counts:
		if h.State != api.RolloutRunning || h.Wave != wave {
			t.Fatalf("it goes on without a result, and is %s in wave %d", h.State, h.Wave+1)
		}
	}
	if counts && last { // it was the last one, and it has its result
		if st.Head.State != api.RolloutFailed {
			t.Errorf("in the end it is %s: %s", st.Head.State, st.Head.Why)
		}
		return
	}
	// In the end it comes through, and so does everybody.
	fleet[wave] = done(node)
	step()
	if r := st.Results[node]; r.State != api.NodeUpdated {
		t.Fatalf("come through, it is %s: %s", r.State, r.Detail)
	}
	for i := range fleet {
		fleet[i] = done(fleet[i].Node)
	}
	for range 6 {
		step()
	}
	if st.Head.State != api.RolloutSucceeded {
		t.Errorf("in the end it is %s: %s", st.Head.State, st.Head.Why)
	}
	if st.Head.Failures != int64(failed) {
		t.Errorf("in the end %d failures are counted", st.Head.Failures)
	}
}

// A budget in percent, and of a wave, at its edges: as many as may fail, and one
// more.
func TestScenarios_BudgetsAtTheirEdges(t *testing.T) {
	for _, c := range []struct {
		whole, wave api.Slots
		nodes       int // all in one wave
		may         int
	}{
		{"0", "", 3, 0}, {"", "", 3, 0}, {"1", "", 3, 1}, {"3", "", 3, 3}, {"100%", "", 3, 3}, {"0%", "", 3, 0},
		{"33%", "", 3, 0}, {"34%", "", 3, 1}, {"66%", "", 3, 1}, {"67%", "", 3, 2}, {"10%", "", 10, 1}, {"10%", "", 19, 1}, {"10%", "", 20, 2},
		{"5", "1", 6, 1}, {"1", "5", 6, 1}, {"5", "50%", 6, 3}, {"50%", "5", 6, 3}, {"6", "0", 6, 0}, {"100%", "0%", 6, 0},
	} {
		t.Run(fmt.Sprintf("%s of all, %s of the wave, %d nodes", c.whole, c.wave, c.nodes), func(t *testing.T) {
			for failing := 0; failing <= min(c.may+1, c.nodes); failing++ {
				st := inWaves([]api.WaveSpec{{Name: "all", MaxFailures: c.wave, Soak: "1h"}}, c.nodes)
				st.Head.Spec.MaxFailures = c.whole
				var fleet []NodeView
				for i, n := range st.Nodes {
					v := done(n.Node)
					if i < failing {
						v = failedAt(noon, n.Node)
					}
					fleet = append(fleet, v)
				}
				st = at(t, noon, st, fleet...)
				want := api.RolloutSoaking
				if failing > c.may {
					want = api.RolloutHalted
				}
				if st.Head.State != want {
					t.Errorf("with %d failed it is %s: %s", failing, st.Head.State, st.Head.Why)
				}
			}
		})
	}
}

// Gates that flap: only a moment at which all pass counts, and each flap is kept
// for people without a write for each try.
func TestScenarios_FlappingGates(t *testing.T) {
	st := gated(t, httpGate("a"), httpGate("b"))
	writes, now := 0, noon
	decide := func(a, b bool) {
		now = now.Add(time.Second)
		st = says(st, now, map[string]bool{"1/a": a, "1/b": b})
		for range 3 {
			d := Decide(st.Head.Spec, st, []NodeView{done("n1"), idle("n2")}, now)
			if !d.Changed {
				return
			}
			writes++
			st = applied(st, d)
		}
		t.Fatal("it does not settle")
	}
	for i := range 600 {
		decide(i%2 == 0, i%2 == 1)
		if st.Head.Wave != 0 {
			t.Fatalf("after %d s it goes on", i)
		}
	}
	if writes > 1300 {
		t.Errorf("%d writes in 600 s of flapping each second", writes)
	}
	writes = 0
	for range 600 { // one passes, the other does not
		decide(true, false)
	}
	if writes > 45 {
		t.Errorf("%d writes in 600 s in which nothing changed", writes)
	}
	decide(true, true)
	if st.Head.Wave != 1 {
		t.Error("all pass, and it does not go on")
	}
}
