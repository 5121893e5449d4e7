package agent

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/lockkeeper/lockkeeper/agent/host"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// inBubble runs a test with virtual time.
func inBubble(t *testing.T, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f(t, w)
	})
}

// settled checks that nothing is left of a job: the slot is returned and the
// host is in service.
func (w *world) settled() {
	w.t.Helper()
	w.until("idle and no hold", func() bool {
		w.c.mu.Lock()
		told, applied := w.c.hold == nil && w.c.report.Phase == api.PhaseIdle, w.c.report.Bundle
		w.c.mu.Unlock()
		if !told {
			return false
		}
		s := w.journal()
		return s.Phase == api.PhaseIdle && s.Ended != nil && applied == s.Applied
	})
	if w.h.isOut() {
		w.t.Error("the host is still drained")
	}
}

func TestRun_BringsTheBundleRebootsOnceAndReturnsTheSlot(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.start()
		w.phase(api.PhaseIdle)
		w.c.want(wanted(digest))
		w.until("the reboot seen before the host goes away", w.reported(func(r api.Report) bool { return r.Phase == api.PhaseRebooting }))
		w.until("verifying seen while it works", w.reported(func(r api.Report) bool { return r.Phase == api.PhaseVerifying }))
		w.settled()
		w.stop()
		if got := w.files(); got != standardAfter {
			t.Errorf("files:\n%s", got)
		}
		if n := w.h.Boots(); n != 1 {
			t.Errorf("%d reboots", n)
		}
		if s := w.journal(); s.Applied != digest || s.Failure != nil || len(s.Tries) != 0 {
			t.Errorf("journal %+v", s)
		}
		r := w.c.report
		if !r.Simulated || r.OS != "simulated host" || r.Rollout != "r1" || !r.Healthy {
			t.Errorf("report %+v", r)
		}
	})
}

func TestRun_WithoutHealthChecksTheSlotIsKeptForTheWholeMinHealthyTime(t *testing.T) {
	for least, want := range map[time.Duration]time.Duration{0: 0, 20 * time.Second: 20 * time.Second} {
		t.Run(least.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				digest := w.publish(bundle.Manifest{
					Name: "bare", Files: []bundle.File{{Path: "/etc/a"}},
					MinHealthyTime: bundle.Duration(least), HealthyDeadline: bundle.Duration(time.Minute),
				}, map[string]string{"/etc/a": "a"})
				var from, to time.Time
				w.fail = func(step string) error {
					switch step {
					case "before verify":
						from = time.Now()
					case "before release":
						to = time.Now()
					}
					return nil
				}
				w.c.want(wanted(digest))
				w.start()
				w.settled()
				w.stop()
				if took := to.Sub(from); took < want || took > want+time.Second {
					t.Errorf("returned %s after the bundle was in place, want %s", took, want)
				}
			})
		})
	}
}

func TestRun_ReloadsUnitsWithoutAReboot(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReload)
		w.c.want(wanted(digest))
		w.start()
		w.settled()
		w.stop()
		if w.h.Boots() != 0 || len(w.h.units) != 1 || w.h.units[0] != "reload web.service" {
			t.Errorf("boots %d, units %v", w.h.Boots(), w.h.units)
		}
	})
}

func TestRun_ABundleThatChangesNothingTakesNoSlot(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.publish(bundle.Manifest{Name: "same", Files: []bundle.File{{Path: "/etc/a", Interrupt: bundle.InterruptReboot}}}, map[string]string{"/etc/a": "a"})
		w.write("etc/a", "a", 0o644)
		w.c.want(wanted(digest))
		w.start()
		w.until("in place", w.reported(func(r api.Report) bool { return r.Bundle == digest }))
		w.stop()
		if n := w.c.calls["acquire"]; n != 0 {
			t.Errorf("asked for a slot %d times", n)
		}
		if w.h.drains != 0 || w.h.Boots() != 0 {
			t.Error("drained or rebooted")
		}
	})
}

func TestRun_OnlyFilesThatChangedHereAskForAnInterrupt(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.publish(bundle.Manifest{Name: "two", Files: []bundle.File{
			{Path: "/boot/cmdline", Interrupt: bundle.InterruptReboot}, {Path: "/etc/motd"},
		}}, map[string]string{"/boot/cmdline": "quiet", "/etc/motd": "hi"})
		w.write("boot/cmdline", "quiet", 0o644)
		w.c.want(wanted(digest))
		w.start()
		w.settled()
		w.stop()
		if w.h.Boots() != 0 {
			t.Error("rebooted for a file that was in place")
		}
	})
}

