package semaphore_test

import (
	"fmt"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func (m *model) isNode(h uint8) func(place) bool {
	return func(p place) bool { return p.host != 0 && m.nodeOf(p.host-1) == m.nodeOf(h) }
}

// admission is the transaction that the coordinator's queue loop would send, 0
// if there is none. It overtakes waiters of the other coordinator only for a
// slot that stays free otherwise.
func (m *model) admission(w *world, at uint8) int32 {
	if f := &m.facts[w.coords[at].core]; f.frozen || !f.exists || !w.anyParked(at) {
		return 0
	}
	for overtake := range uint8(2) {
		id := m.decide(m.question(w, at, opKey{kind: admitReq, id: overtake}))
		if m.attempts[id].writes {
			return id
		}
		if m.rule == neverOvertakes {
			break
		}
	}
	return 0
}

func (w *world) anyParked(at uint8) bool {
	for i := range w.requests {
		if r := &w.requests[i]; r.kind == acquireReq && r.at == at && r.stage == parked {
			return true
		}
	}
	return false
}

// mustLook: what a coordinator sees makes a parked call look again: its place
// is gone, its node holds or may not wait, or the group is gone.
func (m *model) mustLook(w *world, r *request) bool {
	c := &w.coords[r.at]
	f := &m.facts[c.core]
	_, holds := m.state(c.core).Holds[m.node(r.host)]
	return holds && m.rule != holdNotSeen || !f.exists || w.clock < f.barred[m.nodeOf(r.host)] || c.queue.find(m.isNode(r.host)) < 0
}

// park gives a refused acquire a place in the queue, or takes over the one that
// its node has. That is one transaction of its own, on that key only.
func (g *steps) park(w *world, i int) {
	r := &w.requests[i]
	r.stage = parked
	is := g.isNode(r.host)
	p := place{host: r.host + 1, owner: r.at}
	if n := w.queue.find(is); n >= 0 {
		p.ticket = w.queue[n].ticket
	} else {
		w.tickets++
		p.ticket = w.tickets
	}
	w.queue.put(p, is)
	w.coords[r.at].queue.put(p, is)
}

// dropOwnPlace: a node that holds needs no place.
func (g *steps) dropOwnPlace(w *world, at, host uint8) {
	is := g.isNode(host)
	if n := w.queue.find(is); n >= 0 && w.queue[n].owner == at {
		w.queue.remove(is)
		w.coords[at].queue.remove(is)
	}
}

// handOver tells a parked call of the hold that was granted to it. A client
// that left in between is treated like one that leaves now. Not fresh: the call
// looks again, which it does of itself once the view shows the hold.
func (g *steps) handOver(w *world, at uint8, hold semaphore.Hold, fresh bool) {
	for i := range w.requests {
		r := &w.requests[i]
		if r.kind != acquireReq || r.at != at || hold.Node != g.node(r.host) || hold.Request != requestName(r.host, r.id) || r.client == gone {
			continue
		}
		if fresh && r.stage == parked {
			g.conclude(w, i, semaphore.Answer{Hold: &hold, Created: true})
		}
		return
	}
	if hold.Via != semaphore.ViaFleetLock || g.rule == keepsUnwanted {
		return
	}
	for h := range uint8(len(g.hosts)) {
		for id := range g.asks {
			if hold.Request == requestName(h, id) && w.hosts[h].served&(1<<id) == 0 {
				g.giveBack(w, at, h, id, uint8(hold.Fence))
			}
		}
	}
}

// places: the place of a client that has gone is given up after a time, and
// those of a dead coordinator when its lease ends.
func (g *steps) places(at uint8) {
	for _, p := range g.from.queue {
		if p.host == 0 {
			break
		}
		h := p.host - 1
		lives := false
		for _, r := range g.from.requests {
			lives = lives || r.kind == acquireReq && r.at == at && r.client != gone && g.nodeOf(r.host) == g.nodeOf(h) && r.stage != decided
		}
		switch {
		case p.owner == at && !lives:
			next := *g.from
			next.queue.remove(g.isNode(h))
			next.coords[at].queue.remove(g.isNode(h))
			g.to(&next, "", func() string { return fmt.Sprintf("coordinator %d gives up the place of %s", at, g.node(h)) })
		case p.owner == ownerDead && at == 0:
			next := *g.from
			next.queue.remove(g.isNode(h))
			g.to(&next, "", func() string { return "a dead coordinator's lease ends: the place of " + g.node(h) + " is gone" })
		}
	}
}
