package etcdstore

import "time"

// A comparison that is lost in a small group brings the whole state of that
// moment with it. In a large one that would be thousands of keys, read and
// decoded while every transaction of every group stands behind it; the watch
// brings the little that changed.

// largeGroup is from how many holds and members on a group is large.
const largeGroup = 256

// catchUpWithin bounds the wait for the watch; then all is read after all.
const catchUpWithin = 100 * time.Millisecond

func (s *Store) isLarge(g *group) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return g.st.Held()+g.st.Size() >= largeGroup
}

// catchUp waits until the watch has brought the head's revision. An answer of
// the watch never ends inside a revision, so that the state is then that of
// this revision or a later one.
func (s *Store) catchUp(g *group, head int64) bool {
	if head == 0 {
		return false
	}
	t := time.NewTimer(catchUpWithin)
	defer t.Stop()
	for {
		s.mu.RLock()
		there, changed := g.rev >= head, s.changed
		s.mu.RUnlock()
		if there {
			return true
		}
		select {
		case <-changed:
		case <-t.C:
			return false
		case <-s.ctx.Done():
			return false
		}
	}
}
