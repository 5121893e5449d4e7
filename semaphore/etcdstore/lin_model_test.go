package etcdstore_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// The model is what a group promises to those outside, put down once more and
// without a look at the rules in the semaphore: slots, who holds with which
// fence, the next fence and the stops. Every answer must be true at one moment
// between its question and itself, but for an acquire's refusal that can pass:
// it may rest on an old look. Who waited in vain can even have been granted in
// the moment of giving up, or have lost the slot before being told of it.
//
// Such a request, like one of unknown outcome, stays in the state as one that
// may still have its effect once, at any later moment.

// linNodes is how many nodes a group of the histories has: n0, n1, ….
const linNodes = 5

type linHold struct {
	fence         int64 // 0: no hold
	state         semaphore.HoldState
	via, instance string
	// orphan: made for a FleetLock request that nobody heard the answer of, so
	// that the store may give it back.
	orphan bool
}

type linFreeze struct {
	id   string // empty: none
	stop bool
}

// linState is comparable.
type linState struct {
	exists        bool
	next          int64
	slots         int
	freeze, fleet linFreeze
	holds         [linNodes]linHold
	unconfirmed   [linNodes]bool // its last grant expired: it may be told to wait
	pending       string         // numbers of the requests that may still have their effect
}

// linInput is a request as porcupine sees it.
type linInput struct {
	number int
	op     any
}

// linOutput is its answer.
type linOutput struct {
	unknown bool // or a refusal that can pass
	wireReply
}

// linOutcome is one way in which a request can be answered, and what is then.
type linOutcome struct {
	state linState
	kind  semaphore.Kind
	// hold is the fence that the answer tells, 0 for none.
	hold   int64
	as     semaphore.HoldState // its state, empty: not told apart
	freeze string
}

func index(node string) int {
	i, err := strconv.Atoi(strings.TrimPrefix(node, "n"))
	if err != nil || i < 0 || i >= linNodes {
		panic("no such node: " + node)
	}
	return i
}

func (s linState) held() int {
	n := 0
	for _, h := range s.holds {
		if h.fence != 0 {
			n++
		}
	}
	return n
}

func (s linState) frozen() bool { return s.freeze.id != "" || s.fleet.id != "" }

func (s linState) stopped() bool {
	return s.freeze.id != "" && s.freeze.stop || s.fleet.id != "" && s.fleet.stop
}

// with is the state with another hold of a node.
func (s linState) with(n int, h linHold) linState { s.holds[n] = h; return s }

