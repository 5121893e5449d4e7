package etcdstore

import (
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Ranks rise with the time. A waiter whose client comes back must not rise
// before those that stand before it do.
func TestQueue_AWaiterThatComesBackKeepsItsPlaceWhileRanksRise(t *testing.T) {
	at := time.Now()
	s := New(Config{Now: func() time.Time { return at }})
	g := s.groupLocked("g")
	came := at
	comes := func(node string, rev int64) {
		value, err := semaphore.EncodeWaiter(semaphore.Waiter{V: 1, Node: node, Since: came})
		if err != nil {
			t.Fatal(err)
		}
		s.putWaiter(g, node, &mvccpb.KeyValue{Key: []byte(node), Value: value, CreateRevision: rev, ModRevision: rev})
	}
	comes("first", 1)
	comes("second", 2)
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
