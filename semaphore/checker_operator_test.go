package semaphore_test

import "github.com/lockkeeper/lockkeeper/semaphore"

// operator: expiry by the engine, freezes, and freeing by name. The operator
// says the truth: the host is not out when he looks. What happens between his
// look and the commit is for the revoked mark to prevent. An answer that lets a
// host go is sent within 2 s of its commit, and a hold is freed no earlier than
// 15 s after it was revoked: so none is under way then.
func (g *steps) operator() {
	for h := range uint8(2) {
		hold, ok := g.hold(g.from.store, h)
		if !ok || g.same && h == 1 {
			continue
		}
		if hold.State == semaphore.Granted && g.from.expiries > 0 {
			next := g.from
			next.expiries--
			if g.add(&next, request{kind: expireReq, host: h, bound: uint8(hold.Fence)}) {
				g.to(next, "", "30 s are over for %s, fence %d", g.node(h), hold.Fence)
			}
		}
		if g.from.freed == 0 {
			continue
		}
		if hold.State != semaphore.Revoked {
			revoke := semaphore.Revoke{Node: hold.Node, Name: hold.Node, Fence: hold.Fence, By: "operator"}
			next := g.from
			next.store = g.apply(g.state(g.from.store), semaphore.Decide(g.state(g.from.store), revoke, modelTime))
			g.to(next, "", "the operator revokes the hold of %s, fence %d", hold.Node, hold.Fence)
		} else if g.mayFree(hold) {
			next := g.from
			next.freed--
			if g.add(&next, request{kind: freeReq, host: h, bound: uint8(hold.Fence)}) {
				g.to(next, "", "the operator sees that %s is not out, and frees it", hold.Node)
			}
		}
	}
	if s := g.state(g.from.store); s.Freeze == nil && g.from.freezes > 0 {
		g.setFreeze(&semaphore.Freeze{V: 1, ID: "f"}, "the operator freezes the fleet")
	} else if s.Freeze != nil {
		g.setFreeze(nil, "the operator lifts the freeze")
	}
}

func (g *steps) mayFree(hold semaphore.Hold) bool {
	for h := range uint8(2) {
		if g.node(h) == hold.Node && g.from.hosts[h].phase == out {
			return false
		}
	}
	for _, r := range g.from.requests {
		if (r.kind == acquireReq || r.kind == confirmReq) && g.node(r.host) == hold.Node && r.stage == decided && r.answer != refused && g.rule != answersLate {
			return false
		}
	}
	return true
}

func (g *steps) setFreeze(f *semaphore.Freeze, what string) {
	next := g.from
	s := *g.state(g.from.store)
	s.Freeze, s.FreezeRev = f, 0
	if f != nil {
		s.FreezeRev = int64(next.freezes)
		next.freezes--
	}
	next.store = g.intern(s)
	g.to(next, "", "%s", what)
}
