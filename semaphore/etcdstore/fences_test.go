package etcdstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// An agent that is told that it cannot confirm, because the fleet is frozen,
// must not lose its grant for that to a store which has not heard of the freeze.
func TestExpire_AStoreThatHasNotHeardOfTheFreezeTakesNoGrantBack(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	f.declare(s, 1, 1)
	h := f.ok(s, agent("n0")).Hold
	stale, faults := f.faultyStore()
	faults.cut(true)
	until(t, "a deaf watch is open", func() bool { return faults.open() > 0 })
	if _, err := s.Freeze(t.Context(), semaphore.Freeze{By: "operator", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	a, err := stale.Do(t.Context(), "g", semaphore.Expire{Node: "n0", Fence: h.Fence})
	if err != nil || a.Kind != semaphore.Frozen {
		t.Errorf("%+v, %v; want frozen", a, err)
	}
	if held := holds(t, s); held["n0"].Fence != h.Fence {
		t.Errorf("the grant is gone: %+v", held)
	}
}

// A host that comes back after it lost its slot learns so at its gate, at
// whichever coordinator it asks, also when that one has just started.
func TestGate_AHostThatLostItsSlotIsToldSoEverywhere(t *testing.T) {
	lose := map[string]func(f *fleet, s semaphore.Store, h *semaphore.Hold){
		"revoked": func(f *fleet, s semaphore.Store, h *semaphore.Hold) {
			f.ok(s, semaphore.Revoke{Node: h.Node, Name: h.Node, Fence: h.Fence, By: "operator"})
		},
		"freed by name": func(f *fleet, s semaphore.Store, h *semaphore.Hold) {
			f.ok(s, semaphore.Revoke{Node: h.Node, Name: h.Node, Fence: h.Fence, By: "operator"})
			f.clock.advance(semaphore.FreeRevoked)
			f.ok(s, semaphore.ForceRelease{Node: h.Node, Name: h.Node, Fence: h.Fence, By: "operator", HostIsDown: true})
		},
		"freed by name, and the slot is another's": func(f *fleet, s semaphore.Store, h *semaphore.Hold) {
			f.ok(s, semaphore.Revoke{Node: h.Node, Name: h.Node, Fence: h.Fence, By: "operator"})
			f.clock.advance(semaphore.FreeRevoked)
			f.ok(s, semaphore.ForceRelease{Node: h.Node, Name: h.Node, Fence: h.Fence, By: "operator", HostIsDown: true})
			f.ok(s, agent("n1"))
		},
		"expired": func(f *fleet, s semaphore.Store, h *semaphore.Hold) {
			f.ok(s, semaphore.Expire{Node: h.Node, Fence: h.Fence})
		},
		"expired, and it has a new hold": func(f *fleet, s semaphore.Store, h *semaphore.Hold) {
			f.ok(s, semaphore.Expire{Node: h.Node, Fence: h.Fence})
			f.clock.advance(time.Hour)
			f.ok(s, agent(h.Node))
		},
		"expired, and its group was deleted and made again": func(f *fleet, s semaphore.Store, h *semaphore.Hold) {
			f.ok(s, semaphore.Expire{Node: h.Node, Fence: h.Fence})
			f.ok(s, semaphore.DeleteGroup{IfMatch: -1, By: "operator"})
			f.declare(s, 1, 2)
			f.clock.advance(time.Hour)
			f.ok(s, agent(h.Node))
		},
	}
	for name, lose := range lose {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			s := f.store()
			behind, faults := f.faultyStore()
			f.declare(s, 1, 2)
			h := f.ok(s, agent("n0")).Hold
			until(t, "the hold is seen", func() bool { v, _ := behind.View("g"); return v.Holds["n0"].Fence == h.Fence })
			faults.cut(true)
			until(t, "a deaf watch is open", func() bool { return faults.open() > 0 })
			lose(f, s, h)
			for which, store := range map[string]semaphore.Store{"the same": s, "one behind": behind, "a new": f.store()} {
				a, err := store.Do(t.Context(), "g", semaphore.Confirm{Node: "n0", Instance: h.Instance, BootID: "b", Fence: h.Fence})
				if err != nil || a.Kind != semaphore.StaleFence {
					t.Errorf("%s store: %+v, %v; want stale_fence", which, a, err)
				}
			}
		})
	}
}

