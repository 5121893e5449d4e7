package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// unelected are the engines of two coordinators, while a third one is elected
// and does nothing: it was stopped, say.
func (w *world) unelected() (a, b *rollout.Engine) {
	w.t.Helper()
	stopped, err := w.store().Campaign(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := stopped.Resign(context.Background()); err != nil {
			w.t.Error(err)
		}
	})
	return w.engine(w.store()), w.engine(w.store())
}

func failureIn(r api.Rollout) api.Report {
	return api.Report{
		Phase: api.PhaseReleasing, Rollout: r.ID, Failure: &api.Failure{
			Bundle: r.Spec.Bundle, Rollout: r.ID, Reason: "unhealthy", Detail: "no answer", Healthy: true, At: time.Now().UTC(),
		},
	}
}

func isConflict(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Kind == api.Conflict
}

func TestSettle_AFailureToldToOneCoordinatorStopsTheOtherThoughNoEngineActs(t *testing.T) {
	w := newWorld(t, 3, 1)
	told, other := w.unelected()
	r := w.create(told, nil)
	if err := other.MayBegin(t.Context(), r.ID); err != nil {
		t.Fatalf("a running rollout: %v", err)
	}
	failure := failureIn(r)
	if err := told.Settle(t.Context(), "n00", failure); err != nil {
		t.Fatal(err)
	}
	// At once: no watch has brought it anywhere.
	if err := other.MayBegin(t.Context(), r.ID); !isConflict(err) {
		t.Errorf("after the failure: %v, want a conflict", err)
	}
	if got := told.WantedFor("n01"); got != nil {
		t.Errorf("wanted of n01: %+v", got)
	}
	for _, e := range []*rollout.Engine{told, other} {
		if err := e.Settle(t.Context(), "n00", failure); err != nil {
			t.Fatal(err)
		}
	}
	st, err := w.store().Read(t.Context(), r.ID)
	if err != nil || st.Head.State != api.RolloutHalted || st.Head.Failures != 1 || st.Results["n00"].State != api.NodeBroken {
		t.Errorf("%+v %v", st, err)
	}
	w.act(other, r.ID, rollout.ActResume)
	if err := told.MayBegin(t.Context(), r.ID); err != nil {
		t.Errorf("resumed: %v", err)
	}
	if err := told.MayBegin(t.Context(), "ro-0"); !isConflict(err) {
		t.Errorf("a rollout that never was: %v", err)
	}
}

func TestSettle_FailuresThatAreToldAtOnceAreAllCounted(t *testing.T) {
	w := newWorld(t, 8, 8)
	a, b := w.unelected()
	r := w.create(a, func(s *api.RolloutSpec) { s.MaxFailures = "7" })
	var all sync.WaitGroup
	for i := range 8 {
		e := []*rollout.Engine{a, b}[i%2]
		all.Go(func() {
			if err := e.Settle(t.Context(), fmt.Sprintf("n%02d", i), failureIn(r)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	st, err := w.store().Read(t.Context(), r.ID)
	if err != nil || st.Head.State != api.RolloutHalted || st.Head.Failures != 8 {
		t.Errorf("%+v %v", st.Head, err)
	}
	w.events(r.ID)
}

func TestSettle_WithoutAnAnswerOfTheStoreItIsNotDone(t *testing.T) {
	w := newWorld(t, 2, 1)
	e, _ := w.unelected()
	r := w.create(e, nil)
	mute := rollout.NewEngine(rollout.EngineConfig{
		Store: New(Config{Client: etcd.Client(), Prefix: w.prefix, HasLeader: func() bool { return false }}), Fleet: w, Semaphores: w.sems,
	})
	if err := mute.Settle(t.Context(), "n00", failureIn(r)); !errors.Is(err, semaphore.ErrNoQuorum) {
		t.Errorf("settle: %v", err)
	}
	if err := mute.MayBegin(t.Context(), r.ID); !errors.Is(err, semaphore.ErrNoQuorum) {
		t.Errorf("may begin: %v", err)
	}
}

func TestReadHead_OfANewerVersionIsNotJudged(t *testing.T) {
	w := newWorld(t, 1, 1)
	e, _ := w.unelected()
	for name, value := range map[string]string{"ro-new": `{"v":2,"id":"ro-new","state":"running"}`, "ro-bad": `{"v":`} {
		if _, err := etcd.Client().Put(t.Context(), w.prefix+"rollouts/"+name+"/head", value); err != nil {
			t.Fatal(err)
		}
		if err := e.MayBegin(t.Context(), name); !errors.Is(err, semaphore.ErrNewerSchema) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
