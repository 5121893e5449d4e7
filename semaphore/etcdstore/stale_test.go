package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestReopen_FindsHoldsAndGoesOnWithFences(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	f.declare(s, 1, 2)
	first := f.ok(s, agent("n0"))
	// No Stop: as after a kill, only what is in etcd counts.
	again := f.store()
	if a, err := again.Do(t.Context(), "g", agent("n1")); err != nil || a.Kind != semaphore.Full {
		t.Fatalf("%+v, %v; want full", a, err)
	}
	if a := f.ok(again, agent("n0")); a.Hold.Fence != first.Hold.Fence {
		t.Fatalf("the hold changed: %+v", a.Hold)
	}
	f.ok(again, release(first.Hold))
	if a := f.ok(again, agent("n1")); a.Hold.Fence <= first.Hold.Fence {
		t.Fatalf("fence %d is not above %d", a.Hold.Fence, first.Hold.Fence)
	}
}

func TestLostWatch_ReadsAnewAndGrantsWaiters(t *testing.T) {
	f := newFleet(t)
	s, faults := f.faultyStore()
	other := f.store()
	f.declare(other, 1, 2)
	h := f.ok(other, agent("n0")).Hold
	waiting := park(t.Context(), s, agent("n1"), time.Minute)
	queued(t, s, "n1", 1)

	faults.cut(true)
	until(t, "a deaf watch is open", func() bool { return faults.open() > 0 })
	f.ok(other, release(h))
	faults.cut(false)
	granted(t, waiting)
	if v, ok := s.View("g"); !ok || len(v.Holds) != 1 {
		t.Errorf("View is %+v", v)
	}
}

// A coordinator whose watch stands still decides on an old state. Its
// transactions lose, and its answers rest on a read made after the question.
func TestStaleWatch_NeitherGrantsNorConfirmsFromMemory(t *testing.T) {
	f := newFleet(t)
	stale, faults := f.faultyStore()
	other := f.store()
	f.declare(other, 1, 2)
	h := f.ok(other, agent("n0")).Hold
	until(t, "the hold is seen", func() bool { v, _ := stale.View("g"); return len(v.Holds) == 1 })
	confirm := semaphore.Confirm{Node: "n0", Instance: h.Instance, BootID: "b", Fence: h.Fence}
	f.ok(other, confirm)
	until(t, "the confirm is seen", func() bool { v, _ := stale.View("g"); return v.Holds["n0"].State == semaphore.Confirmed })

	faults.cut(true)
	until(t, "a deaf watch is open", func() bool { return faults.open() > 0 })
	f.ok(other, release(h))
	f.ok(other, agent("n1"))
	if v, _ := stale.View("g"); v.Holds["n0"].Fence != h.Fence {
		t.Fatal("the watch is not stale: the test shows nothing")
	}
	if a, err := stale.Do(t.Context(), "g", confirm); err != nil || a.Kind != semaphore.StaleFence {
		t.Errorf("confirm: %+v, %v; want stale_fence", a, err)
	}
	if a, err := stale.Do(t.Context(), "g", agent("n0")); err != nil || a.Kind != semaphore.Full {
		t.Errorf("acquire: %+v, %v; want full", a, err)
	}
}

