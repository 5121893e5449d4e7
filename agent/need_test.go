package agent

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// running starts an agent that is kept at hand, on a host that does not reboot.
func (w *world) running() *Agent {
	a := New(w.cfg)
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.ended = cancel, make(chan error, 1)
	go func() { w.ended <- a.Run(ctx) }()
	w.until("known", w.reported(func(r api.Report) bool { return r.Seq > 0 }))
	return a
}

// exits is how a command ended that exits with a status.
func exits(t *testing.T, status string) error {
	t.Helper()
	err := exec.Command("/bin/sh", "-c", "exit "+status).Run()
	if err == nil && status != "0" {
		t.Fatal("it succeeded")
	}
	return err
}

func TestNeed_TheCommandsExitStatusDecidesAndNothingElseDoes(t *testing.T) {
	answers := map[string]error{
		"0": nil, "1": exits(t, "1"), "2": exits(t, "2"), "127": exits(t, "127"), "timeout": errors.New("did not end within 1m0s"),
	}
	for status, answer := range answers {
		t.Run(status, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.cfg.RebootWhenRequired, w.cfg.NeedCommand = true, "needs-restarting -r"
				w.h.run = func(string, []string) error { return answer }
				w.start()
				time.Sleep(time.Hour)
				boots, reason := 0, ""
				switch status {
				case "0":
					boots, reason = 1, "output"
				case "1":
				default:
					reason = `the command "needs-restarting -r" is no answer whether a reboot is needed: ` + answer.Error() + ": output"
				}
				if w.h.Boots() != boots {
					t.Errorf("%d boots, want %d", w.h.Boots(), boots)
				}
				w.until("reported", w.reported(func(r api.Report) bool {
					return r.RebootReason == reason && r.NeedsReboot == (status == "0")
				}))
				w.stop()
			})
		})
	}
}

func TestNeed_TheReasonIsThatOfTheSlot(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.cfg.RebootWhenRequired, w.cfg.NeedCommand = true, "needs"
		w.h.run = func(string, []string) error { return nil }
		w.start()
		w.until("rebooted", func() bool { return w.h.Boots() == 1 })
		w.stop()
		if w.c.reason != "reboot that the host asks for: output" {
			t.Errorf("the slot was asked for with %q", w.c.reason)
		}
	})
}

func TestRequest_APersonsRebootTakesASlotAndHappensOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.c.others = 1
		w.h.reboot = func() error { return nil } // accepted; this process lives on
		a := w.running()
		const id = "r1"
		if err := a.RequestReboot(RebootRequest{ID: id, Reason: "new firmware"}); err != nil {
			t.Fatal(err)
		}
		if err := a.RequestReboot(RebootRequest{ID: "r2", Reason: "another"}); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "new firmware") {
			t.Errorf("a second one: %v", err)
		}
		w.until("in the queue", func() bool {
			p := a.RequestProgress(id)
			return p.Phase == api.PhaseWaiting && p.Working && strings.Contains(p.Message, "place 1")
		})
		if w.h.isOut() {
			t.Error("drained without a slot")
		}
		w.c.change(func() { w.c.others = 0 })
		w.until("rebooting", func() bool { return a.RequestProgress(id).Phase == api.PhaseRebooting })
		if err := w.h.Boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.until("served", func() bool {
			p := a.RequestProgress(id)
			return p.Ended && p.Failure == nil && p.Phase == api.PhaseIdle
		})
		w.stop()
		// Who waited asks again, for it does not know whether it was served.
		a = w.running()
		if err := a.RequestReboot(RebootRequest{ID: id, Reason: "new firmware"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if p := a.RequestProgress(id); !p.Ended || p.Failure != nil {
			t.Errorf("progress %+v", p)
		}
		w.stop()
		if w.h.Boots() != 1 || w.h.isOut() || w.c.hold != nil {
			t.Errorf("%d boots, out %t, hold %+v", w.h.Boots(), w.h.isOut(), w.c.hold)
		}
	})
}

