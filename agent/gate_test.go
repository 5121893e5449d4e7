package agent

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// take takes the slot away for good: nobody gets one afterwards.
func (w *world) take() {
	w.c.change(func() { w.c.hold, w.c.others = nil, 1 })
}

func TestLostSlot_BeforeTheDrainGoesBackToTheQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		lost := false
		w.c.on = func(call string) {
			if call == "confirm" && !lost {
				lost = true
				w.c.mu.Lock()
				w.c.hold = nil // it expired unconfirmed
				w.c.mu.Unlock()
			}
		}
		w.c.want(wanted(digest))
		w.start()
		w.settled()
		w.stop()
		if w.h.drains != 1 || w.h.Boots() != 1 || w.journal().LastFence != 8 {
			t.Errorf("drains %d, boots %d, last fence %d", w.h.drains, w.h.Boots(), w.journal().LastFence)
		}
	})
}

func TestLostSlot_WhileDrainingPutsTheHostBackIntoService(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.h.drain = func() error {
			w.c.mu.Lock()
			defer w.c.mu.Unlock()
			w.c.hold, w.c.others = nil, 1
			return nil
		}
		w.fail = func(step string) error { // and the agent is killed there
			if step == "after drain" {
				w.fail = nil
				return errKilled
			}
			return nil
		}
		w.c.want(wanted(digest))
		w.start()
		if err := <-w.ended; err == nil {
			t.Fatal("not killed")
		}
		w.start()
		w.phase(api.PhaseWaiting)
		w.until("in service", func() bool { return !w.h.isOut() })
		w.stop()
		if w.files() != standardBefore || w.h.Boots() != 0 {
			t.Errorf("files %s, boots %d", w.files(), w.h.Boots())
		}
	})
}

func TestLostSlot_WhileApplyingPutsThePreviousFilesBackAndReportsIt(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.fail = func(step string) error {
			if step == "after apply" {
				w.take()
			}
			return nil
		}
		w.c.want(wanted(digest))
		w.start()
		w.until("lost_slot", w.reported(func(r api.Report) bool { return r.Failure != nil && r.Phase == api.PhaseIdle }))
		w.stop()
		f := w.journal().Failure
		if f.Reason != "lost_slot" || !f.Healthy {
			t.Errorf("failure %+v", f)
		}
		if w.h.Boots() != 0 || w.files() != standardBefore || w.h.isOut() {
			t.Errorf("boots %d, out %t, files %s", w.h.Boots(), w.h.isOut(), w.files())
		}
	})
}

func TestLostSlot_BehindTheRebootIsVerifiedAndReported(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.h.reboot = func() error { w.take(); return w.h.simHost.Reboot(t.Context(), false) }
		w.c.want(wanted(digest))
		w.start()
		w.settled()
		w.stop()
		if w.journal().Applied != digest || w.h.Boots() != 1 {
			t.Errorf("journal %+v", w.journal())
		}
	})
}

func TestLostSlot_OnTheWayBackMeansNoSecondReboot(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.sick = func(b string) string {
			if w.h.Boots() == 1 {
				w.c.mu.Lock()
				defer w.c.mu.Unlock()
				w.c.hold, w.c.others = nil, 1
			}
			if b == digest {
				return "sick"
			}
			return ""
		}
		w.c.want(wanted(digest))
		w.start()
		w.phase(api.PhaseFailed)
		time.Sleep(time.Hour)
		w.stop()
		if w.h.Boots() != 1 {
			t.Errorf("%d reboots without a slot for the second", w.h.Boots())
		}
	})
}

func TestRevoked_ALiveAgentReturnsItsSlot(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.fail = func(step string) error {
			if step == "after apply" {
				w.c.change(func() { h := *w.c.hold; h.State = "revoked"; w.c.hold = &h })
			}
			return nil
		}
		w.c.want(wanted(digest))
		w.start()
		w.settled()
		w.stop()
		if w.h.Boots() != 0 || w.journal().Failure.Reason != "lost_slot" {
			t.Errorf("boots %d, failure %+v", w.h.Boots(), w.journal().Failure)
		}
	})
}

func TestGate_WithoutAnAnswerTheHostWaitsAndAfterTenMinutesServesAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.fail = func(step string) error {
			if step == "after apply" {
				w.c.change(func() { w.c.down = true })
			}
			return nil
		}
		w.c.want(wanted(digest))
		w.start()
		w.until("drained", w.h.isOut)
		time.Sleep(DrainedFor - time.Minute)
		if !w.h.isOut() {
			t.Error("served too early")
		}
		time.Sleep(2 * time.Minute)
		if w.h.isOut() || w.h.Boots() != 0 {
			t.Errorf("out %t, boots %d", w.h.isOut(), w.h.Boots())
		}
		time.Sleep(5 * time.Hour)
		if w.h.Boots() != 0 {
			t.Fatal("rebooted without a coordinator")
		}
		w.c.change(func() { w.c.down = false })
		w.settled()
		w.stop()
		if w.h.Boots() != 1 || w.h.drains != 2 || w.files() != standardAfter {
			t.Errorf("boots %d, drains %d", w.h.Boots(), w.h.drains)
		}
	})
}

func TestGate_AFreezeHoldsTheAgentAtItsGate(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.c.on = func(call string) {
			if call == "confirm" && w.h.Boots() == 0 {
				w.c.mu.Lock()
				w.c.frozen = w.c.calls["confirm"] < 30
				w.c.mu.Unlock()
			}
		}
		w.c.want(wanted(digest))
		w.start()
		w.phase(api.PhaseHolding)
		time.Sleep(30 * time.Second)
		if w.h.drains != 0 {
			t.Error("drained although frozen")
		}
		w.settled()
		w.stop()
	})
}

