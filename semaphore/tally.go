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
	buckets []map[string]int // for each limit: out, by value of its label
	members []map[string]int // for each percent limit: members, by value
}

// newTally counts s as if the hold of the node without were gone.
func newTally(s *State, without string) *tally {
	t := &tally{s: s, without: without, slots: s.SlotCount(), taken: map[string]bool{}}
	t.buckets = make([]map[string]int, len(s.Spec.Limits))
	t.members = make([]map[string]int, len(s.Spec.Limits))
	for i := range t.buckets {
		t.buckets[i] = map[string]int{}
	}
	for node, h := range s.Holds {
		if node == without {
			continue
		}
		t.held++
		t.out++
		for i, l := range s.Spec.Limits {
			t.buckets[i][h.Labels[l.By]]++
		}
	}
	if s.Spec.CountUnreachable {
		for node, m := range s.Members {
			if m.Down && !t.holds(node) {
				t.out++
				for i, l := range s.Spec.Limits {
					t.buckets[i][m.label(l.By)]++
				}
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
	_, ok := t.s.Holds[node]
	return ok && node != t.without
}

// alreadyOut reports whether the member takes a slot by being down: its own
// grant then takes no further one.
func (t *tally) alreadyOut(m Member) bool {
	return t.s.Spec.CountUnreachable && m.Down && !t.holds(m.Node)
}

// room says which counts stand in the member's way: slots, then limits.
func (t *tally) room(m Member) []Blocker {
	var blockers []Blocker
	own := 0
	if t.alreadyOut(m) {
		own = 1
	}
	if t.out-own >= t.slots {
		blockers = append(blockers, t.noSlot())
	}
	for i, l := range t.s.Spec.Limits {
		value := m.label(l.By)
		bound := l.Max.N
		if l.Max.Percent {
			bound = l.Max.Of(t.membersWith(i, value))
		}
		if n := t.buckets[i][value] - own; n >= bound {
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

// membersWith counts the members in a bucket, for limits in percent.
func (t *tally) membersWith(limit int, value string) int {
	if t.members[limit] == nil {
		t.members[limit] = map[string]int{}
		for _, m := range t.s.Members {
			t.members[limit][m.label(t.s.Spec.Limits[limit].By)]++
		}
	}
	return t.members[limit][value]
}

// take gives the member a slot.
func (t *tally) take(m Member) {
	if !t.alreadyOut(m) {
		t.out++
		for i, l := range t.s.Spec.Limits {
			t.buckets[i][m.label(l.By)]++
		}
	}
	t.held++
	t.taken[m.Node] = true
}

// free takes a slot back from a node that held it under these labels.
func (t *tally) free(node string, labels map[string]string) {
	t.held--
	t.out--
	for i, l := range t.s.Spec.Limits {
		t.buckets[i][labels[l.By]]--
	}
	delete(t.taken, node)
}

func bucketName(by, value string) string {
	if value == "" {
		return "no label " + by
	}
	return by + "=" + value
}
