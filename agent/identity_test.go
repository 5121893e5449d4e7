package agent

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// stopAt runs the agent with a bundle to bring until it is killed at a step.
func (w *world) stopAt(step string, digest string) {
	w.t.Helper()
	w.fail = func(s string) error {
		if s == step {
			return errKilled
		}
		return nil
	}
	w.c.want(wanted(digest))
	w.start()
	if err := <-w.ended; !errors.Is(err, errKilled) {
		w.t.Fatalf("ended with %v", err)
	}
	w.fail = nil
}

func TestGroup_ASlotIsReturnedToTheGroupThatGaveIt(t *testing.T) {
	for _, step := range []string{"after journal waiting for acquire", "after drain", "after verify"} {
		t.Run(step, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				digest := w.standard(bundle.InterruptReboot)
				w.stopAt(step, digest)
				w.cfg.Group = "db"
				w.start()
				w.settled()
				w.until("the new group reported", w.reported(func(r api.Report) bool { return r.Group == "db" }))
				w.stop()
				if got := w.c.foreign; got != "" {
					t.Error(got)
				}
			})
		})
	}
}

// What is put in place, and what hooks and commands are told, is of the group
// that gave the slot until the job has ended.
func TestGroup_ThePlaceholderIsTheJobsOwnToItsEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.publish(bundle.Manifest{
			Name: "g", Files: []bundle.File{{Path: "/etc/group-of", Render: true, Interrupt: bundle.InterruptNone}},
			Command: &bundle.Command{Run: "reload", Timeout: bundle.Duration(time.Minute)},
		}, map[string]string{"/etc/group-of": "{{group}}"})
		w.h.run = func(_ string, env []string) error {
			if !slices.Contains(env, "LOCKKEEPER_GROUP=web") {
				t.Errorf("the command was told %v", env)
			}
			return nil
		}
		w.stopAt("before apply", digest)
		w.cfg.Group = "db"
		w.start()
		w.settled()
		w.until("the new group reported", w.reported(func(r api.Report) bool { return r.Group == "db" }))
		w.stop()
		if got := w.files(); !strings.Contains(got, `group-of 0644 "web"`) {
			t.Errorf("files:\n%s", got)
		}
	})
}

func TestNode_TheJournalOfAnotherNodeIsNotActedOn(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		w.stopAt("after drain", digest)
		w.cfg.Node = "n2"
		err := New(w.cfg).Run(context.Background())
		if !errors.Is(err, ErrOtherNode) || !strings.Contains(err.Error(), "--node n1") {
			t.Fatalf("ended with %v", err)
		}
		w.cfg.Node = node
		w.start()
		w.settled()
		w.stop()
		// Between jobs a host may be given another id.
		w.cfg.Node = "n2"
		w.start()
		w.phase(api.PhaseIdle)
		w.stop()
	})
}

func TestGarbage_AnAnswerThatNamesNoHoldOfThisNodeOpensNoGate(t *testing.T) {
	for name, bad := range map[string]func(h *api.Hold){
		"empty":            func(h *api.Hold) { *h = api.Hold{} },
		"another node":     func(h *api.Hold) { h.Node = "n9" },
		"another instance": func(h *api.Hold) { h.Instance = "x" },
		"no fence":         func(h *api.Hold) { h.Fence = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				digest := w.standard(bundle.InterruptReboot)
				w.c.garble = bad
				w.c.want(wanted(digest))
				w.start()
				time.Sleep(10 * time.Minute)
				if w.h.drains != 0 {
					t.Error("drained")
				}
				w.c.mu.Lock()
				w.c.garble = nil
				w.c.mu.Unlock()
				w.settled()
				w.stop()
			})
		})
	}
}

func TestGarbage_AWantedWithoutABundleIsNoReboot(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.c.want(&api.Wanted{Rollout: "r1"})
		w.start()
		w.phase(api.PhaseIdle)
		time.Sleep(time.Hour)
		w.stop()
		if w.c.calls["acquire"] != 0 || w.h.Boots() != 0 {
			t.Errorf("%d requests for a slot, %d reboots", w.c.calls["acquire"], w.h.Boots())
		}
	})
}

func TestGarbage_APauseOfYearsIsNotKept(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.c.nextPollS = 1 << 30
		w.start()
		w.phase(api.PhaseIdle)
		digest := w.standard(bundle.InterruptNone)
		w.c.want(wanted(digest))
		w.settled()
		w.stop()
	})
}

func TestJournal_MovedAwayTheReportsAreStillNewer(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for range 3 {
			w.start()
			w.phase(api.PhaseIdle)
			w.stop()
		}
		before := w.c.report.Seq
		if err := os.Remove(folder{w.cfg.StateDir}.path("journal.json")); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.until("a newer report", w.reported(func(r api.Report) bool { return r.Seq > before }))
		w.stop()
	})
}
