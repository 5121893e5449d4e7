package etcdstore_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
	"github.com/lockkeeper/lockkeeper/semaphore/etcdstore"
)

// coordinators are three, of which any may lead.
type coordinators struct{ leader atomic.Int32 }

func (c *coordinators) now() (list []semaphore.Coordinator, unwell string) {
	for i := range 3 {
		list = append(list, semaphore.Coordinator{Name: fmt.Sprintf("c%d", i), Leads: int(c.leader.Load()) == i})
	}
	return list, ""
}

// Two coordinators, each with a group of its own, grant to hosts of coordinators
// at the same moment: the key that says whose is out lets one through.
func TestMemberOut_OneHostIsOutThoughEachIsInAnotherGroupAtAnotherStore(t *testing.T) {
	f := newFleet(t)
	var all coordinators
	all.leader.Store(-1)
	cfg := f.config()
	cfg.Coordinators = all.now
	var stores []*etcdstore.Store
	for i := range 3 {
		s := f.open(cfg)
		stores = append(stores, s)
		group := fmt.Sprintf("g%d", i)
		for _, op := range []semaphore.Op{
			semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: 1}}, IfMatch: -1},
			semaphore.PutMember{Node: fmt.Sprintf("c%d", i)},
		} {
			if a, err := s.Do(t.Context(), group, op); err != nil || a.Kind != semaphore.OK {
				t.Fatalf("%v %+v", err, a)
			}
		}
	}
	var out, most, turns atomic.Int32
	for turn := range 20 { // all ask at once, when nobody is out
		var done sync.WaitGroup
		for i, s := range stores {
			done.Go(func() {
				group, op := fmt.Sprintf("g%d", i), agent(fmt.Sprintf("c%d", i))
				op.Request = fmt.Sprint("r", turn)
				a, err := s.Acquire(t.Context(), group, &op, patience)
				if err != nil || a.Hold == nil || a.Kind != semaphore.OK {
					t.Errorf("%s: %v %+v", op.Node, err, a)
					return
				}
				turns.Add(1)
				if n := out.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(2 * time.Millisecond) // the host is out
				out.Add(-1)
				if a, err := s.Do(t.Context(), group, release(a.Hold)); err != nil || a.Kind != semaphore.OK {
					t.Errorf("%s: %v %+v", op.Node, err, a)
				}
			})
		}
		done.Wait()
	}
	if most.Load() != 1 || turns.Load() != 60 {
		t.Errorf("%d hosts were out at once, in %d turns", most.Load(), turns.Load())
	}
	if left := f.keys("cluster/"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMemberOut_AHostThatLeadsWaitsUntilAnotherDoes(t *testing.T) {
	f := newFleet(t)
	var all coordinators
	cfg := f.config()
	cfg.Coordinators = all.now
	s := f.open(cfg)
	f.declare(s, 1, 0)
	f.ok(s, semaphore.PutMember{Node: "c0"})
	waiting := park(t.Context(), s, agent("c0"), time.Minute)
	present(t, s, "c0")
	all.leader.Store(1)
	s.Wake()
	granted(t, waiting)
	if out := s.MemberOut(); out == nil || out.Member != "c0" {
		t.Errorf("out is %+v", out)
	}
}
