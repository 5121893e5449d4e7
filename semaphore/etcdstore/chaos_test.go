package etcdstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// wander spoils one transaction in three, in every way there is. Those that
// are late arrive at some later time.
type wander struct {
	mu   sync.Mutex
	late []func() (*clientv3.TxnResponse, error)
}

func (w *wander) spoil(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
	switch rand.IntN(9) {
	case 0:
		return lostReply(commit)
	case 1:
		return lostRequest(commit)
	case 2:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.late = append(w.late, commit)
		return nil, context.DeadlineExceeded
	}
	return commit()
}

func (w *wander) arrive() (int, error) {
	w.mu.Lock()
	late := w.late
	w.late = nil
	w.mu.Unlock()
	for _, commit := range late {
		if _, err := commit(); err != nil {
			return 0, err
		}
	}
	return len(late), nil
}

// The history of revisions is the judge: at none of them are there more holds
// than slots, and every fence that a holder was told is its own.
func TestChaos_NoRevisionHasMoreHoldsThanSlots(t *testing.T) {
	const slots, nodes = 3, 12
	f := newFleet(t)
	w := &wander{}
	var stores []semaphore.Store
	quiet := f.store()
	f.declare(quiet, slots, nodes)
	start, err := node.Client().Get(t.Context(), f.prefix)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s, faults := f.faultyStore()
		faults.always = w.spoil
		stores = append(stores, s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var group sync.WaitGroup
	var served, out atomic.Int64
	for n := range nodes {
		group.Go(func() {
			id := fmt.Sprintf("n%d", n)
			for i := 0; ctx.Err() == nil; i++ {
				op := agent(id)
				if n%2 == 0 {
					op = fleetLock(id, fmt.Sprintf("r%d-%d", n, i))
				}
				call := ctx
				hangUp := func() {}
				if rand.IntN(4) == 0 {
					call, hangUp = context.WithTimeout(ctx, time.Duration(rand.IntN(100))*time.Millisecond)
				}
				a, err := stores[rand.IntN(2)].Acquire(call, "g", &op, time.Second)
				hangUp()
				if err != nil || a.Hold == nil || a.Kind != semaphore.OK {
					continue
				}
				if out.Add(1) > slots {
					t.Errorf("%d hosts are out with %d slots", out.Load(), slots)
				}
				time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
				out.Add(-1)
				served.Add(1)
				if _, err := stores[rand.IntN(2)].Do(context.WithoutCancel(ctx), "g", release(a.Hold)); err != nil {
					t.Errorf("release: %v", err)
				}
			}
		})
	}
	arrived, began := 0, time.Now()
	group.Go(func() {
		defer cancel()
		for ctx.Err() == nil && (time.Since(began) < 4*time.Second || served.Load() < 20 || arrived == 0) {
			n, err := w.arrive()
			if err != nil {
				t.Error(err)
			}
			arrived += n
			time.Sleep(5 * time.Millisecond)
		}
	})
	group.Wait()
	if served.Load() == 0 || arrived == 0 {
		t.Fatalf("%d holds served, %d transactions arrived late: the test shows nothing", served.Load(), arrived)
	}
	t.Logf("%d holds served, %d transactions arrived late", served.Load(), arrived)
	f.judge(start.Header.Revision, slots)
}

// judge goes through all revisions behind one.
func (f *fleet) judge(rev int64, slots int) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	defer cancel()
	end, err := node.Client().Get(ctx, f.prefix)
	if err != nil {
		f.t.Fatal(err)
	}
	held := map[string]bool{}
	prefix := f.prefix + "groups/g/holds/"
	watch := node.Client().Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(rev+1), clientv3.WithProgressNotify())
	if _, err := node.Client().Put(ctx, prefix+"~end", "end"); err != nil {
		f.t.Fatal(err)
	}
	for resp := range watch {
		if err := resp.Err(); err != nil {
			f.t.Fatal(err)
		}
		last := int64(0)
		for _, e := range resp.Events {
			if last != e.Kv.ModRevision && len(held) > slots {
				f.t.Fatalf("at revision %d there are %d holds of %d slots", last, len(held), slots)
			}
			last = e.Kv.ModRevision
			if last > end.Header.Revision {
				return
			}
			if e.Type == clientv3.EventTypeDelete {
				delete(held, string(e.Kv.Key))
			} else {
				held[string(e.Kv.Key)] = true
			}
		}
		if len(held) > slots {
			f.t.Fatalf("at revision %d there are %d holds of %d slots", last, len(held), slots)
		}
	}
}
