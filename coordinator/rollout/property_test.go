package rollout

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// anyView draws what a node may report, true or not.
func anyView(t *rapid.T, name string) NodeView {
	v := idle(name)
	v.Known = rapid.IntRange(0, 9).Draw(t, "known") > 0
	v.Report.Bundle = rapid.SampledFrom([]string{bundle, other, ""}).Draw(t, "bundle")
	v.Report.Phase = rapid.SampledFrom([]api.Phase{
		api.PhaseIdle, api.PhaseIdle, api.PhaseWaiting, api.PhaseHolding, api.PhaseApplying, api.PhaseReleasing, api.PhaseFailed,
	}).Draw(t, "phase")
	v.Report.Rollout = rapid.SampledFrom([]string{id, "", "ro-0"}).Draw(t, "rollout")
	v.Report.Healthy = rapid.Bool().Draw(t, "healthy")
	v.Held = rapid.Bool().Draw(t, "held")
	v.Unconfirmed = v.Held && rapid.Bool().Draw(t, "unconfirmed")
	v.Fence = rapid.Int64Range(1, 3).Draw(t, "fence")
	v.Overdue = rapid.IntRange(0, 4).Draw(t, "overdue") == 0
	if rapid.IntRange(0, 3).Draw(t, "failed") == 0 {
		v.Report.Failure = failedAt(noon, name).Report.Failure
		v.Report.Failure.At = noon.AddDate(0, 0, rapid.IntRange(0, 2).Draw(t, "day"))
		v.Report.Failure.Rollout = rapid.SampledFrom([]string{id, "ro-0", ""}).Draw(t, "of")
	}
	if rapid.Bool().Draw(t, "kept") {
		v.Kept = []api.Blocker{{Kind: api.Full}}
		v.AllKept = rapid.Bool().Draw(t, "all kept")
	}
	return v
}

func TestDecide_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st := rolloutOf(rapid.IntRange(1, 5).Draw(t, "nodes"), rapid.IntRange(0, 2).Draw(t, "budget"))
		seen := map[string]bool{} // nodes that reported the bundle in place
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			if action := rapid.SampledFrom([]string{"", "", "", "", ActPause, ActResume, ActHalt, ActRetry, ActAbort}).Draw(t, "action"); action != "" {
				if d, err := Apply(st, Ask{Action: action, By: "ann"}, noon); err == nil && d.Changed {
					st = applied(st, d)
				}
			}
			var fleet []NodeView
			for _, n := range st.Nodes {
				v := anyView(t, n.Node)
				fleet = append(fleet, v)
				if v.Known && v.Report.Bundle == bundle && v.Report.Phase == api.PhaseIdle && v.Report.Healthy && !v.Held {
					seen[v.Node] = true
				}
			}
			before := st
			d := Decide(st.Head.Spec, st, fleet, noon)
			if d.Changed {
				st = applied(st, d)
			}
			check(t, before, st, d, seen)

			again := Decide(st.Head.Spec, st, fleet, noon)
			if again.Changed {
				t.Fatalf("decided twice, it changes again:\n%s", cmp.Diff(st.Head, again.Head))
			}
		}
	})
}

func check(t *rapid.T, before, st State, d Decisions, seen map[string]bool) {
	counted, total := 0, 0
	for node, r := range st.Results {
		if r.State == api.NodeUpdated && !seen[node] {
			t.Fatalf("%s is called updated and never reported it", node)
		}
		if r.State == api.NodeBroken && r.Failure > st.Head.Retried {
			total++
			if r.Failure > st.Head.Acknowledged {
				counted++
			}
		}
	}
	over := counted > MayFail(st.Head.Spec.MaxFailures, len(st.Nodes))
	state := st.Head.State
	if over && state.Active() && state != api.RolloutHalted {
		t.Fatalf("%d failures of at most %s, and it is %s", counted, st.Head.Spec.MaxFailures, state)
	}
	if state == api.RolloutHalted && before.Head.State != api.RolloutHalted && !over {
		for _, n := range d.Nodes {
			if n.State == api.NodePending || n.State == api.NodeQueued {
				return // every slot kept: the other reason, tested on its own
			}
		}
		t.Fatalf("halted with %d failures of at most %s: %s", counted, st.Head.Spec.MaxFailures, st.Head.Why)
	}
	switch state {
	case api.RolloutSucceeded:
		for _, n := range st.Nodes {
			if st.Results[n.Node].State != api.NodeUpdated {
				t.Fatalf("succeeded, and %s is %q", n.Node, st.Results[n.Node].State)
			}
		}
	case api.RolloutFailed:
		if total == 0 || over {
			t.Fatalf("failed with %d failures, %d of them not acknowledged", total, counted)
		}
	}
	if n := st.Head.EventSeq - before.Head.EventSeq; n != int64(len(d.Events)) {
		t.Fatalf("%d events, and the sequence moved by %d", len(d.Events), n)
	}
	if state.Active() {
		return
	}
	for _, n := range st.Nodes {
		if w := Wanted(&st, idle(n.Node), noon); w != nil {
			t.Fatalf("it is %s, and wants something of %s", state, n.Node)
		}
	}
}