func TestRun_WithdrawnWhileWaitingLeavesTheQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.c.others = 1
		w.c.want(wanted(digest))
		w.start()
		w.until("queued", func() bool { w.c.mu.Lock(); defer w.c.mu.Unlock(); return w.c.queued })
		w.phase(api.PhaseWaiting)
		w.until("the report says what it waits for", w.reported(func(r api.Report) bool {
			return strings.Contains(r.Message, "1 of 1 slot is held (place 1)")
		}))
		w.c.want(nil)
		w.until("out of the queue", func() bool { w.c.mu.Lock(); defer w.c.mu.Unlock(); return !w.c.queued })
		w.phase(api.PhaseIdle)
		w.stop()
		if w.h.drains != 0 || w.files() != standardBefore {
			t.Error("something was done")
		}
	})
}

func TestRun_AGrantThatNobodyAwaitsAnyMoreIsReturned(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start()
		w.phase(api.PhaseIdle)
		id, err := folder{w.cfg.StateDir}.instance()
		if err != nil {
			t.Fatal(err)
		}
		w.c.change(func() {
			w.c.hold = &api.Hold{Node: node, Via: "agent", Instance: id, Fence: 99, State: "granted"}
		})
		w.until("returned", func() bool { w.c.mu.Lock(); defer w.c.mu.Unlock(); return w.c.hold == nil })
		w.stop()
	})
}

func TestRun_UnhealthyIsRolledBackVerifiedAndReturnsTheSlot(t *testing.T) {
	for _, interrupt := range []bundle.Interrupt{bundle.InterruptNone, bundle.InterruptRestart, bundle.InterruptReboot} {
		t.Run(string(interrupt), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				digest := w.standard(interrupt)
				w.sick = func(b string) string {
					if b == digest {
						return "port 80 is shut"
					}
					return ""
				}
				w.c.want(wanted(digest))
				w.start()
				w.until("failed and in service", w.reported(func(r api.Report) bool {
					return r.Phase == api.PhaseIdle && r.Failure != nil && r.Failure.Healthy
				}))
				w.settled()
				w.stop()
				if got := w.files(); got != standardBefore {
					t.Errorf("files:\n%s", got)
				}
				s := w.journal()
				if s.Failure.Reason != "unhealthy" || !strings.Contains(s.Failure.Detail, "port 80 is shut") || s.Applied != "" {
					t.Errorf("failure %+v", s.Failure)
				}
				boots, units := 0, 0
				switch interrupt {
				case bundle.InterruptReboot:
					boots = 2
				case bundle.InterruptRestart:
					units = 2
				}
				if w.h.Boots() != boots || len(w.h.units) != units {
					t.Errorf("boots %d, units %v", w.h.Boots(), w.h.units)
				}
			})
		})
	}
}

func TestRun_AHostThatIsNotHealthyKeepsItsSlotUntilItIs(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		broken := true
		w.sick = func(string) string {
			w.c.mu.Lock()
			defer w.c.mu.Unlock()
			if broken && w.h.Boots() > 0 {
				return "disk is broken"
			}
			return ""
		}
		w.c.want(wanted(digest))
		w.start()
		w.phase(api.PhaseFailed)
		time.Sleep(20 * time.Minute)
		w.c.mu.Lock()
		if w.c.hold == nil || w.c.hold.Fence != 7 || w.c.report.Healthy || w.c.report.Failure.Healthy {
			t.Errorf("hold %+v report %+v", w.c.hold, w.c.report)
		}
		broken = false
		w.c.mu.Unlock()
		w.settled()
		w.stop()
		if n := w.h.Boots(); n != 2 {
			t.Errorf("%d reboots: one forward and one back are the most", n)
		}
	})
}

func TestRun_ANewerBundleUsesTheSlotThatAFailedHostKept(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		bad := w.standard(bundle.InterruptNone)
		good := w.publish(bundle.Manifest{Name: "web 3", Files: []bundle.File{{Path: "/etc/web.conf"}}}, map[string]string{"/etc/web.conf": "repaired"})
		w.sick = func(b string) string {
			if b != good {
				return "sick"
			}
			return ""
		}
		w.c.want(wanted(bad))
		w.start()
		w.phase(api.PhaseFailed)
		w.c.want(&api.Wanted{Rollout: "r2", Bundle: good})
		w.settled()
		w.stop()
		if s := w.journal(); s.Applied != good || s.Failure != nil || s.LastFence != 7 {
			t.Errorf("journal %+v", s)
		}
	})
}

