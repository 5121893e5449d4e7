package semaphore

import "time"

// AtOnce is how many of the nodes may be out of service at the same time when
// nobody else holds: by slots and limits together, by the slots alone, and by
// the limits alone. With several limits it is what taking them in order comes
// to. Nodes that are no members do not count.
func AtOnce(s *State, nodes []string) (both, slots, limits int) {
	free := *s
	free.Keep(time.Time{})
	k := free.change()
	k.holds = trie[Hold]{}
	k.sums.Store(nil)
	free.kept = k
	t, only := newTally(&free, ""), newTally(&free, "")
	slots = max(0, t.slots-t.out)
	only.slots = free.Size() + len(nodes) + 1
	for _, node := range nodes {
		m, ok := free.Member(node)
		if !ok {
			continue
		}
		if t.fits(&m) {
			t.take(m)
			both++
		}
		switch {
		case len(free.Spec.Limits) == 0:
			limits++
		case only.fits(&m):
			only.take(m)
			limits++
		}
	}
	return both, slots, limits
}
