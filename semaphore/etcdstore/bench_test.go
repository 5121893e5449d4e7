package etcdstore_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// BenchmarkRawPut is what the same etcd does with one put per operation: the
// floor for one acquire or one release.
func BenchmarkRawPut(b *testing.B) {
	prefix := newFleet(b).prefix
	value := fmt.Sprintf("%0170d", 0)
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers%d", callers), func(b *testing.B) {
			parallel(b, callers, func(caller int) { rawPut(b, fmt.Sprintf("%sraw/%d", prefix, caller), value) })
		})
	}
}

// parallel lets so many callers do b.N of something together. The processor's
// time that one costs is that of etcd too.
func parallel(b *testing.B, callers int, do func(caller int)) {
	b.Helper()
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	took := make([]time.Duration, b.N)
	before := cpu()
	b.ResetTimer()
	for caller := range callers {
		all.Go(func() {
			for i := left.Add(-1); i >= 0; i = left.Add(-1) {
				begin := time.Now()
				do(caller)
				took[i] = time.Since(begin)
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
	percentiles(b, took)
}

// percentiles says how long operations took.
func percentiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	for name, perMille := range map[string]int{"p50-µs": 500, "p99-µs": 990, "p99.9-µs": 999} {
		b.ReportMetric(float64(took[len(took)*perMille/1000].Microseconds()), name)
	}
}

func rawPut(b *testing.B, key, value string) {
	if _, err := node.Client().Put(context.Background(), key, value); err != nil {
		b.Error(err)
	}
}

// BenchmarkAcquireRelease takes a slot and returns it: two transactions, or two
// parts of those that it shares with others.
func BenchmarkAcquireRelease(b *testing.B) {
	for _, c := range []struct{ callers, groups, holds int }{
		{1, 1, 0}, {64, 1, 0}, {256, 1, 0}, {64, 64, 0}, {64, 1, 10}, {64, 1, 1000},
	} {
		b.Run(fmt.Sprintf("callers%d/groups%d/holds%d", c.callers, c.groups, c.holds), func(b *testing.B) {
			s := newFleet(b).store()
			for g := range c.groups {
				name := fmt.Sprintf("g%d", g)
				do(b, s, name, semaphore.PutSpec{IfMatch: -1, Spec: semaphore.Spec{
					Slots:  semaphore.Slots{N: 2000},
					Limits: []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: 2000}}},
				}})
				each(c.callers+c.holds, func(n int) {
					do(b, s, name, semaphore.PutMember{Node: fmt.Sprintf("n%d", n), Registered: map[string]string{"zone": fmt.Sprint(n % 3)}})
					if n >= c.callers {
						do(b, s, name, agent(fmt.Sprintf("n%d", n)))
					}
				})
			}
			parallel(b, c.callers, func(n int) { cycle(b, s, fmt.Sprintf("g%d", n%c.groups), fmt.Sprintf("n%d", n)) })
		})
	}
}

// each does something for the numbers below n, 64 at a time.
func each(n int, do func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	all.Wait()
}

// BenchmarkRegister makes members of a group, and says what one costs when
// there are few, and when there are thousands.
func BenchmarkRegister(b *testing.B) {
	for _, members := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("members%d", members), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f := newFleet(b)
				s := f.store()
				f.declare(s, 1, 0)
				before := cpu()
				each(members, func(n int) { do(b, s, "g", semaphore.PutMember{Node: fmt.Sprintf("n%d", n)}) })
				b.ReportMetric(float64((cpu()-before).Microseconds())/float64(members), "cpu-µs/member")
			}
		})
	}
}

// cpu is the time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHandover is a release until the next has its slot, while so many
// wait. Who had it stands behind the others again.
func BenchmarkHandover(b *testing.B) {
	for _, c := range []struct {
		waiters int
		blocked bool // all but a few by a limit
	}{{64, false}, {10_000, false}, {10_000, true}} {
		b.Run(fmt.Sprintf("waiters%d/blocked=%t", c.waiters, c.blocked), func(b *testing.B) {
			f := newFleet(b)
			cfg := f.config()
			cfg.PlaceTime = time.Millisecond // for which a slot is kept for those that are blocked
			s := f.open(cfg)
			do(b, s, "g", semaphore.PutSpec{IfMatch: -1, Spec: semaphore.Spec{
				Slots:  semaphore.Slots{N: 2},
				Limits: []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: 1}}},
			}})
			zone := func(n int) string {
				if c.blocked && n < c.waiters-64 {
					return "dead"
				}
				return "alive"
			}
			each(c.waiters+1, func(n int) {
				do(b, s, "g", semaphore.PutMember{Node: fmt.Sprintf("n%d", n), Registered: map[string]string{"zone": zone(n)}})
			})
			do(b, s, "g", semaphore.PutMember{Node: "dead", Registered: map[string]string{"zone": "dead"}})
			do(b, s, "g", agent("dead"))
			holder := do(b, s, "g", agent(fmt.Sprintf("n%d", c.waiters))).Hold
			granted := make(chan *semaphore.Hold, 1)
			wait := func(node string) {
				a, err := s.Acquire(context.Background(), "g", new(agent(node)), time.Hour)
				if err == nil && a.Hold != nil {
					granted <- a.Hold
				}
			}
			for n := range c.waiters {
				go wait(fmt.Sprintf("n%d", n))
			}
			until(b, "all wait", func() bool { st, _ := s.View("g"); return len(st.Queue) == c.waiters })
			var took []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				begin := time.Now()
				go do(b, s, "g", release(holder))
				next := <-granted
				took = append(took, time.Since(begin))
				go wait(holder.Node)
				holder = next
			}
			percentiles(b, took)
			idle := cpu()
			time.Sleep(time.Second)
			b.ReportMetric(100*(cpu()-idle).Seconds(), "idle-%cpu")
			s.Stop()
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

func do(b testing.TB, s semaphore.Store, group string, op semaphore.Op) semaphore.Answer {
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
					if _, err := s.Acquire(context.Background(), "g", new(fleetLock(fmt.Sprintf("w%d", n), "r")), 0); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Acquire(context.Background(), "g", new(fleetLock("w0", "r")), time.Microsecond); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