func TestRun_NeverMoreThanMaxAttemptsOfOneBundle(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.sick = func(b string) string {
			if b == digest {
				return "sick"
			}
			return ""
		}
		w.start()
		for _, rollout := range []string{"r1", "r2", "r3", "r4"} {
			w.c.want(&api.Wanted{Rollout: rollout, Bundle: digest})
			w.until("failure of "+rollout, w.reported(func(r api.Report) bool {
				return r.Phase == api.PhaseIdle && r.Failure != nil && r.Failure.Rollout == rollout
			}))
		}
		if w.h.Boots() != 4 || w.journal().Failure.Reason != "attempts" {
			t.Errorf("boots %d, failure %+v", w.h.Boots(), w.journal().Failure)
		}
		// A person's retry is another matter.
		w.c.want(&api.Wanted{Rollout: "r4", Bundle: digest, Attempt: 2})
		w.until("another attempt", func() bool { return w.h.Boots() == 6 })
		w.settled()
		w.stop()
	})
}

func TestRun_ABundleThatBootsTheHostByItselfIsNotPutInPlaceForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.publish(bundle.Manifest{
			Name: "boots", Files: []bundle.File{{Path: "/etc/a"}}, Command: &bundle.Command{Run: "reboot -f"},
		}, map[string]string{"/etc/a": "a"})
		w.h.run = func(string, []string) error { return host.ErrRebooting }
		w.c.want(wanted(digest))
		w.start()
		w.until("it gives up", w.reported(func(r api.Report) bool { return r.Failure != nil }))
		w.settled()
		w.stop()
		// The third is its own: what the second has read is not what is in place again.
		if f := w.journal().Failure; f.Reason != "attempts" || w.h.Boots() != 3 || w.files() != "./\netc/\n" && w.files() != "./\n" {
			t.Errorf("failure %+v, boots %d", f, w.h.Boots())
		}
	})
}

func TestRun_ACommandOrCheckThatFailsPutsThePreviousFilesBack(t *testing.T) {
	for _, which := range []string{"check", "command"} {
		t.Run(which, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.write("etc/a", "old", 0o644)
				digest := w.publish(bundle.Manifest{
					Name: "x", Files: []bundle.File{{Path: "/etc/a", Interrupt: bundle.InterruptReboot}},
					Check: &bundle.Command{Run: "check"}, Command: &bundle.Command{Run: "command"},
				}, map[string]string{"/etc/a": "new"})
				w.h.run = func(line string, env []string) error {
					if line == which {
						return errors.New("exit status 1")
					}
					return nil
				}
				w.c.want(wanted(digest))
				w.start()
				w.until("failure", w.reported(func(r api.Report) bool { return r.Failure != nil && r.Phase == api.PhaseIdle }))
				w.settled()
				w.stop()
				f := w.journal().Failure
				if f.Reason != which || !f.Healthy || !strings.Contains(f.Detail, "output") {
					t.Errorf("failure %+v", f)
				}
				if w.h.Boots() != 0 || !strings.Contains(w.files(), `"old"`) {
					t.Errorf("boots %d, files %s", w.h.Boots(), w.files())
				}
			})
		})
	}
}

func TestRun_ABundleThatIsNoneIsReportedWithoutASlot(t *testing.T) {
	for name, c := range map[string]struct {
		make   func(w *world) string
		reason string
	}{
		"damaged": {func(w *world) string {
			b := []byte("not a tar")
			d := bundle.Digest(b)
			w.c.change(func() { w.c.bundles[d] = b })
			return d
		}, "bundle"},
		"another digest": {func(w *world) string {
			d := w.standard(bundle.InterruptNone)
			other := strings.Repeat("0", 64)
			w.c.change(func() { w.c.bundles[other] = w.c.bundles[d] })
			return other
		}, "bundle"},
		"not there": {func(*world) string { return strings.Repeat("1", 64) }, "bundle"},
		"missing label": {func(w *world) string {
			return w.publish(bundle.Manifest{Name: "x", Files: []bundle.File{{Path: "/etc/a", Render: true}}}, map[string]string{"/etc/a": "{{label.rack}}"})
		}, "render"},
		"a folder in the way": {func(w *world) string {
			w.write("etc/a/b", "", 0o644)
			return w.publish(bundle.Manifest{Name: "x", Files: []bundle.File{{Path: "/etc/a"}}}, map[string]string{"/etc/a": "a"})
		}, "path"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.c.want(wanted(c.make(w)))
				w.start()
				w.until("failure", w.reported(func(r api.Report) bool { return r.Failure != nil }))
				w.stop()
				if f := w.journal().Failure; f.Reason != c.reason || !f.Healthy {
					t.Errorf("failure %+v", f)
				}
				if w.c.calls["acquire"] != 0 {
					t.Error("asked for a slot")
				}
			})
		})
	}
}

