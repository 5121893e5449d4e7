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

// steps lists everything that can happen in w, always in the same order.
func (m *model) steps(w world) []step {
	g := &steps{model: m, from: w, found: make([]step, 0, 24)}
	for h := range uint8(2) {
		g.host(h)
	}
	for i, r := range w.requests {
		if r.kind != none {
			g.request(i, r)
		}
	}
	if late := w.late[0]; late != 0 {
		next := w
		next.late[0] = 0
		g.commitInto(next, late, "a transaction that was given up commits")
		g.to(next, "", "a transaction that was given up is lost")
	}
	g.operator()
	return g.found
}

// told is text that is made only for a trace.
type told func() string

func (t told) String() string { return t() }

type steps struct {
	*model
	from  world
	found []step
}

func (g *steps) to(w world, violation, format string, args ...any) {
	if violation == "" && g.outOfService(&w) > 1 {
		violation = "two hosts are out of service, and there is one slot"
	}
	w.normalise()
	s := step{world: w, violation: violation}
	if g.tracing {
		s.what = fmt.Sprintf(format, args...)
	}
	g.found = append(g.found, s)
}

func (g *steps) hold(store int32, h uint8) (semaphore.Hold, bool) {
	hold, ok := g.state(store).Holds[g.node(h)]
	return hold, ok
}

// bind reads the fence of the hold that a request on arrival is about.
func (g *steps) bind(h uint8) uint8 {
	hold, ok := g.hold(g.from.store, h)
	if !ok || hold.Via != g.via(h) && g.rule != ignoresVia {
		return 0
	}
	return uint8(hold.Fence)
}

// send starts a request of the host at either coordinator. A parked call that
// the host had is hung up.
func (g *steps) send(h uint8, r request, phase uint8) {
	for at := range uint8(2) {
		if at == 1 && g.from.hosts[0].asked+g.from.hosts[1].asked == 0 {
			return // the coordinators are alike: the first request goes to 0
		}
		next := g.from
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
		g.to(next, "", "%s %s sends %s to coordinator %d (bound to fence %d)", g.via(h), g.node(h), reqNames[r.kind], at, r.bound)
	}
}

// host: what a host can do of itself.
func (g *steps) host(h uint8) {
	me := g.from.hosts[h]
	fleetLock := g.hosts[h] == fleetLockClient
	awaits := false // an answer
	bystander := false
	for _, r := range g.from.requests {
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
	case me.phase == idle || me.phase == asking:
		if mayAsk {
			g.send(h, acquire, asking)
		}
		if fleetLock && me.asked > 0 && me.phase == asking {
			g.send(h, release, returning) // it boots without having got its right
		}
	case me.phase == holding:
		g.send(h, request{kind: confirmReq, client: waiting, bound: me.fence}, confirming)
	case me.phase == confirming: // the answer got lost
		g.send(h, request{kind: confirmReq, client: waiting, bound: me.fence}, confirming)
	case me.phase == returning:
		g.send(h, release, returning)
	}
}

// request: what can happen to a request.
func (g *steps) request(i int, r request) {
	name := told(func() string {
		return fmt.Sprintf("coordinator %d: %s of %s %s", r.at, reqNames[r.kind], g.via(r.host), g.node(r.host))
	})
	if r.client != gone && r.stage != decided {
		next := g.from
		g.hangUp(&next, i)
		g.to(next, "", "%s: the client leaves", name)
	}
	switch r.stage {
	case toDecide, parked:
		// From what the coordinator believes, and from what is: its watch may
		// catch up just before.
		g.decideNow(i, r, name)
		if stale := g.from.view[r.at]; stale != g.from.store {
			g.from.view[r.at] = g.from.store
			g.decideNow(i, r, func() string { return name() + ", up to date," })
			g.from.view[r.at] = stale
		}
	case inFlight:
		g.finish(i, r, name)
	case decided:
		g.answered(i, r, name)
	}
}

// hangUp ends the interest of a client. An acquire that has nothing under way
// is dropped with it; anything else goes on.
func (g *steps) hangUp(w *world, i int) {
	r := &w.requests[i]
	switch {
	case r.stage == decided:
		g.afterwards(w, i)
	case r.kind == acquireReq && r.stage != inFlight || r.kind == confirmReq && r.stage != inFlight:
		g.drop(w, i)
	default:
		r.client = gone
	}
}

// drop forgets a request and, with it, the place of its host.
func (g *steps) drop(w *world, i int) {
	r := w.requests[i]
	w.requests[i] = request{}
	if r.kind != acquireReq || r.stage != parked {
		return
	}
	for _, o := range w.requests {
		if o.kind == acquireReq && o.host == r.host && o.stage == parked {
			return
		}
	}
	s := *g.state(w.store)
	if place := semaphore.Place(&s, g.node(r.host)); place > 0 {
		s.Queue = append(append([]semaphore.Waiter{}, s.Queue[:place-1]...), s.Queue[place:]...)
		w.store = g.intern(s)
	}
}

// afterwards is what a coordinator does with an answer that no client takes:
// it gives a FleetLock hold back that this request made, and no other.
func (g *steps) afterwards(w *world, i int) {
	r := w.requests[i]
	w.requests[i] = request{}
	made := r.answer == created || r.answer == granted && g.rule == givesBackRenewed
	if r.kind == acquireReq && g.hosts[r.host] == fleetLockClient && made {
		g.add(w, request{kind: releaseReq, host: r.host, at: r.at, bound: r.fence, id: r.id})
	}
}

