package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestBound_OneWaiterTooManyIsAnsweredWithoutAWrite(t *testing.T) {
	f := newFleet(t)
	cfg := f.config()
	cfg.MaxWaiters = 3
	s := f.open(cfg)
	f.declare(s, 1, 1)
	holder := f.ok(s, agent("n0")).Hold
	for i := range 3 {
		if a, err := s.Acquire(t.Context(), "g", new(fleetLock(fmt.Sprintf("w%d", i), "r")), 0); err != nil || a.Place != i+1 {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	before := f.written()
	for _, op := range []semaphore.Acquire{fleetLock("late", "r"), agent("n0x")} {
		if op.Via == semaphore.ViaAgent {
			f.ok(s, semaphore.PutMember{Node: op.Node, By: "operator"})
			before = f.written()
		}
		a, err := s.Acquire(t.Context(), "g", &op, time.Minute)
		if err != nil || a.Kind != semaphore.RetryLater || !strings.Contains(a.Detail, `3 nodes wait already in group "g"`) {
			t.Fatalf("%+v, %v; want it refused at once", a, err)
		}
		if after := f.written(); after != before {
			t.Fatalf("its refusal wrote: %+v, was %+v", after, before)
		}
	}
	// Those who have a place keep it, and room that is made is given.
	if a, err := s.Acquire(t.Context(), "g", new(fleetLock("w2", "r")), 0); err != nil || a.Place != 3 {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := s.Leave(t.Context(), "g", "w1"); err != nil {
		t.Fatal(err)
	}
	if a, err := s.Acquire(t.Context(), "g", new(fleetLock("late", "r")), 0); err != nil || a.Place != 3 {
		t.Fatalf("%+v, %v", a, err)
	}
	// Who could go is not turned away for the length of the queue.
	f.ok(s, release(holder))
	if a, err := s.Acquire(t.Context(), "g", new(fleetLock("another", "r")), 0); err != nil || a.Hold == nil {
		t.Fatalf("%+v, %v", a, err)
	}
}

func TestBound_HoldsForThoseWhoComeAtOnce(t *testing.T) {
	f := newFleet(t)
	cfg := f.config()
	cfg.MaxWaiters = 5
	s := f.open(cfg)
	f.declare(s, 1, 50)
	f.ok(s, agent("n0"))
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	refused := make(chan semaphore.Answer, 50)
	var all sync.WaitGroup
	for n := range 49 {
		all.Go(func() {
			if a, err := s.Acquire(ctx, "g", new(agent(fmt.Sprintf("n%d", n+1))), time.Minute); err == nil {
				refused <- a
			}
		})
	}
	for range 44 {
		if a := <-refused; a.Kind != semaphore.RetryLater {
			t.Errorf("%+v", a)
		}
	}
	until(t, "five wait", func() bool { return len(f.queueKeys()) == 5 })
	hangUp()
	all.Wait()
}

func TestBound_AFloodOfAcquiresIsTurnedAwayAndReleasesAreNot(t *testing.T) {
	f := newFleet(t)
	f.declare(f.store(), 1, 2)
	cfg := f.config()
	cfg.MaxPending = 100
	client, faults := newFaulty(cfg.Client)
	cfg.Client = client
	s := f.open(cfg)
	h := f.ok(s, agent("n0")).Hold
	open := make(chan struct{})
	stuck := make(chan struct{})
	faults.next(func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		close(stuck)
		<-open
		return commit()
	})
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	var flood sync.WaitGroup
	flood.Go(func() {
		_, _ = s.Do(ctx, "g", semaphore.Confirm{Node: h.Node, Instance: h.Instance, BootID: "b", Fence: h.Fence})
	})
	<-stuck
	ended := make(chan error, 300)
	for range cap(ended) {
		flood.Go(func() {
			_, err := s.Do(ctx, "g", agent("n1"))
			ended <- err
		})
	}
	select {
	case err := <-ended:
		if !errors.Is(err, semaphore.ErrBusy) {
			t.Errorf("amid the flood: %v, want ErrBusy", err)
		}
	case <-time.After(patience):
		t.Error("300 requests are kept in memory")
	}
	released := make(chan error, 1)
	go func() {
		_, err := s.Do(t.Context(), "g", release(h))
		released <- err
	}()
	close(open)
	if err := <-released; err != nil {
		t.Errorf("a release amid the flood: %v", err)
	}
	hangUp()
	flood.Wait()
}
