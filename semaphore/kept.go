package semaphore

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A State can keep its holds, members and queue so that each change costs the
// same in a group of ten nodes and of ten thousand, and so that copies of it
// share all that they have in common. Holds, Members and Queue are empty then;
// Hold, Member, Waiter and the rest of the methods say what is in it, Set and
// Drop change it, and Plain gives back a state with plain maps. Decide, Apply
// and all that explains take both forms.

// kept is never changed: a change makes another.
type kept struct {
	holds   trie[Hold]
	members trie[Member]
	places  trie[placed] // by node
	queue   line
	sums    atomic.Pointer[sums]
	waits   atomic.Pointer[waits]
	plain   *plain
}

// placed is a waiter and the rank that it was put into the queue with.
type placed struct {
	w    *Waiter
	rank int
}

// plain is what Plain made of a kept state, for those who ask again. The parts
// are made apart, and stay while that part does not change.
type plain struct {
	holds   *once[map[string]Hold]
	members *once[map[string]Member]
	queue   *once[[]Waiter]
}

type once[T any] struct {
	sync.Once
	value T
}

func (o *once[T]) get(make func() T) T {
	o.Do(func() { o.value = make() })
	return o.value
}

// Keep makes the state a kept one, with the queue in order as of now.
func (s *State) Keep(now time.Time) {
	if s.kept != nil {
		return
	}
	holds, members, queue := s.Holds, s.Members, s.Queue
	s.Holds, s.Members, s.Queue = nil, nil, nil
	s.kept = &kept{plain: &plain{&once[map[string]Hold]{}, &once[map[string]Member]{}, &once[[]Waiter]{}}}
	for _, h := range holds {
		s.SetHold(h)
	}
	for _, m := range members {
		s.SetMember(m)
	}
	for _, w := range queue {
		s.SetWaiter(w, now)
	}
}

// change is a copy of what is kept, to be changed.
func (s *State) change() *kept {
	old := s.kept
	k := &kept{holds: old.holds, members: old.members, places: old.places, queue: old.queue}
	k.sums.Store(old.sums.Load())
	k.waits.Store(old.waits.Load())
	p := *old.plain
	k.plain = &p
	return k
}

// Plain is the state with plain maps and queue. The queue is in the order of
// the last changes and of the last Reorder.
func (s *State) Plain() State {
	k := s.kept
	if k == nil {
		return *s
	}
	st := *s
	st.kept = nil
	st.Holds = k.plain.holds.get(func() map[string]Hold {
		m := make(map[string]Hold, k.holds.size)
		for node, h := range k.holds.all() {
			m[node] = *h
		}
		return m
	})
	st.Members = k.plain.members.get(func() map[string]Member {
		m := make(map[string]Member, k.members.size)
		for node, v := range k.members.all() {
			m[node] = *v
		}
		return m
	})
	st.Queue = k.plain.queue.get(func() []Waiter {
		list := make([]Waiter, 0, k.queue.root.length())
		k.queue.root.each(func(w *Waiter) bool {
			list = append(list, *w)
			return true
		})
		return slices.Clip(list)
	})
	return st
}

// SetHold puts a hold into a kept state.
func (s *State) SetHold(h Hold) {
	k := s.change()
	old, m := k.holds.get(h.Node), k.members.get(h.Node)
	k.sums.Store(k.sums.Load().moved(old, m, &h, m))
	k.holds, k.plain.holds = k.holds.with(h.Node, &h), &once[map[string]Hold]{}
	s.kept = k
}

// DropHold takes a hold out of a kept state.
func (s *State) DropHold(node string) {
	old := s.kept.holds.get(node)
	if old == nil {
		return
	}
	k := s.change()
	m := k.members.get(node)
	k.sums.Store(k.sums.Load().moved(old, m, nil, m))
	k.holds, k.plain.holds = k.holds.without(node), &once[map[string]Hold]{}
	s.kept = k
}

// SetMember puts a member into a kept state.
func (s *State) SetMember(m Member) {
	k := s.change()
	old, h := k.members.get(m.Node), k.holds.get(m.Node)
	k.sums.Store(k.sums.Load().moved(h, old, h, &m))
	if k.places.get(m.Node) != nil {
		k.waits.Store(k.waits.Load().moved(old, &m))
	}
	k.members, k.plain.members = k.members.with(m.Node, &m), &once[map[string]Member]{}
	s.kept = k
}

// DropMember takes a member out of a kept state.
func (s *State) DropMember(node string) {
	old := s.kept.members.get(node)
	if old == nil {
		return
	}
	k := s.change()
	h := k.holds.get(node)
	k.sums.Store(k.sums.Load().moved(h, old, h, nil))
	if k.places.get(node) != nil {
		k.waits.Store(k.waits.Load().moved(old, nil))
	}
	k.members, k.plain.members = k.members.without(node), &once[map[string]Member]{}
	s.kept = k
}