// current: a read now would show what the coordinator's view shows.
func (g *steps) current(at uint8) bool {
	view, now := g.state(g.from.view[at]), g.state(g.from.store)
	return view.HeadRev == now.HeadRev && view.FreezeRev == now.FreezeRev
}

func (g *steps) decideNow(i int, r request, name told) {
	next := g.from
	id := g.decide(&g.from, r)
	d := &g.decisions[id]
	me := &next.requests[i]
	switch {
	case d.Writes():
		me.stage, me.decision = inFlight, id
		g.to(next, "", "%s sends a transaction", name)
	case d.Answer.Kind == semaphore.OK:
		if !g.current(r.at) && (r.kind != confirmReq || g.rule != confirmFromMemory) {
			return // a linearizable read shows that it must decide anew
		}
		g.conclude(&next, i, d.Answer)
		g.to(next, "", "%s is decided without a write", name)
	case r.kind == acquireReq && d.Answer.Kind.Passes():
		if r.stage == parked || r.client == gone {
			return
		}
		me.stage = parked
		s := *g.state(next.store)
		if semaphore.Place(&s, g.node(r.host)) == 0 {
			s.Queue = append(append([]semaphore.Waiter{}, s.Queue...), semaphore.Waiter{
				V: 1, Node: g.node(r.host), Via: g.via(r.host), Instance: g.instance(r.host), CreateRevision: int64(1 + r.host + 2*r.id),
			})
			next.store = g.intern(s)
		}
		g.to(next, "", "%s is parked: %s", name, d.Answer.Kind)
	default:
		if !g.current(r.at) {
			return
		}
		g.conclude(&next, i, d.Answer)
		g.to(next, "", "%s is refused: %s", name, d.Answer.Kind)
	}
}

// conclude keeps the answer until it is delivered.
func (g *steps) conclude(w *world, i int, a semaphore.Answer) {
	r := &w.requests[i]
	r.stage, r.decision, r.answer, r.fence = decided, 0, refused, 0
	if a.Kind == semaphore.OK {
		r.answer = granted
		if a.Created {
			r.answer = created
		}
		if a.Hold != nil {
			r.fence = uint8(a.Hold.Fence)
		}
	}
	if r.client == gone {
		g.afterwards(w, i)
	}
}

// finish: the transaction of a request commits, loses or is given up.
func (g *steps) finish(i int, r request, name told) {
	store, ok, violation := g.commit(g.from.store, r.decision)
	next := g.from
	if ok {
		next.store = store
		next.view[r.at] = store
		d, fence := &g.decisions[r.decision], int64(0)
		if d.Answer.Hold != nil {
			fence = d.Answer.Hold.Fence
		}
		g.conclude(&next, i, d.Answer)
		g.grantParked(&next, r.at, d.Granted)
		g.to(next, violation, "%s commits, fence %d", name, fence)
	} else {
		next.view[r.at] = next.store
		g.again(&next, i)
		g.to(next, "", "%s loses its comparison", name)
	}
	if g.from.late[0] != 0 || g.late == 0 {
		return
	}
	next = g.from
	me := &next.requests[i]
	next.late[0] = me.decision
	next.view[r.at] = next.store
	g.again(&next, i)
	g.to(next, "", "%s: no answer from the store, given up", name)
}

// again decides anew with the same binding, unless nobody wants it any more.
func (g *steps) again(w *world, i int) {
	r := &w.requests[i]
	r.stage, r.decision = toDecide, 0
	if r.client == gone && r.kind != releaseReq && r.kind != freeReq {
		w.requests[i] = request{}
	}
}

// commitInto commits a transaction that nobody waits for.
func (g *steps) commitInto(next world, decision int32, what string) {
	store, ok, violation := g.commit(next.store, decision)
	if !ok {
		return
	}
	next.store = store
	g.to(next, violation, "%s", what)
}

// grantParked answers parked calls at the coordinator that granted to them. A
// client that left in between is treated like one that leaves now.
func (g *steps) grantParked(w *world, at uint8, holds []semaphore.Hold) {
	for _, h := range holds {
		answered := false
		for i := range w.requests {
			r := &w.requests[i]
			if r.kind == acquireReq && r.at == at && r.stage == parked && h.Request == fmt.Sprintf("r%d.%d", r.host, r.id) {
				g.conclude(w, i, semaphore.Answer{Hold: &h, Created: true})
				answered = true
			}
		}
		if !answered && h.Via == semaphore.ViaFleetLock {
			for host := range uint8(2) {
				if g.node(host) == h.Node {
					g.add(w, request{kind: releaseReq, host: host, at: at, bound: uint8(h.Fence)})
				}
			}
		}
	}
}

// answered: the answer reaches its client, or does not.
func (g *steps) answered(i int, r request, name told) {
	next := g.from
	next.requests[i] = request{}
	if r.client == waiting {
		g.deliver(&next.hosts[r.host], r)
	}
	g.to(next, "", "%s: %s, fence %d, reaches the client", name, answerNames[r.answer], r.fence)
	lost := g.from
	lost.requests[i] = request{}
	g.to(lost, "", "%s: the answer gets lost", name)
	if r.kind == acquireReq && r.answer != refused {
		left := g.from
		g.afterwards(&left, i)
		g.to(left, "", "%s: the client left before the answer", name)
	}
}

func (g *steps) deliver(h *host, r request) {
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
