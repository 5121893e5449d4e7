package agent

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// troubled reports that the agent says why it does nothing.
func troubled(words ...string) func(r api.Report) bool {
	return func(r api.Report) bool {
		for _, word := range words {
			if !strings.Contains(r.Trouble, word) {
				return false
			}
		}
		return r.Trouble != "" && r.Message == r.Trouble
	}
}

// breakJournal damages the journal in its middle, or makes it a newer agent's.
var breakJournal = map[string]func(whole []byte) []byte{
	"damaged": func(whole []byte) []byte { whole[len(whole)/2] ^= 0x20; return whole },
	"torn":    func(whole []byte) []byte { return whole[:len(whole)/2] },
	"empty":   func([]byte) []byte { return nil },
	"newer":   func([]byte) []byte { return []byte(`{"v":2,"state":{"phase":"levitating"}}`) },
}

// A journal that cannot be believed stops nothing but the work: the host and
// its slot stay as they are, the coordinator hears why, and the agent goes on by
// itself when a person has put the journal right.
func TestTrouble_AJournalThatCannotBeBelievedIsToldAndNothingIsDone(t *testing.T) {
	for name, damage := range breakJournal {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				digest := w.standard(bundle.InterruptReboot)
				w.stopAt("after apply", digest)
				file := folder{w.cfg.StateDir}.path("journal.json")
				whole, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, damage(append([]byte{}, whole...)), 0o600); err != nil {
					t.Fatal(err)
				}
				files, asked := w.files(), w.c.called("confirm")
				w.start()
				w.until("the trouble is told", w.reported(troubled("journal", file)))
				time.Sleep(time.Hour)
				if w.files() != files || w.h.undrains != 0 || w.h.Boots() != 0 || w.c.called("confirm") != asked || w.c.called("release") != 0 {
					t.Errorf("something was done: %v", w.c.calls)
				}
				if w.c.hold == nil || w.c.report.Healthy || w.c.report.Phase != api.PhaseFailed {
					t.Errorf("hold %+v, report %+v", w.c.hold, w.c.report)
				}
				w.stop() // and over a restart
				w.start()
				w.until("still told", w.reported(troubled("journal")))
				if err := os.WriteFile(file, whole, 0o600); err != nil {
					t.Fatal(err)
				}
				w.settled()
				w.until("no trouble any more", w.reported(func(r api.Report) bool { return r.Trouble == "" }))
				w.stop()
				if w.files() != standardAfter || w.h.Boots() != 1 {
					t.Errorf("boots %d, files:\n%s", w.h.Boots(), w.files())
				}
			})
		})
	}
}

func TestTrouble_AJournalMovedAwayFreesTheSlotOfBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.stopAt("after journal applying for apply", digest)
		file := folder{w.cfg.StateDir}.path("journal.json")
		if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.c.want(nil)
		w.start()
		w.until("told", w.reported(troubled("journal")))
		if err := os.Rename(file, file+".damaged"); err != nil {
			t.Fatal(err)
		}
		w.until("returned", func() bool { w.c.mu.Lock(); defer w.c.mu.Unlock(); return w.c.hold == nil })
		w.until("idle", w.reported(func(r api.Report) bool { return r.Phase == api.PhaseIdle && r.Trouble == "" && r.Healthy }))
		w.stop()
	})
}

// fillDisk makes the state folder take nothing from the numbered step on. It
// counts how often that was met.
func (w *world) fillDisk(at int, errno syscall.Errno, full *atomic.Bool) (met *atomic.Int64) {
	met = new(atomic.Int64)
	steps := 0
	w.fail = func(step string) error {
		steps++
		if steps >= at && strings.HasPrefix(step, "before journal") && full.Load() {
			met.Add(1)
			return &os.PathError{Op: "write", Path: w.cfg.StateDir, Err: errno}
		}
		return nil
	}
	return met
}

