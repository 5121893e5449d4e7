package semaphore

import (
	"fmt"
	"strings"
	"time"
)

// What freeing by name asks for.
const (
	FreeUnheard = 60 * time.Second // the node was not heard from for so long
	FreeRevoked = 15 * time.Second // the hold was revoked so long ago
)

func (b *draft) confirm(op Confirm) {
	h, ok := b.s.Hold(op.Node)
	if !ok {
		b.refuse(StaleFence, "node %q has no hold in group %q", op.Node, b.s.Group)
		return
	}
	b.answerHold(h)
	switch {
	case h.Via != ViaAgent || h.Instance != op.Instance:
		b.refuse(HeldByOther, "node %q holds through %s under another instance (fence %d)", op.Node, h.Via, h.Fence)
	case h.Fence != op.Fence:
		b.refuse(StaleFence, "fence %d is not that of the hold (%d)", op.Fence, h.Fence)
	case h.State == Revoked:
		b.refuse(StaleFence, "the hold with fence %d was revoked; it must be returned", h.Fence)
	case h.State == Confirmed:
		if f := b.s.stopped(); f != nil {
			b.refuseFor(frozen(b.s, f))
		}
	case b.s.Frozen() != nil:
		b.refuseFor(frozen(b.s, b.s.Frozen()))
	default:
		h.State, h.BootID = Confirmed, op.BootID
		b.d.GuardFreeze = true
		b.putHold(h)
		if m, ok := b.s.Member(op.Node); ok && (m.Unconfirmed > 0 || !m.RetryAfter.IsZero()) {
			m.Unconfirmed, m.RetryAfter = 0, time.Time{}
			b.putMemberValue(m)
		}
		b.event("hold.confirmed", op.Node, op.Node, h.Fence, "")
	}
}

func (b *draft) release(op Release) {
	h, ok := b.s.Hold(op.Node)
	if !ok || h.Fence != op.Fence || h.Via != op.Via || h.Instance != op.Instance {
		b.d.Answer.Detail = "nothing to release"
		return
	}
	b.deleteHold(h, "hold.released", op.Node, "")
	b.admit(op.Node, Admit{})
}

func (b *draft) revoke(op Revoke) {
	h, ok := b.s.Hold(op.Node)
	switch {
	case op.Name != op.Node:
		b.refuse(Invalid, "name: %q was typed, the hold is of node %q", op.Name, op.Node)
		return
	case !ok:
		b.refuse(NotFound, "node %q has no hold in group %q", op.Node, b.s.Group)
		return
	case h.Fence != op.Fence:
		b.answerHold(h)
		b.refuse(StaleFence, "fence %d is not that of the hold (%d)", op.Fence, h.Fence)
		return
	}
	b.answerHold(h)
	if h.State == Revoked {
		return
	}
	h.State, h.Revoked = Revoked, &Mark{By: op.By, At: b.now, Reason: op.Reason}
	b.putHold(h)
	b.event("hold.revoked", op.By, op.Node, h.Fence, "%s", op.Reason)
}

func (b *draft) forceRelease(op ForceRelease) {
	h, ok := b.s.Hold(op.Node)
	switch {
	case op.Name != op.Node:
		b.refuse(Invalid, "name: %q was typed, the hold is of node %q", op.Name, op.Node)
		return
	case !ok:
		b.d.Answer.Detail = "nothing to release"
		return
	case h.Fence != op.Fence:
		b.answerHold(h)
		b.refuse(StaleFence, "fence %d is not that of the hold (%d)", op.Fence, h.Fence)
		return
	}
	if missing := b.missingToFree(op, h); len(missing) > 0 {
		b.answerHold(h)
		b.refuse(Conflict, "the hold of node %q cannot be freed: %s", op.Node, strings.Join(missing, "; "))
		return
	}
	b.deleteHold(h, "hold.freed", op.By, op.Reason)
}

// missingToFree names every condition of freeing by name that is not met.
func (b *draft) missingToFree(op ForceRelease, h Hold) []string {
	var missing []string
	if h.State != Revoked {
		missing = append(missing, "it must be revoked first")
	} else if h.Revoked != nil && b.now.Sub(h.Revoked.At) < FreeRevoked {
		missing = append(missing, fmt.Sprintf("it was revoked %s ago, %s must pass", ago(b.now, h.Revoked.At), FreeRevoked))
	}
	if !op.HostIsDown {
		missing = append(missing, "host_is_down must say that somebody looked and the host is down")
	}
	if !op.LastHeard.IsZero() && b.now.Sub(op.LastHeard) < FreeUnheard {
		missing = append(missing, fmt.Sprintf("the node was heard from %s ago, it must be silent for %s", ago(b.now, op.LastHeard), FreeUnheard))
	}
	return missing
}

func ago(now, t time.Time) time.Duration { return now.Sub(t).Round(time.Second) }

// expire takes a grant back that nobody confirmed. Its 30 s stand still while
// the group is frozen, because then it cannot be confirmed: that is compared.
func (b *draft) expire(op Expire) {
	h, ok := b.s.Hold(op.Node)
	if !ok || h.Fence != op.Fence || h.State != Granted {
		b.d.Answer.Detail = "nothing to expire"
		return
	}
	if f := b.s.Frozen(); f != nil {
		b.answerHold(h)
		b.refuseFor(frozen(b.s, f))
		return
	}
	b.d.GuardFreeze = true
	b.deleteHold(h, "hold.expired", "", fmt.Sprintf("not confirmed within %s", ConfirmWithin))
	if m, ok := b.s.Member(op.Node); ok {
		m.Unconfirmed = min(max(m.Unconfirmed, 0), maxUnconfirmed) + 1
		m.RetryAfter = b.now.Add(retryAfter(m.Unconfirmed))
		b.putMemberValue(m)
	}
}

// maxUnconfirmed bounds the count of unconfirmed grants in a row.
const maxUnconfirmed = 1_000_000

// retryAfter is how long a node waits after so many unconfirmed grants in a
// row: 1 min, doubling to 1 h. A stored number may be anything.
func retryAfter(unconfirmed int) time.Duration {
	return min(time.Hour, time.Minute<<min(max(unconfirmed-1, 0), 6))
}

func (b *draft) deleteHold(h Hold, kind, actor, detail string) {
	b.held--
	b.change(Change{DeleteHold: h.Node})
	b.bringBack(h.Node)
	b.answerHold(h)
	b.event(kind, actor, h.Node, h.Fence, "%s", detail)
}
