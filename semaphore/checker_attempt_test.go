package semaphore_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// opKey names one request in a question and an attempt.
type opKey struct{ kind, host, bound, id uint8 }

// Marks of a waiter in the eyes of one coordinator.
const (
	absent uint8 = iota
	elsewhere
	present // + the id of its parked request
)

type mark struct{ host, ticket, state uint8 }

// question is everything that a decision depends on.
type question struct {
	core  int32
	queue [maxHosts]mark
	ops   [maxBatch]opKey
	clock uint8
}

// part is one decision of an attempt.
type part struct {
	opKey
	d semaphore.Decision
}

// attempt is one transaction: what it compares, and what it changes.
type attempt struct {
	base   int32
	parts  []part
	writes bool
	grants bool  // to whom the freeze is compared
	blind  bool  // without comparing the head: broken
	then   int32 // an attempt that follows it: broken
	unfair string
	next   int32 // what a coordinator goes on from once it has committed
}

func (m *model) question(w *world, at uint8, ops ...opKey) question {
	q := question{core: w.coords[at].core, clock: w.clock}
	copy(q.ops[:], ops)
	for i, p := range w.coords[at].queue {
		if p.host == 0 {
			break
		}
		q.queue[i] = mark{p.host, p.ticket, absent}
		if p.owner != at {
			q.queue[i].state = elsewhere
		}
		for _, r := range w.requests {
			if r.kind == acquireReq && r.at == at && r.stage == parked && m.nodeOf(r.host) == m.nodeOf(p.host-1) {
				q.queue[i].host, q.queue[i].state = r.host+1, present+r.id
			}
		}
	}
	return q
}

// view is the state that a question is about.
func (m *model) view(q *question) semaphore.State {
	s := m.cores[q.core]
	s.Queue = nil
	for _, k := range q.queue {
		if k.host == 0 {
			break
		}
		h := k.host - 1
		waiter := semaphore.Waiter{
			V: 1, Node: m.node(h), Via: m.via(h), Instance: m.instance(h), CreateRevision: int64(k.ticket), Elsewhere: k.state == elsewhere,
		}
		if k.state >= present {
			waiter.Present, waiter.Request = true, requestName(h, k.state-present)
		}
		s.Queue = append(s.Queue, waiter)
	}
	return s
}

func (m *model) time(clock uint8) time.Time {
	return modelTime.Add(time.Duration(clock) * betweenTicks)
}

// op is the request as the rules know it; a broken rule bends it here.
func (m *model) op(k opKey, view *semaphore.State) semaphore.Op {
	if k.kind == admitReq {
		return semaphore.Admit{Overtake: k.id == 1}
	}
	node, instance, via := m.node(k.host), m.instance(k.host), m.via(k.host)
	hold, holds := view.Holds[node]
	if holds && m.rule == ignoresInstance && hold.Via == via || holds && m.rule == ignoresVia {
		instance, via = hold.Instance, hold.Via
	}
	switch k.kind {
	case acquireReq:
		op := semaphore.Acquire{Node: node, Instance: instance, Via: via, Request: requestName(k.host, k.id)}
		if via == semaphore.ViaFleetLock {
			op.Bound = int64(k.bound)
		}
		return op
	case confirmReq:
		return semaphore.Confirm{Node: node, Instance: instance, Fence: int64(k.bound)}
	case expireReq:
		return semaphore.Expire{Node: node, Fence: int64(k.bound)}
	case freeReq:
		return semaphore.ForceRelease{Node: node, Name: node, Fence: int64(k.bound), By: "operator", HostIsDown: true}
	default:
		op := semaphore.Release{Node: node, Instance: instance, Via: via, Fence: int64(k.bound)}
		if holds && m.rule == releaseUnbound {
			op.Fence = hold.Fence
		}
		return op
	}
}

