package etcdstore

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// arrives is a host that reports for the first time.
func (w *world) arrives(id string) {
	w.t.Helper()
	w.do(semaphore.PutMember{Node: id})
	w.report(id, func(r *api.Report) { r.Phase, r.Healthy, r.Bundle = api.PhaseIdle, true, oldBundle })
}

func TestEngine_NodesThatJoinGoIntoTheLastWaveOrStayOut(t *testing.T) {
	for _, joining := range []string{api.JoiningInclude, api.JoiningExclude, ""} {
		t.Run("joining "+joining, func(t *testing.T) {
			w := newWorld(t, 3, 1)
			e := w.engine(w.store())
			r := w.create(e, func(s *api.RolloutSpec) {
				s.Joining, s.Waves = joining, []api.WaveSpec{{Count: 1}, {}}
			})
			w.act(e, r.ID, rollout.ActPause)
			w.arrives("n90")
			w.arrives("n91")
			want := 3
			if joining == api.JoiningInclude {
				want = 5
				w.eventually("both to join", func() bool { now, _ := e.Get(r.ID); return now.Progress.Total == 5 })
			}
			w.act(e, r.ID, rollout.ActResume)
			w.agents()
			r = w.comesTo(e, r.ID, api.RolloutSucceeded)
			if r.Progress.Updated != want {
				t.Errorf("%d nodes were updated, want %d", r.Progress.Updated, want)
			}
			for _, n := range r.Nodes {
				if joined := n.Node >= "n90"; joined && n.Wave != 2 {
					t.Errorf("%s is in wave %d, want the last", n.Node, n.Wave)
				}
			}
			if joined := kinds(w.events(r.ID))[rollout.EventJoined]; joined != want-3 {
				t.Errorf("%d were told to have joined, want %d", joined, want-3)
			}
			if joining == api.JoiningInclude {
				w.appliedOnce()
			} else if w.applied["n90"]+w.applied["n91"] > 0 {
				t.Error("a node that was left out did the update")
			}
		})
	}
}

// Both rollouts match the node that comes; one of them has it.
func TestEngine_ANodeJoinsOneRolloutOnly(t *testing.T) {
	w := newWorld(t, 2, 1)
	e := w.engine(w.store())
	first := w.act(e, w.create(e, func(s *api.RolloutSpec) { s.Joining = api.JoiningInclude }).ID, rollout.ActPause)
	w.arrives("n90")
	w.eventually("it to join", func() bool { now, _ := e.Get(first.ID); return now.Progress.Total == 3 })
	_, _, err := e.Create(t.Context(), api.RolloutSpec{Bundle: oldBundle, Nodes: []string{"n90"}}, "ann", "")
	if err == nil {
		t.Error("a node that joined may be taken by another rollout")
	}
}
