package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// timed looks at a rollout each second as an elected engine does, or each 5 s
// when much time passes.
type timed struct {
	t      *testing.T
	st     State
	fleet  []NodeView
	clocks *Clocks
	now    time.Time
	frozen bool
	silent bool // the nodes are not heard any more
	outage bool
}

func newTimed(t *testing.T, spec func(*api.RolloutSpec), fleet ...NodeView) *timed {
	st := rolloutOf(len(fleet), 0)
	spec(&st.Head.Spec)
	return &timed{t: t, st: st, fleet: fleet, clocks: NewClocks(), now: noon}
}

// pass lets time pass.
func (w *timed) pass(d time.Duration) {
	w.t.Helper()
	for looks, end := 0, w.now.Add(d); w.now.Before(end); looks++ {
		step := time.Second
		if d > 2*time.Minute && looks > 1 {
			step = longestStep
		}
		w.now = w.now.Add(min(step, end.Sub(w.now)))
		w.look()
	}
}

func (w *timed) look() {
	for i := range w.fleet {
		if !w.silent {
			w.fleet[i].LastHeard = w.now
		}
	}
	step := w.clocks.Step(w.now, w.outage)
	w.st.Observed.Idle, w.st.Observed.IdleSeq = w.clocks.Look(&w.st, w.fleet, step, func(string) bool { return w.frozen })
	w.clocks.Forget()
	if w.outage {
		return // nothing is decided that could be written
	}
	for range 5 {
		d := Decide(w.st.Head.Spec, w.st, w.fleet, w.now)
		if !d.Changed {
			return
		}
		w.st = applied(w.st, d)
	}
	w.t.Fatal("decided 5 times and still not settled")
}

// state is where the first node stands.
func (w *timed) state() string { return Decide(w.st.Head.Spec, w.st, w.fleet, w.now).Nodes[0].State }

func TestMinHealthyTime_CountsFromWhenItIsSeenInPlaceWithoutABreak(t *testing.T) {
	inPlace := func(w *timed) { w.fleet[0] = done("n1") }
	for name, c := range map[string]struct {
		meanwhile func(w *timed) // after 50 s of 60
		after     time.Duration  // it is updated so long after that
	}{
		"all well": {func(*timed) {}, 10 * time.Second},
		"unhealthy for a moment": {func(w *timed) {
			w.fleet[0].Report.Healthy, w.fleet[0].ChangedAt = false, w.now
			w.pass(time.Second)
			w.fleet[0].Report.Healthy, w.fleet[0].ChangedAt = true, w.now
		}, 61 * time.Second},
		"unhealthy between two looks": {func(w *timed) { w.fleet[0].ChangedAt = w.now }, 61 * time.Second},
		"another engine takes over":   {func(w *timed) { w.clocks = NewClocks() }, 61 * time.Second},
		"no quorum for an hour": {func(w *timed) {
			w.outage = true
			w.pass(time.Hour)
			w.outage = false
		}, 10 * time.Second},
		"the process was stopped": {func(w *timed) { w.now = w.now.Add(time.Hour) }, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTimed(t, func(s *api.RolloutSpec) { s.MinHealthyTime = "1m" }, in(api.PhaseVerifying, "n1"), idle("n2"))
			w.pass(5 * time.Second)
			inPlace(w)
			w.pass(51 * time.Second) // the first look begins to count
			if c.meanwhile(w); w.state() != api.NodeUpdating {
				t.Fatalf("meanwhile it is %s", w.state())
			}
			w.pass(c.after - time.Second)
			if w.state() != api.NodeUpdating {
				t.Fatalf("too early it is %s", w.state())
			}
			if got := asked(w.st, w.now, w.fleet[0]); got != "" {
				t.Error("it is asked again while it settles")
			}
			w.pass(time.Second)
			if w.state() != api.NodeUpdated {
				t.Errorf("in the end it is %s", w.state())
			}
		})
	}
}

func TestMinHealthyTime_ANodeThatIsNotHeardIsNotSeen(t *testing.T) {
	w := newTimed(t, func(s *api.RolloutSpec) { s.MinHealthyTime = "3m" }, done("n1"), idle("n2"))
	w.pass(time.Minute)
	w.silent = true
	w.pass(time.Hour)
	if w.state() != api.NodeUpdating {
		t.Fatalf("silent, it is %s", w.state())
	}
	w.silent = false
	w.pass(3 * time.Minute)
	if w.state() != api.NodeUpdating {
		t.Fatalf("too early it is %s", w.state())
	}
	w.pass(2 * time.Second)
	if w.state() != api.NodeUpdated {
		t.Errorf("in the end it is %s", w.state())
	}
}

func TestHealthyDeadline_FailsANodeThatTakesLonger(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(w *timed) // after 9 of 10 minutes
		after     time.Duration
	}{
		"all quiet": {func(*timed) {}, time.Minute},
		"frozen for an hour": {func(w *timed) {
			w.frozen = true
			w.pass(time.Hour)
			w.frozen = false
		}, time.Minute},
		"no quorum for an hour": {func(w *timed) {
			w.outage = true
			w.pass(time.Hour)
			w.outage = false
		}, time.Minute},
		"another engine takes over": {func(w *timed) { w.clocks = NewClocks() }, 10*time.Minute + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTimed(t, func(s *api.RolloutSpec) { s.HealthyDeadline, s.MaxFailures = "10m", "1" }, in(api.PhaseRebooting, "n1"), idle("n2"))
			w.pass(2 * time.Second) // seen to have begun, and begun to count
			w.pass(9 * time.Minute)
			c.meanwhile(w)
			w.pass(c.after - time.Second)
			if w.state() != api.NodeUpdating {
				t.Fatalf("too early it is %s", w.state())
			}
			w.pass(time.Second)
			if w.state() != api.NodeBroken || w.st.Head.Failures != 1 || !strings.Contains(w.st.Results["n1"].Detail, "healthy_deadline") {
				t.Fatalf("in the end it is %s: %+v", w.state(), w.st.Results["n1"])
			}
			if got := asked(w.st, w.now, w.fleet[0]); got != "n1" {
				t.Error("it is not let finish")
			}
			w.pass(time.Hour)
			if w.st.Head.Failures != 1 {
				t.Errorf("it counts %d times", w.st.Head.Failures)
			}
			w.fleet[0] = done("n1")
			if w.pass(time.Second); w.state() != api.NodeUpdated {
				t.Errorf("come through, it is %s", w.state())
			}
		})
	}
}

