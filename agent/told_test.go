package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// rolledBack is a host that was found unhealthy with a bundle, goes back, and
// is healthy again.
func rolledBack(t *testing.T, f func(w *world)) {
	inBubble(t, func(_ *testing.T, w *world) {
		bad := w.standard(bundle.InterruptNone)
		w.sick = func(b string) string {
			if b == bad {
				return "sick"
			}
			return ""
		}
		w.c.want(wanted(bad))
		f(w)
	})
}

func TestRelease_AFailureIsToldBefore(t *testing.T) {
	rolledBack(t, func(w *world) {
		w.c.on = func(call string) {
			if call != "release" {
				return
			}
			w.c.mu.Lock()
			defer w.c.mu.Unlock()
			if w.c.report.Failure == nil {
				w.t.Error("the slot is returned before the failure is told")
			}
		}
		w.start()
		w.settled()
		w.stop()
		if w.c.called("release") != 1 {
			w.t.Errorf("%d releases", w.c.called("release"))
		}
	})
}

func TestRelease_TheSlotIsKeptUntilTheFailureIsHeard(t *testing.T) {
	rolledBack(t, func(w *world) {
		mute := false
		w.fail = func(step string) error {
			if step == "before rollback" && !mute {
				mute = true
				w.c.mu.Lock()
				w.c.refuse = map[string]error{"poll": &api.Error{Kind: api.NoQuorum, Detail: "no leader"}}
				w.c.mu.Unlock()
			}
			return nil
		}
		w.start()
		w.until("the host wants to return its slot", func() bool { return w.journal().Phase == api.PhaseReleasing })
		time.Sleep(time.Hour)
		w.c.mu.Lock()
		if w.c.hold == nil || w.c.calls["release"] != 0 {
			w.t.Error("the slot was returned though nobody heard of the failure")
		}
		w.c.refuse = nil
		w.c.mu.Unlock()
		w.settled()
		w.stop()
	})
}

func TestRelease_AReportThatIsRefusedForGoodKeepsNoSlot(t *testing.T) {
	for _, err := range []error{
		&api.Error{Kind: api.DuplicateID, Detail: "two hosts"}, &api.Error{Kind: api.Forbidden, Detail: "another node's token"},
	} {
		rolledBack(t, func(w *world) {
			w.fail = func(step string) error {
				if step == "before rollback" {
					w.c.mu.Lock()
					w.c.refuse = map[string]error{"poll": err}
					w.c.mu.Unlock()
				}
				return nil
			}
			w.start()
			w.until("the slot to be returned", func() bool {
				w.c.mu.Lock()
				defer w.c.mu.Unlock()
				return w.c.calls["release"] > 0 && w.c.hold == nil
			})
			w.stop()
		})
	}
}

func TestRefusedForGood_IsARefusalThatAskingAgainDoesNotEnd(t *testing.T) {
	for err, want := range map[error]bool{
		errors.New("connection refused"):         false,
		&api.Error{Kind: api.NoQuorum}:           false,
		&api.Error{Kind: api.DiskLow}:            false,
		&api.Error{Kind: api.Rate}:               false,
		&api.Error{Kind: api.Frozen}:             false,
		&api.Error{Kind: api.Invalid}:            true,
		&api.Error{Kind: api.DuplicateID}:        true,
		&api.Error{Kind: api.Kind("not a word")}: false,
	} {
		if got := refusedForGood(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

func TestConfirm_ARolloutThatDoesNotRunHoldsTheHostAtItsFirstGate(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		w.c.refuse = map[string]error{"confirm": &api.Error{Kind: api.Conflict, Detail: "rollout r1 is halted"}}
		w.c.want(wanted(w.standard(bundle.InterruptReboot)))
		w.start()
		w.phase(api.PhaseHolding)
		time.Sleep(time.Minute)
		if w.h.drains != 0 {
			w.t.Error("the host was drained")
		}
		w.c.want(nil)
		w.until("the slot is returned", func() bool {
			w.c.mu.Lock()
			defer w.c.mu.Unlock()
			return w.c.hold == nil && w.c.report.Phase == api.PhaseIdle
		})
		w.stop()
	})
}
