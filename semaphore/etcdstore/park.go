package etcdstore

import (
	"maps"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// maxPlaceTime bounds how long a FleetLock place is kept between two polls.
const maxPlaceTime = 15 * time.Minute

// poll is what is known of how often a FleetLock host asks. It outlives the
// host's place: one that asks less often than places are kept at least would
// never be known otherwise.
type poll struct {
	asked    time.Time
	interval time.Duration // between its last two requests, 0 after the first
}

// arrive notes that a client asks.
func (s *Store) arrive(g *group, op *semaphore.Acquire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := g.waiters[op.Node]; w != nil {
		w.stopTimer()
	}
	if op.Via != semaphore.ViaFleetLock {
		return
	}
	now := time.Now()
	p, known := g.polls[op.Node]
	if known {
		p.interval = now.Sub(p.asked)
	} else if len(g.polls) >= 2*s.cfg.MaxWaiters && !g.forgetPolls(now) {
		return
	}
	p.asked = now
	g.polls[op.Node] = p
}

// forgetPolls makes room among those who poll, if there are any that have not
// for long. It looks once a minute.
func (g *group) forgetPolls(now time.Time) bool {
	if now.Sub(g.pollsSwept) < time.Minute {
		return false
	}
	g.pollsSwept = now
	before := len(g.polls)
	maps.DeleteFunc(g.polls, func(_ string, p poll) bool { return now.Sub(p.asked) > maxPlaceTime })
	return len(g.polls) < before
}

// leaveOff ends a request that is not parked. A node that holds needs no place;
// any other keeps the one that it has for a while.
func (s *Store) leaveOff(g *group, node string, holds bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := g.waiters[node]
	if w == nil || len(w.calls) > 0 {
		return
	}
	if holds {
		s.giveUp(g, w)
		return
	}
	s.startTimer(g, w)
}

// park makes the call one that is granted when its turn comes. It is not
// parked when there is a reason to look again at once, or when the waiter was
// told to leave.
func (s *Store) park(g *group, w *waiter, c *call) (parked, left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.left {
		return false, true
	}
	st := s.stateLocked(g)
	if d := semaphore.Decide(&st, c.op, s.cfg.Now()); !d.Answer.Kind.Passes() {
		return false, false
	}
	if _, queued := g.places[w.node]; g.waiters[w.node] != w || !queued {
		return false, false // its place was lost meanwhile
	}
	w.stopTimer()
	w.calls = append(w.calls, c)
	c.parked = true
	g.parked++
	s.remark(g, w.node)
	if !g.loop {
		g.loop = true
		s.spawnLocked(func() { s.monitorQueue(g) })
	}
	if !s.idle(g) {
		g.wake()
	}
	return true, false
}

func (s *Store) hasLeft(w *waiter) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return w.left
}

func (s *Store) unpark(g *group, c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.parked {
		c.parked = false
		g.parked--
	}
	w := g.waiters[c.op.Node]
	if w == nil {
		return
	}
	w.calls = slices.DeleteFunc(w.calls, func(other *call) bool { return other == c })
	if len(w.calls) == 0 {
		s.startTimer(g, w)
	}
	s.remark(g, w.node)
	if !s.idle(g) {
		g.wake() // who stands behind an absent one may go
	}
}

// startTimer keeps the place of a client that is gone for as long as it may be
// expected back. s.mu is held.
func (s *Store) startTimer(g *group, w *waiter) {
	w.stopTimer()
	keep := s.cfg.PlaceTime
	if w.via == semaphore.ViaFleetLock {
		interval := g.polls[w.node].interval
		if interval == 0 {
			interval = w.assumed
		}
		keep = max(keep, min(interval*5/2, maxPlaceTime))
	}
	if s.stopped {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(keep, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if w.timer == t && g.waiters[w.node] == w && len(w.calls) == 0 {
			s.giveUp(g, w)
		}
	})
	w.timer = t
}

// dropPlace gives up a place that was taken while its waiter was told to leave,
// unless it waits anew.
func (s *Store) dropPlace(g *group, node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, queued := g.places[node]; queued && g.waiters[node] == nil && s.leases.owns(p.lease) {
		s.spawnLocked(func() { s.deletePlace(g, node, p) })
	}
}

// giveUp forgets a waiter and deletes its key, if that is still this store's.
// s.mu is held.
func (s *Store) giveUp(g *group, w *waiter) {
	w.stopTimer()
	delete(g.waiters, w.node)
	if p, queued := g.places[w.node]; queued && s.leases.owns(p.lease) {
		s.spawnLocked(func() { s.deletePlace(g, w.node, p) })
	}
}

// concern wakes the waiters that a change of one key may have given another
// answer than a slot. s.mu is held.
func (g *group) concern(t table, node string, deleted bool) {
	_, given := g.giving[node]
	switch {
	case given && t == queueKeys && deleted, given && t == holdKeys && !deleted:
		g.giving[node] = true
	case t == queueKeys && deleted:
		g.lostPlace(node)
	case t == holdKeys && !deleted, t == memberKeys:
		if w := g.waiters[node]; w != nil {
			w.wakeAll()
		}
	case t == specKey && deleted, len(g.newer) > 0:
		for _, w := range g.waiters {
			w.wakeAll()
		}
	}
}

// lostPlace: the key of a waiter is gone. Whoever waits looks again, and finds
// a hold or takes a new place. s.mu is held.
func (g *group) lostPlace(node string) {
	w := g.waiters[node]
	if w == nil {
		return
	}
	if len(w.calls) == 0 {
		w.stopTimer()
		delete(g.waiters, node)
		return
	}
	w.wakeAll()
}