func TestHealthyDeadline_ANodeTriedAgainHasTheWholeTime(t *testing.T) {
	w := newTimed(t, func(s *api.RolloutSpec) { s.HealthyDeadline = "10m" }, in(api.PhaseRebooting, "n1"), idle("n2"))
	w.pass(11 * time.Minute)
	if w.st.Head.State != api.RolloutHalted {
		t.Fatalf("it is %s", w.st.Head.State)
	}
	d, err := Apply(w.st, Ask{Action: ActRetry, By: "ann"}, w.now)
	if err != nil {
		t.Fatal(err)
	}
	w.st = applied(w.st, d)
	w.fleet[0].Report.Attempt = 2
	w.pass(10 * time.Minute)
	if w.st.Head.State != api.RolloutRunning || w.state() != api.NodeUpdating {
		t.Errorf("it is %s, and n1 %s", w.st.Head.State, w.state())
	}
}

func TestProgressDeadline_HaltsWhenNothingMovesAlthoughItCould(t *testing.T) {
	kept := []api.Blocker{{Kind: api.Full, Detail: "1 of 1 slot is held"}}
	for name, c := range map[string]struct {
		meanwhile func(w *timed) // after 1 of 2 h
		after     time.Duration
	}{
		"all quiet": {func(*timed) {}, time.Hour},
		"a node moves": {func(w *timed) {
			w.fleet[0] = in(api.PhaseWaiting, "n1")
		}, 2*time.Hour + time.Second},
		"nothing may start for a day": {func(w *timed) {
			for i := range w.fleet {
				w.fleet[i].Kept = kept
			}
			w.pass(24 * time.Hour)
			for i := range w.fleet {
				w.fleet[i].Kept = nil
			}
			w.look()
		}, time.Hour},
		"frozen for a day": {func(w *timed) {
			w.frozen = true
			w.pass(24 * time.Hour)
			w.frozen = false
		}, time.Hour},
		"paused for a day": {func(w *timed) {
			w.st = act(w.t, w.st, ActPause)
			w.pass(24 * time.Hour)
			w.st = act(w.t, w.st, ActResume)
		}, 2*time.Hour + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTimed(t, func(s *api.RolloutSpec) { s.ProgressDeadline = "2h" }, idle("n1"), idle("n2"))
			w.look()
			w.pass(time.Hour)
			c.meanwhile(w)
			w.pass(c.after - 2*time.Second)
			if w.st.Head.State != api.RolloutRunning {
				t.Fatalf("too early it is %s: %s", w.st.Head.State, w.st.Head.Why)
			}
			w.pass(4 * time.Second)
			if w.st.Head.State != api.RolloutHalted || !strings.Contains(w.st.Head.Why, "progress_deadline") {
				t.Fatalf("in the end it is %s: %s", w.st.Head.State, w.st.Head.Why)
			}
			w.st = act(t, w.st, ActResume)
			w.pass(time.Hour)
			if w.st.Head.State != api.RolloutRunning {
				t.Errorf("resumed, it halts at once: %s", w.st.Head.Why)
			}
		})
	}
}

// A window is shut over night, in a night with an hour more and one with an hour
// less: the deadline counts only while it is open, by the wall clock.
func TestProgressDeadline_StandsStillWhileTheWindowIsShutOverClockChanges(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for name, day := range map[string]time.Time{
		"an hour less": time.Date(2026, 3, 28, 22, 0, 0, 0, zone),
		"an hour more": time.Date(2026, 10, 24, 22, 0, 0, 0, zone),
	} {
		t.Run(name, func(t *testing.T) {
			w := newTimed(t, func(s *api.RolloutSpec) {
				s.ProgressDeadline = "3h"
				s.Windows = []api.WindowSpec{{Start: "20:00", Duration: "4h", TimeZone: "Europe/Berlin"}}
			}, idle("n1"), idle("n2"))
			w.now = day
			w.look()
			w.pass(2*time.Hour + time.Minute)
			if s := w.st.Head.Stalled; s == nil || s.Blockers[0].Kind != api.Window {
				t.Fatalf("at midnight it is not stalled by the window: %+v", s)
			}
			opens := time.Date(day.Year(), day.Month(), day.Day()+1, 20, 0, 0, 0, zone)
			if got := w.st.Head.Stalled.Blockers[0].Until; !got.Equal(opens) {
				t.Errorf("it opens at %s, want %s", got, opens)
			}
			if got := asked(w.st, opens.Add(-time.Second), w.fleet...); got != "" {
				t.Errorf("asked before it opens: %s", got)
			}
			w.pass(opens.Sub(w.now) + 50*time.Minute)
			if w.st.Head.State != api.RolloutRunning || asked(w.st, w.now, w.fleet...) != "n1 n2" {
				t.Fatalf("before its time it is %s: %s", w.st.Head.State, w.st.Head.Why)
			}
			w.pass(15 * time.Minute)
			if w.st.Head.State != api.RolloutHalted {
				t.Errorf("after 3 h of open windows it is %s", w.st.Head.State)
			}
		})
	}
}
