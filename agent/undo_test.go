package agent

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// undone has a host with a bundle in place, which a person wants undone.
func undone(t *testing.T, interrupt bundle.Interrupt, f func(w *world, digest string)) {
	inBubble(t, func(_ *testing.T, w *world) {
		digest := w.standard(interrupt)
		w.c.want(wanted(digest))
		w.start()
		w.settled()
		w.c.want(nil)
		f(w, digest)
	})
}

func order(digest string) *api.Wanted {
	return &api.Wanted{Bundle: digest, Name: "web 2", Undo: true, Order: "o1"}
}

func (w *world) answered(id string) {
	w.t.Helper()
	w.until("order "+id+" answered", w.reported(func(r api.Report) bool { return r.Answered == id && r.Phase == api.PhaseIdle }))
}

func TestUndo_PutsBackWhatTheBundleReplacedAndInterruptsWithinASlot(t *testing.T) {
	for _, interrupt := range []bundle.Interrupt{bundle.InterruptReboot, bundle.InterruptRestart, bundle.InterruptNone} {
		undone(t, interrupt, func(w *world, digest string) {
			boots, units := w.h.Boots(), len(w.h.units)
			w.c.want(order(digest))
			w.answered("o1")
			w.c.want(nil)
			w.settled()
			w.stop()
			s := w.journal()
			if w.files() != standardBefore || s.Applied != "" || s.Failure != nil || s.Undo != nil || w.h.isOut() || w.c.hold != nil {
				t.Errorf("%s: out %t, journal %+v, files:\n%s", interrupt, w.h.isOut(), s, w.files())
			}
			wantBoots, wantUnits := 0, 0
			switch interrupt {
			case bundle.InterruptReboot:
				wantBoots = 1
			case bundle.InterruptRestart:
				wantUnits = 1
			}
			if w.h.Boots()-boots != wantBoots || len(w.h.units)-units != wantUnits {
				t.Errorf("%s: %d boots, %d of units", interrupt, w.h.Boots()-boots, len(w.h.units)-units)
			}
		})
	}
}

func TestUndo_AtEveryKillEndsAsIfNothingHadHappened(t *testing.T) {
	count := func(w *world, at int) (steps int) {
		w.fail = func(string) error {
			if steps++; steps == at {
				return errKilled
			}
			return nil
		}
		return
	}
	for at := 1; at < 40; at++ {
		undone(t, bundle.InterruptReboot, func(w *world, digest string) {
			w.stop()
			count(w, at)
			w.c.want(order(digest))
			w.start()
			w.until("answered, over kills", func() bool {
				select {
				case <-w.ended:
					w.start()
					return false
				default:
				}
				return w.reported(func(r api.Report) bool { return r.Answered == "o1" && r.Phase == api.PhaseIdle })()
			})
			w.c.want(nil)
			w.settled()
			w.stop()
			if s := w.journal(); w.files() != standardBefore || w.h.Boots() != 2 || s.Applied != "" || s.Failure != nil || w.h.isOut() {
				t.Errorf("step %d: %d boots, journal %+v, files:\n%s", at, w.h.Boots(), s, w.files())
			}
		})
	}
}

func TestUndo_IsRefusedWhenNothingIsKeptOrAnotherBundleIsInPlace(t *testing.T) {
	undone(t, bundle.InterruptNone, func(w *world, digest string) {
		w.c.want(&api.Wanted{Bundle: "another", Undo: true, Order: "o1"})
		w.answered("o1")
		w.stop()
		if s := w.journal(); s.Failure == nil || s.Failure.Reason != "rollback" || !s.Failure.Healthy || s.Applied != digest || w.files() != standardAfter {
			t.Errorf("journal %+v", s)
		}
	})
}

// The host is unhealthy with what it went back to: it keeps its slot.
func TestUndo_AHostThatIsUnhealthyAfterwardsKeepsItsSlot(t *testing.T) {
	undone(t, bundle.InterruptReboot, func(w *world, digest string) {
		w.stop()
		w.sick = func(b string) string {
			if b != digest {
				return "sick without it"
			}
			return ""
		}
		w.c.want(order(digest))
		w.start()
		w.phase(api.PhaseFailed)
		if !w.h.isOut() {
			t.Error("it was put back into service")
		}
		w.stop()
		if s := w.journal(); s.Fence == 0 || s.Failure == nil || s.Failure.Healthy || w.c.hold == nil {
			t.Errorf("journal %+v, hold %+v", s, w.c.hold)
		}
	})
}