// decide asks the real rules, once for each different question.
func (m *model) decide(q question) int32 {
	if id, ok := m.asked[q]; ok {
		return id
	}
	a := attempt{base: q.core}
	if m.rule == nextGrantApart && q.ops[0].kind == releaseReq {
		a.then = m.decideApart(q)
		for i := range q.queue {
			q.queue[i].state = absent
		}
	}
	view := m.view(&q)
	kept := view // as stores have it
	kept.Keep(m.time(q.clock))
	for _, k := range q.ops {
		if k.kind == none {
			break
		}
		d := m.decideOne(k, &view, q.clock)
		if m.rule == allKept {
			d = semaphore.Decide(&kept, m.op(k, &view), m.when(k, q.clock))
			kept = kept.Apply(d)
		}
		if a.unfair == "" {
			a.unfair = m.unfair(&view, k, &d, q.clock)
		}
		a.parts = append(a.parts, part{k, d})
		a.writes = a.writes || d.Writes()
		a.grants = a.grants || d.GuardFreeze
		if m.rule != batchOnOneState {
			view = view.Apply(d)
		}
	}
	if m.rule == allKept && a.writes {
		next, base := kept.Plain(), &m.cores[q.core]
		next.SpecRev = base.SpecRev
		a.next = m.put(next, base.HeadRev+1)
	}
	id := m.internAttempt(a)
	m.asked[q] = id
	return id
}

func (m *model) decideOne(k opKey, view *semaphore.State, clock uint8) semaphore.Decision {
	if hold, ok := view.Holds[m.node(k.host)]; ok && k.kind == freeReq && m.rule == freesUnrevoked {
		*view = view.Apply(semaphore.Decision{Head: view.Head, Changes: []semaphore.Change{{Hold: &hold}}})
		hold.State = semaphore.Revoked
		view.Holds[hold.Node] = hold
	}
	seen := *view
	if m.rule == newcomersPass && k.kind == acquireReq {
		seen.Queue = nil
	}
	d := semaphore.Decide(&seen, m.op(k, view), m.when(k, clock))
	hold := view.Holds[m.node(k.host)]
	if m.rule == acquireKeepsFence && k.kind == acquireReq && d.Answer.Kind == semaphore.OK && hold.Via == semaphore.ViaFleetLock {
		d = semaphore.Decision{Answer: semaphore.Answer{Hold: &hold}}
	}
	return d
}

// when is the time of a decision. A hold was revoked long before it is freed.
func (m *model) when(k opKey, clock uint8) time.Time {
	if k.kind == freeReq {
		return m.time(clock).Add(semaphore.FreeRevoked)
	}
	return m.time(clock)
}

// decideApart is the admission behind a release, in a transaction of its own
// that does not compare what it was decided on.
func (m *model) decideApart(q question) int32 {
	view := m.view(&q)
	d := semaphore.Decide(&view, m.op(q.ops[0], &view), m.time(q.clock))
	if len(d.Granted) == 0 {
		return 0
	}
	for i := range view.Queue {
		view.Queue[i].Present = false
	}
	after := view.Apply(semaphore.Decide(&view, m.op(q.ops[0], &view), m.time(q.clock)))
	after.Queue = m.view(&q).Queue
	k := opKey{kind: admitReq}
	admit := semaphore.Decide(&after, m.op(k, &after), m.time(q.clock))
	return m.internAttempt(attempt{base: q.core, parts: []part{{k, admit}}, writes: admit.Writes(), grants: true, blind: true})
}

// internAttempt gives attempts that do the same one number.
func (m *model) internAttempt(a attempt) int32 {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %t %d %s", a.base, a.blind, a.then, a.unfair)
	for _, p := range a.parts {
		fmt.Fprintf(&b, "|%v %s %t %d", p.opKey, p.d.Answer.Kind, p.d.Answer.Created, p.d.Head.Next)
		if p.d.Answer.Hold != nil {
			fmt.Fprintf(&b, " %d", p.d.Answer.Hold.Fence)
		}
		for _, c := range p.d.Changes {
			if c.Hold != nil {
				fmt.Fprintf(&b, " hold %s %s %s %d %d", c.Hold.Node, c.Hold.State, c.Hold.Request, c.Hold.Fence, c.Hold.Since.Unix())
			}
			if c.DeleteWaiter != "" {
				fmt.Fprintf(&b, " waiter %s %d", c.DeleteWaiter, c.Ticket)
			}
		}
	}
	key := b.String()
	id, ok := m.sameTry[key]
	if !ok {
		id = int32(len(m.attempts))
		m.attempts = append(m.attempts, a)
		m.sameTry[key] = id
	}
	return id
}

