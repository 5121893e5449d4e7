package etcdstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
	"github.com/lockkeeper/lockkeeper/semaphore/etcdstore"
)

// starve declares two slots, one in each zone and one in each rack at most. x
// needs zone z1 and rack r1; a and b hold one of them each.
func (f *fleet) starve(s semaphore.Store) {
	f.t.Helper()
	f.declare(s, 2, 0)
	for node, labels := range map[string]map[string]string{
		"a": {"zone": "z1", "rack": "r2"}, "b": {"zone": "z2", "rack": "r1"}, "x": {"zone": "z1", "rack": "r1"},
	} {
		f.ok(s, semaphore.PutMember{Node: node, Registered: labels})
	}
	one := semaphore.Slots{N: 1}
	f.ok(s, semaphore.PutSpec{IfMatch: -1, Spec: semaphore.Spec{
		Slots: semaphore.Slots{N: 2}, Limits: []semaphore.Limit{{By: "zone", Max: one}, {By: "rack", Max: one}},
	}})
	f.ok(s, agent("a"))
	f.ok(s, agent("b"))
}

// takeTurns lets holders return their slots in turn, each taking it again at
// once where it may, and says after how many grants the waiter had its hold.
func (f *fleet) takeTurns(s semaphore.Store, waiter <-chan outcome, most int) int {
	f.t.Helper()
	before := f.grants(s)
	for turn := 0; f.grants(s)-before < int64(most); turn++ {
		node := []string{"a", "b"}[turn%2]
		st, _ := s.View("g")
		if h, holds := st.Holds[node]; holds {
			f.ok(s, release(&h))
		}
		if a, err := s.Do(f.t.Context(), "g", agent(node)); err != nil {
			f.t.Fatal(err)
		} else if a.Kind != semaphore.OK && a.Kind != semaphore.Queued && a.Kind != semaphore.LimitReached {
			f.t.Fatalf("%+v", a)
		}
		select {
		case o := <-waiter:
			if o.err != nil || o.answer.Hold == nil {
				f.t.Fatalf("%+v, %v", o.answer, o.err)
			}
			return int(f.grants(s) - before)
		default:
		}
	}
	f.t.Fatalf("%d grants went past it", most)
	return 0
}

func (f *fleet) grants(s semaphore.Store) int64 {
	f.t.Helper()
	st, err := s.Read(f.t.Context(), "g")
	if err != nil {
		f.t.Fatal(err)
	}
	return st.Head.Grants
}

func TestReserve_AWaiterThatNeedsTwoLimitsGoesWithinItsBound(t *testing.T) {
	for name, elsewhere := range map[string]bool{"at this coordinator": false, "at another": true} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			s := f.store()
			f.starve(s)
			at := semaphore.Store(s)
			if elsewhere {
				at = f.store()
			}
			x := park(t.Context(), at, agent("x"), time.Minute)
			queued(t, s, "x", 1)
			// It is overtaken by 10 grants for each of the two slots, and then
			// by those at most that were under way.
			if n := f.takeTurns(s, x, 200); n < 20 || n > 24 {
				t.Errorf("it went after %d grants, want 20 and a few", n)
			}
		})
	}
}

