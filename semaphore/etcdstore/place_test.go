package etcdstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func (f *fleet) queueKeys() []string { return f.keys("groups/g/queue/") }

func TestPlace_AgentThatDoesNotWaitGetsNone(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	f.declare(s, 1, 2)
	f.ok(s, agent("n0"))
	a, err := s.Acquire(t.Context(), "g", new(agent("n1")), 0)
	if err != nil || a.Kind != semaphore.Full || a.Place != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	if k := f.queueKeys(); len(k) != 0 {
		t.Fatalf("queue keys are %v", k)
	}
}

func TestPlace_FleetLockPollerKeepsItWithoutAWritePerPoll(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	f.declare(s, 1, 0)
	holder := f.ok(s, fleetLock("holder", "r0")).Hold
	if a, err := s.Acquire(t.Context(), "g", new(fleetLock("first", "r1")), 0); err != nil || a.Place != 1 {
		t.Fatalf("%+v, %v; want place 1", a, err)
	}
	if a, err := s.Acquire(t.Context(), "g", new(fleetLock("second", "r2")), 0); err != nil || a.Place != 2 {
		t.Fatalf("%+v, %v; want place 2", a, err)
	}
	before := f.written()
	for range 100 {
		if a, err := s.Acquire(t.Context(), "g", new(fleetLock("second", "r3")), 0); err != nil || a.Place != 2 {
			t.Fatalf("%+v, %v; want place 2", a, err)
		}
		if a, err := s.Acquire(t.Context(), "g", new(fleetLock("first", "r3")), 0); err != nil || a.Place != 1 {
			t.Fatalf("%+v, %v; want place 1", a, err)
		}
	}
	if after := f.written(); after != before {
		t.Fatalf("200 polls wrote: %+v, was %+v", after, before)
	}
	f.ok(s, release(holder))
	// A place is order and no reservation: who comes and may go is not held up
	// by one that is away.
	if a, err := s.Acquire(t.Context(), "g", new(fleetLock("second", "r4")), 0); err != nil || a.Hold == nil {
		t.Fatalf("%+v, %v; want a hold", a, err)
	}
}

func TestPlace_IsGivenUpWhenTheClientStaysAway(t *testing.T) {
	f := newFleet(t)
	cfg := f.config()
	cfg.PlaceTime = 50 * time.Millisecond
	s := f.open(cfg)
	f.declare(s, 1, 2)
	f.ok(s, agent("n0"))
	ctx, hangUp := context.WithCancel(t.Context())
	waiting := park(ctx, s, agent("n1"), time.Minute)
	queued(t, s, "n1", 1)
	hangUp()
	if o := <-waiting; !errors.Is(o.err, context.Canceled) {
		t.Fatalf("%+v", o)
	}
	until(t, "the place is gone", func() bool { return len(f.queueKeys()) == 0 })
	queued(t, s, "n1", 0)
}

func TestPlace_ClientThatComesBackKeepsItsTicket(t *testing.T) {
	f := newFleet(t)
	s, other := f.store(), f.store()
	f.declare(s, 1, 3)
	h := f.ok(s, agent("n0")).Hold
	ctx, hangUp := context.WithCancel(t.Context())
	first := park(ctx, s, agent("n1"), time.Minute)
	queued(t, s, "n1", 1)
	second := park(t.Context(), s, agent("n2"), time.Minute)
	queued(t, s, "n2", 2)
	ticket := func() int64 { v, _ := other.View("g"); return v.Queue[0].CreateRevision }
	queued(t, other, "n2", 2)
	before := ticket()
	hangUp()
	<-first

	// It comes back at another coordinator, which takes the place over.
	again := park(t.Context(), other, agent("n1"), time.Minute)
	until(t, "the place has moved", func() bool {
		v, _ := other.View("g")
		return len(v.Queue) == 2 && v.Queue[0].Present
	})
	if after := ticket(); after != before {
		t.Fatalf("ticket %d became %d", before, after)
	}
	f.ok(other, release(h))
	next := granted(t, again)
	select {
	case o := <-second:
		t.Fatalf("the second went before: %+v", o)
	default:
	}
	f.ok(s, release(next))
	granted(t, second)
	until(t, "the queue is empty", func() bool { return len(f.queueKeys()) == 0 })
}

func TestPlace_StaysWhenItsStoreStopsForAsLongAsTheLease(t *testing.T) {
	f := newFleet(t)
	cfg := f.config()
	cfg.LeaseTTL = 5 * time.Second
	s, other := f.open(cfg), f.store()
	f.declare(s, 1, 2)
	f.ok(s, agent("n0"))
	waiting := park(t.Context(), s, agent("n1"), time.Minute)
	queued(t, other, "n1", 1)
	s.Stop()
	if o := <-waiting; !errors.Is(o.err, semaphore.ErrNoQuorum) {
		t.Fatalf("%+v", o)
	}
	queued(t, other, "n1", 1)
	queued(t, other, "n1", 0) // until the lease runs out
}

