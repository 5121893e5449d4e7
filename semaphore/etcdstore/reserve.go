package etcdstore

import (
	"math"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// A place is order and no reservation, so that a waiter which is blocked or
// away is passed. One that was passed for too long (semaphore.MayReserve) has
// its slot and its limits kept for it for a while: one in a group at a time,
// the first in order. It is set in this store's view of the queue, without a
// write; every store comes to it by the same counts.

// reservation is what is kept for one waiter.
type reservation struct {
	node  string
	timer *time.Timer
}

// reserve looks for a waiter that was overtaken for too long, when the group
// made grants since the last look. It goes through the queue only as far as the
// first of them, and not at all before the one that comes next can be due.
// s.mu is held.
func (s *Store) reserve(g *group) {
	grants := g.st.Head.Grants
	if grants == g.reservedAt || g.reserved != nil || g.st.Waiting() == 0 {
		return
	}
	g.reservedAt = grants
	if !semaphore.MayReserve(&g.st, semaphore.Waiter{Grants: g.dueFrom}, 0) {
		return
	}
	dueFrom := int64(math.MaxInt64)
	for w := range g.st.EachWaiter {
		since := g.overtaken[w.Node]
		if semaphore.MayReserve(&g.st, *w, since) && s.mayGo(g, w.Node) && g.expected(w.Node) {
			s.startReservation(g, w.Node)
			return
		}
		dueFrom = min(dueFrom, dueOf(w, since))
	}
	g.dueFrom = dueFrom
}

// dueOf is the group's count of grants from which on those that overtake the
// waiter are counted.
func dueOf(w *semaphore.Waiter, since int64) int64 { return w.Grants + int64(w.Ahead) + since }

// mayGo reports whether nothing about the node itself forbids a grant: else
// nothing would be kept for it.
func (s *Store) mayGo(g *group, node string) bool {
	m, member := g.st.Member(node)
	_, holds := g.st.Hold(node)
	return member && !holds && m.Duplicate == "" && !m.RetryAfter.After(s.cfg.Now())
}

// expected reports whether the waiter is here, polls, or is another
// coordinator's. One that asked once and left may never come back.
func (g *group) expected(node string) bool {
	own := g.waiters[node]
	return own == nil || len(own.calls) > 0 || g.polls[node].interval > 0
}

func (s *Store) startReservation(g *group, node string) {
	if s.stopped {
		return
	}
	lasts := s.cfg.PlaceTime
	// One that polls is away until its next poll.
	if own := g.waiters[node]; own != nil && len(own.calls) == 0 && own.via == semaphore.ViaFleetLock && g.polls[node].interval > 0 {
		lasts = min(g.polls[node].interval, maxPlaceTime)
	}
	r := &reservation{node: node}
	r.timer = time.AfterFunc(lasts, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if g.reserved != r {
			return
		}
		// Unused: it comes again after as many grants more.
		if w, waits := g.st.Waiter(node); waits {
			g.overtaken[node] = semaphore.Overtaken(&g.st, w)
		}
		s.endReservation(g)
	})
	g.reserved = r
	s.log.Debug("a slot is reserved for a waiter that was overtaken", "group", g.name, "node", node, "lasts", lasts)
	s.remark(g, node)
	g.wake()
}

func (s *Store) endReservation(g *group) {
	r := g.reserved
	r.timer.Stop()
	g.reserved = nil
	s.remark(g, r.node)
	g.reservedAt = -1 // another may be due
	g.wake()
}

// forgetReservation: the waiter is gone from the queue.
func (s *Store) forgetReservation(g *group, node string) {
	delete(g.overtaken, node)
	if g.reserved != nil && g.reserved.node == node {
		s.endReservation(g)
	}
}
