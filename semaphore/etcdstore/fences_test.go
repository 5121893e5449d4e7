package etcdstore_test

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// An agent that is told that it cannot confirm, because the fleet is frozen,
// must not lose its grant for that to a store which has not heard of the freeze.
func TestExpire_AStoreThatHasNotHeardOfTheFreezeTakesNoGrantBack(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	f.declare(s, 1, 1)
	h := f.ok(s, agent("n0")).Hold
	stale, faults := f.faultyStore()
	faults.cut(true)
	until(t, "a deaf watch is open", func() bool { return faults.open() > 0 })
	if _, err := s.Freeze(t.Context(), semaphore.Freeze{By: "operator", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	a, err := stale.Do(t.Context(), "g", semaphore.Expire{Node: "n0", Fence: h.Fence})
	if err != nil || a.Kind != semaphore.Frozen {
		t.Errorf("%+v, %v; want frozen", a, err)
	}
	if held := holds(t, s); held["n0"].Fence != h.Fence {
		t.Errorf("the grant is gone: %+v", held)
	}
}
