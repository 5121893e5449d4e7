package etcdstore_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// BenchmarkRawPut is what the same etcd does with one put per operation: the
// floor for one acquire or one release.
func BenchmarkRawPut(b *testing.B) {
	prefix := newFleet(b).prefix
	value := fmt.Sprintf("%0170d", 0)
	b.Run("one", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			rawPut(b, fmt.Sprintf("%sraw/%d", prefix, i%1000), value)
		}
	})
	b.Run("parallel64", func(b *testing.B) {
		var n atomic.Int64
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				rawPut(b, fmt.Sprintf("%sraw/%d", prefix, n.Add(1)%1000), value)
			}
		})
	})
}

func rawPut(b *testing.B, key, value string) {
	if _, err := node.Client().Put(context.Background(), key, value); err != nil {
		b.Error(err)
	}
}

// BenchmarkAcquireRelease takes a slot and returns it: two transactions.
func BenchmarkAcquireRelease(b *testing.B) {
	b.Run("one", func(b *testing.B) {
		f := newFleet(b)
		s := f.store()
		f.declare(s, 1, 1)
		for b.Loop() {
			cycle(b, s, "g", "n0")
		}
	})
	for _, groups := range []int{1, 64} {
		b.Run(fmt.Sprintf("parallel64/groups%d", groups), func(b *testing.B) {
			s := newFleet(b).store()
			for g := range groups {
				do(b, s, fmt.Sprintf("g%d", g), semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: 200}}, IfMatch: -1})
				for n := range 200 {
					do(b, s, fmt.Sprintf("g%d", g), semaphore.PutMember{Node: fmt.Sprintf("n%d", n)})
				}
			}
			var n atomic.Int64
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				id := n.Add(1)
				for pb.Next() {
					cycle(b, s, fmt.Sprintf("g%d", id%int64(groups)), fmt.Sprintf("n%d", id))
				}
			})
		})
	}
}

func cycle(b *testing.B, s semaphore.Store, group, node string) {
	a := do(b, s, group, agent(node))
	if a.Hold == nil {
		b.Errorf("no hold: %+v", a)
		return
	}
	do(b, s, group, release(a.Hold))
}

func do(b *testing.B, s semaphore.Store, group string, op semaphore.Op) semaphore.Answer {
	a, err := s.Do(context.Background(), group, op)
	if err != nil || a.Kind != semaphore.OK {
		b.Errorf("%T: %+v, %v", op, a, err)
	}
	return a
}

// BenchmarkPark is one client that waits for a moment and leaves, behind
// thousands that keep their places. The queue is copied for a batch at most,
// and not for each step of each waiter.
func BenchmarkPark(b *testing.B) {
	for _, waiters := range []int{1, 4000} {
		b.Run(fmt.Sprintf("behind%d", waiters), func(b *testing.B) {
			f := newFleet(b)
			s := f.store()
			f.declare(s, 1, 1)
			do(b, s, "g", agent("n0"))
			var wg sync.WaitGroup
			for n := range waiters {
				wg.Go(func() {
					if _, err := s.Acquire(context.Background(), "g", fleetLock(fmt.Sprintf("w%d", n), "r"), 0); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Acquire(context.Background(), "g", fleetLock("w0", "r"), time.Microsecond); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
