package etcdstore_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
	"github.com/lockkeeper/lockkeeper/semaphore/etcdstore"
)

// faultyStore is a store of the fleet whose transactions can be spoilt.
func (f *fleet) faultyStore() (*etcdstore.Store, *faulty) {
	f.t.Helper()
	cfg := f.config()
	client, faults := newFaulty(cfg.Client)
	cfg.Client = client
	return f.open(cfg), faults
}

func holds(t *testing.T, s semaphore.Store) map[string]semaphore.Hold {
	t.Helper()
	st, err := s.Read(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	return st.Plain().Holds
}

func TestAcquire_LostReplyIsResolvedByReading(t *testing.T) {
	for name, op := range map[string]semaphore.Acquire{"agent": agent("n0"), "fleetlock": fleetLock("n0", "r1")} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			s, faults := f.faultyStore()
			f.declare(s, 1, 1)
			faults.next(lostReply)
			a := f.ok(s, op)
			if !a.Created || a.Hold == nil || a.Hold.Fence != 1 {
				t.Fatalf("got %+v; want the hold that the lost transaction created, fence 1", a)
			}
			if h := holds(t, s); len(h) != 1 || h["n0"].Fence != 1 {
				t.Fatalf("holds are %+v", h)
			}
			if events := f.keys("events/group/g/"); len(events) != 3 { // created, joined, granted
				t.Fatalf("events are %v", events)
			}
		})
	}
}

func TestAcquire_LostRequestIsRepeated(t *testing.T) {
	f := newFleet(t)
	s, faults := f.faultyStore()
	f.declare(s, 1, 1)
	faults.next(lostRequest, lostRequest)
	if a := f.ok(s, agent("n0")); a.Hold.Fence != 1 {
		t.Fatalf("got %+v", a.Hold)
	}
}

func TestAcquire_TransactionThatArrivesLateChangesNothing(t *testing.T) {
	f := newFleet(t)
	s, faults := f.faultyStore()
	f.declare(s, 1, 2)
	var deliver func() (*clientv3.TxnResponse, error)
	faults.next(late(&deliver))
	first := f.ok(s, agent("n0"))
	f.ok(s, release(first.Hold))
	second := f.ok(s, agent("n1"))
	resp, err := deliver()
	if err != nil || resp.Succeeded {
		t.Fatalf("the late transaction committed: %v, %v", resp, err)
	}
	if h := holds(t, s); len(h) != 1 || h["n1"].Fence != second.Hold.Fence {
		t.Fatalf("holds are %+v", h)
	}
}

func TestRelease_LostReplyDoesNotReleaseTheNextHold(t *testing.T) {
	f := newFleet(t)
	s, faults := f.faultyStore()
	other := f.store()
	f.declare(s, 1, 1)
	first := f.ok(s, agent("n0"))
	faults.next(func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		if _, err := commit(); err != nil {
			return nil, err
		}
		if a, err := other.Do(context.Background(), "g", agent("n0")); err != nil || a.Hold == nil {
			return nil, errors.Join(err, errors.New("the other store got no hold"))
		}
		return nil, context.DeadlineExceeded
	})
	f.ok(s, release(first.Hold))
	if h := holds(t, s); len(h) != 1 || h["n0"].Fence == first.Hold.Fence {
		t.Fatalf("holds are %+v; want the one made after the release", h)
	}
}

