package rollout

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestWanted_AGrantThatWasNotConfirmedIsNoBeginning(t *testing.T) {
	granted := in(api.PhaseHolding, "n1")
	granted.Unconfirmed = true
	begun := in(api.PhaseHolding, "n1")
	for state, want := range map[api.RolloutState][2]bool{
		api.RolloutRunning: {true, true},
		api.RolloutPaused:  {false, true},
		api.RolloutHalted:  {false, true},
		api.RolloutAborted: {false, false},
	} {
		st := rolloutOf(2, 0)
		st.Head.State = state
		if got := Wanted(&st, granted, noon) != nil; got != want[0] {
			t.Errorf("%s, and the node has a grant: wanted %v", state, got)
		}
		if got := Wanted(&st, begun, noon) != nil; got != want[1] {
			t.Errorf("%s, and the node has begun: wanted %v", state, got)
		}
	}
}

func TestDecideFailure_HaltsPastTheBudgetAndCountsOnce(t *testing.T) {
	for budget, want := range map[int]api.RolloutState{0: api.RolloutHalted, 1: api.RolloutRunning} {
		st := rolloutOf(3, budget)
		report := failedAt(noon, "n1").Report
		d := decideFailure(st, "n1", report, noon)
		if !d.Changed || d.Head.State != want || d.Head.Failures != 1 || len(d.Results) != 1 {
			t.Fatalf("budget %d: %+v", budget, d)
		}
		st = applied(st, d)
		if again := decideFailure(st, "n1", report, noon); again.Changed {
			t.Errorf("budget %d: told again, it changes again: %+v", budget, again)
		}
		fleet := []NodeView{failedAt(noon, "n1"), idle("n2"), idle("n3")}
		if d := Decide(st.Head.Spec, st, fleet, noon); d.Changed {
			t.Errorf("budget %d: the elected engine counts it again: %+v", budget, d)
		}
	}
}

func TestDecideFailure_LeavesAloneWhatIsNoNews(t *testing.T) {
	failed := failedAt(noon, "n1").Report
	for name, change := range map[string]func(st *State, p *api.Report){
		"no failure":                        func(_ *State, p *api.Report) { p.Failure = nil },
		"a failure with another bundle":     func(_ *State, p *api.Report) { p.Failure.Bundle = other },
		"a node that is not of the rollout": func(st *State, _ *api.Report) { st.Nodes = st.Nodes[1:] },
		"an ended rollout":                  func(st *State, _ *api.Report) { st.Head.State = api.RolloutAborted },
		"a rollout of a newer version":      func(st *State, _ *api.Report) { st.Newer = "head" },
		"a node that is updated":            func(st *State, _ *api.Report) { st.Results["n1"] = Result{Node: "n1", State: api.NodeUpdated} },
		"a report from before the last one": func(st *State, _ *api.Report) {
			st.Results["n1"] = Result{Node: "n1", State: api.NodeBroken, Failure: 1, FailedAt: noon.Add(time.Hour)}
		},
		"an attempt before the one that was retried": func(st *State, _ *api.Report) {
			st.Head.Retried, st.Results["n1"] = 2, Result{Node: "n1", State: api.NodeBroken, Failure: 2, FailedAt: noon.Add(time.Hour)}
		},
		"the failure of an attempt that ran": func(st *State, _ *api.Report) {
			st.Head.Retried, st.Results["n1"] = 1, Result{Node: "n1", State: api.NodeBroken, Failure: 1, FailedAt: noon}
		},
	} {
		st, p := rolloutOf(2, 0), failed
		f := *failed.Failure
		p.Failure = &f
		change(&st, &p)
		if p.Failure == nil {
			if id := failedIn(&p); id != "" {
				t.Errorf("%s: it is of rollout %q", name, id)
			}
			continue
		}
		if d := decideFailure(st, "n1", p, noon); d.Changed {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// Whoever comes first, the elected engine or the coordinator that was told: the
// rollout comes to the same.
func TestDecideFailure_ComesToWhatDecideComesTo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st := rolloutOf(3, rapid.IntRange(0, 2).Draw(t, "budget"))
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			v := anyView(t, "n1")
			fleet := []NodeView{v, idle("n2"), idle("n3")}
			alone := Decide(st.Head.Spec, st, fleet, noon)
			both := st
			if v.Known && v.Report.Failure != nil && failedIn(&v.Report) == id {
				if d := decideFailure(st, "n1", v.Report, noon); d.Changed {
					both = applied(st, d)
				}
			}
			d := Decide(both.Head.Spec, both, fleet, noon)
			if alone.Head.State != d.Head.State || alone.Head.Failures != d.Head.Failures {
				t.Fatalf("alone %s with %d failures, after being told %s with %d", alone.Head.State, alone.Head.Failures, d.Head.State, d.Head.Failures)
			}
			if alone.Changed {
				st = applied(st, alone)
			}
		}
	})
}
