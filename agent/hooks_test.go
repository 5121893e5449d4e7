package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/agent/host"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// hooked records the points at which hooks run, with the drain's.
func (w *world) hooked(answer func(point host.HookPoint) error) func() []string {
	var ran []string
	note := func(p host.HookPoint) error {
		ran = append(ran, string(p))
		if answer == nil {
			return nil
		}
		return answer(p)
	}
	w.h.hook = note
	w.h.drain = func() error { return note(host.HookDrain) }
	return func() []string {
		w.h.mu.Lock()
		defer w.h.mu.Unlock()
		return slices.Clone(ran)
	}
}

func TestHooks_RunAtTheirPointsAndOnce(t *testing.T) {
	for interrupt, want := range map[bundle.Interrupt]string{
		bundle.InterruptNone:    "drain pre-apply",
		bundle.InterruptRestart: "drain pre-apply",
		bundle.InterruptReboot:  "drain pre-apply pre-reboot post-reboot",
	} {
		t.Run(string(interrupt), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				digest := w.standard(interrupt)
				ran := w.hooked(nil)
				w.c.want(wanted(digest))
				w.start()
				w.until("done", w.reported(func(r api.Report) bool { return r.Bundle == digest && r.Phase == api.PhaseIdle }))
				w.stop()
				if got := strings.Join(ran(), " "); got != want {
					t.Errorf("ran %q, want %q", got, want)
				}
			})
		})
	}
}

// The files are as before, the slot is back, and what went wrong is reported.
func TestHooks_OneThatFailsLeavesTheOldGeneration(t *testing.T) {
	for point, back := range map[host.HookPoint]int{
		host.HookDrain: 0, host.HookPreApply: 0, host.HookPreReboot: 0, host.HookPostReboot: 2,
	} {
		t.Run(string(point), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				digest := w.standard(bundle.InterruptReboot)
				before := w.files()
				failed := false
				w.hooked(func(p host.HookPoint) error {
					if p != point || failed {
						return nil
					}
					failed = true
					return errors.New("the hook /etc/lockkeeper/hooks.d/" + string(p) + ": exit status 127: not found")
				})
				w.c.want(wanted(digest))
				w.start()
				w.until("reported", w.reported(func(r api.Report) bool { return r.Phase == api.PhaseIdle && r.Failure != nil }))
				w.stop()
				f := w.journal().Failure
				if f == nil || !f.Healthy || !strings.Contains(f.Detail, string(point)+": exit status 127") {
					t.Errorf("failure %+v", f)
				}
				if got := w.files(); got != before {
					t.Errorf("files:\n%s", got)
				}
				if w.c.hold != nil || w.h.isOut() || w.h.Boots() != back {
					t.Errorf("hold %+v, out %t, boots %d, want %d", w.c.hold, w.h.isOut(), w.h.Boots(), back)
				}
			})
		})
	}
}

// With nothing but a reboot asked for, nothing was done either: the slot is back.
func TestHooks_AgainstARebootWithoutABundle(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.cfg.RebootWhenRequired = true
		w.h.SetNeedsReboot(true)
		w.hooked(func(p host.HookPoint) error {
			if p == host.HookPreReboot {
				return errors.New("the raid resyncs")
			}
			return nil
		})
		w.start()
		w.until("given up", w.reported(func(r api.Report) bool { return r.Phase == api.PhaseIdle && r.Failure != nil }))
		time.Sleep(time.Hour)
		w.stop()
		f := w.journal().Failure
		if f.Reason != "pre-reboot" || !f.Healthy || w.h.Boots() != 0 || w.c.hold != nil || w.h.isOut() || w.h.drains != 1 {
			t.Errorf("failure %+v, %d boots, %d drains, hold %+v, out %t", f, w.h.Boots(), w.h.drains, w.c.hold, w.h.isOut())
		}
	})
}