func TestRun_ADrainHookThatSaysNotYetIsAskedAgainAndOneThatFailsEndsTheJob(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptNone)
		w.h.drain = func() error {
			if w.h.drains < 4 {
				return host.ErrNotYet
			}
			return nil
		}
		w.c.want(wanted(digest))
		w.start()
		w.settled()
		if w.h.drains != 4 {
			t.Errorf("%d drains", w.h.drains)
		}
		w.h.mu.Lock()
		w.h.drain = func() error { return errors.New("a database has no other replica") }
		w.h.mu.Unlock()
		next := w.publish(bundle.Manifest{Name: "y", Files: []bundle.File{{Path: "/etc/y"}}}, map[string]string{"/etc/y": "y"})
		w.c.want(&api.Wanted{Rollout: "r2", Bundle: next})
		w.until("failure", w.reported(func(r api.Report) bool { return r.Failure != nil && r.Phase == api.PhaseIdle }))
		w.settled()
		w.stop()
		if f := w.journal().Failure; f.Reason != "drain" || !f.Healthy || w.journal().Applied != digest {
			t.Errorf("failure %+v", f)
		}
	})
}

func TestRun_AHostThatAsksForARebootGetsOne(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.cfg.RebootWhenRequired = true
		w.h.SetNeedsReboot(true)
		w.start()
		w.until("rebooted", func() bool { return w.h.Boots() == 1 })
		w.phase(api.PhaseIdle)
		time.Sleep(time.Hour)
		if w.h.Boots() != 1 || w.h.isOut() || w.c.hold != nil {
			t.Errorf("boots %d, out %t", w.h.Boots(), w.h.isOut())
		}
		w.h.SetNeedsReboot(true)
		w.until("rebooted again", func() bool { return w.h.Boots() == 2 })
		w.stop()
	})
}

func TestRun_ARebootThatDoesNotHappenEndsInTheFilesOfBefore(t *testing.T) {
	for name, answer := range map[string]error{"refused": errors.New("not permitted"), "accepted and ignored": nil} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				digest := w.standard(bundle.InterruptReboot)
				asked := 0
				w.h.reboot = func() error { asked++; return answer }
				w.c.want(wanted(digest))
				w.start()
				w.until("failure", w.reported(func(r api.Report) bool { return r.Failure != nil && r.Phase == api.PhaseIdle }))
				w.settled()
				w.stop()
				if f := w.journal().Failure; f.Reason != "reboot" || asked != maxReboots || w.files() != standardBefore {
					t.Errorf("failure %+v after %d requests", f, asked)
				}
			})
		})
	}
}

func TestReport_LongOutputIsCutToWhatACoordinatorTakes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.publish(bundle.Manifest{
			Name: "x", Files: []bundle.File{{Path: "/etc/a"}}, Command: &bundle.Command{Run: "true " + strings.Repeat("#", 9000)},
		}, map[string]string{"/etc/a": "a"})
		w.h.run = func(string, []string) error { return errors.New("first " + strings.Repeat("é", 5000) + " last") }
		var long, torn string
		w.c.on = func(string) {
			w.c.mu.Lock()
			defer w.c.mu.Unlock()
			for _, text := range []string{w.c.report.Message, detailOf(w.c.report.Failure)} {
				if len(text) > 4000 {
					long = text
				}
				if !utf8.ValidString(text) {
					torn = text
				}
			}
		}
		w.c.want(wanted(digest))
		w.start()
		w.until("failure", w.reported(func(r api.Report) bool { return r.Failure != nil && r.Phase == api.PhaseIdle }))
		w.settled()
		w.stop()
		if long != "" || torn != "" {
			t.Errorf("a report with %d bytes, cut badly: %q", len(long), torn)
		}
		if d := w.c.report.Failure.Detail; !strings.HasPrefix(d, "the command") || !strings.HasSuffix(d, "output") {
			t.Errorf("detail %q", d)
		}
	})
}

func detailOf(f *api.Failure) string {
	if f == nil {
		return ""
	}
	return f.Detail
}

func TestRun_ReleaseIsRetriedForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptNone)
		w.c.on = func(call string) {
			if call == "release" {
				w.c.mu.Lock()
				w.c.down = w.c.calls["release"] < 20
				w.c.mu.Unlock()
			}
		}
		w.c.want(wanted(digest))
		w.start()
		w.settled()
		w.stop()
		if w.c.calls["release"] != 21 {
			t.Errorf("%d releases", w.c.calls["release"])
		}
	})
}