// Whenever the disk becomes full or read-only, and stays so for an hour, the
// host is never left half-way: what was begun with it ends as if nothing had
// happened, and a slot with which nothing was done goes back meanwhile.
func TestTrouble_ADiskThatTakesNothingAtAnyStepIsToldAndWaitedFor(t *testing.T) {
	for name, s := range scenarios {
		total := len(play(t, s, 0, 0))
		for at := 1; at <= total; at += 5 {
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
					var full atomic.Bool
					full.Store(true)
					errno := []syscall.Errno{syscall.ENOSPC, syscall.EROFS}[at%2]
					met := w.fillDisk(at, errno, &full)
					w.c.want(wanted(digest))
					w.start()
					time.Sleep(time.Hour)
					if met.Load() > 0 { // else all was written before
						w.c.mu.Lock()
						if r := w.c.report; !troubled(w.cfg.StateDir, errno.Error())(r) {
							t.Errorf("step %d: report %+v", at, r)
						}
						untouched := w.c.report.Phase == api.PhaseIdle || w.c.report.Phase == api.PhaseWaiting || w.c.report.Phase == api.PhaseHolding || w.c.report.Phase == api.PhaseDraining
						if untouched && w.c.hold != nil {
							t.Errorf("step %d: kept %+v in phase %s", at, w.c.hold, w.c.report.Phase)
						}
						if !untouched && w.c.hold == nil && w.c.report.Phase != api.PhaseReleasing {
							t.Errorf("step %d: returned in phase %s", at, w.c.report.Phase)
						}
						w.c.mu.Unlock()
						if untouched && (w.h.isOut() || w.files() != standardBefore) {
							t.Errorf("step %d: out %t, files:\n%s", at, w.h.isOut(), w.files())
						}
					}
					full.Store(false)
					w.settled()
					w.until("no trouble any more", w.reported(func(r api.Report) bool { return r.Trouble == "" }))
					w.stop()
					if got := w.files(); got != s.files || w.h.Boots() != s.boots || w.h.isOut() {
						t.Errorf("step %d: out %t, %d boots, files:\n%s", at, w.h.isOut(), w.h.Boots(), got)
					}
				})
			})
		}
	}
}

// A job begins only with room for its end, and ends in that room when there is
// no other.
func TestReserve_IsMadeBeforeAJobAndSpentOnAFullDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptNone)
		room := folder{w.cfg.StateDir}.path("reserve")
		w.fail = func(step string) error {
			if _, err := os.Stat(room); err != nil && strings.HasPrefix(step, "before drain") {
				t.Errorf("%s without room for the end: %v", step, err)
			}
			return nil
		}
		w.c.want(wanted(digest))
		w.start()
		w.settled()
		w.stop()
		if info, err := os.Stat(room); err != nil || info.Size() != reserved {
			t.Errorf("%v, %v", info, err)
		}
	})
}

func TestClock_ASecondFailureIsNewerThanTheFirstWhateverTheClockSays(t *testing.T) {
	first := failure(State{}, Observation{At: time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)}, "unhealthy", "x")
	s := State{Job: &Job{Bundle: "b"}, FailedAt: first.At}
	for _, at := range []time.Time{{}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), first.At} {
		if second := failure(s, Observation{At: at}, "unhealthy", "y"); !second.At.After(first.At) {
			t.Errorf("at %s: %s, and before %s", at, second.At, first.At)
		}
	}
	now := time.Date(2041, 1, 1, 0, 0, 0, 0, time.UTC)
	if f := failure(s, Observation{At: now}, "unhealthy", "z"); !f.At.Equal(now) {
		t.Errorf("got %s", f.At)
	}
}

func TestClock_HeardIsNotMovedByTheWallClock(t *testing.T) {
	a := New(Config{})
	if !a.Heard().IsZero() {
		t.Errorf("before the start: %s", a.Heard())
	}
	a.hears()
	if !strings.Contains(a.Heard().String(), "m=") {
		t.Errorf("%s has no monotonic reading", a.Heard())
	}
}

// Reports are ordered within a boot by its clock: neither a new process nor a
// journal that went back, nor the wall clock, makes one look older.
func TestClock_ReportsAreNewerThoughTheJournalIsOld(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start()
		w.phase(api.PhaseIdle)
		w.stop()
		file := folder{w.cfg.StateDir}.path("journal.json")
		old, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := os.WriteFile(file, old, 0o600); err != nil {
				t.Fatal(err)
			}
			before := w.c.report.Seq
			w.start()
			w.until("a newer report", w.reported(func(r api.Report) bool { return r.Seq > before }))
			w.stop()
		}
	})
}

func TestTrouble_AFolderThatCannotBeReadEndsTheAgent(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile(w.cfg.StateDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(w.cfg).Run(t.Context()); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), w.cfg.StateDir) {
		t.Errorf("got %v", err)
	}
}
