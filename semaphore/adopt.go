package semaphore

import "time"

// FenceJump is how far a restore raises the fences above what its snapshot
// knows, and how far beyond all that is known a node may show one. It is more
// grants than a group makes between two snapshots: at 1,000 grants a second
// they would have to be 11 days apart.
const FenceJump = 1_000_000_000

// Adopt makes a hold of what a node shows: a slot that it was given in the part
// of the history which a restore has lost. Slots, limits and windows do not
// stand in its way, since the node is out of service whatever the store says;
// nothing is granted while there are more holds than slots.
//
// Only while the restore's freeze is in force: afterwards a fence that is not
// that of a hold is one that was lost, as ever.
type Adopt struct {
	Node, Instance, BootID string
	Fence                  int64
	// Confirmed: the node has passed its first gate with that fence.
	Confirmed bool
	// Freeze is the id of the freeze that the restore set.
	Freeze string
}

func (Adopt) op() {}

func (b *draft) adopt(op Adopt) {
	m, member := b.s.Member(op.Node)
	h, holds := b.s.Hold(op.Node)
	if holds {
		b.answerHold(h)
	}
	next := b.d.Head.Next
	switch {
	case b.s.Freeze == nil || b.s.Freeze.ID != op.Freeze:
		b.refuse(Conflict, "the freeze of the restore is not in force any more: nothing is adopted")
	case !member:
		b.refuse(NotFound, "node %q is no member of group %q", op.Node, b.s.Group)
	case op.Instance == "":
		b.refuse(Invalid, "instance: want that of the agent which shows the hold")
	case op.Fence < 1 || op.Fence >= next+FenceJump:
		b.refuse(Invalid, "fence %d: want 1 to %d, the next one of group %q is %d", op.Fence, next+FenceJump-1, b.s.Group, next)
	case holds && (h.Via != ViaAgent || h.Instance != op.Instance):
		b.refuse(HeldByOther, "node %q holds through %s under another instance (fence %d)", op.Node, h.Via, h.Fence)
	case holds && h.Fence > op.Fence:
		b.refuse(StaleFence, "fence %d is older than that of the hold (%d)", op.Fence, h.Fence)
	case holds && h.Fence == op.Fence:
		if op.Confirmed && h.State == Granted {
			h.State, h.BootID = Confirmed, op.BootID
			b.adopted(h, "confirmed before the restore")
		}
	case op.Fence > b.s.FenceFloor && op.Fence < next:
		b.refuse(StaleFence, "fence %d was given after the restore, and its hold is gone", op.Fence)
	default:
		b.adopted(b.shown(op, m, h, holds), "shown by the node after a restore")
	}
}

// shown is the hold as the node shows it. What the store knows of an earlier
// hold of the same agent is kept, a revocation too.
func (b *draft) shown(op Adopt, m Member, h Hold, holds bool) Hold {
	state := Granted
	if op.Confirmed {
		state = Confirmed
	}
	if !holds {
		b.held++
		lasts := orDefault(b.s.Spec.Timeouts.Hold, DefaultHold)
		h = Hold{
			Node: op.Node, Via: ViaAgent, Instance: op.Instance, Labels: m.Labels(),
			Since: b.now, Deadline: b.now.Add(lasts), Reason: "adopted after a restore",
		}
		if b.s.memberOut() == nil {
			b.takeOut(&m)
		}
	}
	if h.State != Revoked {
		h.State = state
	}
	h.Fence, h.BootID, h.Request = op.Fence, op.BootID, ""
	return h
}

func (b *draft) adopted(h Hold, why string) {
	b.d.Head.Next = max(b.d.Head.Next, h.Fence+1)
	b.d.GuardFreeze = true
	b.dropPlace(h.Node)
	b.putHold(h)
	b.event("hold.adopted", h.Node, h.Node, h.Fence, "%s", why)
}

// RestoredFloor is the floor of the fences after a restore at now, of a cluster
// whose snapshot has at most highest as a fence or a floor. The fences given
// after the snapshot was taken are below it: there were fewer than FenceJump.
// That alone would be the same floor again when one snapshot is restored twice,
// and what was given in between would be given again; so it is also at least
// the time in microseconds, which a second restore finds later than any fence
// of the first can be. It stays below 2^53, which JSON numbers hold exactly,
// until the year 2255.
func RestoredFloor(highest int64, now time.Time) int64 {
	return max(highest+FenceJump, now.UnixMicro())
}