// SetWaiter puts a waiter into the queue of a kept state, or changes the one
// of that node, at its place as of now.
func (s *State) SetWaiter(w Waiter, now time.Time) {
	k := s.change()
	if old := k.places.get(w.Node); old != nil {
		k.queue = k.queue.without(old.w, old.rank)
	} else {
		k.waits.Store(k.waits.Load().moved(nil, k.members.get(w.Node)))
	}
	rank := w.Rank(now)
	k.queue = k.queue.with(&w, rank)
	k.places, k.plain.queue = k.places.with(w.Node, &placed{&w, rank}), &once[[]Waiter]{}
	s.kept = k
}

// DropWaiter takes a waiter out of the queue of a kept state.
func (s *State) DropWaiter(node string) {
	old := s.kept.places.get(node)
	if old == nil {
		return
	}
	k := s.change()
	k.queue = k.queue.without(old.w, old.rank)
	k.waits.Store(k.waits.Load().moved(k.members.get(node), nil))
	k.places, k.plain.queue = k.places.without(node), &once[[]Waiter]{}
	s.kept = k
}

// Reorder puts the queue of a kept state in order as of now: priorities rise
// with time.
func (s *State) Reorder(now time.Time) {
	var aged []Waiter
	for _, p := range s.kept.places.all() {
		if p.w.Rank(now) != p.rank {
			aged = append(aged, *p.w)
		}
	}
	for _, w := range aged {
		s.SetWaiter(w, now)
	}
}

// Hold is the node's hold, if it has one.
func (s *State) Hold(node string) (Hold, bool) {
	if s.kept == nil {
		h, ok := s.Holds[node]
		return h, ok
	}
	if h := s.kept.holds.get(node); h != nil {
		return *h, true
	}
	return Hold{}, false
}

// Member is what is known of the node, if it is a member.
func (s *State) Member(node string) (Member, bool) {
	if s.kept == nil {
		m, ok := s.Members[node]
		return m, ok
	}
	if m := s.kept.members.get(node); m != nil {
		return *m, true
	}
	return Member{}, false
}

// Waiter is the node's place in the queue, if it has one.
func (s *State) Waiter(node string) (Waiter, bool) {
	if s.kept == nil {
		if i := slices.IndexFunc(s.Queue, func(w Waiter) bool { return w.Node == node }); i >= 0 {
			return s.Queue[i], true
		}
	} else if p := s.kept.places.get(node); p != nil {
		return *p.w, true
	}
	return Waiter{}, false
}

// EachWaiter goes through the queue in order. Waiters must not be changed.
func (s *State) EachWaiter(yield func(*Waiter) bool) {
	if s.kept != nil {
		s.kept.queue.root.each(yield)
		return
	}
	for i := range s.Queue {
		if !yield(&s.Queue[i]) {
			return
		}
	}
}

// Held is how many holds there are.
func (s *State) Held() int {
	if s.kept == nil {
		return len(s.Holds)
	}
	return s.kept.holds.size
}

// Size is how many members the group has.
func (s *State) Size() int {
	if s.kept == nil {
		return len(s.Members)
	}
	return s.kept.members.size
}

// Waiting is how many nodes wait.
func (s *State) Waiting() int {
	if s.kept == nil {
		return len(s.Queue)
	}
	return s.kept.queue.root.length()
}

// Ahead is how many would stand before a waiter that came now, with no
// priority.
func (s *State) Ahead(now time.Time) int {
	if s.kept != nil {
		return s.kept.queue.ahead(-1, 0, "")
	}
	n := len(s.Queue)
	for n > 0 && s.Queue[n-1].Rank(now) < 0 {
		n--
	}
	return n
}

// DropQueue empties the queue of a kept state.
func (s *State) DropQueue() {
	k := s.change()
	k.places, k.queue, k.plain.queue = trie[placed]{}, line{}, &once[[]Waiter]{}
	k.waits.Store(nil)
	s.kept = k
}

// TakeHoldsAndMembers makes the holds and members of another kept state those
// of this one. Its queue stays.
func (s *State) TakeHoldsAndMembers(from *State) {
	k := s.change()
	k.holds, k.members, k.plain.holds, k.plain.members = from.kept.holds, from.kept.members, from.kept.plain.holds, from.kept.plain.members
	k.sums.Store(from.kept.sums.Load())
	k.waits.Store(nil) // the waiters may have other labels now
	s.kept = k
}
