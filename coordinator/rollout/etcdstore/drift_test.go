package etcdstore

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
)

// drift is what an engine says of a node.
func (w *world) drift(e *rollout.Engine, id string) *api.Drift {
	w.mu.Lock()
	n := w.nodes[id]
	w.mu.Unlock()
	return e.Drift()(&n)
}

func TestDrift_ANodeThatLeavesWhatItWasBroughtToIsToldAlsoWhenTheRolloutIsForgotten(t *testing.T) {
	w := newWorld(t, 2, 1)
	e := w.engine(w.store())
	if d := w.drift(e, "n00"); d != nil {
		t.Errorf("before any rollout: %+v", d)
	}
	w.agents()
	r := w.create(e, nil)
	w.comesTo(e, r.ID, api.RolloutSucceeded)
	w.eventually("the engine to see the end", func() bool { got, _ := e.Get(r.ID); return !got.State.Active() })
	if d := w.drift(e, "n00"); d != nil {
		t.Errorf("a node with its bundle: %+v", d)
	}
	for bundle, node := range map[string]string{oldBundle: "n00", "": "n01"} {
		w.report(node, func(r *api.Report) { r.Bundle = bundle })
		if d := w.drift(e, node); d == nil || d.Bundle != newBundle || d.Name != "app-b" || d.Rollout != r.ID || d.Since.IsZero() {
			t.Errorf("%s reports %q: %+v", node, bundle, d)
		}
	}
	w.report("n00", func(r *api.Report) { r.Phase = api.PhaseApplying })
	if d := w.drift(e, "n00"); d != nil {
		t.Errorf("a node at work: %+v", d)
	}
	w.report("n00", func(r *api.Report) { r.Phase = api.PhaseIdle })

	// Another coordinator, which starts when the rollout is not kept any more.
	st, err := w.store().Read(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	e.Stop()
	s := w.store()
	term, err := s.Campaign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), r.ID, st.Revision, term); err != nil {
		t.Fatal(err)
	}
	if err := term.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	e = w.engine(w.store())
	if _, kept := e.Get(r.ID); kept {
		t.Fatal("the rollout is still kept")
	}
	if d := w.drift(e, "n00"); d == nil || d.Bundle != newBundle {
		t.Errorf("after a restart and without the rollout: %+v", d)
	}

	// A rollout over the drifted nodes brings them back; meanwhile none has drifted.
	again := w.create(e, func(s *api.RolloutSpec) { s.Group, s.Nodes = "", []string{"n00"} })
	if d := w.drift(e, "n00"); d != nil {
		t.Errorf("a node of an active rollout: %+v", d)
	}
	w.comesTo(e, again.ID, api.RolloutSucceeded)
	if d := w.drift(e, "n00"); d != nil {
		t.Errorf("a node that was brought back: %+v", d)
	}
	if d := w.drift(e, "n01"); d == nil {
		t.Error("the other one is not told any more")
	}
	if err := e.Forget(t.Context(), "n01"); err != nil {
		t.Fatal(err)
	}
	if d := w.drift(e, "n01"); d != nil {
		t.Errorf("a node that was forgotten: %+v", d)
	}
}
