package semaphore

import (
	"maps"
	"slices"
)

// Apply is the state after d committed: what a batch of decisions, a checker
// and a simulator go on from. The revision is one higher, and is the head's
// and, where the spec changed, the spec's. It shares nothing with s that Apply
// or Decide would change.
func (s *State) Apply(d Decision) State {
	next := *s
	if !d.Writes() {
		return next
	}
	next.Revision++
	next.HeadRev = next.Revision
	next.Head = d.Head
	for _, c := range d.Changes {
		switch {
		case c.Out != nil:
			next.Out = c.Out
		case c.DeleteOut:
			next.Out = nil
		}
	}
	if s.kept != nil {
		next.applyKept(d)
		return next
	}
	var holds, members, queue bool // copied already
	for _, c := range d.Changes {
		switch {
		case c.Hold != nil || c.DeleteHold != "":
			if !holds {
				next.Holds, holds = cloned(s.Holds), true
			}
			if c.Hold != nil {
				next.Holds[c.Hold.Node] = *c.Hold
			} else {
				delete(next.Holds, c.DeleteHold)
			}
		case c.Member != nil || c.DeleteMember != "":
			if !members {
				next.Members, members = cloned(s.Members), true
			}
			if c.Member != nil {
				next.Members[c.Member.Node] = c.Member.at(next.Revision)
			} else {
				delete(next.Members, c.DeleteMember)
			}
		case c.DeleteWaiter != "":
			if !queue {
				next.Queue, queue = slices.Clone(s.Queue), true
			}
			next.Queue = slices.DeleteFunc(next.Queue, func(w Waiter) bool {
				return w.Node == c.DeleteWaiter && w.CreateRevision == c.Ticket
			})
		case c.Spec != nil:
			next.Spec, next.SpecRev = *c.Spec, next.Revision
		case c.DeleteSpec:
			next.Spec, next.SpecRev = Spec{}, 0
		}
	}
	return next
}

// applyKept is Apply for a state that keeps what it has.
func (s *State) applyKept(d Decision) {
	for _, c := range d.Changes {
		switch {
		case c.Hold != nil:
			s.SetHold(*c.Hold)
		case c.DeleteHold != "":
			s.DropHold(c.DeleteHold)
		case c.Member != nil:
			s.SetMember(c.Member.at(s.Revision))
		case c.DeleteMember != "":
			s.DropMember(c.DeleteMember)
		case c.DeleteWaiter != "":
			if w, waits := s.Waiter(c.DeleteWaiter); waits && w.CreateRevision == c.Ticket {
				s.DropWaiter(c.DeleteWaiter)
			}
		case c.Spec != nil:
			s.Spec, s.SpecRev = *c.Spec, s.Revision
		case c.DeleteSpec:
			s.Spec, s.SpecRev = Spec{}, 0
		}
	}
}

func cloned[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return maps.Clone(m)
}

// at is the member as it is once it was written at a revision.
func (m Member) at(revision int64) Member {
	m.Revision = revision
	return m
}
