package semaphore

import "slices"

// waits counts a kept queue's waiters for each limit, by the value of its label:
// whether a slot that comes back can go to any of ten thousand is then found out
// without asking each of them.
type waits struct {
	limits []Limit // counted for these
	by     []trie[int]
}

func newWaits(s *State) *waits {
	u := &waits{limits: s.Spec.Limits, by: make([]trie[int], len(s.Spec.Limits))}
	counts := make([]map[string]int, len(u.limits))
	for i := range counts {
		counts[i] = map[string]int{}
	}
	s.EachWaiter(func(w *Waiter) bool {
		if m := s.kept.members.get(w.Node); m != nil {
			for i, l := range u.limits {
				counts[i][m.label(l.By)]++
			}
		}
		return true
	})
	for i := range counts {
		for value, n := range counts[i] {
			u.by[i] = u.by[i].with(value, &n)
		}
	}
	return u
}

// moved are the counts after a waiter came, went or became a member of other
// labels; nil is none.
func (u *waits) moved(old, m *Member) *waits {
	if u == nil || len(u.limits) == 0 {
		return u
	}
	next := &waits{limits: u.limits, by: slices.Clone(u.by)}
	for i, l := range u.limits {
		if old != nil {
			next.by[i] = plus(next.by[i], old.label(l.By), -1)
		}
		if m != nil {
			next.by[i] = plus(next.by[i], m.label(l.By), 1)
		}
	}
	return next
}

// waits are those of a kept state, from what it keeps if they can be.
func (s *State) waits() *waits {
	if u := s.kept.waits.Load(); u != nil && slices.Equal(u.limits, s.Spec.Limits) {
		return u
	}
	u := newWaits(s)
	s.kept.waits.Store(u)
	return u
}

// mayFit is false when a limit leaves no room for any waiter. It is true where
// that would have to be found out by asking each.
func (t *tally) mayFit() bool {
	if t.s.kept == nil || t.s.Spec.CountUnreachable || len(t.s.Spec.Limits) == 0 {
		return true
	}
	u := t.s.waits()
	for i := range u.limits {
		room := false
		for value := range u.by[i].all() {
			if room = t.bucket(i, value) < t.bound(i, value); room {
				break
			}
		}
		if !room {
			return false
		}
	}
	return true
}
