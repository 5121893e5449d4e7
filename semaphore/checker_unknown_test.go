package semaphore_test

import (
	"fmt"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// unknown: no answer comes to a transaction. It may have committed, may commit
// at any later moment, or never.
func (g *steps) unknown(at uint8, id int32) {
	next := *g.from
	next.lost--
	next.coords[at].flight = 0
	keeper := int16(at)
	guessed := semaphore.Answer{Kind: semaphore.Full}
	if g.rule == unknownIsFailure || g.rule == unknownIsSuccess {
		keeper = keptByNobody
		for i := range next.requests {
			r := &next.requests[i]
			if r.kind == none || r.at != at || r.stage != inFlight {
				continue
			}
			answer := guessed
			for _, p := range g.attempts[id].parts {
				if p.opKey == r.key() && g.rule == unknownIsSuccess {
					answer = p.d.Answer
				}
			}
			g.conclude(&next, i, answer)
		}
	} else {
		next.reading[at] = 1
	}
	if next.addLate(late{attempt: id, keeper: keeper}) {
		g.to(&next, "", func() string {
			return fmt.Sprintf("coordinator %d: no answer from the store: %s", at, g.told(id))
		})
	}
}

// lateCommits: a transaction of unknown outcome commits.
func (g *steps) lateCommits() {
	for i, l := range g.from.late {
		if l.attempt == 0 || l.fate == committed {
			continue
		}
		next := *g.from
		ok, violation := g.commit(&next, l.attempt)
		if !ok {
			continue
		}
		next.late[i].fate = committed
		g.to(&next, violation, func() string { return "a transaction without an answer has committed: " + g.told(l.attempt) })
	}
}

// resolve: a read tells what became of the transaction.
func (g *steps) resolve(at uint8) {
	next := *g.from
	next.reading[at] = 0
	g.reread(&next, at)
	g.to(&next, "", func() string {
		return fmt.Sprintf("coordinator %d reads what became of its transaction", at)
	})
}

// foundCommitted: a late transaction is found to have committed. Other changes
// may have come behind it, so an answer holds only if it is still true.
func (g *steps) foundCommitted(w *world, at uint8, id int32) {
	a := &g.attempts[id]
	for i := range a.parts {
		p := &a.parts[i]
		n := w.inFlight(at, p.opKey)
		if n < 0 {
			g.unwanted(w, at, p)
		}
		for ; n >= 0; n = w.inFlight(at, p.opKey) {
			if g.stillTrue(w, p) {
				g.conclude(w, n, p.d.Answer)
			} else {
				w.requests[n].stage = toDecide
			}
		}
		for _, h := range p.d.Granted {
			g.handOver(w, at, h, false)
		}
	}
}

// unwanted: the request is not under way any more. A FleetLock hold that it
// made is given back, unless its client was told of it, or still is to be.
func (g *steps) unwanted(w *world, at uint8, p *part) {
	hold := p.d.Answer.Hold
	if p.kind != acquireReq || !p.d.Answer.Created || hold.Via != semaphore.ViaFleetLock {
		return
	}
	if g.rule == settlesBlindly || !w.callLives(at, p.host, p.id) && w.hosts[p.host].served&(1<<p.id) == 0 {
		g.giveBack(w, at, p.host, p.id, uint8(hold.Fence))
	}
}

// callLives reports whether the call with that request still goes on.
func (w *world) callLives(at, host, id uint8) bool {
	for _, r := range w.requests {
		if r.kind == acquireReq && r.at == at && r.host == host && r.id == id && r.client != gone {
			return true
		}
	}
	return false
}

func (g *steps) stillTrue(w *world, p *part) bool {
	if p.kind != acquireReq && p.kind != confirmReq {
		return true
	}
	a := p.d.Answer
	if a.Kind != semaphore.OK {
		return false
	}
	hold, ok := g.state(w.core).Holds[a.Hold.Node]
	return ok && hold.Fence == a.Hold.Fence && hold.State == a.Hold.State
}

// detach: when none of those who asked for a late transaction is under way any
// more, it is left to itself; if it may make a FleetLock hold that nobody would
// know of, the coordinator settles it.
func (g *steps) detach(w *world, at uint8) {
	for i := range w.late {
		l := &w.late[i]
		if l.attempt == 0 || l.keeper != int16(at) || w.reading[at] != 0 || g.wanted(w, at, l.attempt) {
			continue
		}
		l.keeper = keptByNobody
		if g.makesUnknown(l.attempt) && g.rule != lateNotSealed {
			l.keeper = settledBy + int16(at)
		}
	}
}

func (g *steps) wanted(w *world, at uint8, id int32) bool {
	for _, p := range g.attempts[id].parts {
		for i := range w.requests {
			r := &w.requests[i]
			if r.kind != none && r.at == at && (r.stage == toDecide || r.stage == inFlight) && r.key() == p.opKey {
				return true
			}
		}
	}
	return false
}

// makesUnknown: the attempt makes a FleetLock hold.
func (g *steps) makesUnknown(id int32) bool {
	for _, p := range g.attempts[id].parts {
		if p.d.Answer.Created && p.d.Answer.Hold.Via == semaphore.ViaFleetLock {
			return true
		}
		for _, h := range p.d.Granted {
			if h.Via == semaphore.ViaFleetLock {
				return true
			}
		}
	}
	return false
}

// settle finds out about a late transaction that nobody waits for, or prevents
// it by a new head.
func (g *steps) settle(at uint8) {
	for i, l := range g.from.late {
		if l.attempt == 0 || l.keeper != settledBy+int16(at) {
			continue
		}
		next := *g.from
		next.late[i] = late{}
		if l.fate == committed {
			next.coords[at].core = next.core
			g.foundCommitted(&next, at, l.attempt)
		} else {
			s := *g.state(next.core)
			next.core = g.put(s, s.HeadRev+1)
			next.coords[at].core = next.core
		}
		g.to(&next, "", func() string {
			return fmt.Sprintf("coordinator %d settles the transaction that nobody waits for", at)
		})
	}
}

// crash: the coordinator dies with all that it had under way, and starts anew.
// Its places stay until their lease ends.
func (g *steps) crash(at uint8) {
	next := *g.from
	next.crashes--
	next.reading[at] = 0
	for i := range next.requests {
		if next.requests[i].kind != none && next.requests[i].at == at {
			next.requests[i] = request{}
		}
	}
	for i := range next.late {
		if l := &next.late[i]; l.attempt != 0 && (l.keeper == int16(at) || l.keeper == settledBy+int16(at)) {
			l.keeper = keptByNobody
		}
	}
	if id := next.coords[at].flight; id != 0 && !next.addLate(late{attempt: id, keeper: keptByNobody}) {
		return
	}
	for _, q := range [...]*queue{&next.queue, &next.coords[1-at].queue} {
		for i := range q {
			if q[i].host != 0 && q[i].owner == at {
				q[i].owner = ownerDead
			}
		}
	}
	next.coords[at] = coordinator{core: next.core, queue: next.queue}
	g.to(&next, "", func() string { return fmt.Sprintf("coordinator %d dies, and starts anew", at) })
}
