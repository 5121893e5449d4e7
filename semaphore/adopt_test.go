package semaphore_test

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// restored is a group of a cluster that was restored: its head's next fence is
// 1, fences from 1 to 1000 may have been given before, and the fleet is frozen.
func restored(t *testing.T) *bench {
	b := newBench(t)
	b.FenceFloor = 1000
	b.Freeze, b.FreezeRev = &semaphore.Freeze{V: 1, ID: "restore-1", By: "restore"}, 5
	return b
}

// shows is what the agent of a node shows after the restore.
func shows(node string, fence int64) semaphore.Adopt {
	return semaphore.Adopt{Node: node, Instance: "i-" + node, BootID: "boot-" + node, Fence: fence, Confirmed: true, Freeze: "restore-1"}
}

func TestAdopt_HoldThatTheStoreLacksIsHeldUntilItsOwnerReturnsIt(t *testing.T) {
	b := restored(t)
	d := b.ok(shows("a", 7))
	b.held("a")
	b.kinds(d, "hold.adopted")
	h := b.Holds["a"]
	if h.Fence != 7 || h.State != semaphore.Confirmed || h.Via != semaphore.ViaAgent || h.Deadline.IsZero() || !d.GuardFreeze {
		t.Errorf("hold %+v, guarded %v", h, d.GuardFreeze)
	}
	b.nothing(shows("a", 7))
	b.nothing(confirmOf(h))
	b.ok(releaseOf(h))
	b.held()
	b.Freeze, b.FreezeRev = nil, 0
	if next := b.take(agent("b")); next.Fence != 1001 {
		t.Errorf("the next fence is %d, want 1001, above all that may have been given", next.Fence)
	}
}

func TestAdopt_StandsAboveSlotsAndNothingIsGrantedThen(t *testing.T) {
	b := restored(t)
	b.ok(shows("a", 7))
	b.ok(shows("b", 8))
	b.held("a", "b")
	b.Freeze, b.FreezeRev = nil, 0
	b.refused(agent("c"), semaphore.Full)
	b.ok(releaseOf(b.Holds["a"]))
	b.refused(agent("c"), semaphore.Full)
	b.ok(releaseOf(b.Holds["b"]))
	b.ok(agent("c"))
}

// The snapshot knows an earlier hold of the same agent, which it has returned
// since: what it shows is what counts.
func TestAdopt_NewerFenceOfTheSameAgentReplacesTheOlder(t *testing.T) {
	b := newBench(t)
	old := b.take(agent("a"))
	b.FenceFloor = 1000
	b.Freeze = &semaphore.Freeze{ID: "restore-1"}
	b.ok(shows("a", old.Fence+5))
	b.held("a")
	if h := b.Holds["a"]; h.Fence != old.Fence+5 || !h.Since.Equal(old.Since) {
		t.Errorf("hold %+v", h)
	}
	b.refused(shows("a", old.Fence), semaphore.StaleFence)
	b.refused(confirmOf(old), semaphore.StaleFence)
}

func TestAdopt_RevokedHoldStaysRevoked(t *testing.T) {
	b := newBench(t)
	old := b.take(agent("a"))
	b.ok(semaphore.Revoke{Node: "a", Name: "a", Fence: old.Fence, By: "operator", Reason: "test"})
	b.FenceFloor = 1000
	b.Freeze = &semaphore.Freeze{ID: "restore-1"}
	b.ok(shows("a", old.Fence+1))
	if h := b.Holds["a"]; h.State != semaphore.Revoked || h.Fence != old.Fence+1 {
		t.Errorf("hold %+v", h)
	}
}

func TestAdopt_UnconfirmedStaysSoAndIsConfirmedAtTheEarliestWhenTheFreezeIsLifted(t *testing.T) {
	b := restored(t)
	op := shows("a", 7)
	op.Confirmed = false
	b.ok(op)
	h := b.Holds["a"]
	b.refused(confirmOf(h), semaphore.Frozen)
	b.ok(shows("a", 7)) // it had passed its gate, and says so now
	if got := b.Holds["a"].State; got != semaphore.Confirmed {
		t.Errorf("state %s", got)
	}
}

func TestAdopt_OnlyWhileTheRestoresFreezeIsInForce(t *testing.T) {
	b := restored(t)
	b.Freeze = &semaphore.Freeze{ID: "another"}
	b.refused(shows("a", 7), semaphore.Conflict)
	b.Freeze = nil
	b.refused(shows("a", 7), semaphore.Conflict)
	b.held()
}

func TestAdopt_FenceGivenAfterTheRestoreIsNotBelieved(t *testing.T) {
	b := restored(t)
	freeze := b.Freeze
	b.Freeze = nil
	h := b.take(agent("a"))
	b.ok(releaseOf(h))
	b.Freeze = freeze
	b.refused(shows("a", h.Fence), semaphore.StaleFence)
}

// A clock that was set back can leave the floor below what was given: an agent
// that shows such a fence raises it.
func TestAdopt_FenceAboveTheFloorRaisesTheNextOne(t *testing.T) {
	b := restored(t)
	b.ok(shows("a", 5000))
	b.ok(releaseOf(b.Holds["a"]))
	b.Freeze = nil
	if h := b.take(agent("b")); h.Fence != 5001 {
		t.Errorf("fence %d, want 5001", h.Fence)
	}
}

func TestAdopt_BadInputIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		op   semaphore.Adopt
		kind semaphore.Kind
	}{
		"no fence":               {shows("a", 0), semaphore.Invalid},
		"a fence nobody gave":    {shows("a", 1<<53), semaphore.Invalid},
		"no member":              {shows("x", 7), semaphore.NotFound},
		"no instance":            {semaphore.Adopt{Node: "a", Fence: 7, Freeze: "restore-1"}, semaphore.Invalid},
		"a hold of another host": {semaphore.Adopt{Node: "b", Instance: "clone", Fence: 7, Freeze: "restore-1"}, semaphore.HeldByOther},
	} {
		t.Run(name, func(t *testing.T) {
			b := restored(t)
			b.ok(shows("b", 3))
			b.refused(c.op, c.kind)
		})
	}
}

func TestRestoredFloor_GrowsWithEveryRestoreOfTheSameSnapshot(t *testing.T) {
	const highest = 40
	first := semaphore.RestoredFloor(highest, now)
	second := semaphore.RestoredFloor(highest, now.Add(time.Minute))
	if first < highest+semaphore.FenceJump || second <= first+1_000_000 {
		t.Errorf("floors %d and %d", first, second)
	}
	// With a clock that was set back, what the snapshot knows decides.
	if again := semaphore.RestoredFloor(second, now.Add(-time.Hour)); again != second+semaphore.FenceJump {
		t.Errorf("floor %d of a snapshot that has %d", again, second)
	}
}
