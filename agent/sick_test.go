package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// sickWorld has a host that failed with one bundle, holds its slot, and stays
// unhealthy with anything but the bundle good, which is not wanted yet.
func sickWorld(t *testing.T, f func(w *world, good string)) {
	inBubble(t, func(_ *testing.T, w *world) {
		bad := w.standard(bundle.InterruptNone)
		good := w.publish(bundle.Manifest{Name: "web 3", Files: []bundle.File{{Path: "/etc/web.conf", Interrupt: bundle.InterruptReboot}}}, map[string]string{"/etc/web.conf": "repaired"})
		w.sick = func(b string) string {
			if b == good && w.h.Boots() > 0 {
				return ""
			}
			return "sick"
		}
		w.c.want(wanted(bad))
		w.start()
		w.phase(api.PhaseFailed)
		f(w, good)
	})
}

// stillOut fails the test if the host was put back into service.
func (w *world) stillOut() {
	w.t.Helper()
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	if !w.h.out || w.h.undrains != 0 {
		w.t.Errorf("an unhealthy host was put back into service (%d times)", w.h.undrains)
	}
}

func TestSick_AHostWhoseSlotWasFreedTakesANewOneAndStaysDrained(t *testing.T) {
	sickWorld(t, func(w *world, good string) {
		w.take() // by name
		w.c.want(&api.Wanted{Rollout: "r2", Bundle: good})
		w.phase(api.PhaseWaiting)
		time.Sleep(time.Hour)
		w.stillOut()
		if !w.reported(func(r api.Report) bool { return !r.Healthy && r.Fence == 0 && r.Failure != nil })() {
			w.t.Error("the report does not say that the host is unhealthy and without a slot")
		}
		w.stop() // and over a restart
		w.start()
		w.phase(api.PhaseWaiting)
		w.stillOut()
		w.c.change(func() { w.c.others = 0 })
		w.settled()
		w.stop()
		if s := w.journal(); s.Applied != good || s.Failure != nil || s.Sick != nil || s.LastFence != 8 {
			w.t.Errorf("journal %+v", s)
		}
	})
}

func TestSick_ANewerBundleThatIsWithdrawnLeavesTheHostFailedAndItsSlotKept(t *testing.T) {
	for _, lost := range []bool{false, true} {
		sickWorld(t, func(w *world, good string) {
			if lost {
				w.take()
			} else {
				w.c.change(func() { w.c.frozen = true }) // holds it at its gate
			}
			w.c.want(&api.Wanted{Rollout: "r2", Bundle: good})
			if lost {
				w.phase(api.PhaseWaiting)
			} else {
				w.phase(api.PhaseHolding)
			}
			w.c.want(nil)
			w.phase(api.PhaseFailed)
			w.c.change(func() { w.c.frozen = false })
			time.Sleep(time.Hour)
			w.stillOut()
			w.c.mu.Lock()
			if !lost && (w.c.hold == nil || w.c.hold.Fence != 7) || w.c.queued {
				w.t.Errorf("hold %+v, queued %t", w.c.hold, w.c.queued)
			}
			w.c.others = 0
			w.c.mu.Unlock()
			w.c.want(&api.Wanted{Rollout: "r2", Bundle: good})
			w.settled()
			w.stop()
		})
	}
}

func TestSick_ADrainThatFailsOrASlotThatGoesDoesNotEndInService(t *testing.T) {
	for _, at := range []string{"drain", "apply"} {
		sickWorld(t, func(w *world, good string) {
			w.h.mu.Lock()
			drains := w.h.drains
			w.h.mu.Unlock()
			switch at {
			case "drain":
				w.h.mu.Lock()
				w.h.drain = func() error { return errors.New("no") }
				w.h.mu.Unlock()
			case "apply":
				w.stop()
				w.fail = func(step string) error {
					if step == "after apply" {
						w.take()
					}
					return nil
				}
				w.start()
			}
			w.c.want(&api.Wanted{Rollout: "r2", Bundle: good})
			w.until("the new failure", w.reported(func(r api.Report) bool {
				return r.Phase == api.PhaseFailed && r.Failure.Rollout == "r2" && !r.Failure.Healthy
			}))
			time.Sleep(time.Hour)
			w.stillOut()
			w.stop()
			if w.h.drains == drains || w.h.Boots() != 0 || w.files() != standardBefore {
				w.t.Errorf("%s: drains %d, boots %d, files %s", at, w.h.drains, w.h.Boots(), w.files())
			}
		})
	}
}

func TestSick_ARevokedSlotIsReturnedAndTheHostStaysOut(t *testing.T) {
	sickWorld(t, func(w *world, _ string) {
		w.c.change(func() { h := *w.c.hold; h.State = "revoked"; w.c.hold = &h })
		w.until("returned", func() bool { w.c.mu.Lock(); defer w.c.mu.Unlock(); return w.c.hold == nil })
		time.Sleep(time.Hour)
		w.stillOut()
		w.until("said", w.reported(func(r api.Report) bool { return r.Phase == api.PhaseFailed && r.Fence == 0 }))
		w.stop()
	})
}

func TestSick_OnTheWayBackItIsNotPutIntoServiceWhileNobodyAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.sick = func(b string) string {
			if b == digest {
				w.c.mu.Lock()
				w.c.down = true
				w.c.mu.Unlock()
				return "sick"
			}
			return ""
		}
		w.c.want(wanted(digest))
		w.start()
		w.until("back", func() bool { return w.journal().PutBack })
		time.Sleep(time.Hour)
		w.stillOut()
		w.c.change(func() { w.c.down = false })
		w.settled()
		w.stop()
		if w.h.Boots() != 2 {
			t.Errorf("%d boots", w.h.Boots())
		}
	})
}
