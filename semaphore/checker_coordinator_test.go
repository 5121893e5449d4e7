package semaphore_test

import (
	"fmt"
	"slices"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// coordinator: what a coordinator can do next. One transaction at a time, and
// none while it does not know what became of the last.
func (g *steps) coordinator(at uint8) {
	c := &g.from.coords[at]
	if c.core != g.from.core || c.queue != g.from.queue {
		next := *g.from
		next.coords[at].core, next.coords[at].queue = next.core, next.queue
		g.to(&next, "", func() string { return fmt.Sprintf("coordinator %d: the watch catches up", at) })
	}
	switch {
	case g.from.reading[at] != 0:
		g.resolve(at)
	case c.flight != 0:
		g.finish(at)
	default:
		var none [maxBatch]opKey
		g.lead(at, none, 0)
		g.settle(at)
	}
	g.places(at)
	if g.from.crashes > 0 {
		g.crash(at)
	}
}

// lead decides every batch that can be made of what is to be decided: its order
// is that of the arrivals, which can be any.
func (g *steps) lead(at uint8, batch [maxBatch]opKey, n int) {
	if n == g.batch {
		return
	}
	try := func(k opKey) {
		if slices.Contains(batch[:n], k) {
			return
		}
		batch[n] = k
		if g.begin(at, batch, n+1) {
			g.lead(at, batch, n+1)
		}
	}
	for i := range g.from.requests {
		r := &g.from.requests[i]
		if r.kind != none && r.at == at && (r.stage == toDecide || r.stage == parked && g.mustLook(g.from, r)) {
			try(r.key())
		}
	}
	if id := g.admission(g.from, at); id != 0 {
		try(g.attempts[id].parts[0].opKey)
	}
	if n > 0 {
		batch[n] = opKey{}
	}
}

func (r *request) key() opKey { return opKey{r.kind, r.host, r.bound, r.id} }

// begin decides a batch, and says whether it may be a longer one. Requests that
// write nothing are answered each by itself.
func (g *steps) begin(at uint8, batch [maxBatch]opKey, n int) bool {
	id := g.decide(g.question(g.from, at, batch[:n]...))
	next := *g.from
	if a := &g.attempts[id]; a.writes {
		for i := range next.requests {
			if r := &next.requests[i]; r.at == at && r.kind != none && slices.Contains(batch[:n], r.key()) {
				r.stage = inFlight
			}
		}
		next.coords[at].flight = id
		g.to(&next, "", func() string { return fmt.Sprintf("coordinator %d sends a transaction: %s", at, g.names(batch[:n])) })
		return true
	}
	if n == 1 {
		g.verified(at, batch[0], &g.attempts[id].parts[0].d)
	}
	return true
}

func (g *steps) names(batch []opKey) (text string) {
	for i, k := range batch {
		if i > 0 {
			text += ", "
		}
		text += reqNames[k.kind]
		if k.kind != admitReq {
			text += " of " + g.node(k.host)
		}
	}
	return text
}

// verified answers without a write, if a read shows that the view is current.
func (g *steps) verified(at uint8, k opKey, d *semaphore.Decision) {
	next := *g.from
	i := slices.IndexFunc(next.requests[:], func(r request) bool { return r.at == at && r.kind != none && r.key() == k })
	r := &next.requests[i]
	fromMemory := g.rule == confirmFromMemory && k.kind == confirmReq && d.Answer.Kind == semaphore.OK
	switch {
	case !g.current(&next, at) && !fromMemory:
		next.coords[at].core = next.core
		g.to(&next, "", func() string { return fmt.Sprintf("coordinator %d reads, and finds its view behind", at) })
		return
	case k.kind == acquireReq && d.Answer.Kind.Passes() && r.client == gone:
		next.requests[i] = request{}
	case k.kind == acquireReq && d.Answer.Kind.Passes():
		g.park(&next, i)
	default:
		if violation := g.conclude(&next, i, d.Answer); violation != "" {
			g.to(&next, violation, func() string {
				return fmt.Sprintf("coordinator %d answers without a write: %s", at, g.names([]opKey{k}))
			})
			return
		}
	}
	g.detach(&next, at)
	g.to(&next, "", func() string {
		return fmt.Sprintf("coordinator %d answers without a write: %s: %q", at, g.names([]opKey{k}), d.Answer.Kind)
	})
}

// finish: a transaction commits, loses its comparison, or no answer comes.
func (g *steps) finish(at uint8) {
	id := g.from.coords[at].flight
	next := *g.from
	next.coords[at].flight = 0
	ok, violation := g.commit(&next, id)
	switch {
	case ok:
		violation = g.took(&next, at, id, violation)
	case g.rule == batchNotReplayed:
		again := g.attempts[id]
		again.base = next.core
		next.coords[at].core, next.coords[at].flight = next.core, g.internAttempt(again)
	default:
		g.lose(&next, at, id)
	}
	g.to(&next, violation, func() string {
		if ok {
			return fmt.Sprintf("coordinator %d: the transaction commits: %s", at, g.told(id))
		}
		return fmt.Sprintf("coordinator %d: the transaction loses its comparison", at)
	})
	if g.from.lost > 0 {
		g.unknown(at, id)
	}
}

func (g *steps) told(id int32) (text string) {
	for _, p := range g.attempts[id].parts {
		for _, event := range p.d.Events {
			text += fmt.Sprintf("%s %s, fence %d; ", event.Kind, event.Node, event.Fence)
		}
	}
	return text
}

// took: the coordinator hears that its transaction has committed.
func (g *steps) took(w *world, at uint8, id int32, violation string) string {
	a := &g.attempts[id]
	w.coords[at].core = w.core
	for i := range a.parts {
		p := &a.parts[i]
		for _, c := range p.d.Changes {
			if c.DeleteWaiter != "" {
				w.coords[at].queue.remove(func(p place) bool { return g.isPlace(p, c) })
			}
		}
		for n := w.inFlight(at, p.opKey); n >= 0; n = w.inFlight(at, p.opKey) {
			if v := g.conclude(w, n, p.d.Answer); v != "" {
				violation = v
			}
		}
		for _, h := range p.d.Granted {
			g.handOver(w, at, h, true)
		}
	}
	w.coords[at].flight = a.then
	g.detach(w, at)
	return violation
}

// lose: the Else branch brings the group, not the queue but for the waiters
// compared, and tells of earlier transactions.
func (g *steps) lose(w *world, at uint8, id int32) {
	w.coords[at].core = w.core
	for _, p := range g.attempts[id].parts {
		for _, c := range p.d.Changes {
			if c.DeleteWaiter == "" {
				continue
			}
			is := func(p place) bool { return p.host != 0 && g.node(p.host-1) == c.DeleteWaiter }
			if i := w.queue.find(is); i >= 0 {
				w.coords[at].queue.put(w.queue[i], is)
			} else {
				w.coords[at].queue.remove(is)
			}
		}
	}
	g.reread(w, at)
}

// reread: the coordinator has just read the group, and what became of its late
// transactions. What is not answered by that is decided anew.
func (g *steps) reread(w *world, at uint8) {
	w.coords[at].core = w.core
	for i := range w.late {
		if l := w.late[i]; l.attempt != 0 && l.keeper == int16(at) && l.fate == committed {
			w.late[i] = late{}
			g.foundCommitted(w, at, l.attempt)
		}
	}
	for i := range w.requests {
		r := &w.requests[i]
		if r.kind == none || r.at != at || r.stage != inFlight {
			continue
		}
		r.stage = toDecide
		if r.client == gone && r.kind != releaseReq && r.kind != freeReq {
			w.requests[i] = request{} // nobody wants it any more
		}
	}
	g.detach(w, at)
}

func (w *world) inFlight(at uint8, k opKey) int {
	return slices.IndexFunc(w.requests[:], func(r request) bool {
		return r.at == at && r.stage == inFlight && r.kind != none && r.key() == k
	})
}
