package semaphore

import (
	"fmt"
	"time"
)

// MaxGrants is the most holds that one decision gives to waiters: a hold, a
// waiter and an event each. With all else that a decision may change they fit
// into the 128 operations that an etcd takes in one transaction by default.
const MaxGrants = 32

// Decide answers op on a group at one revision: what to commit, and what to
// say once that is committed. It never changes s.
//
// What a store does with a Decision:
//
//   - With Writes, one transaction compares the head's ModRevision with
//     s.HeadRev (0: absent), with GuardFreeze also the fleet-wide freeze key's
//     with s.FreezeRev, with GuardOut that of the coordinator's host that is out
//     with s.OutRev, and for each DeleteWaiter that key's CreateRevision
//     with the Ticket; it puts Head, all Changes and Events. On a lost
//     comparison, or an unknown outcome, it reads anew and decides the same op
//     again: ops are bound (Fence, Bound, Request), so that this is safe.
//   - Without Writes the answer holds once a linearizable read shows the head
//     still at s.HeadRev (and the freeze key at s.FreezeRev). A refusal that
//     Passes may be given from memory; any other ends the matter for its
//     caller, and needs the read too.
//   - A refused op can write: the first acquire of a FleetLock node registers
//     it even when the group is full. Look at Writes, not at Answer.Kind.
//   - Granted names the waiters that were given a hold on the way. Their
//     parked calls are answered with that hold and Created; place deleted.
//   - An Acquire that finds the node holding answers without a write for an
//     agent: the store then drops the node's own place, if it has one.
func Decide(s *State, op Op, now time.Time) Decision {
	b := &draft{s: s, now: now, held: s.Held(), slots: s.SlotCount()}
	b.d.Head = s.Head
	b.d.Head.V = max(s.Head.V, s.writes())
	b.d.Head.Next = max(s.Head.Next, s.FenceFloor+1)
	b.d.Answer.Revision = s.Revision
	if b.mayDecide(op) {
		b.decide(op)
	}
	return b.d
}

// draft is a decision in the making.
type draft struct {
	s     *State
	d     Decision
	now   time.Time
	held  int // holds after the changes so far
	slots int
}

// mayDecide turns away what a newer schema or an absent group forbids.
func (b *draft) mayDecide(op Op) bool {
	release, releases := op.(Release)
	held, _ := b.s.Hold(release.Node)
	switch {
	case b.s.NewerSchema != "" && !(releases && b.s.Head.Next > 0 && held.V <= SchemaVersion):
		b.refuseFor(newerSchema(b.s))
		return false
	case b.s.Exists():
		return true
	}
	switch op.(type) {
	case PutSpec:
		return true
	case Release, DeleteGroup, RemoveMember:
		// Of a group that was deleted, these have nothing left to do or are
		// done; of one that never was, they are mistakes.
		if b.s.HeadRev != 0 {
			return true
		}
	}
	b.refuse(UnknownGroup, "%s", unknownGroup(b.s))
	return false
}

func (b *draft) decide(op Op) {
	switch op := op.(type) {
	case Acquire:
		b.acquire(op)
	case Confirm:
		b.confirm(op)
	case Release:
		b.release(op)
	case Revoke:
		b.revoke(op)
	case ForceRelease:
		b.forceRelease(op)
	case Expire:
		b.expire(op)
	case Admit:
		b.admit("", op)
	case PutSpec:
		b.putSpec(op)
	case DeleteGroup:
		b.deleteGroup(op)
	case SetFreeze:
		b.setFreeze(op)
	case LiftFreeze:
		b.liftFreeze(op)
	case PutMember:
		b.putMember(op)
	case SetDown:
		b.setDown(op)
	case SetDuplicate:
		b.setDuplicate(op)
	case RemoveMember:
		b.removeMember(op)
	case Adopt:
		b.adopt(op)
	default:
		panic(fmt.Sprintf("semaphore: %T is no op", op))
	}
}

func (b *draft) refuse(kind Kind, format string, args ...any) {
	b.d.Answer.Kind = kind
	b.d.Answer.Detail = fmt.Sprintf(format, args...)
}

// refuseFor answers with blockers, the first of which gives the kind.
func (b *draft) refuseFor(blockers ...Blocker) {
	b.d.Answer.Kind = blockers[0].Kind
	b.d.Answer.Detail = blockers[0].Detail
	b.d.Answer.Blockers = blockers
}

func (b *draft) change(c Change) { b.d.Changes = append(b.d.Changes, c) }

// event adds a line of audit; Held and Slots are those after the change.
func (b *draft) event(kind, actor, node string, fence int64, format string, args ...any) {
	b.d.Head.EventSeq++
	b.d.Events = append(b.d.Events, Event{
		V: BaseSchema, Scope: "group/" + b.s.Group, Seq: b.d.Head.EventSeq, At: b.now, Kind: kind,
		Actor: actor, Group: b.s.Group, Node: node, Fence: fence, Held: b.held, Slots: b.slots,
		Detail: fmt.Sprintf(format, args...),
	})
}

// changed says, of the event that was just added, what was and what is now; nil
// for nothing.
func (b *draft) changed(before, after any) {
	e := &b.d.Events[len(b.d.Events)-1]
	*e = e.Changed(before, after)
}

// putHold writes a hold and answers with it.
func (b *draft) putHold(h Hold) {
	h.V = max(h.V, b.s.writes())
	b.change(Change{Hold: &h})
	b.answerHold(h)
}

func (b *draft) answerHold(h Hold) { b.d.Answer.Hold = &h }

func (b *draft) putMemberValue(m Member) {
	m.V = max(m.V, b.s.writes())
	b.change(Change{Member: &m})
}

// nextFence takes the next fence. It only grows, over deletion of the group
// too, so that no two holds of a group's name ever share one.
func (b *draft) nextFence() int64 {
	fence := b.d.Head.Next
	b.d.Head.Next++
	return fence
}
