package etcdstore

import (
	"context"
	"fmt"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// unanswered carries the first change of a person out, and does not say so
// before what follows from it has happened too.
type unanswered struct {
	*Store
	until func() // nil: every change is answered
}

func (u *unanswered) Write(ctx context.Context, c rollout.Change) error {
	err := u.Store.Write(ctx, c)
	if c.Term != nil || err != nil || u.until == nil {
		return err
	}
	until := u.until
	u.until = nil
	until()
	return fmt.Errorf("%w: %w", semaphore.ErrNoQuorum, context.DeadlineExceeded)
}

func TestEngine_ASkipWithoutAnAnswerSkipsOneWave(t *testing.T) {
	w := newWorld(t, 3, 1)
	s := &unanswered{Store: w.store()}
	e := w.engine(s)
	r := w.create(e, func(s *api.RolloutSpec) {
		s.Waves = []api.WaveSpec{{Name: "one", Count: 1}, {Name: "two", Count: 2}, {Name: "three"}}
	})
	at := func(wave int) func() {
		return func() {
			w.eventually(fmt.Sprintf("wave %d", wave), func() bool { r, _ = e.Get(r.ID); return r.Wave == wave })
		}
	}
	at(1)()
	s.until = at(2)
	w.act(e, r.ID, rollout.ActSkip)
	if got := kinds(w.events(r.ID)); got[rollout.EventWaveSkipped] != 1 {
		t.Errorf("events: %v: one wave was to be skipped", got)
	}
	// The last one ends the rollout, and that is no reason to refuse.
	w.act(e, r.ID, rollout.ActSkip)
	at(3)()
	s.until = func() {
		w.eventually("the end", func() bool { r, _ = e.Get(r.ID); return !r.State.Active() })
	}
	if r := w.act(e, r.ID, rollout.ActSkip); r.State != api.RolloutSucceeded {
		t.Errorf("it is %s", r.State)
	}
}

func TestEngine_AResumeWithoutAnAnswerIsNotMadeAgainstALaterPause(t *testing.T) {
	w := newWorld(t, 1, 1)
	s := &unanswered{Store: w.store()}
	e := w.engine(s)
	r := w.create(e, nil)
	w.act(e, r.ID, rollout.ActPause)
	s.until = func() { w.act(e, r.ID, rollout.ActPause) }
	if r = w.act(e, r.ID, rollout.ActResume); r.State != api.RolloutPaused {
		t.Errorf("it is %s: somebody has paused it since", r.State)
	}
}

func TestEngine_ARetryOfANodeWithoutAnAnswerIsNoConflict(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.fails["n00"] = 1
	s := &unanswered{Store: w.store()}
	e := w.engine(s)
	r := w.create(e, nil)
	w.agents()
	w.comesTo(e, r.ID, api.RolloutHalted)
	s.until = func() {}
	if _, err := e.RetryNode(t.Context(), "n00", "ann", "repaired"); err != nil {
		t.Error(err)
	}
	w.comesTo(e, r.ID, api.RolloutSucceeded)
	if got := kinds(w.events(r.ID)); got[rollout.EventRetried] != 1 {
		t.Errorf("events: %v", got)
	}
}

// between changes the rollout before the first change of a person, which loses.
type between struct {
	*Store
	first func()
}

func (b *between) Write(ctx context.Context, c rollout.Change) error {
	if c.Term != nil || b.first == nil {
		return b.Store.Write(ctx, c)
	}
	first := b.first
	b.first = nil
	first()
	return b.Store.Write(ctx, c)
}

func TestEngine_ASkipMeansTheWaveThatItFound(t *testing.T) {
	w := newWorld(t, 3, 1)
	s := &between{Store: w.store()}
	e := w.engine(s)
	r := w.create(e, func(s *api.RolloutSpec) {
		s.Gates = []api.GateSpec{{Name: "errors", Every: "1h", HTTP: &api.HTTPGate{URL: "http://127.0.0.1:1/"}}}
		s.Waves = []api.WaveSpec{{Name: "one", Count: 1}, {Name: "two", Count: 2}, {Name: "three"}}
	})
	for wave := range 2 { // before the first one, and in it
		w.eventually("its wave", func() bool { r, _ = e.Get(r.ID); return r.Wave == wave })
		s.first = func() {
			w.act(e, r.ID, rollout.ActSkip)
			w.eventually("the next", func() bool { r, _ = e.Get(r.ID); return r.Wave == wave+1 })
		}
		w.act(e, r.ID, rollout.ActSkip)
		if got := kinds(w.events(r.ID)); got[rollout.EventWaveSkipped] != wave+1 {
			t.Errorf("at wave %d: %v: another wave was skipped than the one that was meant", wave, got)
		}
	}
}