// effect is what an attempt does to a core.
type effect struct {
	core      int32
	violation string
}

// commit is the store: it compares, and applies. ok says whether the
// comparisons held.
func (m *model) commit(w *world, id int32) (ok bool, violation string) {
	a := &m.attempts[id]
	base, now := &m.facts[a.base], &m.facts[w.core]
	switch {
	case base.headRev != now.headRev && m.rule != noHeadCompare && !a.blind:
		return false, ""
	case a.grants && base.freezeRev != now.freezeRev && m.rule != freezeNotCompared:
		return false, ""
	}
	for _, p := range a.parts {
		for _, c := range p.d.Changes {
			if c.DeleteWaiter != "" && m.rule != ticketNotCompared && !slices.ContainsFunc(w.queue[:], func(p place) bool { return m.isPlace(p, c) }) {
				return false, ""
			}
		}
	}
	key := [2]int32{w.core, id}
	e, known := m.applied[key]
	if !known {
		e = m.effect(w.core, a)
		m.applied[key] = e
	}
	violation = cmp.Or(e.violation, a.unfair)
	if m.rule == allKept && w.core == a.base && a.next != e.core {
		violation = "a batch committed something else than its coordinator goes on from"
	}
	for _, p := range a.parts {
		for _, c := range p.d.Changes {
			if c.DeleteWaiter != "" && !slices.ContainsFunc(w.queue[:], func(p place) bool { return m.isPlace(p, c) }) {
				violation = fmt.Sprintf("a hold was granted to %s, which had left the queue", c.DeleteWaiter)
			}
			if c.DeleteWaiter != "" {
				w.queue.remove(func(p place) bool { return p.host != 0 && m.node(p.host-1) == c.DeleteWaiter })
			}
		}
		for _, event := range p.d.Events {
			if event.Kind != "hold.granted" && event.Kind != "hold.refenced" {
				continue
			}
			if uint8(event.Fence) <= w.fences && violation == "" {
				violation = fmt.Sprintf("fence %d was given a second time", event.Fence)
			}
			w.fences = max(w.fences, uint8(event.Fence))
		}
	}
	w.core = e.core
	return true, cmp.Or(violation, m.noteGrants(w, a))
}

// isPlace reports whether a place is the one that a change deletes.
func (m *model) isPlace(p place, c semaphore.Change) bool {
	return p.host != 0 && m.node(p.host-1) == c.DeleteWaiter && int64(p.ticket) == c.Ticket
}

// noteGrants keeps what later worlds are judged by.
func (m *model) noteGrants(w *world, a *attempt) (violation string) {
	for _, p := range a.parts {
		for _, event := range p.d.Events {
			if event.Kind != "hold.granted" {
				continue
			}
			for h := range uint8(len(m.hosts)) {
				if m.node(h) == event.Node {
					w.hosts[h].allowed = m.facts[w.core].slots
				}
			}
			if m.spec.GrantInterval > 0 {
				tick := uint8(event.At.Sub(modelTime)/betweenTicks) + 1
				if tick <= w.lastGrant {
					violation = "a grant was decided too soon after the last"
				}
				w.lastGrant = tick
			}
		}
	}
	return violation
}

// effect applies an attempt, and says what must not have been committed.
func (m *model) effect(core int32, a *attempt) effect {
	before := m.state(core)
	after := *before
	for _, p := range a.parts {
		after = after.Apply(p.d)
	}
	after.SpecRev = before.SpecRev
	if a.writes {
		after.HeadRev = before.HeadRev + 1
	}
	return effect{m.intern(after), m.brokenCommit(before, &after, a)}
}
