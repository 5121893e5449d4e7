package semaphore_test

import (
	"cmp"
	"slices"
)

// normalise sorts what has no order, forgets late transactions that can do
// nothing any more, and takes of two worlds that differ only in which
// coordinator is which the same one. In a trace a coordinator's number is
// therefore good for that line only.
func (m *model) normalise(w *world) {
	m.forgetLate(w)
	w.sort()
	c := cmp.Or(
		cmp.Compare(w.coords[1].core, w.coords[0].core),
		cmp.Compare(w.coords[1].flight, w.coords[0].flight),
		cmp.Compare(w.reading[1], w.reading[0]),
	)
	if c < 0 {
		return
	}
	other := *w
	other.swap()
	other.sort()
	if c > 0 || other.before(w) {
		*w = other
	}
}

// forgetLate drops transactions whose comparison can never hold again, and
// that nobody reads about.
func (m *model) forgetLate(w *world) {
	for i := range w.late {
		l := &w.late[i]
		switch {
		case l.attempt == 0:
		case l.fate == committed && l.keeper == keptByNobody,
			l.fate == pending && m.rule != noHeadCompare && m.facts[m.attempts[l.attempt].base].headRev != m.facts[w.core].headRev:
			*l = late{}
		}
	}
}

// swap makes coordinator 0 coordinator 1.
func (w *world) swap() {
	w.coords[0], w.coords[1] = w.coords[1], w.coords[0]
	w.reading[0], w.reading[1] = w.reading[1], w.reading[0]
	for _, q := range [...]*queue{&w.queue, &w.coords[0].queue, &w.coords[1].queue} {
		for i := range q {
			if q[i].host != 0 && q[i].owner != ownerDead {
				q[i].owner = 1 - q[i].owner
			}
		}
	}
	for i := range w.late {
		if l := &w.late[i]; l.attempt != 0 && l.keeper != keptByNobody {
			l.keeper ^= 1
		}
	}
	for i := range w.requests {
		if w.requests[i].kind != none {
			w.requests[i].at = 1 - w.requests[i].at
		}
	}
}

// before orders a world and its swapped one.
func (w *world) before(o *world) bool {
	for i := range w.requests {
		if c := cmp.Compare(w.requests[i].order(), o.requests[i].order()); c != 0 {
			return c < 0
		}
	}
	for i := range w.late {
		if c := cmp.Compare(w.late[i].order(), o.late[i].order()); c != 0 {
			return c < 0
		}
	}
	return w.queues() < o.queues()
}

// queues numbers the three queues by their places.
func (w *world) queues() (n uint64) {
	for _, q := range [...]*queue{&w.queue, &w.coords[0].queue, &w.coords[1].queue} {
		for _, p := range q {
			n = n*31 + uint64(p.host) + uint64(p.owner)<<3 + uint64(p.ticket)<<5
		}
	}
	return n
}

func (r *request) order() uint64 {
	return uint64(r.kind)<<56 | uint64(r.host)<<52 | uint64(r.at)<<48 | uint64(r.id)<<40 | uint64(r.stage)<<36 |
		uint64(r.client)<<32 | uint64(r.bound)<<20 | uint64(r.answer)<<16 | uint64(r.fence)
}

func (l *late) order() uint64 {
	return uint64(l.attempt)<<16 | uint64(l.keeper)<<8 | uint64(l.fate)
}

// sort puts requests and late transactions in a fixed order, empty ones last.
func (w *world) sort() {
	for i := 1; i < len(w.requests); i++ {
		for j := i; j > 0 && w.requests[j].order() > w.requests[j-1].order(); j-- {
			w.requests[j], w.requests[j-1] = w.requests[j-1], w.requests[j]
		}
	}
	if w.late[0].order() < w.late[1].order() {
		w.late[0], w.late[1] = w.late[1], w.late[0]
	}
}

// add puts a request of a client; false when too many are under way.
func (m *model) add(w *world, r request) bool {
	if w.count() >= m.requests {
		return false
	}
	w.addOwn(r)
	return true
}

// addOwn puts a request that a coordinator makes of itself.
func (w *world) addOwn(r request) {
	for i := range w.requests {
		if w.requests[i].kind == none {
			w.requests[i] = r
			return
		}
	}
	panic("a world has no room for one more request")
}

func (w *world) count() (n int) {
	for i := range w.requests {
		if w.requests[i].kind != none {
			n++
		}
	}
	return n
}

// addLate puts a transaction of unknown outcome; false without room for it.
func (w *world) addLate(l late) bool {
	for i := range w.late {
		if w.late[i].attempt == 0 {
			w.late[i] = l
			return true
		}
	}
	return false
}

func (q *queue) find(is func(place) bool) int { return slices.IndexFunc(q[:], is) }

func (q *queue) remove(is func(place) bool) {
	if i := q.find(is); i >= 0 {
		copy(q[i:], q[i+1:])
		q[len(q)-1] = place{}
	}
}

// put adds a place in the order of the tickets, or replaces the node's.
func (q *queue) put(p place, sameNode func(place) bool) {
	q.remove(sameNode)
	i := len(q) - 1
	for ; i > 0 && (q[i-1].host == 0 || q[i-1].ticket > p.ticket); i-- {
		q[i] = q[i-1]
	}
	q[i] = p
}
