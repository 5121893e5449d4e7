package etcdstore

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// comes puts a waiter into the queue as the watch does.
func (s *Store) comes(t *testing.T, g *group, node string, rev int64, came time.Time) {
	t.Helper()
	value, err := semaphore.EncodeWaiter(semaphore.Waiter{V: 1, Node: node, Since: came})
	if err != nil {
		t.Fatal(err)
	}
	s.putWaiter(g, node, &mvccpb.KeyValue{Key: []byte(node), Value: value, CreateRevision: rev, ModRevision: rev})
}

// Ranks rise with the time. A waiter whose client comes back must not rise
// before those that stand before it do.
func TestQueue_AWaiterThatComesBackKeepsItsPlaceWhileRanksRise(t *testing.T) {
	at := time.Now()
	s := New(Config{Now: func() time.Time { return at }})
	g := s.groupLocked("g")
	came := at
	s.comes(t, g, "first", 1, came)
	s.comes(t, g, "second", 2, came)
	for _, passed := range []time.Duration{semaphore.PriorityAge - 30*time.Second, 31 * time.Second, 2 * time.Minute} {
		at = at.Add(passed)
		s.state(g)
		s.remark(g, "second")
		st := s.state(g)
		if place := semaphore.Place(&st, "second"); place != 2 {
			t.Errorf("%s after it came it is at place %d, want 2", at.Sub(came), place)
		}
	}
}

// Every poll looks, and in a long queue something changes between any two.
func TestLook_CostsNothingThatGrowsWithTheQueue(t *testing.T) {
	s := New(Config{})
	g := s.groupLocked("g")
	for i := range 5000 {
		s.comes(t, g, fmt.Sprint("n", i), int64(i+1), time.Now())
	}
	view, _ := s.View("g")
	look, _ := s.Look("g")
	if len(view.Queue) != 5000 || look.Waiting() != 5000 || !reflect.DeepEqual(look.Plain(), view) {
		t.Fatalf("View has %d waiters, Look %d, or they differ", len(view.Queue), look.Waiting())
	}
	cost := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.remark(g, "n7")
			s.Look("g")
		}
	})
	if got := cost.AllocedBytesPerOp(); got > 20_000 {
		t.Errorf("a look takes %d bytes", got)
	}
}
