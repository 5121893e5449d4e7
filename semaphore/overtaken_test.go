package semaphore_test

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// starving is a group in which x needs two limits to be free at once, zone z1
// and rack r1, and others keep taking one or the other.
func starving(t *testing.T) *bench {
	b := newBench(t)
	for node, labels := range map[string]map[string]string{
		"a": {"zone": "z1", "rack": "r2"}, "b": {"zone": "z2", "rack": "r1"}, "x": {"zone": "z1", "rack": "r1"},
	} {
		b.ok(semaphore.PutMember{Node: node, Registered: labels})
	}
	one := semaphore.Slots{N: 1}
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 2}, Limits: []semaphore.Limit{{By: "zone", Max: one}, {By: "rack", Max: one}}})
	b.take(agent("a"))
	b.take(agent("b"))
	b.wait("x")
	b.Queue[0].Grants = b.Head.Grants
	return b
}

// round returns one of the holds and takes it again, as often as it can be had.
func (b *bench) round(node string) bool {
	b.Helper()
	b.ok(releaseOf(b.Holds[node]))
	if _, goes := b.Holds["x"]; goes {
		return true
	}
	b.do(agent(node))
	return false
}

func TestOvertaken_CountsTheGrantsBeyondThoseBeforeIt(t *testing.T) {
	b := starving(t)
	b.Queue[0].Ahead = 2
	for i := range 5 {
		if got, want := semaphore.Overtaken(&b.State, b.Queue[0]), int64(max(0, i-2)); got != want {
			t.Errorf("after %d grants it was overtaken by %d, want %d", i, got, want)
		}
		b.round([]string{"a", "b"}[i%2])
	}
}

func TestReserved_AWaiterThatNeedsTwoLimitsGoesInTheEnd(t *testing.T) {
	b := starving(t)
	goes := func() bool { return b.round("a") || b.round("b") }
	for i := range 20 * semaphore.OvertakenPerSlot {
		if goes() {
			t.Fatalf("without a reservation it went after %d rounds: the test starves nobody", i)
		}
	}
	if !semaphore.MayReserve(&b.State, b.Queue[0], 0) {
		t.Fatal("it was overtaken all the time and may not reserve")
	}
	b.Queue[0].Reserved = true
	went := goes()
	if went = went || goes(); !went {
		t.Fatalf("with a reservation it does not go: %+v", semaphore.Blockers(&b.State, "x", b.now))
	}
}

func TestReserved_KeepsWhatItNeedsAndNothingElse(t *testing.T) {
	b := starving(t)
	b.ok(semaphore.PutMember{Node: "c", Registered: map[string]string{"zone": "z3", "rack": "r3"}})
	spec := b.Spec
	spec.Slots.N = 3
	b.spec(spec)
	b.Queue[0].Reserved = true
	b.ok(releaseOf(b.Holds["a"]))
	b.refused(agent("a"), semaphore.Queued) // its zone is kept, though x cannot go yet
	b.take(agent("c"))                      // needs nothing that is kept but a slot, and there are three
}

func TestReserved_StandsForAHostThatIsAbsentBetweenItsPolls(t *testing.T) {
	b := newBench(t)
	b.wait("x", "b")
	b.ok(semaphore.PutMember{Node: "x"})
	b.Queue[0].Present, b.Queue[0].Reserved = false, true
	b.nothing(semaphore.Admit{})
	b.refused(agent("b"), semaphore.Queued)
	b.take(agent("x"))
	b.held("x")
}

func TestMayReserve_NeedsTenGrantsForEachSlotSinceTheLast(t *testing.T) {
	for slots, bound := range map[int]int64{0: 10, 1: 10, 3: 30} {
		s := semaphore.State{Spec: semaphore.Spec{Slots: semaphore.Slots{N: slots}}}
		w := semaphore.Waiter{Grants: 100}
		for _, since := range []int64{0, 7} {
			s.Head.Grants = 100 + bound + since - 1
			before := semaphore.MayReserve(&s, w, since)
			s.Head.Grants++
			if after := semaphore.MayReserve(&s, w, since); before || !after {
				t.Errorf("%d slots, since %d: %t below the bound, %t at it", slots, since, before, after)
			}
		}
	}
}
