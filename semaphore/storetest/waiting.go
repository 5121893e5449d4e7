package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func parkedGranted(f *fixture) {
	f.declare("1", 2)
	h := f.take(f.a, agent(node(0)))
	done := f.park(f.ctx, f.b, agent(node(1)), time.Minute)
	f.queued(node(1), 1)
	f.waiting(done)
	f.ok(f.a, group, release(h))
	got := f.granted(done)
	f.held(got.Fence)
	if got.Node != node(1) || got.Instance != agent(node(1)).Instance || got.Request != agent(node(1)).Request {
		f.Fatalf("the grant does not carry what was asked: %+v", got)
	}
	f.until("the place is gone", func() bool { return len(f.read().Queue) == 0 })
}

func parkedTimesOut(f *fixture) {
	f.declare("1", 2)
	h := f.take(f.a, agent(node(0)))
	answer, err := f.b.Acquire(f.ctx, group, new(agent(node(1))), 50*time.Millisecond)
	if err != nil || answer.Kind != semaphore.Full || len(answer.Blockers) == 0 || answer.Place != 1 {
		f.Fatalf("got %+v, %v; want full, with blockers, at place 1", answer, err)
	}
	f.held(h.Fence)
}

func parkedClientGone(f *fixture) {
	f.declare("1", 3)
	h := f.take(f.a, agent(node(0)))
	gone, hangUp := context.WithCancel(f.ctx)
	first := f.park(gone, f.b, agent(node(1)), time.Minute)
	f.queued(node(1), 1)
	second := f.park(f.ctx, f.b, agent(node(2)), time.Minute)
	f.queued(node(2), 2)
	hangUp()
	select {
	case r := <-first:
		if !errors.Is(r.err, context.Canceled) {
			f.Fatalf("a client that hung up: got %q, %v", r.Kind, r.err)
		}
	case <-time.After(Patience):
		f.Fatal("the call of a client that hung up goes on")
	}
	f.ok(f.a, group, release(h))
	f.held(f.granted(second).Fence)
}

func parkedTwice(f *fixture) {
	f.declare("1", 2)
	h := f.take(f.a, agent(node(0)))
	atB := f.park(f.ctx, f.b, agent(node(1)), time.Minute)
	f.queued(node(1), 1)
	atA := f.park(f.ctx, f.a, agent(node(1)), time.Minute)
	f.waiting(atA)
	f.ok(f.b, group, release(h))
	first, second := f.granted(atA), f.granted(atB)
	if first.Fence != second.Fence {
		f.Fatalf("one request got fences %d and %d", first.Fence, second.Fence)
	}
	f.held(first.Fence)
}

func parkedTwiceFleetLock(f *fixture) {
	f.put(group, semaphore.Spec{Slots: f.slots("1")})
	h := f.take(f.a, fleetLock("holder", "r0", 0))
	atB := f.park(f.ctx, f.b, fleetLock("host", "r1", 0), time.Minute)
	f.queued("host", 1)
	atA := f.park(f.ctx, f.a, fleetLock("host", "r2", 0), time.Minute)
	f.waiting(atA)
	f.ok(f.b, group, release(h))
	first, second := f.granted(atA), f.granted(atB)
	if first.Fence == second.Fence {
		f.Fatalf("two requests under one id share fence %d", first.Fence)
	}
	f.held(max(first.Fence, second.Fence))
}

func parkedSlotsRaised(f *fixture) {
	f.declare("0", 2)
	one := f.park(f.ctx, f.b, agent(node(0)), time.Minute)
	f.queued(node(0), 1)
	two := f.park(f.ctx, f.a, agent(node(1)), time.Minute)
	f.queued(node(1), 2)
	f.put(group, semaphore.Spec{Slots: f.slots("2")})
	f.held(f.granted(one).Fence, f.granted(two).Fence)
}

func parkedUnfrozen(f *fixture) {
	f.declare("1", 1)
	freeze, err := f.a.Freeze(f.ctx, semaphore.Freeze{ID: "stop-1", By: "operator", At: time.Now(), Reason: "test"})
	if err != nil {
		f.Fatal(err)
	}
	done := f.park(f.ctx, f.b, agent(node(0)), time.Minute)
	f.queued(node(0), 1)
	f.waiting(done)
	if answer, err := f.a.Unfreeze(f.ctx, freeze.ID, "operator"); err != nil || answer.Kind != semaphore.OK {
		f.Fatalf("unfreeze: %+v, %v", answer, err)
	}
	f.held(f.granted(done).Fence)
}

func queueOrder(f *fixture) {
	f.declare("1", 7)
	h := f.take(f.a, agent(node(0)))
	var parked []<-chan result
	for i := 1; i < 7; i++ {
		s := f.a
		if i%2 == 0 {
			s = f.b
		}
		parked = append(parked, f.park(f.ctx, s, agent(node(i)), time.Minute))
		f.queued(node(i), i)
	}
	for i, done := range parked {
		for _, behind := range parked[i:] {
			f.waiting(behind)
		}
		f.ok(f.a, group, release(h))
		if h = f.granted(done); h.Node != node(i+1) {
			f.Fatalf("%s was granted, it is the turn of %s", h.Node, node(i+1))
		}
	}
}

func queuePriority(f *fixture) {
	f.declare("1", 4)
	h := f.take(f.a, agent(node(0)))
	var parked []<-chan result
	for i := 1; i < 4; i++ {
		parked = append(parked, f.park(f.ctx, f.b, agent(node(i)), time.Minute))
		f.queued(node(i), i)
	}
	if err := f.a.SetPriority(f.ctx, group, node(3), 10, "operator"); err != nil {
		f.Fatal(err)
	}
	f.queued(node(3), 1)
	if err := f.a.SetPriority(f.ctx, group, node(0), 10, "operator"); !errors.Is(err, semaphore.ErrNoWaiter) {
		f.Fatalf("priority of a node that does not wait: %v, want %v", err, semaphore.ErrNoWaiter)
	}
	f.ok(f.a, group, release(h))
	last := f.granted(parked[2])
	f.waiting(parked[0])
	f.ok(f.a, group, release(last))
	f.granted(parked[0])
}

func queueOvertake(f *fixture) {
	f.put(group, semaphore.Spec{Slots: f.slots("1")})
	h := f.take(f.a, fleetLock("holder", "r0", 0))
	// The place of a FleetLock host stays for a while when its client goes.
	gone, hangUp := context.WithCancel(f.ctx)
	first := f.park(gone, f.b, fleetLock("first", "r1", 0), time.Minute)
	f.queued("first", 1)
	second := f.park(f.ctx, f.a, fleetLock("second", "r2", 0), time.Minute)
	f.queued("second", 2)
	hangUp()
	<-first
	f.ok(f.a, group, release(h))
	if got := f.granted(second); got.Node != "second" {
		f.Fatalf("got %+v", got)
	}
}

func leave(f *fixture) {
	f.put(group, semaphore.Spec{Slots: f.slots("1")})
	f.take(f.a, fleetLock("holder", "r0", 0))
	gone, hangUp := context.WithCancel(f.ctx)
	first := f.park(gone, f.b, fleetLock("first", "r1", 0), time.Minute)
	f.queued("first", 1)
	f.park(f.ctx, f.b, fleetLock("second", "r2", 0), time.Minute)
	f.queued("second", 2)
	hangUp()
	<-first
	for range 2 {
		if err := f.b.Leave(f.ctx, group, "first"); err != nil {
			f.Fatal(err)
		}
	}
	f.queued("second", 1)
}
