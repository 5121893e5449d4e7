package semaphore

import "fmt"

// tally counts who is out of service at one revision, in all and for each
// limit. take moves it on, so that one decision can grant several slots.
type tally struct {
	s       *State
	without string // a holder whose hold the same decision deletes
	slots   int
	held    int // holds
	out     int // holders and, where down members count, those; each node once
	taken   map[string]bool
	sums    *sums
	more    []map[string]int // for each limit: out beyond the sums, by value

	hostOut   *MemberOut // the coordinator's host that is out
	hostTaken bool       // take took one
}

// newTally counts s as if the hold of the node without were gone.
func newTally(s *State, without string) *tally {
	t := &tally{s: s, without: without, slots: s.SlotCount(), sums: s.sums(), held: s.Held()}
	t.out = t.held + t.sums.down
	if t.hostOut = s.memberOut(); t.hostOut != nil && t.hostOut.Group == s.Group && t.hostOut.Node == without {
		t.hostOut = nil
	}
	if h, held := s.Hold(without); held {
		t.free(without, h.Labels)
		if m, member := s.Member(without); member && t.alreadyOut(&m) {
			t.out++
			for i, l := range s.Spec.Limits {
				t.add(i, m.label(l.By), 1)
			}
		}
	}
	return t
}

// holds reports whether the node holds, now or by a grant of this decision.
func (t *tally) holds(node string) bool {
	if t.taken[node] {
		return true
	}
	_, ok := t.s.Hold(node)
	return ok && node != t.without
}

// alreadyOut reports whether the member takes a slot by being down: its own
// grant then takes no further one.
func (t *tally) alreadyOut(m *Member) bool {
	return t.s.Spec.CountUnreachable && m.Down && !t.holds(m.Node)
}

// bucket is how many nodes with a value are out, by one limit.
func (t *tally) bucket(limit int, value string) int {
	n := 0
	if p := t.sums.buckets[limit].get(value); p != nil {
		n = *p
	}
	if t.more != nil {
		n += t.more[limit][value]
	}
	return n
}

func (t *tally) add(limit int, value string, n int) {
	if t.more == nil {
		t.more = make([]map[string]int, len(t.s.Spec.Limits))
	}
	if t.more[limit] == nil {
		t.more[limit] = map[string]int{}
	}
	t.more[limit][value] += n
}

// bound is how many nodes with a value may be out, by one limit.
func (t *tally) bound(limit int, value string) int {
	l := t.s.Spec.Limits[limit]
	if !l.Max.Percent {
		return l.Max.N
	}
	n := 0
	if p := t.sums.members[limit].get(value); p != nil {
		n = *p
	}
	return l.Max.Of(n)
}

// fits reports whether no count stands in the member's way.
func (t *tally) fits(m *Member) bool {
	own := 0
	if t.alreadyOut(m) {
		own = 1
	}
	if t.out-own >= t.slots {
		return false
	}
	for i, l := range t.s.Spec.Limits {
		if value := m.label(l.By); t.bucket(i, value)-own >= t.bound(i, value) {
			return false
		}
	}
	return true
}

// room says which counts stand in the member's way: slots, then limits.
func (t *tally) room(m Member) []Blocker {
	if t.fits(&m) {
		return nil
	}
	var blockers []Blocker
	own := 0
	if t.alreadyOut(&m) {
		own = 1
	}
	if t.out-own >= t.slots {
		blockers = append(blockers, t.noSlot())
	}
	for i, l := range t.s.Spec.Limits {
		value := m.label(l.By)
		if n, bound := t.bucket(i, value)-own, t.bound(i, value); n >= bound {
			blockers = append(blockers, Blocker{
				Kind:   LimitReached,
				Detail: fmt.Sprintf("%d of at most %d nodes with %s are out of service", n, bound, bucketName(l.By, value)),
			})
		}
	}
	return blockers
}

// noSlot tells slots that are held from slots that down members take.
func (t *tally) noSlot() Blocker {
	switch down := t.out - t.held; {
	case t.slots == 0:
		return Blocker{Kind: Full, Detail: "the group has 0 slots"}
	case down > 0 && t.held < t.slots:
		return Blocker{Kind: DownMembers, Detail: fmt.Sprintf("%d of %d slots are held and %d members are down", t.held, t.slots, down)}
	default:
		return Blocker{Kind: Full, Detail: heldText(t.held, t.slots)}
	}
}

func heldText(held, slots int) string {
	if slots == 1 {
		return fmt.Sprintf("%d of 1 slot is held", held)
	}
	return fmt.Sprintf("%d of %d slots are held", held, slots)
}

// take gives the member a slot.
func (t *tally) take(m Member) {
	if !t.alreadyOut(&m) {
		t.out++
		for i, l := range t.s.Spec.Limits {
			t.add(i, m.label(l.By), 1)
		}
	}
	t.held++
	if t.taken == nil {
		t.taken = map[string]bool{}
	}
	t.taken[m.Node] = true
	if _, is := t.s.hosts(&m); is {
		t.hostTaken = true
	}
}

// free takes a slot back from a node that held it under these labels.
func (t *tally) free(node string, labels map[string]string) {
	t.held--
	t.out--
	for i, l := range t.s.Spec.Limits {
		t.add(i, labels[l.By], -1)
	}
	delete(t.taken, node)
}

func bucketName(by, value string) string {
	if value == "" {
		return "no label " + by
	}
	return by + "=" + value
}