func TestRequest_WhoTakesItBackLeavesTheQueueAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.c.others = 1
		a := w.running()
		const id = "r1"
		if err := a.RequestReboot(RebootRequest{ID: id, Reason: "new firmware"}); err != nil {
			t.Fatal(err)
		}
		w.until("in the queue", func() bool { w.c.mu.Lock(); defer w.c.mu.Unlock(); return w.c.queued })
		a.WithdrawReboot("another's")
		time.Sleep(time.Second)
		start := time.Now()
		a.WithdrawReboot(id)
		w.until("left", func() bool { w.c.mu.Lock(); defer w.c.mu.Unlock(); return !w.c.queued })
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %s", took)
		}
		w.c.change(func() { w.c.others = 0 })
		w.phase(api.PhaseIdle)
		time.Sleep(time.Hour)
		w.stop()
		if w.h.Boots() != 0 || w.h.drains != 0 || w.c.hold != nil {
			t.Errorf("%d boots, %d drains, hold %+v", w.h.Boots(), w.h.drains, w.c.hold)
		}
	})
}

// Whoever takes it back just before the slot is asked for again finds no request
// to end, and the agent makes none that waits.
func TestRequest_TakenBackBetweenTwoTriesLeavesTheQueueAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.c.others = 1
		const id = "r1"
		var a *Agent
		var taken time.Time
		tries := 0
		w.fail = func(step string) error {
			if step != "before acquire" {
				return nil
			}
			if tries++; tries == 2 {
				taken = time.Now()
				a.WithdrawReboot(id)
			}
			return nil
		}
		a = w.running()
		if err := a.RequestReboot(RebootRequest{ID: id, Reason: "new firmware"}); err != nil {
			t.Fatal(err)
		}
		w.until("it to be taken back, and the queue to be left", func() bool { return w.c.called("leave") > 0 })
		if took := time.Since(taken); took > time.Second {
			t.Errorf("left after %s", took)
		}
		w.stop()
	})
}

// A host that has rebooted for a wish of its own that stays, or in vain, still
// obeys a person; and a bundle that is wanted goes before.
func TestRequest_IsServedWhateverTheHostsOwnWishHasCome(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.cfg.RebootWhenRequired = true
		w.h.SetNeedsReboot(true)
		w.h.drain = func() error { return errors.New("the database is being backed up") }
		a := w.running()
		w.until("given up", w.reported(func(r api.Report) bool { return r.Failure != nil && r.Phase == api.PhaseIdle }))
		const id = "r1"
		if err := a.RequestReboot(RebootRequest{ID: id, Reason: "it must"}); err != nil {
			t.Fatal(err)
		}
		w.until("given up again", func() bool { return a.RequestProgress(id).Ended })
		if p := a.RequestProgress(id); p.Failure == nil || p.Failure.Reason != "drain" || !p.Failure.Healthy {
			t.Errorf("progress %+v", p)
		}
		a.WithdrawReboot(id)
		w.stop()
		if w.h.drains != 2 || w.c.hold != nil {
			t.Errorf("%d drains, hold %+v", w.h.drains, w.c.hold)
		}
	})
}

func TestRequest_ABundleThatIsWantedGoesFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.c.others = 1
		digest := w.standard(bundle.InterruptNone)
		a := w.running()
		const id = "r1"
		if err := a.RequestReboot(RebootRequest{ID: id, Reason: "new firmware"}); err != nil {
			t.Fatal(err)
		}
		w.until("in the queue", func() bool { return a.RequestProgress(id).Working })
		w.c.want(wanted(digest))
		w.until("working on the bundle", func() bool { return w.journal().Job != nil && w.journal().Job.Bundle == digest })
		w.h.reboot = func() error { return nil }
		w.c.change(func() { w.c.others = 0 })
		w.until("rebooting", func() bool { return a.RequestProgress(id).Phase == api.PhaseRebooting })
		if w.journal().Applied != digest {
			t.Errorf("rebooting with %q in place", w.journal().Applied)
		}
		w.stop()
	})
}