func TestGate_AnAnswerThatComesLateIsNone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		slow := 0
		w.c.on = func(call string) {
			if call == "confirm" && slow < 5 {
				slow++
				time.Sleep(GateFor + time.Second) // watched fails the test if it counts
			}
		}
		w.c.want(wanted(digest))
		w.start()
		w.settled()
		w.stop()
	})
}

func TestGate_TheTimeOfWritingTheJournalCountsToo(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		slow := map[string]int{}
		w.fail = func(step string) error {
			if strings.HasPrefix(step, "after journal rebooting for reboot") || strings.HasPrefix(step, "after journal draining for drain") {
				if slow[step]++; slow[step] < 3 {
					time.Sleep(GateFor)
				}
			}
			return nil
		}
		w.c.want(wanted(digest))
		w.start()
		w.settled()
		w.stop()
		if w.h.Boots() != 1 {
			t.Errorf("%d boots", w.h.Boots())
		}
	})
}

func TestUnreachable_TheAgentDoesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.c.want(wanted(digest))
		w.c.down = true
		w.start()
		time.Sleep(time.Hour)
		if w.h.drains != 0 || w.files() != standardBefore {
			t.Error("something was done")
		}
		w.c.change(func() { w.c.down = false })
		w.settled()
		w.stop()
	})
}

func TestUnreachable_BehindTheLastGateNobodyIsNeeded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.h.reboot = func() error {
			w.c.change(func() { w.c.down = true })
			return w.h.simHost.Reboot(t.Context(), false)
		}
		w.c.want(wanted(digest))
		w.start()
		w.until("verified, in service, releasing", func() bool {
			s := w.journal()
			return s.Phase == api.PhaseReleasing && s.Applied == digest && s.Drain == DrainNone && !w.h.isOut()
		})
		w.c.change(func() { w.c.down = false })
		w.settled()
		w.stop()
	})
}

func TestWrongCluster_NothingIsDoneUntilAPersonTrustsIt(t *testing.T) {
	for name, change := range map[string]func(c *coordinator){
		"another cluster":   func(c *coordinator) { c.cluster = "c2" },
		"older incarnation": func(c *coordinator) { c.incarnation = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.c.incarnation = 5
				digest := w.standard(bundle.InterruptReboot)
				w.start()
				w.phase(api.PhaseIdle)
				w.until("pinned", func() bool { p, err := ReadPin(w.cfg.StateDir); return err == nil && p == Pin{"c1", 5} })
				w.c.change(func() { change(w.c); w.c.wanted = wanted(digest) })
				time.Sleep(time.Hour)
				if w.c.called("acquire")+w.c.called("bundle") != 0 || w.files() != standardBefore {
					t.Error("something was asked for or done")
				}
				if was, err := Trust(w.cfg.StateDir); err != nil || was.Cluster != "c1" {
					t.Errorf("trust: %+v, %v", was, err)
				}
				w.settled()
				w.stop()
				if p, _ := ReadPin(w.cfg.StateDir); p.Cluster != w.c.cluster || p.Incarnation != w.c.incarnation {
					t.Errorf("pinned %+v", p)
				}
			})
		})
	}
}

func TestHigherIncarnation_IsPinnedAndWorkGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptNone)
		w.start()
		w.phase(api.PhaseIdle)
		w.c.change(func() { w.c.incarnation = 9; w.c.wanted = wanted(digest) })
		w.settled()
		w.stop()
		if p, _ := ReadPin(w.cfg.StateDir); p.Incarnation != 9 {
			t.Errorf("pinned %+v", p)
		}
	})
}

// The agent is killed in every phase while no coordinator answers, and starts
// again, and again after a while. Before the last gate nothing more is begun;
// behind it nobody is needed. All ends as if nothing had happened.
func TestUnreachable_KilledAtEveryStepMeanwhileEndsAsIfNothingHadHappened(t *testing.T) {
	for _, name := range []string{"success with a reboot", "rollback with reboots", "success with a restart"} {
		s := scenarios[name]
		for at := 1; at <= len(play(t, s, 0, 0)); at += 3 {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, w *world) {
					digest := w.standard(s.interrupt)
					w.sick = func(b string) string {
						if s.sick && b == digest {
							return "sick"
						}
						return ""
					}
					n := 0
					w.fail = func(string) error {
						if n++; n == at {
							w.c.change(func() { w.c.down = true })
							return errKilled
						}
						return nil
					}
					w.c.want(wanted(digest))
					w.start()
					w.until("killed", func() bool {
						select {
						case <-w.ended:
							return true
						default:
							return false
						}
					})
					for range 2 {
						w.start()
						time.Sleep(10 * time.Minute)
						drains, boots := w.h.drained(), w.h.Boots()
						time.Sleep(10 * time.Minute)
						if w.h.drained() != drains || w.h.Boots() != boots {
							t.Errorf("step %d: something was begun without an answer", at)
						}
						w.stop()
					}
					w.start()
					w.c.change(func() { w.c.down = false })
					w.settled()
					w.stop()
					if got := w.files(); got != s.files || w.h.Boots() != s.boots || w.h.isOut() {
						t.Errorf("step %d: out %t, %d boots, files:\n%s", at, w.h.isOut(), w.h.Boots(), got)
					}
				})
			})
		}
	}
}
