package semaphore

import (
	"iter"
	"slices"
)

// sums counts who is out of service in a state: in all and for each limit. A
// kept state carries them on from change to change.
type sums struct {
	limits    []Limit // counted for these
	countDown bool    // whether members that are down count
	down      int     // members that are down and do not hold, where they count
	buckets   []trie[int]
	members   []trie[int] // of percent limits: members, by value of its label
}

func (u *sums) fit(spec *Spec) bool {
	return u != nil && u.countDown == spec.CountUnreachable && slices.Equal(u.limits, spec.Limits)
}

func newSums(s *State) *sums {
	u := &sums{limits: s.Spec.Limits, countDown: s.Spec.CountUnreachable}
	if len(u.limits) == 0 && !u.countDown {
		return u
	}
	u.buckets = make([]trie[int], len(u.limits))
	u.members = make([]trie[int], len(u.limits))
	for _, h := range s.EachHold() {
		u.outBy(h, nil, 1)
	}
	percent := slices.ContainsFunc(u.limits, func(l Limit) bool { return l.Max.Percent })
	if !u.countDown && !percent {
		return u
	}
	for node, m := range s.EachMember() {
		if _, holds := s.Hold(node); !holds {
			u.outBy(nil, m, 1)
		}
		u.memberBy(m, 1)
	}
	return u
}

// outBy counts a node that is out by its hold, or by being down.
func (u *sums) outBy(h *Hold, m *Member, n int) {
	switch {
	case h != nil:
		for i, l := range u.limits {
			u.buckets[i] = plus(u.buckets[i], h.Labels[l.By], n)
		}
	case m != nil && m.Down && u.countDown:
		u.down += n
		for i, l := range u.limits {
			u.buckets[i] = plus(u.buckets[i], m.label(l.By), n)
		}
	}
}

func (u *sums) memberBy(m *Member, n int) {
	for i, l := range u.limits {
		if l.Max.Percent && m != nil {
			u.members[i] = plus(u.members[i], m.label(l.By), n)
		}
	}
}

func plus(t trie[int], value string, n int) trie[int] {
	if old := t.get(value); old != nil {
		n += *old
	}
	if n == 0 {
		return t.without(value)
	}
	return t.with(value, &n)
}

// moved are the sums after one node's hold and member changed.
func (u *sums) moved(oldHold *Hold, oldMember *Member, hold *Hold, member *Member) *sums {
	if u == nil || len(u.limits) == 0 && !u.countDown {
		return u
	}
	next := *u
	next.buckets, next.members = slices.Clone(u.buckets), slices.Clone(u.members)
	next.outBy(oldHold, oldMember, -1)
	next.outBy(hold, member, 1)
	if oldMember != member {
		next.memberBy(oldMember, -1)
		next.memberBy(member, 1)
	}
	return &next
}

// sums are those of the state, from what it keeps if it can be.
func (s *State) sums() *sums {
	if s.kept == nil {
		return newSums(s)
	}
	if u := s.kept.sums.Load(); u.fit(&s.Spec) {
		return u
	}
	u := newSums(s)
	s.kept.sums.Store(u)
	return u
}

// EachHold goes through the holds by node, in no order. They must not be
// changed.
func (s *State) EachHold() iter.Seq2[string, *Hold] {
	if s.kept != nil {
		return s.kept.holds.all()
	}
	return func(yield func(string, *Hold) bool) {
		for node, h := range s.Holds {
			if !yield(node, &h) {
				return
			}
		}
	}
}

// EachMember goes through the members by node, in no order. They must not be
// changed.
func (s *State) EachMember() iter.Seq2[string, *Member] {
	if s.kept != nil {
		return s.kept.members.all()
	}
	return func(yield func(string, *Member) bool) {
		for node, m := range s.Members {
			if !yield(node, &m) {
				return
			}
		}
	}
}
