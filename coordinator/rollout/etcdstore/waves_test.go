package etcdstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
)

// answers is a gate that a test opens.
type answers struct {
	mu     sync.Mutex
	passes bool
}

func (a *answers) set(passes bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.passes = passes
}

func (a *answers) Check(context.Context, api.GateSpec) condition.Answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return condition.Answer{Passes: a.passes, Value: "1", Detail: "saw 1", At: time.Now()}
}

// inSteps is a rollout of a canary, and of all others behind a soak, a gate and
// an approval.
func inSteps(s *api.RolloutSpec) {
	s.Waves = []api.WaveSpec{
		{Name: "canary", Count: 1, Soak: "300ms", Gates: []api.GateSpec{
			{Name: "errors", Every: "50ms", HTTP: &api.HTTPGate{URL: "http://127.0.0.1:1/"}},
			{Name: "release", Approval: &api.ApprovalGate{}},
		}},
		{Name: "rest"},
	}
}

func TestEngine_GoesThroughWavesSoakGateAndApproval(t *testing.T) {
	w := newWorld(t, 4, 2)
	w.gates = &answers{}
	e := w.engine(w.store())
	w.agents()
	r := w.create(e, inSteps)
	r = w.comesTo(e, r.ID, api.RolloutSoaking)
	if r.Progress.Updated != 1 || r.Wave != 1 || len(r.Waves) != 2 || len(r.Gates) != 2 {
		t.Errorf("after the canary: %+v", r)
	}
	w.eventually("the gate to have answered", func() bool {
		r, _ = e.Get(r.ID)
		return len(r.Gates) == 2 && !r.Gates[0].Checked.IsZero() && r.Waves[0].State == api.WaveGates
	})
	w.gates.(*answers).set(true)
	r = w.comesTo(e, r.ID, api.RolloutApproval)
	if !r.Gates[0].Passes || r.Gates[1].Needed != 1 || r.Gates[1].Role != "operator" {
		t.Errorf("gates: %+v", r.Gates)
	}
	for range 2 {
		if _, err := e.Act(t.Context(), r.ID, rollout.Ask{Action: rollout.ActApprove, By: "bob", Role: api.RoleOperator}); err != nil {
			t.Fatal(err)
		}
	}
	r = w.comesTo(e, r.ID, api.RolloutSucceeded)
	w.appliedOnce()
	got := kinds(w.events(r.ID))
	for kind, n := range map[string]int{
		rollout.EventWaveStarted: 1, rollout.EventWaveSoaks: 1, rollout.EventApproved: 1,
		rollout.EventWaveDone: 2, rollout.EventSucceeded: 1,
	} {
		if got[kind] != n {
			t.Errorf("%d events %s, want %d", got[kind], kind, n)
		}
	}
}

func TestEngine_WhatHaltsIsBroughtBackOnceWhoeverIsInOffice(t *testing.T) {
	w := newWorld(t, 5, 1)
	w.fails["n03"] = 1
	e := w.engine(w.store())
	w.agents()
	r := w.create(e, func(s *api.RolloutSpec) {
		s.Waves = []api.WaveSpec{{Name: "canary", Count: 1}, {Name: "rest"}}
		s.AutoRollback = api.RollbackAll
	})
	w.comesTo(e, r.ID, api.RolloutHalted)
	for range 3 { // others come to office all the time
		next := w.engine(w.store())
		time.Sleep(time.Second)
		e.Stop()
		e = next
	}
	w.eventually("a rollback", func() bool { r, _ = e.Get(r.ID); return r.Rollback != "" })
	back := w.comesTo(e, r.Rollback, api.RolloutSucceeded)
	if back.RollbackOf != r.ID || back.Spec.Bundle != oldBundle || !strings.Contains(r.Why, back.ID) {
		t.Errorf("%+v of %+v", back, r)
	}
	if n := len(e.List()); n != 2 {
		t.Errorf("%d rollouts", n)
	}
	for _, n := range w.Nodes() {
		if n.Report.Bundle != oldBundle {
			t.Errorf("%s has the bundle that was to be undone", n.ID)
		}
	}
	if got := kinds(w.events(r.ID)); got[rollout.EventRollback] != 1 || got[rollout.EventHalted] != 1 {
		t.Errorf("events: %v", got)
	}
}

func TestEngine_InStepsItIsContinuedHoweverOftenItIsRestarted(t *testing.T) {
	w := newWorld(t, 8, 2)
	w.pace = 30 * time.Millisecond
	var restarts atomic.Int64
	w.spread(8, &restarts)
	w.fails["n05"] = 1
	gates := &answers{}
	w.gates = gates
	e := w.engine(w.store())
	w.agents()
	r := w.create(e, func(s *api.RolloutSpec) {
		inSteps(s)
		s.Waves[1].Count = 4
		s.Waves = append(s.Waves, api.WaveSpec{Name: "last", Soak: "100ms"})
		s.MaxFailures, s.MinHealthyTime = "1", "50ms"
	})
	seen := map[api.RolloutState]bool{}
	for ; restarts.Load() < 300; restarts.Add(1) {
		now, _ := e.Get(r.ID)
		seen[now.State] = true
		gates.set(seen[api.RolloutSoaking])
		if now.State == api.RolloutApproval && restarts.Load()%2 == 1 {
			// Asked of two at once, the word counts once.
			for range 2 {
				_, err := e.Act(t.Context(), r.ID, rollout.Ask{Action: rollout.ActApprove, By: "bob", Role: api.RoleOperator})
				var refused *api.Error
				if err != nil && !errors.As(err, &refused) {
					t.Fatal(err)
				}
			}
		}
		if now.ID != "" && !now.State.Active() {
			break
		}
		next := w.engine(w.store())
		time.Sleep(time.Duration(restarts.Load()*37%250) * time.Millisecond)
		e.Stop()
		e = next
	}
	got := w.comesTo(e, r.ID, api.RolloutFailed)
	if got.Progress.Updated != 7 || got.Progress.Failed != 1 {
		t.Errorf("%+v", got.Progress)
	}
	if n := restarts.Load(); n < 5 || !seen[api.RolloutRunning] || !seen[api.RolloutSoaking] || !seen[api.RolloutApproval] {
		t.Errorf("%d restarts, in states %v", n, seen)
	}
	w.appliedOnce()
	n := kinds(w.events(r.ID))
	for kind, want := range map[string]int{
		rollout.EventNodeUpdated: 7, rollout.EventNodeFailed: 1, rollout.EventApproved: 1,
		rollout.EventWaveDone: 3, rollout.EventFailed: 1,
	} {
		if n[kind] != want {
			t.Errorf("%d events %s, want %d", n[kind], kind, want)
		}
	}
}
