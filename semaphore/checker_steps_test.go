package semaphore_test

import (
	"fmt"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// step is one thing that can happen next.
type step struct {
	world
	what      string // only when tracing
	violation string
}

// steps lists everything that can happen in w, always in the same order. The
// list is good until the next call.
func (m *model) steps(w *world) []step {
	m.found = m.found[:0]
	g := &steps{model: m, from: w}
	for h := range uint8(len(m.hosts)) {
		if m.hosts[h] == wholeAgent {
			g.machine(h)
		} else {
			g.host(h)
		}
	}
	for i := range w.requests {
		if w.requests[i].kind != none {
			g.request(i, &w.requests[i])
		}
	}
	for at := range uint8(2) {
		g.coordinator(at)
	}
	g.lateCommits()
	g.operator()
	return m.found
}

type steps struct {
	*model
	from *world
}

// to adds a step. what is called only for a trace.
func (g *steps) to(w *world, violation string, what func() string) {
	g.normalise(w)
	s := step{world: *w, violation: violation}
	if g.tracing {
		s.what = what()
	}
	g.model.found = append(g.model.found, s)
}

// bind reads the fence of the hold that a request on arrival is about.
func (g *steps) bind(h uint8) uint8 {
	hold, ok := g.state(g.from.core).Holds[g.node(h)]
	if !ok || hold.Via != g.via(h) && g.rule != ignoresVia {
		return 0
	}
	return uint8(hold.Fence)
}

// send starts a request of the host at either coordinator.
func (g *steps) send(h uint8, r request, phase uint8) {
	if !g.mayBegin(g.from, h) {
		return
	}
	for at := range uint8(2) {
		if at == 1 && g.nobodyAsked() {
			return // the coordinators are alike: the first request goes to 0
		}
		next := *g.from
		me := &next.hosts[h]
		r.host, r.at, r.id = h, at, me.asked
		if phase == returning {
			// The host has rebooted, whoever else asked on it is gone.
			for i := range next.requests {
				if o := &next.requests[i]; o.kind != none && o.host == h && o.client == bystands {
					g.hangUp(&next, i)
				}
			}
		}
		if !g.add(&next, r) {
			return
		}
		me.phase = phase
		if r.kind == acquireReq {
			me.asked++
		}
		g.to(&next, "", func() string {
			return fmt.Sprintf("%s %s sends %s to coordinator %d (bound to fence %d)", g.via(h), g.node(h), reqNames[r.kind], at, r.bound)
		})
	}
}

func (g *steps) nobodyAsked() bool {
	for h := range g.from.hosts {
		if g.from.hosts[h].asked > 0 {
			return false
		}
	}
	return true
}

// host: what a host can do of itself.
func (g *steps) host(h uint8) {
	me := g.from.hosts[h]
	fleetLock := g.hosts[h] == fleetLockClient
	awaits := false // an answer
	bystander := false
	for i := range g.from.requests {
		r := &g.from.requests[i]
		awaits = awaits || r.kind != none && r.host == h && r.client == waiting
		bystander = bystander || r.kind != none && r.host == h && r.client == bystands
	}
	mayAsk := me.asked < g.asks
	acquire := request{kind: acquireReq, client: waiting}
	release := request{kind: releaseReq, client: waiting, bound: me.fence}
	if fleetLock {
		acquire.bound = g.bind(h)
		release.bound = acquire.bound
	}
	switch {
	case me.phase == out:
		g.send(h, release, returning)
		if fleetLock && mayAsk && !bystander {
			// Another client on the host asks, while the host goes down already.
			acquire.client = bystands
			g.send(h, acquire, out)
		}
	case awaits:
	case me.phase == idle || me.phase == asking || me.phase == cutOff:
		if mayAsk {
			g.send(h, acquire, asking)
		}
		if fleetLock && me.asked > 0 && me.phase != idle {
			g.send(h, release, returning) // it boots without having got its right
		}
	case me.phase == holding, me.phase == confirming: // in which an answer got lost
		g.send(h, request{kind: confirmReq, client: waiting, bound: me.fence}, confirming)
	case me.phase == returning:
		g.send(h, release, returning)
	}
}

func (g *steps) name(r *request) string {
	return fmt.Sprintf("coordinator %d: %s of %s %s", r.at, reqNames[r.kind], g.via(r.host), g.node(r.host))
}

// request: what can happen to a request between its client and a coordinator.
func (g *steps) request(i int, r *request) {
	if next := *g.from; r.client != gone && r.stage != decided && g.cut(&next) {
		g.hangUp(&next, i)
		g.to(&next, "", func() string { return g.name(r) + ": the client leaves" })
	}
	if r.stage == decided {
		g.answered(i, r)
	}
	if r.kind == acquireReq && r.stage == parked && r.client == waiting && g.from.leaves > 0 {
		g.leave(i, r)
	}
}

// cut takes one cut off client or lost answer from what is left.
func (g *steps) cut(w *world) bool {
	if w.cuts == 0 {
		return false
	}
	if w.cuts != anyNumber {
		w.cuts--
	}
	return true
}

// hangUp ends the interest of a client. An acquire that has nothing under way
// is dropped with it, and keeps its place; anything else goes on.
func (g *steps) hangUp(w *world, i int) {
	r := &w.requests[i]
	if r.kind == acquireReq && r.client == waiting && w.hosts[r.host].phase == asking {
		w.hosts[r.host].phase = cutOff
	}
	switch {
	case r.stage == decided:
		g.afterwards(w, i)
	case r.kind == acquireReq && r.stage != inFlight:
		g.endCall(w, i)
	case r.kind == confirmReq && r.stage != inFlight:
		w.requests[i] = request{}
	default:
		r.client = gone
	}
}

// endCall ends an acquire without a hold. If the coordinator sees that it made
// one, for a FleetLock client that hears nothing of it, it gives that back.
func (g *steps) endCall(w *world, i int) {
	r := w.requests[i]
	w.requests[i] = request{}
	hold, ok := g.state(w.coords[r.at].core).Holds[g.node(r.host)]
	if ok && hold.Via == semaphore.ViaFleetLock && g.hosts[r.host] == fleetLockClient && hold.Request == requestName(r.host, r.id) &&
		hold.Renewed == "" && w.hosts[r.host].served&(1<<r.id) == 0 {
		g.giveBack(w, r.at, r.host, r.id, uint8(hold.Fence))
	}
}

// leave: the host gives its place up. Its parked call is answered with that.
func (g *steps) leave(i int, r *request) {
	next := *g.from
	next.leaves--
	g.endCall(&next, i)
	next.hosts[r.host].phase = idle
	is := g.isNode(r.host)
	next.queue.remove(is)
	next.coords[r.at].queue.remove(is)
	g.to(&next, "", func() string {
		return fmt.Sprintf("%s leaves the queue, through coordinator %d", g.node(r.host), r.at)
	})
}

// afterwards is what a coordinator does with an answer that no client takes:
// it gives a FleetLock hold back that this request made, and no other.
func (g *steps) afterwards(w *world, i int) {
	r := w.requests[i]
	w.requests[i] = request{}
	made := r.answer == created || r.answer == granted && g.rule == givesBackRenewed
	if r.kind == acquireReq && g.hosts[r.host] == fleetLockClient && made {
		g.giveBack(w, r.at, r.host, r.id, r.fence)
	}
}

func (g *steps) giveBack(w *world, at, host, id, fence uint8) {
	w.addOwn(request{kind: releaseReq, host: host, at: at, bound: fence, id: id})
}

// conclude keeps the answer until it is delivered.
func (g *steps) conclude(w *world, i int, a semaphore.Answer) (violation string) {
	r := &w.requests[i]
	r.stage, r.answer, r.fence = decided, refused, 0
	if a.Kind == semaphore.OK {
		r.answer = granted
		if a.Created {
			r.answer = created
		}
		if a.Hold != nil {
			r.fence = uint8(a.Hold.Fence)
			mine := a.Hold.Node == g.node(r.host) && a.Hold.Via == g.via(r.host) && a.Hold.Instance == g.instance(r.host)
			if !mine && (r.kind == acquireReq || r.kind == confirmReq) {
				violation = fmt.Sprintf("the %s of %s was answered with the hold of another", reqNames[r.kind], g.node(r.host))
			}
		}
		if r.kind == acquireReq {
			g.dropOwnPlace(w, r.at, r.host)
		}
	}
	if r.client == gone {
		g.afterwards(w, i)
	}
	return violation
}

// answered: the answer reaches its client, or does not.
func (g *steps) answered(i int, r *request) {
	next := *g.from
	next.requests[i] = request{}
	if r.kind == acquireReq && r.answer != refused {
		next.hosts[r.host].served |= 1 << r.id
	}
	lost := next
	switch {
	case r.client != waiting:
	case g.hosts[r.host] == wholeAgent:
		g.tell(&next, r)
	default:
		g.deliver(&next.hosts[r.host], r)
	}
	g.to(&next, "", func() string {
		return fmt.Sprintf("%s: %s, fence %d, reaches the client", g.name(r), answerNames[r.answer], r.fence)
	})
	if !g.cut(&lost) {
		return
	}
	g.to(&lost, "", func() string { return g.name(r) + ": the answer gets lost" })
	if left := *g.from; r.kind == acquireReq && r.answer != refused && g.cut(&left) {
		g.hangUp(&left, i)
		g.to(&left, "", func() string { return g.name(r) + ": the client left before the answer" })
	}
}

func (g *steps) deliver(h *host, r *request) {
	ok := r.answer != refused
	switch {
	case r.kind == acquireReq && ok && g.hosts[r.host] == fleetLockClient:
		h.phase = out
	case r.kind == acquireReq && ok:
		h.phase, h.fence = holding, r.fence
	case r.kind == confirmReq && ok:
		h.phase = out
	case r.kind == acquireReq, r.kind == confirmReq, r.kind == releaseReq && ok:
		h.phase, h.fence = idle, 0
	}
}