// What overtook a waiter is counted from its coming, wherever its place went.
func TestPlace_KeepsTheCountOfGrantsThatItCameWith(t *testing.T) {
	f := newFleet(t)
	s, other := f.store(), f.store()
	f.declare(s, 1, 4)
	for range 3 {
		f.ok(s, release(f.ok(s, agent("n0")).Hold))
	}
	f.ok(s, agent("n0"))
	for i, node := range []string{"n1", "n2"} {
		park(t.Context(), s, agent(node), time.Minute)
		queued(t, s, node, i+1)
		queued(t, other, node, i+1)
	}
	check := func(when string) {
		t.Helper()
		st, _ := other.View("g")
		for _, w := range st.Queue {
			if want := map[string]int{"n1": 0, "n2": 1}[w.Node]; w.Grants != 4 || w.Ahead != want {
				t.Errorf("%s: %s came at grant %d behind %d, want grant 4 behind %d", when, w.Node, w.Grants, w.Ahead, want)
			}
		}
	}
	check("when they came")
	if err := s.SetPriority(t.Context(), "g", "n2", 5, "operator"); err != nil {
		t.Fatal(err)
	}
	queued(t, other, "n2", 1)
	check("after a new priority")
	park(t.Context(), other, agent("n1"), time.Minute)
	until(t, "the place has moved", func() bool {
		v, _ := other.View("g")
		return len(v.Queue) == 2 && v.Queue[1].Present
	})
	check("after it moved to another coordinator")
}

func TestPlace_LostLeaseIsReplacedAndWaitersAreGranted(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	f.declare(s, 1, 2)
	h := f.ok(s, agent("n0")).Hold
	waiting := park(t.Context(), s, agent("n1"), time.Minute)
	queued(t, s, "n1", 1)
	lease := func() int64 {
		resp, err := node.Client().Get(t.Context(), f.prefix+"groups/g/queue/n1")
		if err != nil || len(resp.Kvs) == 0 {
			return 0
		}
		return resp.Kvs[0].Lease
	}
	old := lease()
	if _, err := node.Client().Revoke(t.Context(), clientLease(old)); err != nil {
		t.Fatal(err)
	}
	until(t, "the waiter has a new lease", func() bool { l := lease(); return l != 0 && l != old })
	f.ok(s, release(h))
	granted(t, waiting)
}

func TestLeave_AnswersTheParkedCall(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	f.declare(s, 1, 2)
	f.ok(s, agent("n0"))
	waiting := park(t.Context(), s, agent("n1"), time.Minute)
	queued(t, s, "n1", 1)
	if err := s.Leave(t.Context(), "g", "n1"); err != nil {
		t.Fatal(err)
	}
	if o := <-waiting; o.err != nil || o.answer.Kind != semaphore.Queued {
		t.Fatalf("%+v", o)
	}
	if k := f.queueKeys(); len(k) != 0 {
		t.Fatalf("queue keys are %v", k)
	}
}

func TestLeave_WhileThePlaceIsTakenLeavesNone(t *testing.T) {
	f := newFleet(t)
	f.declare(f.store(), 1, 2)
	s, faults := f.faultyStore()
	f.ok(s, agent("n0"))
	faults.next(func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		if err := s.Leave(t.Context(), "g", "n1"); err != nil {
			t.Error(err)
		}
		return commit()
	})
	if o := <-park(t.Context(), s, agent("n1"), time.Minute); o.err != nil || o.answer.Kind != semaphore.Queued {
		t.Fatalf("%+v", o)
	}
	until(t, "nobody has a place", func() bool { return len(f.queueKeys()) == 0 })
}

func TestParked_EndsWhenTheGroupOrTheMemberGoes(t *testing.T) {
	for name, c := range map[string]struct {
		op   semaphore.Op
		want semaphore.Kind
	}{
		"group":     {semaphore.DeleteGroup{IfMatch: -1, By: "operator"}, semaphore.UnknownGroup},
		"member":    {semaphore.RemoveMember{Node: "n1", By: "operator"}, semaphore.NotFound},
		"duplicate": {semaphore.SetDuplicate{Node: "n1", Why: "two hosts", By: "engine"}, semaphore.DuplicateID},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			s, other := f.store(), f.store()
			f.declare(s, 0, 2)
			here := park(t.Context(), s, agent("n1"), time.Minute)
			queued(t, other, "n1", 1)
			f.ok(other, c.op)
			select {
			case o := <-here:
				if o.err != nil || o.answer.Kind != c.want {
					t.Fatalf("%+v, want %s", o, c.want)
				}
			case <-time.After(patience):
				t.Fatal("the call goes on waiting")
			}
		})
	}
}

func TestPlace_OfAHolderIsDropped(t *testing.T) {
	f := newFleet(t)
	s, other := f.store(), f.store()
	f.declare(s, 1, 2)
	h := f.ok(s, agent("n0")).Hold
	ctx, hangUp := context.WithCancel(t.Context())
	waiting := park(ctx, s, agent("n1"), time.Minute)
	queued(t, other, "n1", 1)
	hangUp()
	<-waiting
	f.ok(other, release(h))
	if a, err := other.Acquire(t.Context(), "g", new(agent("n1")), 0); err != nil || a.Hold == nil {
		t.Fatalf("%+v, %v", a, err)
	}
	if a, err := s.Acquire(t.Context(), "g", new(agent("n1")), time.Minute); err != nil || a.Hold == nil {
		t.Fatalf("%+v, %v", a, err)
	}
	until(t, "the place is gone", func() bool { return len(f.queueKeys()) == 0 })
}

func TestAcquire_SlotIsTakenWithinMillisecondsOfItsRelease(t *testing.T) {
	f := newFleet(t)
	s, other := f.store(), f.store()
	f.declare(s, 1, 2)
	h := f.ok(s, agent("n0")).Hold
	took := atMost(t, 2*time.Second, func() time.Duration {
		next := map[string]string{"n0": "n1", "n1": "n0"}[h.Node]
		var took time.Duration
		h, took = f.passed(s, h, other, next, 1)
		return took
	})
	t.Logf("taken after %s by the coordinator of the first in order", took)
}
