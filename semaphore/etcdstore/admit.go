package etcdstore

import (
	"errors"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/sleep"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// lookAgain bounds how long the admission loop sleeps without an event: some
// verdicts end by time alone.
const lookAgain = 5 * time.Second

func (g *group) wake() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

// monitorQueue grants slots to this store's parked waiters, in order. It runs
// while there are any. A slot that belongs to another coordinator's waiter and
// stays free is taken after OvertakeAfter.
func (s *Store) monitorQueue(g *group) {
	var free time.Time // since when a slot could be taken by overtaking
	for {
		st, waits := s.queueState(g)
		if !waits {
			return
		}
		overtake := !free.IsZero() && time.Since(free) >= semaphore.OvertakeAfter
		op := semaphore.Admit{Overtake: overtake}
		sleep := s.sleep(&st)
		switch d := semaphore.Decide(&st, op, s.cfg.Now()); {
		case s.cfg.Floor() != nil || !s.cfg.HasLeader():
			free, sleep = time.Time{}, semaphore.OvertakeAfter
		case d.Writes():
			free = time.Time{}
			if _, err := s.do(s.ctx, g, op); err != nil {
				if !errors.Is(err, semaphore.ErrNoQuorum) && s.ctx.Err() == nil {
					s.log.Warn("a waiter could not be admitted", "group", g.name, "error", err)
				}
				sleep = semaphore.OvertakeAfter
				break
			}
			continue
		case overtake || !s.couldOvertake(&st):
			free = time.Time{}
		case free.IsZero():
			free, sleep = time.Now(), semaphore.OvertakeAfter
		default:
			sleep = semaphore.OvertakeAfter - time.Since(free)
		}
		t := time.NewTimer(sleep)
		select {
		case <-g.kick:
		case <-t.C:
		case <-s.ctx.Done():
		}
		t.Stop()
		if s.ctx.Err() != nil {
			return
		}
	}
}

// sleep is until the group opens, if it is shut, and at most lookAgain.
func (s *Store) sleep(st *semaphore.State) time.Duration {
	now := s.cfg.Now()
	until, isShut := st.ShutUntil(now)
	if !isShut || until.IsZero() {
		return lookAgain
	}
	return min(lookAgain, max(until.Sub(now), time.Millisecond))
}

func (s *Store) couldOvertake(st *semaphore.State) bool {
	d := semaphore.Decide(st, semaphore.Admit{Overtake: true}, s.cfg.Now())
	return d.Writes()
}

// queueState is the group's state, and whether a client of this store waits in
// it. When none does, the loop has ended.
func (s *Store) queueState(g *group) (semaphore.State, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.parked > 0 {
		return s.stateLocked(g), true
	}
	g.loop = false
	return semaphore.State{}, false
}

// callsFor finds the parked calls that grants are for.
func (s *Store) callsFor(g *group, holds []semaphore.Hold) []*call {
	if len(holds) == 0 {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	calls := make([]*call, len(holds))
	for i, h := range holds {
		if w := g.waiters[h.Node]; w != nil {
			for _, c := range w.calls {
				if c.op.Request == h.Request && c.op.Instance == h.Instance {
					calls[i] = c
				}
			}
		}
	}
	return calls
}

// gives notes to whom an attempt gives slots. When it has committed it has the
// answer for them; the watch may bring hold and place before that, and whoever
// it woke would ask etcd again.
func (s *Store) gives(g *group, a *attempt) {
	for _, p := range a.parts {
		for _, h := range p.d.Granted {
			s.mu.Lock()
			if g.giving == nil {
				g.giving = map[string]bool{}
			}
			g.giving[h.Node] = false
			s.mu.Unlock()
		}
	}
}

// gave ends that: those of whom there was news, and no answer, look again.
func (s *Store) gave(g *group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for node, news := range g.giving {
		w := g.waiters[node]
		if !news || w == nil {
			continue
		}
		if _, queued := g.places[node]; !queued {
			g.lostPlace(node)
			continue
		}
		w.wakeAll()
	}
	g.giving = nil
}

// deliver hands a granted hold to the call that it was granted for. Others for
// the same node look again, and so does that one when the grant is not fresh:
// the hold may be gone again. s.mu is held.
func (s *Store) deliver(g *group, c *call, h semaphore.Hold, answer semaphore.Answer, fresh bool) {
	if c == nil || c.end == endedWithout {
		// Its client left while the transaction was under way. An agent comes
		// back for its hold or lets it expire; a FleetLock client knows of none.
		if h.Via == semaphore.ViaFleetLock {
			s.spawnLocked(func() { s.giveBack(g, h) })
		}
	} else if fresh {
		c.tell(&result{final: true, answer: answer})
	}
	w := g.waiters[h.Node]
	if w == nil {
		return
	}
	w.wakeAll() // leaves an answer that was told in place
	if fresh {
		w.stopTimer()
		delete(g.waiters, h.Node)
	}
}

// giveBack releases a hold that was made for a client which has gone.
func (s *Store) giveBack(g *group, h semaphore.Hold) {
	op := semaphore.Release{Node: h.Node, Via: h.Via, Instance: h.Instance, Fence: h.Fence}
	for {
		if _, err := s.do(s.ctx, g, op); err == nil {
			return
		}
		if sleep.For(s.ctx, time.Second) != nil {
			return
		}
	}
}

// abandon sees to attempts of unknown outcome that nobody waits for any more:
// FleetLock holds that they made are given back, and those that they might
// still make are prevented by a new head. An agent's grant expires by itself.
func (s *Store) abandon(g *group, tried []*attempt) {
	if !mayGrantFleetLock(tried) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g.users++
	s.spawnLocked(func() {
		defer s.exit(g)
		for !s.settle(g, tried) {
			if sleep.For(s.ctx, time.Second) != nil {
				return
			}
		}
	})
}

// mayGrantFleetLock reports whether one of the attempts makes a FleetLock hold.
func mayGrantFleetLock(tried []*attempt) bool {
	return slices.ContainsFunc(tried, (*attempt).createsForFleetLock)
}

func (a *attempt) createsForFleetLock() bool {
	return slices.ContainsFunc(a.parts, func(p part) bool {
		return p.d.Answer.Created && p.d.Answer.Hold.Via == semaphore.ViaFleetLock ||
			slices.ContainsFunc(p.d.Granted, func(h semaphore.Hold) bool { return h.Via == semaphore.ViaFleetLock })
	})
}

// settle reports whether the outcome of all attempts is known and dealt with.
func (s *Store) settle(g *group, tried []*attempt) bool {
	if s.ready(s.ctx) != nil || s.take(s.ctx, g.turn) != nil {
		return false
	}
	defer s.yield(g)
	won, rev, err := s.seal(g, tried)
	if err != nil {
		return false
	}
	if won != nil {
		s.commit(g, won, rev, false)
	}
	return true
}