// poll asks as a FleetLock host does that does not wait for an answer.
func (f *fleet) poll(s semaphore.Store, node string) semaphore.Answer {
	f.t.Helper()
	a, err := s.Acquire(f.t.Context(), "g", new(fleetLock(node, "r")), 0)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

func TestReserve_AHostThatPollsFindsItsSlotAtItsNextPoll(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	f.declare(s, 1, 2)
	h := f.ok(s, agent("n0")).Hold
	if a := f.poll(s, "host"); a.Place != 1 {
		t.Fatalf("%+v", a)
	}
	time.Sleep(4 * time.Second) // its interval, for which its slot is kept
	f.poll(s, "host")
	for range semaphore.OvertakenPerSlot {
		f.ok(s, release(h))
		h = f.ok(s, agent("n0")).Hold
	}
	f.ok(s, release(h))
	if a, err := s.Do(t.Context(), "g", agent("n0")); err != nil || a.Kind != semaphore.Queued {
		t.Fatalf("%+v, %v; want the slot kept for the host that polls", a, err)
	}
	if a := f.poll(s, "host"); a.Hold == nil {
		t.Fatalf("%+v; want a hold", a)
	}
}

// overtaken makes a waiter whose limit a dead host holds, and that PlaceTime
// is short for. The other slot is n0's.
func (f *fleet) overtaken() *etcdstore.Store {
	f.t.Helper()
	cfg := f.config()
	cfg.PlaceTime = 400 * time.Millisecond
	s := f.open(cfg)
	f.starve(s)
	st, _ := s.View("g")
	for _, h := range st.Holds {
		f.ok(s, release(&h))
	}
	f.ok(s, agent("a"))
	f.ok(s, semaphore.PutMember{Node: "free", Registered: map[string]string{"zone": "z3", "rack": "r3"}})
	return s
}

func TestReserve_ABlockedWaiterWastesASlotForOneIntervalOnly(t *testing.T) {
	f := newFleet(t)
	s := f.overtaken()
	park(t.Context(), s, agent("x"), time.Minute)
	queued(t, s, "x", 1)
	reservations, wasted, least := 0, time.Time{}, time.Hour
	for done := 0; done < 90; {
		a, err := s.Do(t.Context(), "g", agent("free"))
		switch {
		case err != nil:
			t.Fatal(err)
		case a.Kind == semaphore.OK:
			if !wasted.IsZero() {
				least, wasted = min(least, time.Since(wasted)), time.Time{}
			}
			f.ok(s, release(a.Hold))
			done++
		case a.Kind != semaphore.Queued:
			t.Fatalf("%+v", a)
		case wasted.IsZero():
			wasted = time.Now()
			reservations++
		}
	}
	// 90 grants overtook it, and 20 earn a reservation.
	if reservations < 1 || reservations > 4 {
		t.Errorf("%d reservations in 90 grants, want one in 20", reservations)
	}
	// A busy machine adds to one of them, hardly as much to each.
	if least > time.Second {
		t.Errorf("a slot was wasted for %s at least, want 400 ms", least)
	}
	t.Logf("%d reservations, which wasted %s at least", reservations, least)
}

func TestReserve_EndsWhenTheWaiterGoes(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	f.starve(s)
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	x := park(ctx, s, agent("x"), time.Minute)
	queued(t, s, "x", 1)
	f.ok(s, semaphore.PutMember{Node: "y", Registered: map[string]string{"zone": "z1", "rack": "r1"}})
	park(t.Context(), s, agent("y"), time.Minute)
	queued(t, s, "y", 2)
	for range semaphore.OvertakenPerSlot {
		for _, node := range []string{"a", "b"} {
			st, _ := s.View("g")
			h := st.Holds[node]
			f.ok(s, release(&h))
			f.ok(s, agent(node))
		}
	}
	st, _ := s.View("g")
	if !st.Queue[0].Reserved {
		t.Fatalf("nothing is reserved after 20 grants: %+v", st.Queue)
	}
	h := st.Holds["a"]
	f.ok(s, release(&h))
	if a, err := s.Do(t.Context(), "g", agent("a")); err != nil || a.Kind != semaphore.Queued {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := s.Leave(t.Context(), "g", "x"); err != nil {
		t.Fatal(err)
	}
	<-x
	f.ok(s, agent("a"))
	// y stood behind one: it is overtaken by one grant less.
	for _, node := range []string{"a", "b"} {
		st, _ := s.View("g")
		h := st.Holds[node]
		f.ok(s, release(&h))
		if a, err := s.Do(t.Context(), "g", agent(node)); err != nil || a.Kind != semaphore.OK && !a.Kind.Passes() {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	until(t, "the next has a reservation", func() bool {
		st, _ := s.View("g")
		y, waits := st.Waiter("y")
		_, holds := st.Hold("y")
		return holds || waits && y.Reserved
	})
}

func TestReserve_NothingIsKeptForAHostThatAskedOnceAndLeft(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	f.declare(s, 1, 2)
	h := f.ok(s, agent("n0")).Hold
	if a := f.poll(s, "gone"); a.Place != 1 {
		t.Fatalf("%+v", a)
	}
	for range 2 * semaphore.OvertakenPerSlot {
		f.ok(s, release(h))
		h = f.ok(s, agent("n0")).Hold // never refused
	}
}
