package etcdstore

import (
	"context"
	"errors"
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

func TestEngine_AResumeThatIsOvertakenByAnotherPauseIsRefused(t *testing.T) {
	w := newWorld(t, 1, 1)
	s := &between{Store: w.store()}
	e := w.engine(s)
	r := w.create(e, nil)
	seen := w.act(e, r.ID, rollout.ActPause)
	s.first = func() {
		w.act(e, r.ID, rollout.ActResume)
		w.act(e, r.ID, rollout.ActPause)
	}
	resume := rollout.Ask{Action: rollout.ActResume, By: "bob"}
	conflict := func(what string, err error) {
		t.Helper()
		var refused *api.Error
		if !errors.As(err, &refused) || refused.Kind != api.Conflict {
			t.Errorf("%s: got %v, want a conflict", what, err)
		}
		if now, _ := e.Get(r.ID); now.State != api.RolloutPaused {
			t.Errorf("%s: it is %s, and somebody has paused it since", what, now.State)
		}
	}
	_, err := e.Act(t.Context(), r.ID, resume)
	conflict("overtaken", err)
	resume.StoppedAt = seen.StoppedAt // sent again by a client, after the first was made
	_, err = e.Act(t.Context(), r.ID, resume)
	conflict("sent again", err)
	now, _ := e.Get(r.ID)
	resume.StoppedAt = now.StoppedAt
	if got, err := e.Act(t.Context(), r.ID, resume); err != nil || got.State != api.RolloutRunning || !got.StoppedAt.IsZero() {
		t.Errorf("of the pause that is there: %v, %s", err, got.State)
	}
}

// unforgetting leaves so many requests to forget a node without an answer.
type unforgetting struct {
	*Store
	left int
}

func (u *unforgetting) ForgetSettled(ctx context.Context, node string) error {
	if u.left--; u.left >= 0 {
		return fmt.Errorf("%w: %w", semaphore.ErrNoQuorum, context.DeadlineExceeded)
	}
	return u.Store.ForgetSettled(ctx, node)
}

func TestEngine_ANodeIsForgottenAlsoWhenTheFirstRequestHasNoAnswer(t *testing.T) {
	w := newWorld(t, 1, 1)
	s := &unforgetting{Store: w.store(), left: 1}
	e := w.engine(s)
	w.agents()
	w.comesTo(e, w.create(e, nil).ID, api.RolloutSucceeded)
	if err := e.Forget(t.Context(), "n00"); err != nil || s.left >= 0 {
		t.Errorf("it ends with %v", err)
	}
	if _, known := s.View().Settled["n00"]; known {
		t.Error("it is still known what the node was brought to")
	}
}
