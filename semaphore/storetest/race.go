package storetest

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// race lets 32 clients take and return slots over both stores. An observer
// outside of the stores counts the hosts that are out of service between the
// answer to a confirm and the release.
func race(f *fixture) {
	const clients, rounds, slots = 32, 4, 3
	f.declare("3", clients)
	var out, most atomic.Int64
	var fences sync.Map
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			stores := []semaphore.Store{f.a, f.b}
			pick := func() semaphore.Store { return stores[rand.IntN(2)] }
			for range rounds {
				answer, err := pick().Acquire(f.ctx, group, new(agent(node(i))), time.Minute)
				if err != nil || answer.Kind != semaphore.OK {
					f.Errorf("%s: %q (%s), %v", node(i), answer.Kind, answer.Detail, err)
					return
				}
				h := *answer.Hold
				if other, twice := fences.LoadOrStore(h.Fence, h.Node); twice {
					f.Errorf("fence %d went to %s and to %v", h.Fence, h.Node, other)
				}
				if got, err := pick().Do(f.ctx, group, confirm(h)); err != nil || got.Kind != semaphore.OK {
					f.Errorf("%s: confirm: %q (%s), %v", node(i), got.Kind, got.Detail, err)
					return
				}
				n := out.Add(1)
				for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
				}
				time.Sleep(time.Millisecond) // its work
				out.Add(-1)
				if got, err := pick().Do(f.ctx, group, release(h)); err != nil || got.Kind != semaphore.OK {
					f.Errorf("%s: release: %q (%s), %v", node(i), got.Kind, got.Detail, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if most.Load() > slots {
		f.Errorf("%d hosts were out of service at once, %d slots", most.Load(), slots)
	}
	f.held()
	f.until("nobody waits", func() bool { return len(f.read().Queue) == 0 })
}

// raceOneNode asks for one node through both stores at once.
func raceOneNode(f *fixture) {
	f.declare("5", 1)
	var fences sync.Map
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			s := f.a
			if i%2 == 0 {
				s = f.b
			}
			answer, err := s.Do(f.ctx, group, agent(node(0)))
			if err != nil || answer.Kind != semaphore.OK {
				f.Errorf("%q (%s), %v", answer.Kind, answer.Detail, err)
				return
			}
			fences.Store(answer.Hold.Fence, true)
		})
	}
	wg.Wait()
	count := 0
	fences.Range(func(any, any) bool { count++; return true })
	if count != 1 || len(f.read().Holds) != 1 {
		f.Errorf("one node got %d fences and has %d holds", count, len(f.read().Holds))
	}
}