// outcomes are all ways in which a request can be answered in a state.
func (s linState) outcomes(op any) []linOutcome {
	only := func(o linOutcome) []linOutcome { return []linOutcome{o} }
	refused := func(kind semaphore.Kind, h linHold) []linOutcome {
		return only(linOutcome{state: s, kind: kind, hold: h.fence})
	}
	switch op := op.(type) {
	case setFleet:
		s.fleet = freezing(s.fleet, op.Freeze)
		return only(linOutcome{state: s, freeze: s.fleet.id})
	case liftFleet:
		was := s.fleet.id
		now, kind := lifted(s.fleet, op.ID)
		s.fleet = now
		return only(linOutcome{state: s, kind: kind, freeze: was})
	case semaphore.PutSpec:
		if !s.exists {
			s.freeze = linFreeze{}
		}
		s.exists, s.slots, s.next = true, op.Spec.Slots.N, max(s.next, 1)
		return only(linOutcome{state: s})
	case semaphore.Release:
		h := s.holds[index(op.Node)]
		if h.fence == 0 || h.fence != op.Fence || h.via != string(op.Via) || h.instance != op.Instance {
			return only(linOutcome{state: s})
		}
		return only(linOutcome{state: s.with(index(op.Node), linHold{}), hold: h.fence})
	case semaphore.DeleteGroup:
		switch {
		case !s.exists:
			return only(linOutcome{state: s})
		case s.held() > 0:
			return refused(semaphore.InUse, linHold{})
		}
		s.exists, s.freeze = false, linFreeze{}
		return only(linOutcome{state: s})
	}
	if !s.exists {
		return refused(semaphore.UnknownGroup, linHold{})
	}
	switch op := op.(type) {
	case semaphore.Acquire:
		return s.acquire(op)
	case semaphore.Confirm:
		n := index(op.Node)
		h := s.holds[n]
		switch {
		case h.fence == 0:
			return refused(semaphore.StaleFence, h)
		case h.via != string(semaphore.ViaAgent) || h.instance != op.Instance:
			return refused(semaphore.HeldByOther, h)
		case h.fence != op.Fence, h.state == semaphore.Revoked:
			return refused(semaphore.StaleFence, h)
		case h.state == semaphore.Confirmed && s.stopped(), h.state == semaphore.Granted && s.frozen():
			return refused(semaphore.Frozen, h)
		}
		h.state = semaphore.Confirmed
		s.unconfirmed[n] = false
		return only(linOutcome{state: s.with(n, h), hold: h.fence, as: h.state})
	case semaphore.Revoke:
		n := index(op.Node)
		h := s.holds[n]
		switch {
		case h.fence == 0:
			return refused(semaphore.NotFound, h)
		case h.fence != op.Fence:
			return refused(semaphore.StaleFence, h)
		}
		h.state = semaphore.Revoked
		return only(linOutcome{state: s.with(n, h), hold: h.fence})
	case semaphore.ForceRelease:
		n := index(op.Node)
		h := s.holds[n]
		switch {
		case h.fence == 0:
			return only(linOutcome{state: s})
		case h.fence != op.Fence:
			return refused(semaphore.StaleFence, h)
		case h.state != semaphore.Revoked:
			return refused(semaphore.Conflict, h)
		}
		// Whether 15 s have passed is between the store and its clock.
		return append(refused(semaphore.Conflict, h), linOutcome{state: s.with(n, linHold{}), hold: h.fence})
	case semaphore.Expire:
		n := index(op.Node)
		h := s.holds[n]
		switch {
		case h.fence == 0 || h.fence != op.Fence || h.state != semaphore.Granted:
			return only(linOutcome{state: s})
		case s.frozen():
			return refused(semaphore.Frozen, h)
		}
		s.unconfirmed[n] = true
		return only(linOutcome{state: s.with(n, linHold{}), hold: h.fence})
	case semaphore.SetFreeze:
		s.freeze = freezing(s.freeze, op.Freeze)
		return only(linOutcome{state: s, freeze: s.freeze.id})
	case semaphore.LiftFreeze:
		was := s.freeze.id
		now, kind := lifted(s.freeze, op.ID)
		s.freeze = now
		return only(linOutcome{state: s, kind: kind, freeze: was})
	}
	panic(fmt.Sprintf("the model knows no %T", op))
}

func (s linState) acquire(op semaphore.Acquire) []linOutcome {
	n := index(op.Node)
	h := s.holds[n]
	switch {
	case h.fence == 0:
	case h.via != string(op.Via) || h.instance != op.Instance:
		return []linOutcome{{state: s, kind: semaphore.HeldByOther, hold: h.fence}}
	case h.state == semaphore.Revoked:
		return []linOutcome{{state: s, kind: semaphore.StaleFence, hold: h.fence}}
	case op.Via == semaphore.ViaAgent:
		return []linOutcome{{state: s, hold: h.fence, as: h.state}}
	default:
		h.fence, h.orphan = s.next, false
		s.next++
		return []linOutcome{{state: s.with(n, h), hold: h.fence, as: h.state}}
	}
	var can []linOutcome
	if s.unconfirmed[n] {
		can = append(can, linOutcome{state: s, kind: semaphore.RetryLater})
	}
	if s.frozen() || s.held() >= s.slots {
		return can
	}
	h = linHold{fence: s.next, state: semaphore.Granted, via: string(op.Via), instance: op.Instance}
	if op.Via == semaphore.ViaFleetLock {
		h.state = semaphore.Confirmed
	}
	s.next++
	return append(can, linOutcome{state: s.with(n, h), hold: h.fence, as: h.state})
}

// freezing is the stop that is in force after one was asked for.
func freezing(was linFreeze, f semaphore.Freeze) linFreeze {
	if was.id == "" {
		was.id = f.ID
	}
	was.stop = was.stop || f.Stop
	return was
}

// lifted is what becomes of a stop when the one of that id is lifted.
func lifted(was linFreeze, id string) (linFreeze, semaphore.Kind) {
	if was.id != "" && was.id != id {
		return was, semaphore.Conflict
	}
	return linFreeze{}, semaphore.OK
}

// matches reports whether a request was answered in this way.
func (o linOutcome) matches(a semaphore.Answer) bool {
	switch {
	case a.Kind != o.kind, a.Freeze != nil && a.Freeze.ID != o.freeze:
		return false
	case a.Hold == nil:
		return o.hold == 0 || a.Kind != semaphore.OK
	case a.Hold.Fence != o.hold || o.as != "" && a.Hold.State != o.as:
		return false
	}
	return true
}
