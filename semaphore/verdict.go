package semaphore

import (
	"fmt"
	"maps"
	"sort"
	"time"
)

// PriorityAge is how long a waiter waits until its priority rises by one.
const PriorityAge = 24 * time.Hour

// SlotCount is the number of slots of the group's members at this revision.
func (s *State) SlotCount() int { return s.Spec.Slots.Of(s.Size()) }

// OutOfService counts the holders and, in a group that counts them, the
// members that are down; each node once.
func (s *State) OutOfService() int { return newTally(s, "").out }

// Frozen is the stop in force: the fleet's, else the group's, else nil.
func (s *State) Frozen() *Freeze {
	if s.Freeze != nil {
		return s.Freeze
	}
	return s.Head.Freeze
}

// stopped is the stop in force that confirmed holders heed too, else nil.
func (s *State) stopped() *Freeze {
	for _, f := range []*Freeze{s.Freeze, s.Head.Freeze} {
		if f != nil && f.Stop {
			return f
		}
	}
	return nil
}

// Labels are the member's effective labels: declared ones win over registered.
func (m Member) Labels() map[string]string {
	labels := make(map[string]string, len(m.Registered)+len(m.Declared))
	maps.Copy(labels, m.Registered)
	maps.Copy(labels, m.Declared)
	return labels
}

// label is one effective label, "" without it.
func (m Member) label(name string) string {
	if v, ok := m.Declared[name]; ok {
		return v
	}
	return m.Registered[name]
}

// Rank is the waiter's priority with what it gained by waiting.
func (w Waiter) Rank(now time.Time) int {
	return w.Priority + max(0, int(now.Sub(w.Since)/PriorityAge))
}

// SortQueue puts waiters in order: rank, higher first, then ticket. A Store
// keeps State.Queue in this order.
func SortQueue(queue []Waiter, now time.Time) {
	sort.SliceStable(queue, func(i, j int) bool {
		a, b := queue[i], queue[j]
		if ra, rb := a.Rank(now), b.Rank(now); ra != rb {
			return ra > rb
		}
		return a.CreateRevision < b.CreateRevision
	})
}

// Place is the node's place in the queue: 1 is next, 0 is not queued.
func Place(s *State, node string) int {
	if s.kept != nil {
		if p := s.kept.places.get(node); p != nil {
			return s.kept.queue.ahead(p.rank, p.w.CreateRevision, node) + 1
		}
		return 0
	}
	for i := range s.Queue {
		if s.Queue[i].Node == node {
			return i + 1
		}
	}
	return 0
}

// Blockers says why an acquire of the node would not be granted now, the
// weightiest reason first; none when it may go, or holds already. Decide asks
// the same function.
func Blockers(s *State, node string, now time.Time) []Blocker {
	return blockers(s, node, now, false)
}

func blockers(s *State, node string, now time.Time, overtake bool) []Blocker {
	switch {
	case s.NewerSchema != "":
		return []Blocker{newerSchema(s)}
	case !s.Exists():
		return []Blocker{{Kind: UnknownGroup, Detail: unknownGroup(s)}}
	}
	if _, holds := s.Hold(node); holds {
		return nil
	}
	m, ok := s.Member(node)
	if !ok {
		return []Blocker{{Kind: NotFound, Detail: notMember(s, node)}}
	}
	var found []Blocker
	if b := barred(m, now); b != nil {
		found = append(found, *b)
	}
	if f := s.Frozen(); f != nil {
		found = append(found, frozen(s, f))
	}
	found = append(found, shut(s, now)...)
	t := newTally(s, "")
	found = append(found, t.room(m)...)
	if b := t.hostBlocker(&m); b != nil {
		found = append(found, *b)
	}
	if len(found) > 0 {
		return found
	}
	if first := before(t, m, now, overtake); first > 0 {
		found = append(found, Blocker{Kind: Queued, Detail: firstText(first)})
	}
	return found
}

// barred says why the member itself may not be granted anything.
func barred(m Member, now time.Time) *Blocker {
	switch {
	case m.Duplicate != "":
		return &Blocker{Kind: DuplicateID, Detail: "this id was seen on two hosts: " + m.Duplicate}
	case m.RetryAfter.After(now):
		return &Blocker{
			Kind:   RetryLater,
			Detail: fmt.Sprintf("its last %d grants were not confirmed; it may ask again at %s", m.Unconfirmed, m.RetryAfter.UTC().Format(time.RFC3339)),
			Until:  m.RetryAfter,
		}
	}
	return nil
}

// inOrder reports whether a waiter counts in the order: it is here, or may be
// at another coordinator, and does not hold already. A place is order and not
// reservation: a waiter that is absent, or that something blocks, is passed,
// unless it was passed for too long.
func inOrder(t *tally, w *Waiter, now time.Time, overtake bool) (Member, bool) {
	if !w.Present && !w.Reserved && (!w.Elsewhere || overtake) || t.holds(w.Node) {
		return Member{}, false
	}
	m, ok := t.s.Member(w.Node)
	if !ok || barred(m, now) != nil || !w.Reserved && !t.fits(&m) || t.hostBlocker(&m) != nil {
		return Member{}, false
	}
	return m, true
}

// before counts the waiters that go first and leave no room for m: 0 when m may
// go now. It moves the tally on.
func before(t *tally, m Member, now time.Time, overtake bool) int {
	_, queued := t.s.Waiter(m.Node)
	_, last := t.s.hosts(&m)
	behind := false // those that w is of from here on go first only before m as a host
	first := 0
	for w := range t.s.EachWaiter {
		// A newcomer comes with rank 0, behind all that wait with the same.
		behind = behind || w.Node == m.Node || !queued && w.Rank(now) < 0
		if behind && !last {
			break
		}
		ahead, ok := inOrder(t, w, now, overtake)
		if !ok {
			continue
		}
		if _, is := t.s.hosts(&ahead); is && (behind || !last) {
			continue // the hosts of coordinators go last
		}
		t.take(ahead)
		first++
		if !t.fits(&m) || last && t.hostTaken {
			return first
		}
	}
	return 0
}

func firstText(n int) string {
	if n == 1 {
		return "1 node that is before it takes the free slot"
	}
	return fmt.Sprintf("%d nodes that are before it take the free slots", n)
}

func frozen(s *State, f *Freeze) Blocker {
	what := "the group is frozen"
	if f == s.Freeze {
		what = "the fleet is frozen"
	}
	return Blocker{Kind: Frozen, Detail: fmt.Sprintf("%s by %s since %s: %s", what, f.By, f.At.UTC().Format(time.RFC3339), f.Reason)}
}

func newerSchema(s *State) Blocker {
	return Blocker{Kind: NewerSchema, Detail: fmt.Sprintf("%s was written by a newer version; this coordinator only takes releases in group %q until it is updated", s.NewerSchema, s.Group)}
}

func unknownGroup(s *State) string { return fmt.Sprintf("there is no group %q", s.Group) }

func notMember(s *State, node string) string {
	return fmt.Sprintf("node %q is no member of group %q", node, s.Group)
}
