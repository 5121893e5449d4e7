package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// A large group is not read again when a comparison is lost: what changed comes
// by watch, and if that stands still, all is read after all.
func TestLargeGroup_IsExactThoughItsWatchStandsStill(t *testing.T) {
	f := newFleet(t)
	stale, faults := f.faultyStore()
	other := f.store()
	f.declare(other, 1, 0)
	each(300, func(n int) { do(t, other, "g", semaphore.PutMember{Node: fmt.Sprintf("n%d", n)}) })
	h := f.ok(other, agent("n0")).Hold
	until(t, "the hold is seen", func() bool { v, _ := stale.View("g"); return len(v.Holds) == 1 && len(v.Members) == 300 })
	faults.cut(true)
	until(t, "a deaf watch is open", func() bool { return faults.open() > 0 })
	f.ok(other, release(h))
	f.ok(other, agent("n1"))
	if a, err := stale.Do(t.Context(), "g", agent("n2")); err != nil || a.Kind != semaphore.Full {
		t.Fatalf("%+v, %v; want full", a, err)
	}
	f.ok(other, semaphore.PutMember{Node: "late"})
	f.ok(other, semaphore.RemoveMember{Node: "n2"})
	if a, err := stale.Do(t.Context(), "g", agent("n2")); err != nil || a.Kind != semaphore.NotFound {
		t.Fatalf("%+v, %v; want it to be no member", a, err)
	}
	st, err := stale.Read(t.Context(), "g")
	st = st.Plain()
	if _, late := st.Members["late"]; err != nil || !late || len(st.Members) != 300 {
		t.Fatalf("%d members, %v", len(st.Members), err)
	}
}

func TestLargeGroup_TwoStoresThatContendNeverExceedItsSlots(t *testing.T) {
	f := newFleet(t)
	from := revision(t)
	stores := []semaphore.Store{f.store(), f.store()}
	f.declare(stores[0], 3, 0)
	each(300, func(n int) { do(t, stores[0], "g", semaphore.PutMember{Node: fmt.Sprintf("n%d", n)}) })
	// For two seconds, and on a busy machine until it shows something.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const enough = 20
	began := time.Now()
	var grants atomic.Int64
	goesOn := func() bool {
		return ctx.Err() == nil && (time.Since(began) < 2*time.Second || grants.Load() < enough)
	}
	var all sync.WaitGroup
	for client := range 16 {
		all.Go(func() {
			node := fmt.Sprintf("n%d", client)
			for goesOn() {
				a, err := stores[client%2].Acquire(ctx, "g", new(agent(node)), time.Second)
				switch {
				case errors.Is(err, context.DeadlineExceeded), errors.Is(err, semaphore.ErrNoQuorum):
				case err != nil:
					t.Error(err)
				case a.Kind == semaphore.OK:
					grants.Add(1)
					// Until it is known to be back: a slot that stays taken is one less to contend for.
					for err := errors.New("not asked"); err != nil && ctx.Err() == nil; {
						_, err = stores[(client+1)%2].Do(ctx, "g", release(a.Hold))
					}
				}
			}
		})
	}
	all.Wait()
	f.putRaw("end", "")
	f.readHistory(from, revision(t)).judge(t)
	if grants.Load() < enough {
		t.Errorf("%d grants: the test shows nothing", grants.Load())
	}
}

// BenchmarkContention is two stores that take the head from each other.
func BenchmarkContention(b *testing.B) {
	for _, members := range []int{10, 5000} {
		b.Run(fmt.Sprintf("members%d", members), func(b *testing.B) {
			f := newFleet(b)
			stores := []semaphore.Store{f.store(), f.store()}
			f.declare(stores[0], 100, 0)
			each(members, func(n int) { do(b, stores[0], "g", semaphore.PutMember{Node: fmt.Sprintf("n%d", n)}) })
			until(b, "both know the group", func() bool { v, _ := stores[1].View("g"); return len(v.Members) == members })
			parallel(b, 8, func(n int) { cycle(b, stores[n%2], "g", fmt.Sprintf("n%d", n)) })
		})
	}
}