func TestStaleWatch_FreezeIsComparedByGrants(t *testing.T) {
	f := newFleet(t)
	stale, faults := f.faultyStore()
	other := f.store()
	f.declare(other, 1, 1)
	until(t, "the members are seen", func() bool { v, _ := stale.View("g"); return len(v.Members) == 1 })
	faults.cut(true)
	until(t, "a deaf watch is open", func() bool { return faults.open() > 0 })
	if _, err := other.Freeze(t.Context(), semaphore.Freeze{By: "operator", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if a, err := stale.Do(t.Context(), "g", agent("n0")); err != nil || a.Kind != semaphore.Frozen {
		t.Errorf("%+v, %v; want frozen", a, err)
	}
	if stale.FleetFreeze() == nil {
		t.Error("the freeze that the lost comparison brought is not shown")
	}
}

func TestNoLeader_IsRefusedAtOnceAndReadsStay(t *testing.T) {
	f := newFleet(t)
	var leaderless atomic.Bool
	cfg := f.config()
	cfg.HasLeader = func() bool { return !leaderless.Load() }
	s := f.open(cfg)
	f.declare(s, 1, 1)
	leaderless.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), patience) // in which nobody comes to lead
	defer cancel()
	_, err := s.Do(ctx, "g", agent("n0"))
	if !errors.Is(err, semaphore.ErrNoQuorum) {
		t.Errorf("Do: %v, want ErrNoQuorum", err)
	}
	if _, err := s.Acquire(ctx, "g", new(agent("n0")), time.Hour); !errors.Is(err, semaphore.ErrNoQuorum) {
		t.Errorf("Acquire: %v, want ErrNoQuorum", err)
	}
	if _, err := s.Freeze(ctx, semaphore.Freeze{By: "operator"}); !errors.Is(err, semaphore.ErrNoQuorum) {
		t.Errorf("Freeze: %v, want ErrNoQuorum", err)
	}
	if _, err := s.Read(ctx, "g"); !errors.Is(err, semaphore.ErrNoQuorum) {
		t.Errorf("Read: %v, want ErrNoQuorum", err)
	}
	if v, ok := s.View("g"); !ok || len(v.Members) != 1 {
		t.Errorf("View is %+v", v)
	}
	leaderless.Store(false)
	f.ok(s, agent("n0"))
}

func TestFloor_GrantsStopAndReleasesGoOn(t *testing.T) {
	f := newFleet(t)
	var low atomic.Bool
	cfg := f.config()
	cfg.Floor = func() error {
		if low.Load() {
			return semaphore.ErrDiskLow
		}
		return nil
	}
	s := f.open(cfg)
	f.declare(s, 1, 3)
	h := f.ok(s, agent("n0")).Hold
	waiting := park(t.Context(), s, agent("n1"), time.Minute)
	queued(t, s, "n1", 1)
	low.Store(true)
	f.ok(s, semaphore.Confirm{Node: "n0", Instance: h.Instance, BootID: "b", Fence: h.Fence})
	f.ok(s, release(h))
	if h := holds(t, s); len(h) != 0 {
		t.Errorf("a waiter was granted below the floor: %+v", h)
	}
	if _, err := s.Do(t.Context(), "g", agent("n2")); !errors.Is(err, semaphore.ErrDiskLow) {
		t.Errorf("acquire: %v, want ErrDiskLow", err)
	}
	if _, err := s.Do(t.Context(), "g", semaphore.PutMember{Node: "new"}); !errors.Is(err, semaphore.ErrDiskLow) {
		t.Errorf("registration: %v, want ErrDiskLow", err)
	}
	if _, err := s.Freeze(t.Context(), semaphore.Freeze{ID: "f", By: "operator"}); err != nil {
		t.Errorf("freeze: %v", err)
	}
	if _, err := s.Unfreeze(t.Context(), "f", "operator"); err != nil {
		t.Errorf("unfreeze: %v", err)
	}
	low.Store(false)
	granted(t, waiting)
}

func TestUnreadableValue_StopsItsGroupAndNoOther(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	f.declare(s, 2, 2)
	h := f.ok(s, agent("n0")).Hold
	f.putRaw("groups/g/spec", "not JSON")
	until(t, "the value is seen", func() bool { v, _ := s.View("g"); return v.NewerSchema != "" })
	if a, err := s.Do(t.Context(), "g", agent("n1")); err != nil || a.Kind != semaphore.NewerSchema {
		t.Errorf("%+v, %v; want newer_schema", a, err)
	}
	f.ok(s, release(h))
	if a, err := s.Do(t.Context(), "other", semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: 1}}}); err != nil || a.Kind != semaphore.OK {
		t.Errorf("another group: %+v, %v", a, err)
	}
}

func TestUnreadableHold_ItsReleaseSetsItsGroupFree(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	f.declare(s, 1, 2)
	h := f.ok(s, agent("n0")).Hold
	f.putRaw("groups/g/holds/n0", fmt.Sprintf(`{"v":1,"node":"n0","state":"granted","via":"agent","instance":%q,"fence":%d,"reason":5}`, h.Instance, h.Fence))
	until(t, "the value is seen", func() bool { v, _ := s.View("g"); return v.NewerSchema != "" })
	f.ok(s, release(h))
	f.ok(s, agent("n1"))
}
