package rollout

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// acted is a rollout after what a person did to it.
func acted(t *testing.T, st State, now time.Time, actions ...string) State {
	t.Helper()
	for _, action := range actions {
		d, refused := Apply(st, Ask{Action: action, By: "ann", Role: api.RoleAdmin}, now)
		if refused != nil {
			t.Fatal(refused)
		}
		st.Head = d.Head
	}
	return st
}

func wantStopped(t *testing.T, what string, st State, want time.Time) {
	t.Helper()
	if got := present(st, Decisions{Head: st.Head, Waves: []api.RolloutWave{{}}}).StoppedAt; !got.Equal(want) {
		t.Errorf("%s: stopped at %s, want %s", what, got, want)
	}
}

func TestStopped_IsWhenItCameToBePausedOrHaltedAndNoLonger(t *testing.T) {
	t.Parallel()
	never := time.Time{}
	late := func(hours int) time.Time { return noon.Add(time.Duration(hours) * time.Hour) }
	st := rolloutOf(2, 1)
	wantStopped(t, "running", st, never)
	st = acted(t, st, late(1), ActPause)
	wantStopped(t, "paused", st, late(1))
	st = acted(t, st, late(2), ActPause)
	wantStopped(t, "paused again", st, late(1))

	// What becomes known meanwhile is no other stop.
	st = at(t, late(3), st, failedAt(late(3), "n1"), idle("n2"))
	if st.Head.State != api.RolloutPaused || st.Results["n1"].State != api.NodeBroken {
		t.Fatalf("it is %s, n1 is %s", st.Head.State, st.Results["n1"].State)
	}
	wantStopped(t, "paused, with a failure since", st, late(1))
	st = acted(t, st, late(4), ActRetry)
	wantStopped(t, "paused, with a retry since", st, late(1))

	st = acted(t, st, late(5), ActHalt)
	wantStopped(t, "halted", st, late(5))
	wantStopped(t, "resumed", acted(t, st, late(6), ActResume), never)
	wantStopped(t, "resumed and paused", acted(t, acted(t, st, late(6), ActResume), late(7), ActPause), late(7))
	wantStopped(t, "aborted", acted(t, st, late(6), ActAbort), never)

	st = at(t, late(8), rolloutOf(2, 0), failedAt(late(8), "n1"), idle("n2"))
	wantStopped(t, "halted by itself", st, late(8))
	d, refused := RetryNode(st, "n1", "ann", "", late(9))
	if refused != nil {
		t.Fatal(refused)
	}
	st.Head = d.Head
	wantStopped(t, "a node of it retried", st, never)
}

// rewritten is a head as a coordinator writes it that does not know when a rollout
// stopped: it keeps the member as it is.
func rewritten(t *testing.T, h Head, change func(*Head)) Head {
	t.Helper()
	kept := h.Stopped
	change(&h)
	h.Stopped = kept
	b, err := h.Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeHead(b)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func TestStopped_IsNotBelievedOnceAnOlderCoordinatorMayHaveStoppedItAnew(t *testing.T) {
	t.Parallel()
	st := acted(t, rolloutOf(2, 1), noon, ActHalt)
	resumedAndHalted := func(h *Head) { h.EventSeq += 2 }
	older := st
	older.Head = rewritten(t, st.Head, resumedAndHalted)
	wantStopped(t, "resumed and halted by an older one", older, time.Time{})
	// Nor with what is told of it later.
	older = acted(t, older, noon.Add(time.Hour), ActHalt)
	older = at(t, noon.Add(time.Hour), older, failedAt(noon.Add(time.Hour), "n1"), idle("n2"))
	wantStopped(t, "a failure since", older, time.Time{})

	same := st
	same.Head = rewritten(t, st.Head, func(*Head) {})
	wantStopped(t, "written by an older one, without an event", same, noon)
}

// In the store it is a member that older coordinators keep, absent while it goes on.
func TestStopped_IsAMemberOfTheHeadWhileItIsTrue(t *testing.T) {
	t.Parallel()
	for state, st := range map[bool]State{false: rolloutOf(1, 1), true: acted(t, rolloutOf(1, 1), noon, ActPause)} {
		b, err := st.Head.Encode(1)
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(b, &members); err != nil {
			t.Fatal(err)
		}
		if _, there := members["stopped"]; there != state || string(members["v"]) != "1" {
			t.Errorf("paused %v: %s", state, b)
		}
	}
}
