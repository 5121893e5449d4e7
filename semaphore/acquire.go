package semaphore

import "time"

// Deadlines of holds where the spec names none.
const (
	DefaultHold          = 30 * time.Minute
	DefaultFleetLockHold = time.Hour
)

func (b *draft) acquire(op Acquire) {
	if op.Via == ViaAgent && op.Instance == "" {
		b.refuse(Invalid, "instance: an agent's acquire must name its instance")
		return
	}
	if h, holds := b.s.Hold(op.Node); holds {
		b.acquireAgain(op, h)
		return
	}
	b.d.Answer.Place = Place(b.s, op.Node)
	s := b.s
	m, member := s.Member(op.Node)
	if !member && op.Register {
		s = b.join(op.Node)
		m, _ = s.Member(op.Node)
	}
	if found := blockers(s, op.Node, b.now, op.Overtake); len(found) > 0 {
		b.refuseFor(found...)
		return
	}
	b.dropPlace(op.Node)
	b.d.Answer.Place = 0
	b.putHold(b.grant(m, Waiter{
		Node: op.Node, Via: op.Via, Instance: op.Instance, Reason: op.Reason,
		Request: op.Request, BootID: op.BootID, Peer: op.Peer,
	}))
	b.d.Answer.Created = true
}

// acquireAgain is an acquire of a node that holds.
func (b *draft) acquireAgain(op Acquire, h Hold) {
	b.answerHold(h)
	switch {
	case h.Via != op.Via || h.Instance != op.Instance:
		b.refuse(HeldByOther, "node %q holds through %s under another instance (fence %d)", op.Node, h.Via, h.Fence)
	case h.State == Revoked:
		b.refuse(StaleFence, "the hold of node %q with fence %d was revoked; it must be returned first", op.Node, h.Fence)
	case h.Via != ViaFleetLock:
		// The same hold, unchanged: an agent knows its fence and is bound by it.
	default:
		b.renew(op, h)
	}
}

// renew gives a FleetLock holder that asks again a new fence, so that a release
// which an earlier request left under way does not take the slot from it.
func (b *draft) renew(op Acquire, h Hold) {
	other := op.Peer != "" && h.Peer != "" && op.Peer != h.Peer
	switch {
	case op.Request != "" && h.Renewed == op.Request:
		return // this very request did it, and its answer was lost
	case op.Request != "" && h.Renewed == "" && h.Request == op.Request:
		b.d.Answer.Created = true
		return
	case op.StrictAddress && other:
		b.refuse(DuplicateID, "node %q holds from address %s; %s asks under the same id", op.Node, h.Peer, op.Peer)
		return
	case op.Bound != 0 && op.Bound != h.Fence:
		b.refuse(StaleFence, "the hold of node %q that the request found (fence %d) was replaced meanwhile (fence %d)", op.Node, op.Bound, h.Fence)
		return
	}
	seen := h.OtherPeer
	if other {
		h.OtherPeer = op.Peer
	}
	h.Fence, h.Renewed = b.nextFence(), op.Request
	b.dropPlace(op.Node)
	b.putHold(h)
	b.event("hold.refenced", op.Node, op.Node, h.Fence, "asked again while it holds")
	if h.OtherPeer != seen {
		b.event("node.duplicate", op.Node, op.Node, h.Fence, "%s holds, and %s asks under the same id", h.Peer, op.Peer)
	}
}

// dropPlace deletes the node's place in the queue, if it has one.
func (b *draft) dropPlace(node string) {
	if w, waits := b.s.Waiter(node); waits {
		b.change(Change{DeleteWaiter: node, Ticket: w.CreateRevision})
	}
}

// grant makes the hold of a member that may go. It compares the fleet's freeze.
func (b *draft) grant(m Member, w Waiter) Hold {
	h := Hold{
		V: b.s.writes(), Node: m.Node, State: Granted, Via: w.Via, Instance: w.Instance,
		Request: w.Request, BootID: w.BootID, Peer: w.Peer, Reason: w.Reason,
		Fence: b.nextFence(), Labels: m.Labels(), Since: b.now,
	}
	lasts := orDefault(b.s.Spec.Timeouts.Hold, DefaultHold)
	switch w.Via {
	case ViaFleetLock:
		h.State = Confirmed // the protocol has no confirmation
		lasts = orDefault(b.s.Spec.Timeouts.FleetLockHold, DefaultFleetLockHold)
	case ViaOperator:
		h.State = Confirmed
	}
	h.Deadline = b.now.Add(lasts)
	b.held++
	b.d.Head.Grants++
	if b.s.Spec.GrantInterval > 0 {
		b.d.Head.LastGrant = b.now
	}
	b.d.GuardFreeze = true
	b.takeOut(&m)
	b.event("hold.granted", m.Node, m.Node, h.Fence, "%s", w.Reason)
	return h
}

func orDefault(d Duration, otherwise time.Duration) time.Duration {
	if d > 0 {
		return time.Duration(d)
	}
	return otherwise
}

// admit grants the present waiters that may go now, in order. The hold of the
// node released counts as gone; that node itself is not granted, because its
// key is deleted by the same transaction.
func (b *draft) admit(released string, op Admit) {
	if b.s.NewerSchema != "" || b.s.Frozen() != nil || b.s.Waiting() == 0 || len(shut(b.s, b.now)) > 0 {
		return
	}
	most := MaxGrants
	if b.s.Spec.GrantInterval > 0 {
		most = 1
	}
	t := newTally(b.s, released)
	hosts := b.admitThose(t, released, op, most, false)
	if hosts { // of coordinators: they go last
		b.admitThose(t, released, op, most, true)
	}
}

// admitThose is admit for the hosts of coordinators, or for all others; it
// reports whether hosts are left.
func (b *draft) admitThose(t *tally, released string, op Admit, most int, hosts bool) (left bool) {
	room := t.mayFit()
	for w := range b.s.EachWaiter {
		if t.held >= t.slots || len(b.d.Granted) == most || !room {
			return false
		}
		if released != "" && w.Node == released {
			continue
		}
		m, ok := inOrder(t, w, b.now, op.Overtake)
		if !ok {
			continue
		}
		if _, is := b.s.hosts(&m); is != hosts {
			left = true
			continue
		}
		blocked := w.Reserved && !t.fits(&m)
		t.take(m)
		room = t.mayFit()
		if !w.Present || op.Via != "" && op.Via != w.Via || blocked {
			continue // its slot is for it to take
		}
		b.change(Change{DeleteWaiter: w.Node, Ticket: w.CreateRevision})
		h := b.grant(m, *w)
		b.change(Change{Hold: &h})
		b.d.Granted = append(b.d.Granted, h)
	}
	return left
}

// join registers a node in the same transaction, and returns the state with it.
func (b *draft) join(node string) *State {
	m := Member{V: b.s.writes(), Node: node}
	b.putMemberValue(m)
	s := *b.s
	if s.kept != nil {
		s.SetMember(m)
	} else {
		s.Members = cloned(b.s.Members)
		s.Members[node] = m
	}
	b.slots = s.SlotCount()
	b.event("node.joined", node, node, 0, "by its first request")
	return &s
}
