package etcdstore

import (
	"errors"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
)

func TestCreate_RefusedWithTheNamesOfWhatItWouldTake(t *testing.T) {
	w := newWorld(t, 3, 1)
	e := w.engine(w.store())
	old := w.act(e, w.create(e, nil).ID, rollout.ActPause)
	_, _, err := e.Create(t.Context(), api.RolloutSpec{Bundle: oldBundle, Nodes: []string{"n02", "n01"}}, "ann", "")
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Kind != api.Conflict {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"2 nodes", "n01, n02", old.ID, "paused", "queue", "supersede"} {
		if !strings.Contains(refused.Detail, part) {
			t.Errorf("%q does not say %q", refused.Detail, part)
		}
	}
}

func TestCreate_SupersedesInItsOwnTransaction(t *testing.T) {
	w := newWorld(t, 3, 1)
	e := w.engine(w.store())
	var old []api.Rollout
	for _, node := range []string{"n00", "n01"} {
		r, _, err := e.Create(t.Context(), api.RolloutSpec{Bundle: newBundle, Nodes: []string{node}}, "ann", "")
		if err != nil {
			t.Fatal(err)
		}
		old = append(old, r)
	}
	newer := w.create(e, func(s *api.RolloutSpec) { s.Conflict = api.ConflictSupersede })
	for _, o := range old {
		got := w.comesTo(e, o.ID, api.RolloutAborted)
		if got.SupersededBy != newer.ID || !strings.Contains(got.Why, newer.ID) {
			t.Errorf("%s: superseded by %q, why %q", o.ID, got.SupersededBy, got.Why)
		}
		if n := kinds(w.events(o.ID))[rollout.EventSuperseded]; n != 1 {
			t.Errorf("%s: told %d times", o.ID, n)
		}
	}
	w.agents()
	w.comesTo(e, newer.ID, api.RolloutSucceeded)
	w.appliedOnce()
}

func TestCreate_QueuedItBeginsWhenTheOtherHasEnded(t *testing.T) {
	w := newWorld(t, 3, 1)
	e := w.engine(w.store())
	old := w.act(e, w.create(e, nil).ID, rollout.ActPause)
	next, _, err := e.Create(t.Context(), api.RolloutSpec{Bundle: oldBundle, Nodes: []string{"n01"}, Conflict: api.ConflictQueue}, "ann", "")
	if err != nil {
		t.Fatal(err)
	}
	if next.State != api.RolloutScheduled || len(next.After) != 1 || next.After[0] != old.ID || !strings.Contains(next.Why, old.ID) {
		t.Errorf("queued, it is %s after %v: %s", next.State, next.After, next.Why)
	}
	w.act(e, old.ID, rollout.ActResume)
	if got := e.WantedFor("n01"); got == nil || got.Rollout != old.ID {
		t.Errorf("wanted of n01 while the older one runs: %+v", got)
	}
	w.agents()
	w.comesTo(e, old.ID, api.RolloutSucceeded)
	next = w.comesTo(e, next.ID, api.RolloutSucceeded)
	if w.applied["n01"] != 2 || w.applied["n00"] != 1 {
		t.Errorf("n01 did %d updates, want 2, and n00 %d, want 1", w.applied["n01"], w.applied["n00"])
	}
}