// Fences only grow, in the order of etcd's revisions, whoever is killed and
// whatever is deleted; and no host is told one that is below another's before.
func TestFences_GrowOverKillsAndADeletedGroup(t *testing.T) {
	const nodes = 6
	l := newLab(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ask := func(store int, op any) (semaphore.Answer, error) {
		call, cancel := context.WithTimeout(ctx, 400*time.Millisecond)
		defer cancel()
		_, reply, err := l.ask(call, store, "/p/", "g", op, 0)
		return reply.Answer, err
	}
	insist := func(what string, op any) {
		until(t, what, func() bool { a, err := ask(rand.IntN(2), op); return err == nil && a.Kind == semaphore.OK })
	}
	declare := semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: 2}}, IfMatch: -1}
	insist("the group is declared", declare)
	for n := range nodes {
		insist("a node joins", semaphore.PutMember{Node: fmt.Sprintf("n%d", n)})
	}

	var highest, told atomic.Int64
	var hosts sync.WaitGroup
	working, stop := context.WithCancel(ctx)
	for n := range nodes {
		op := agent(fmt.Sprintf("n%d", n))
		if n%2 == 0 {
			op = fleetLock(op.Node, "")
		}
		hosts.Go(func() {
			for working.Err() == nil {
				op.Request = unique("r")
				before := highest.Load()
				a, err := ask(rand.IntN(2), op)
				if err != nil || a.Kind != semaphore.OK {
					think(5 * time.Millisecond)
					continue
				}
				if a.Created {
					if told.Add(1); a.Hold.Fence <= before {
						t.Errorf("%s is told fence %d after somebody was told %d", op.Node, a.Hold.Fence, before)
					}
					for seen := before; seen < a.Hold.Fence && !highest.CompareAndSwap(seen, a.Hold.Fence); {
						seen = highest.Load()
					}
				}
				_, _ = ask(rand.IntN(2), release(a.Hold))
			}
		})
	}
	more := func(what string) {
		was := told.Load()
		until(t, "hosts go on after "+what, func() bool { return told.Load() > was+5 })
	}
	more("the start")
	l.stores[0].kill()
	more("a store's kill")
	l.stores[0].again()
	for _, p := range l.stores {
		p.kill()
	}
	for _, p := range l.stores {
		p.again()
	}
	more("both stores' kill")
	l.etcd.kill()
	l.etcd.again()
	more("etcd's kill")
	insist("the group is deleted in a moment without holds", semaphore.DeleteGroup{IfMatch: -1})
	l.stores[1].kill()
	l.stores[1].again()
	insist("the group is made again", declare)
	more("the group's deletion")
	stop()
	hosts.Wait()

	given := l.fences(t, "/p/groups/g/holds/")
	for i := 1; i < len(given); i++ {
		if given[i] <= given[i-1] {
			t.Errorf("fence %d was given after %d", given[i], given[i-1])
		}
	}
	t.Logf("%d fences given, %d told", len(given), told.Load())
	if int64(len(given)) < told.Load() {
		t.Error("more fences were told than given")
	}
}

// fences are all that were ever given under a prefix, in the order of etcd's
// revisions; those of one revision in their own.
func (l *lab) fences(t *testing.T, prefix string) []int64 {
	t.Helper()
	client, err := dialEtcd(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	end, err := client.Put(ctx, prefix+"~end", "")
	if err != nil {
		t.Fatal(err)
	}
	var given []int64
	last := map[string]int64{}
	for resp := range client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(1)) {
		if err := resp.Err(); err != nil {
			t.Fatal(err)
		}
		from, rev := len(given), int64(0)
		for _, e := range resp.Events {
			if e.Kv.ModRevision != rev {
				slices.Sort(given[from:])
				from, rev = len(given), e.Kv.ModRevision
			}
			if rev == end.Header.Revision {
				return given
			}
			key := string(e.Kv.Key)
			if e.Type == clientv3.EventTypeDelete {
				delete(last, key)
				continue
			}
			h, err := semaphore.DecodeHold(e.Kv.Value)
			if err != nil {
				t.Fatal(err)
			}
			if last[key] != h.Fence {
				given = append(given, h.Fence)
			}
			last[key] = h.Fence
		}
		slices.Sort(given[from:])
	}
	t.Fatal("the watch ended")
	return nil
}

// A lease is a store's, and not a waiter's.
func TestQueue_AThousandWaitersShareOneLease(t *testing.T) {
	f := newFleet(t)
	leases := func() int {
		t.Helper()
		resp, err := node.Client().Leases(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(resp.Leases)
	}
	before := leases()
	a, b := f.store(), f.store()
	f.declare(a, 0, 0)
	var group sync.WaitGroup
	for i := range 1000 {
		group.Go(func() {
			store := []semaphore.Store{a, b}[i%2]
			if answer, err := store.Acquire(t.Context(), "g", new(fleetLock(fmt.Sprintf("w%d", i), "r")), 0); err != nil || answer.Kind != semaphore.Full {
				t.Errorf("%+v, %v", answer, err)
			}
		})
	}
	group.Wait()
	resp, err := node.Client().Get(t.Context(), f.prefix+"groups/g/queue/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	used := map[int64]int{}
	for _, kv := range resp.Kvs {
		used[kv.Lease]++
	}
	if len(resp.Kvs) != 1000 || len(used) != 2 {
		t.Errorf("%d waiters have the leases %v; want 1000 with one of each store", len(resp.Kvs), used)
	}
	if more := leases() - before; more > 2 {
		t.Errorf("%d leases were granted for two stores", more)
	}
}
