package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// An interrupt or a command may end the agent itself, as `systemctl restart
// lockkeeper-agent` does, each time anew. That must come to an end.
func TestLoop_AnAgentThatItsOwnActEndsGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		interrupt bundle.Interrupt
		step      string
		reason    string // "": the bundle is in place in the end
		files     string
	}{
		"units":   {bundle.InterruptRestart, "after units", "", standardAfter},
		"command": {bundle.InterruptNone, "after apply", "attempts", standardBefore},
		"reboot":  {bundle.InterruptReboot, "before reboot", "reboot", standardBefore}, // and the boot id stays
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				digest := w.standard(c.interrupt)
				w.fail = func(step string) error {
					if step == c.step {
						return errKilled
					}
					return nil
				}
				w.c.want(wanted(digest))
				w.start()
				ends := 0
				w.until("the end of it", func() bool {
					select {
					case err := <-w.ended:
						if !errors.Is(err, errKilled) {
							t.Errorf("ended with %v", err)
						}
						if ends++; ends < 20 {
							w.start()
						} else {
							t.Fatal("ended 20 times")
						}
						return false
					default:
					}
					s, err := ReadJournal(w.cfg.StateDir)
					return err == nil && s.Phase == api.PhaseIdle && s.Ended != nil
				})
				w.settled()
				w.stop()
				s := w.journal()
				if (s.Failure == nil) != (c.reason == "") || s.Failure != nil && s.Failure.Reason != c.reason {
					t.Errorf("failure %+v", s.Failure)
				}
				if got := w.files(); got != c.files {
					t.Errorf("files:\n%s", got)
				}
			})
		})
	}
}

func TestHostReboot_AfterALostSlotIsAskedForAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.cfg.RebootWhenRequired = true
		w.h.SetNeedsReboot(true)
		lost := 0
		w.fail = func(step string) error {
			if step == "after apply" && lost < 5 {
				lost++
				w.c.change(func() { w.c.hold = nil })
			}
			return nil
		}
		w.start()
		w.until("rebooted", func() bool { return w.h.Boots() == 1 })
		w.phase(api.PhaseIdle)
		w.stop()
		if w.h.isOut() || w.c.hold != nil {
			t.Errorf("out %t, hold %+v", w.h.isOut(), w.c.hold)
		}
	})
}

func TestGroupDeleted_TheAgentDoesNotWaitForItForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.c.others = 1
		w.c.want(wanted(digest))
		w.start()
		w.phase(api.PhaseWaiting)
		w.c.mu.Lock()
		w.c.refuse = map[string]error{"leave": api.Errorf(api.UnknownGroup, "there is no group")}
		w.c.mu.Unlock()
		w.c.want(nil)
		time.Sleep(time.Hour)
		if p := w.journal().Phase; p != api.PhaseIdle {
			t.Errorf("phase %s", p)
		}
		w.stop()
	})
}
