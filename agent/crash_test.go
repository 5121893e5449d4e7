package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

var errKilled = errors.New("killed")

// scenario is a job with its outcome when nothing is killed.
type scenario struct {
	interrupt bundle.Interrupt
	sick      bool // with the new bundle
	files     string
	boots     int
	failure   string
}

var scenarios = map[string]scenario{
	"success with a reboot":  {interrupt: bundle.InterruptReboot, files: standardAfter, boots: 1},
	"success with a restart": {interrupt: bundle.InterruptRestart, files: standardAfter},
	"success without":        {interrupt: bundle.InterruptNone, files: standardAfter},
	"rollback with reboots":  {interrupt: bundle.InterruptReboot, sick: true, files: standardBefore, boots: 2, failure: "unhealthy"},
	"rollback without":       {interrupt: bundle.InterruptNone, sick: true, files: standardBefore, failure: "unhealthy"},
}

// play runs a scenario and kills the agent at the numbered step (1 is the
// first, 0 none); after is how often, one step further on each time. It returns
// the names of the steps.
func play(t *testing.T, s scenario, at, times int) (steps []string) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		digest := w.standard(s.interrupt)
		w.sick = func(b string) string {
			if s.sick && b == digest {
				return "sick"
			}
			return ""
		}
		w.fail = func(step string) error {
			steps = append(steps, step)
			if n := len(steps); at > 0 && n >= at && n < at+times {
				return errKilled
			}
			return nil
		}
		w.c.want(wanted(digest))
		w.start()
		done := func() bool {
			w.c.mu.Lock()
			told := w.c.hold == nil && w.c.report.Phase == api.PhaseIdle
			w.c.mu.Unlock()
			if !told { // reading the journal at each look would take most of the test's time
				return false
			}
			st, err := ReadJournal(w.cfg.StateDir)
			return err == nil && st.Phase == api.PhaseIdle && st.Ended != nil
		}
		killed := 0
		w.until("the end, over kills", func() bool {
			select {
			case err := <-w.ended:
				if !errors.Is(err, errKilled) {
					t.Errorf("the agent ended: %v", err)
				}
				killed++
				w.start()
				return false // the one just started may be killed as well
			default:
				return done() && (at == 0 || killed > 0)
			}
		})
		w.stop()
		if got := w.files(); got != s.files {
			t.Errorf("files:\n%s", got)
		}
		if n := w.h.Boots(); n != s.boots {
			t.Errorf("%d reboots, want %d", n, s.boots)
		}
		st := w.journal()
		if (st.Failure == nil) != (s.failure == "") || st.Failure != nil && (st.Failure.Reason != s.failure || !st.Failure.Healthy) {
			t.Errorf("failure %+v, want %q", st.Failure, s.failure)
		}
		if want := map[bool]string{false: digest}[s.sick]; st.Applied != want {
			t.Errorf("bundle in place %q, want %q", st.Applied, want)
		}
		if w.h.isOut() || st.Drain != DrainNone {
			t.Error("the host is still drained")
		}
	})
	return steps
}

// Every step of the agent is killed once: before and after each journal write,
// each act, and each file that is moved. What comes out is what comes out
// without a kill: the same files, the same number of reboots, the slot returned.
func TestKill_AtEveryStepEndsAsIfNothingHadHappened(t *testing.T) {
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			steps := play(t, s, 0, 0)
			if len(steps) < 20 {
				t.Fatalf("only %d steps: %v", len(steps), steps)
			}
			for i, step := range steps {
				t.Run(fmt.Sprintf("%02d %s", i+1, strings.ReplaceAll(step, "/", "_")), func(t *testing.T) {
					t.Parallel()
					play(t, s, i+1, 1)
				})
			}
		})
	}
}

// The first steps of the restarted agent are killed as well.
func TestKill_ThreeTimesInARowEndsAsIfNothingHadHappened(t *testing.T) {
	s := scenarios["rollback with reboots"]
	for at := 1; at <= len(play(t, s, 0, 0)); at += 5 {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			play(t, s, at, 3)
		})
	}
}

// A program that is shipped has no failpoint of its own.
func TestFailpoint_IsNotBuiltIn(t *testing.T) {
	var c Config
	if c.Node, c.Group, c.StateDir, c.Coordinator, c.Host = node, "web", "/x", newCoordinator(), newWorld(t).h; c.complete() != nil || c.Failpoint != nil || builtin != nil {
		t.Error("a failpoint is built in")
	}
}
