package rollout

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestAsk_DecidedAgainItMeansThePlaceThatItFound(t *testing.T) {
	approval := []api.GateSpec{{Name: "go", Approval: &api.ApprovalGate{}}}
	waves := []api.WaveSpec{{Name: "one", Count: 1, Gates: approval}, {Name: "two", Count: 2, Gates: approval}, {Name: "three"}}
	before := inWaves(waves, 1, 1, 1)
	before.Head.Spec.Gates, before.Head.State = approval, api.RolloutApproval
	first := inWaves(waves, 1, 1, 1)
	first = at(t, noon, first, done("n1"), idle("n2"), idle("n3"))
	second := first
	second.Head.Wave = 1
	second.Head.Waves = []WaveState{first.Head.Waves[0], {StartedAt: noon, FinishedAt: noon}, {}}
	second.Head.Waves[0].DoneAt = noon
	for _, action := range []string{ActApprove, ActSkip} {
		for name, c := range map[string]struct{ found, now State }{
			"before the first wave": {before, first}, "in the first wave": {first, second},
		} {
			ask := Ask{Action: action, By: "bob", Role: api.RoleAdmin}
			bound := ask.bound(&c.found).bound(&c.now)
			if d, err := Apply(c.now, bound, noon); err != nil || d.Changed {
				t.Errorf("%s %s: changed %v, %v, though it has gone on", action, name, d.Changed, err)
			}
			if _, err := Apply(c.found, bound, noon); action == ActApprove && err != nil {
				t.Errorf("%s %s, where it was found: %v", action, name, err)
			}
		}
	}
}

// A resume lifts the stop that was there when it was asked, and acknowledges the
// failures of then, whatever comes before it is carried out.
func TestAsk_AResumeLiftsTheStopThatItFound(t *testing.T) {
	resume := Ask{Action: ActResume, By: "bob", Role: api.RoleAdmin}
	now := noon
	act := func(st State, ask Ask) State {
		t.Helper()
		now = now.Add(time.Second)
		d, err := Apply(st, ask, now)
		if err != nil {
			t.Fatal(err)
		}
		return applied(st, d)
	}
	by := func(action string) Ask { return Ask{Action: action, By: "ann"} }
	running := standingIn(t, api.RolloutRunning)
	paused := act(running, by(ActPause))
	pausedAgain := act(act(paused, by(ActResume)), by(ActPause))
	halted := act(paused, by(ActHalt))
	named := resume
	named.StoppedAt = paused.Head.stoppedAt()
	for name, c := range map[string]struct {
		found, now State
		ask        Ask
		refused    bool
	}{
		"the same":            {paused, paused, resume, false},
		"resumed by another":  {paused, act(paused, by(ActResume)), resume, false},
		"paused by another":   {paused, pausedAgain, resume, true},
		"halted":              {paused, halted, resume, true},
		"named, the same":     {paused, paused, named, false},
		"named, sent later":   {pausedAgain, pausedAgain, named, true},
		"named, and it goes":  {running, running, named, false},
		"running, then halts": {running, halted, resume, false}, // the first look has answered
	} {
		d, err := Apply(c.now, c.ask.bound(&c.found).bound(&c.now), noon)
		if (err != nil) != c.refused || err != nil && err.Kind != api.Conflict {
			t.Errorf("%s: %v, refused should be %v", name, err, c.refused)
		}
		if err != nil && d.Changed {
			t.Errorf("%s: refused, and changed", name)
		}
	}

	more := halted
	more.Head.Failures = halted.Head.Failures + 1
	for _, action := range []string{ActResume, ActRetry} {
		ask := Ask{Action: action, By: "bob"}
		d, err := Apply(more, ask.bound(&halted).bound(&more), noon)
		if err != nil || !d.Changed || d.Head.Acknowledged != halted.Head.Failures {
			t.Errorf("%s acknowledges failures up to %d, and %d were known: %v", action, d.Head.Acknowledged, halted.Head.Failures, err)
		}
	}
}
