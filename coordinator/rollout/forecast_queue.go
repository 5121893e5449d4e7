package rollout

import "time"

// What happens in virtual time, in the order of those that happen at once.
const (
	hostOver    = iota // a host is done with its update, or has failed
	hostSettled        // a host counts as updated
	hostTooLong        // a host should be updated by now
	hostOverdue        // a hold is past its deadline
	hostAsks           // a host asks for a slot
	hostGranted        // a waiter was given one
	groupWakes         // a clock lets a group go on
	rolloutLook        // the engine looks at a rollout
	rolloutUndo        // it brings nodes of one back
)

// happening is one thing to come. It is of a host, a group or a rollout, by
// its number.
type happening struct {
	at   time.Duration // since the start
	kind int32
	of   int32
	turn int64 // of those at once and of a kind, the one noted first
}

func (h *happening) before(o *happening) bool {
	switch {
	case h.at != o.at:
		return h.at < o.at
	case h.kind != o.kind:
		return h.kind < o.kind
	}
	return h.turn < o.turn
}

// happenings is a heap of what is to come, the next first.
type happenings struct {
	list []happening
	turn int64
}

func (q *happenings) push(at time.Duration, kind, of int32) {
	q.turn++
	q.list = append(q.list, happening{at, kind, of, q.turn})
	i := len(q.list) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !q.list[i].before(&q.list[up]) {
			break
		}
		q.list[i], q.list[up] = q.list[up], q.list[i]
		i = up
	}
}

func (q *happenings) pop() happening {
	first := q.list[0]
	last := len(q.list) - 1
	q.list[0] = q.list[last]
	q.list = q.list[:last]
	i := 0
	for {
		down := 2*i + 1
		if down >= last {
			return first
		}
		if down+1 < last && q.list[down+1].before(&q.list[down]) {
			down++
		}
		if !q.list[down].before(&q.list[i]) {
			return first
		}
		q.list[i], q.list[down] = q.list[down], q.list[i]
		i = down
	}
}