func TestHooks_NotYetIsAskedAgainAndNotForEver(t *testing.T) {
	for _, point := range []host.HookPoint{host.HookDrain, host.HookPreApply, host.HookPreReboot, host.HookPostReboot} {
		for _, ends := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, ends %t", point, ends), func(t *testing.T) {
				inBubble(t, func(t *testing.T, w *world) {
					digest := w.standard(bundle.InterruptReboot)
					w.cfg.NotYetFor = 20 * time.Minute
					start := time.Now()
					done, said := 10*time.Minute, false
					if !ends {
						done = 10 * time.Hour
					}
					w.hooked(func(p host.HookPoint) error {
						if p == point && time.Since(start) < done && !w.journal().Back {
							return fmt.Errorf("the hook %s: %w: 3 pods left", p, host.ErrNotYet)
						}
						return nil
					})
					w.c.want(wanted(digest))
					w.start()
					w.until("idle", func() bool {
						w.c.mu.Lock()
						defer w.c.mu.Unlock()
						r := &w.c.report
						said = said || strings.Contains(r.Message, "3 pods left")
						return r.Phase == api.PhaseIdle && (r.Bundle == digest || r.Failure != nil)
					})
					w.stop()
					took := time.Since(start)
					switch f := w.journal().Failure; {
					case ends && (f != nil || took < done):
						t.Errorf("after %s: %+v", took, f)
					case !ends && (f == nil || !f.Healthy || !strings.Contains(f.Detail, "3 pods left, for longer than 20m0s") || took > 35*time.Minute):
						t.Errorf("after %s: %+v", took, f)
					}
					if !said {
						t.Error("what it waits for was never reported")
					}
				})
			})
		}
	}
}

// The hooks before the reboot may take longer than the gate counts: it is asked
// again after them, and they do not run again for that. The host's own check
// fails the test when it reboots behind a gate that is too old.
func TestHooks_TheGateIsAskedAfterLongOnes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		ran := w.hooked(func(p host.HookPoint) error {
			if p == host.HookPreReboot {
				time.Sleep(10 * time.Minute)
			}
			return nil
		})
		w.c.want(wanted(digest))
		w.start()
		w.until("done", w.reported(func(r api.Report) bool { return r.Bundle == digest && r.Phase == api.PhaseIdle }))
		w.stop()
		if got := strings.Join(ran(), " "); got != "drain pre-apply pre-reboot post-reboot" {
			t.Errorf("ran %q", got)
		}
	})
}

func TestUsers_AreWaitedForAndNotForEver(t *testing.T) {
	for name, c := range map[string]struct {
		users func(after time.Duration) ([]string, error)
		least time.Duration
		most  time.Duration
		said  string
	}{
		"nobody": {func(time.Duration) ([]string, error) { return nil, nil }, 0, time.Minute, ""},
		"leave": {func(d time.Duration) ([]string, error) {
			return []string{"ann"}[:max(0, 1-int(d/(5*time.Minute)))], nil
		}, 5 * time.Minute, 7 * time.Minute, "people are logged in: ann"},
		"stay":           {func(time.Duration) ([]string, error) { return []string{"ann"}, nil }, 15 * time.Minute, 17 * time.Minute, "people are logged in: ann"},
		"cannot be told": {func(time.Duration) ([]string, error) { return nil, errors.New("no bus") }, 15 * time.Minute, 17 * time.Minute, "cannot be told: no bus"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				digest := w.standard(bundle.InterruptNone)
				w.cfg.WaitForUsers = 15 * time.Minute
				start, said := time.Now(), false
				w.h.users = func() ([]string, error) { return c.users(time.Since(start)) }
				w.c.want(wanted(digest))
				w.start()
				w.until("done", func() bool {
					w.c.mu.Lock()
					defer w.c.mu.Unlock()
					said = said || c.said != "" && strings.Contains(w.c.report.Message, c.said)
					return w.c.report.Bundle == digest && w.c.report.Phase == api.PhaseIdle
				})
				w.stop()
				if took := time.Since(start); took < c.least || took > c.most {
					t.Errorf("took %s, want %s to %s", took, c.least, c.most)
				}
				if !said && c.said != "" {
					t.Error("what it waits for was never reported")
				}
			})
		})
	}
}
