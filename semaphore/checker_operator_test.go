package semaphore_test

import (
	"fmt"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// operator: expiry by the engine, freezes, freeing by name, and the scenario's
// edits. The operator says the truth: the host is not out when he looks. What
// happens between his look and the commit is for the revoked mark to prevent.
// An answer that lets a host go is sent within 2 s of its commit, and a hold is
// freed no earlier than 15 s after it was revoked: so none is under way then.
func (g *steps) operator() {
	for h := range uint8(len(g.hosts)) {
		if hold := g.hold(g.from.core, h); hold.fence != 0 && hold.host == h {
			g.expire(h, hold)
			g.free(h, hold)
		}
	}
	if s := g.state(g.from.core); s.Freeze == nil && g.from.freezes > 0 {
		g.setFreeze(&semaphore.Freeze{V: 1, ID: "f"}, "the operator freezes the fleet")
	} else if s.Freeze != nil {
		g.setFreeze(nil, "the operator lifts the freeze")
	}
	if int(g.from.edits) < len(g.edits) {
		g.edit(&g.edits[g.from.edits])
	}
	if g.from.ticks > 0 {
		next := *g.from
		next.ticks--
		next.clock++
		g.to(&next, "", func() string { return "two hours pass" })
	}
}

func (g *steps) expire(h uint8, hold holdFacts) {
	if hold.state != semaphore.Granted || g.from.expiries == 0 {
		return
	}
	next := *g.from
	next.expiries--
	if g.add(&next, request{kind: expireReq, host: h, bound: hold.fence}) {
		g.to(&next, "", func() string { return fmt.Sprintf("30 s are over for %s, fence %d", g.node(h), hold.fence) })
	}
}

func (g *steps) free(h uint8, hold holdFacts) {
	if g.from.freed == 0 {
		return
	}
	next := *g.from
	if hold.state != semaphore.Revoked && g.rule != freesUnrevoked {
		s := g.state(next.core)
		revoke := semaphore.Revoke{Node: g.node(h), Name: g.node(h), Fence: int64(hold.fence), By: "operator"}
		next.core = g.put(s.Apply(semaphore.Decide(s, revoke, modelTime)), s.HeadRev+1)
		g.to(&next, "", func() string {
			return fmt.Sprintf("the operator revokes the hold of %s, fence %d", g.node(h), hold.fence)
		})
		return
	}
	next.freed--
	if g.hosts[h] == wholeAgent && next.machines[h].gate == gateFresh && g.rule != agentKeepsGate {
		next.machines[h].gate = gateOld // it was asked before the revoke, 15 s ago
	}
	if g.mayFree(h) && g.add(&next, request{kind: freeReq, host: h, bound: hold.fence}) {
		g.to(&next, "", func() string { return fmt.Sprintf("the operator sees that %s is not out, and frees it", g.node(h)) })
	}
}

func (g *steps) mayFree(h uint8) bool {
	for o := range uint8(len(g.hosts)) {
		if g.nodeOf(o) == g.nodeOf(h) && g.from.hosts[o].phase == out {
			return false
		}
	}
	for _, r := range g.from.requests {
		if (r.kind == acquireReq || r.kind == confirmReq) && g.nodeOf(r.host) == g.nodeOf(h) && r.stage == decided && r.answer != refused && g.rule != answersLate {
			return false
		}
	}
	return true
}

// setFreeze changes the fleet's freeze, which no head goes with.
func (g *steps) setFreeze(f *semaphore.Freeze, what string) {
	next := *g.from
	s := *g.state(g.from.core)
	s.Freeze, s.FreezeRev = f, 0
	if f != nil {
		s.FreezeRev = int64(next.freezes)
		next.freezes--
	}
	next.core = g.put(s, s.HeadRev)
	g.to(&next, "", func() string { return what })
}

// edit makes the scenario's next change, unless the rules refuse it for now.
func (g *steps) edit(e *edit) {
	s := g.state(g.from.core)
	d := semaphore.Decide(s, e.op, g.time(g.from.clock))
	if d.Answer.Kind != semaphore.OK {
		return
	}
	next := *g.from
	next.edits++
	after, headRev := s.Apply(d), s.HeadRev+1
	after.SpecRev = s.SpecRev
	if !d.Writes() || g.outsideHead(e.op) {
		headRev = s.HeadRev
	}
	if _, again := e.op.(semaphore.PutSpec); again && s.Head.Deleted && g.rule == fencesReset {
		after.Head.Next = 1
	}
	next.core = g.put(after, headRev)
	g.to(&next, "", func() string { return "the operator " + e.what })
}

// outsideHead: the broken rule puts this change without the head.
func (g *steps) outsideHead(op semaphore.Op) bool {
	switch op.(type) {
	case semaphore.PutSpec:
		return g.rule == slotsOutsideHead
	case semaphore.PutMember:
		return g.rule == labelsOutsideHead
	case semaphore.SetDown:
		return g.rule == downOutsideHead
	case semaphore.SetFreeze:
		return g.rule == freezeOutsideHead
	}
	return false
}