func TestFreeze_TransactionThatArrivesLateDoesNotFreezeAgain(t *testing.T) {
	f := newFleet(t)
	s, faults := f.faultyStore()
	var deliver func() (*clientv3.TxnResponse, error)
	faults.next(late(&deliver))
	fr, err := s.Freeze(t.Context(), semaphore.Freeze{By: "operator", Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := s.Unfreeze(t.Context(), fr.ID, "operator"); err != nil || a.Kind != semaphore.OK {
		t.Fatalf("%+v, %v", a, err)
	}
	if resp, err := deliver(); err != nil || resp.Succeeded {
		t.Fatalf("the late freeze committed: %v, %v", resp, err)
	}
	if a, err := s.Unfreeze(t.Context(), fr.ID, "operator"); err != nil || a.Kind != semaphore.OK || a.Detail == "" {
		t.Fatalf("lifting nothing: %+v, %v", a, err)
	}
}

func TestFreeze_LostReplyIsOneFreeze(t *testing.T) {
	f := newFleet(t)
	s, faults := f.faultyStore()
	faults.next(lostReply)
	fr, err := s.Freeze(t.Context(), semaphore.Freeze{ID: "mine", By: "operator", Reason: "test"})
	if err != nil || fr.ID != "mine" {
		t.Fatalf("%+v, %v", fr, err)
	}
	if events := f.keys("events/fleet/"); len(events) != 1 || events[0] != "0000000000000001" {
		t.Fatalf("events are %v", events)
	}
}

func TestNoSpace_IsAnUnknownOutcome(t *testing.T) {
	f := newFleet(t)
	s, faults := f.faultyStore()
	f.declare(s, 2, 2)
	faults.next(appliedWithoutSpace)
	if a := f.ok(s, agent("n0")); a.Hold.Fence != 1 {
		t.Fatalf("got %+v", a)
	}
	faults.next(withoutSpace)
	if _, err := s.Do(t.Context(), "g", agent("n1")); !errors.Is(err, semaphore.ErrDiskLow) {
		t.Fatalf("err is %v, want ErrDiskLow", err)
	}
	if h := holds(t, s); len(h) != 1 {
		t.Fatalf("holds are %+v", h)
	}
}

// A FleetLock client that left while the outcome of its acquire was unknown
// must not be left with a hold that nobody knows of.
func TestFleetLock_HoldOfAnAbandonedAcquireIsGivenBack(t *testing.T) {
	f := newFleet(t)
	s, faults := f.faultyStore()
	f.declare(s, 1, 0)
	ctx, hangUp := context.WithCancel(t.Context())
	faults.next(func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		hangUp()
		return lostReply(commit)
	})
	if _, err := s.Acquire(ctx, "g", new(fleetLock("n0", "r1")), time.Minute); !errors.Is(err, context.Canceled) {
		t.Fatalf("err is %v", err)
	}
	until(t, "the hold is given back", func() bool { return len(holds(t, s)) == 0 && len(f.keys("events/group/g/")) >= 3 })
}

func TestFleetLock_AbandonedAcquireCannotCommitLater(t *testing.T) {
	f := newFleet(t)
	s, faults := f.faultyStore()
	f.declare(s, 1, 0)
	before, err := s.Read(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	ctx, hangUp := context.WithCancel(t.Context())
	var deliver func() (*clientv3.TxnResponse, error)
	faults.next(func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		hangUp()
		return late(&deliver)(commit)
	})
	if _, err := s.Acquire(ctx, "g", new(fleetLock("n0", "r1")), time.Minute); !errors.Is(err, context.Canceled) {
		t.Fatalf("err is %v", err)
	}
	until(t, "the head has moved", func() bool {
		st, _ := s.View("g")
		return st.HeadRev > before.HeadRev
	})
	if resp, err := deliver(); err != nil || resp.Succeeded {
		t.Fatalf("the abandoned transaction committed: %v, %v", resp, err)
	}
}

// A grant whose outcome is unknown can be refused when it is decided anew, for
// example because a blackout has begun. The refusal is told only once the grant
// can commit no more: the client waits on, would be answered with that hold,
// and would lose it again as one that nobody asked for.
func TestFleetLock_ARefusalIsToldWhenTheGrantBeforeItCanCommitNoMore(t *testing.T) {
	f := newFleet(t)
	var begun atomic.Bool
	cfg := f.config()
	cfg.Now = func() time.Time {
		if begun.Load() {
			return time.Now().Add(time.Hour)
		}
		return time.Now()
	}
	client, faults := newFaulty(cfg.Client)
	cfg.Client = client
	s := f.open(cfg)
	f.declare(s, 1, 1)
	start := time.Now().Add(30 * time.Minute)
	f.ok(s, semaphore.PutSpec{IfMatch: -1, Spec: semaphore.Spec{
		Slots: semaphore.Slots{N: 1}, Blackouts: []semaphore.Blackout{{Name: "x", Start: start, End: start.Add(24 * time.Hour)}},
	}})
	var deliver func() (*clientv3.TxnResponse, error)
	faults.next(func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		begun.Store(true)
		return late(&deliver)(commit)
	})
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	waits := park(ctx, s, fleetLock("n0", "r1"), time.Minute)
	queued(t, s, "n0", 1)
	if resp, err := deliver(); err != nil || resp.Succeeded {
		t.Fatalf("the grant committed behind its refusal: %v, %v", resp, err)
	}
	hangUp()
	<-waits
	if h := holds(t, s); len(h) != 0 {
		t.Fatalf("holds are %+v", h)
	}
}
