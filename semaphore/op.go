package semaphore

import (
	"encoding/json"
	"time"
)

// Kind says why a request was refused. The words are those of the API's
// problems and of FleetLock's kinds. The empty kind is success.
type Kind string

// The kinds.
const (
	OK           Kind = ""
	Invalid      Kind = "invalid"
	UnknownGroup Kind = "unknown_group"
	NotFound     Kind = "not_found" // the node is no member, or no such hold
	HeldByOther  Kind = "held_by_other"
	DuplicateID  Kind = "duplicate_id"
	StaleFence   Kind = "stale_fence"
	Conflict     Kind = "conflict"
	InUse        Kind = "in_use"
	ChangedSince Kind = "changed" // If-Match did not match
	Full         Kind = "full"
	LimitReached Kind = "limit"
	Frozen       Kind = "frozen"
	DownMembers  Kind = "down_members"
	Queued       Kind = "queue" // others are before it
	WindowShut   Kind = "window"
	BlackedOut   Kind = "blackout"
	TooSoon      Kind = "interval" // since the last grant
	RetryLater   Kind = "rate"     // after an unconfirmed grant
	NewerSchema  Kind = "newer_schema"
	// CoordinatorHost: a coordinator runs on the node, and may not go now.
	CoordinatorHost Kind = "coordinator_host"
)

// Passes reports whether a refusal of this kind can pass by waiting, so that
// the refused node gets a place in the queue. The other refusals are answered
// at once.
func (k Kind) Passes() bool {
	switch k {
	case Full, LimitReached, Frozen, DownMembers, Queued, WindowShut, BlackedOut, TooSoon, CoordinatorHost:
		return true
	}
	return false
}

// Blocker is one reason why a node may not go now.
type Blocker struct {
	Kind   Kind      `json:"kind"`
	Detail string    `json:"detail"`         // a sentence, with its numbers
	Until  time.Time `json:"until,omitzero"` // when it ends by itself, if known
}

// Op is a request that a group's state is asked to decide. The concrete types
// below are the only ones.
type Op interface{ op() }

type (
	// Acquire takes a slot for Node, or finds that it holds one.
	Acquire struct {
		Node, Instance, Request, BootID, Reason, Peer string
		Via                                           Via
		// Register makes the node a member in the same transaction (FleetLock).
		Register bool
		// Bound is the fence of the hold that a FleetLock request found on
		// arrival and may re-fence; 0 when it found none.
		Bound int64
		// Ticket of the place that a parked acquire has, for the store's own use:
		// Decide finds the node's place, and its ticket, in State.Queue.
		Ticket int64
		// Overtake: waiters of other coordinators do not stand before it. The
		// store sets it for a look at a slot that was free for OvertakeAfter.
		Overtake bool
		// StrictAddress refuses a FleetLock holder that asks from another
		// address than the hold's Peer, instead of only noting it.
		StrictAddress bool
	}
	// Confirm is the gate: fence, instance and via must be those of the hold.
	Confirm struct {
		Node, Instance, BootID string
		Fence                  int64
	}
	// Release returns a hold. Fence is the one the request was bound to.
	Release struct {
		Node, Instance string
		Via            Via
		Fence          int64
	}
	// Revoke marks a hold, the first step of freeing it by name.
	Revoke struct {
		Node, Name string // Name is what the operator typed; it must equal Node
		Fence      int64
		By, Reason string
	}
	// ForceRelease deletes a revoked hold, the second step.
	ForceRelease struct {
		Node, Name string
		Fence      int64
		By, Reason string
		HostIsDown bool
		LastHeard  time.Time // zero: never
	}
	// Expire deletes a grant that nobody confirmed (engine only).
	Expire struct {
		Node  string
		Fence int64
	}
	// Admit grants the present waiters that may go now, in order. With a Via,
	// only waiters of that door.
	Admit struct {
		Via      Via
		Overtake bool // see Acquire
	}
	// PutSpec declares the group. IfMatch 0 means that it must not exist yet,
	// -1 that any revision will do.
	PutSpec struct {
		Spec    Spec
		IfMatch int64
		By      string
	}
	// DeleteGroup leaves the head as a tombstone.
	DeleteGroup struct {
		IfMatch int64 // -1: any
		By      string
	}
	// SetFreeze stops this group; again with a freeze in place returns that.
	SetFreeze struct{ Freeze Freeze }
	// LiftFreeze lifts the group's freeze of that id.
	LiftFreeze struct{ ID, By string }
	// PutMember registers a node, or changes what is known of it. A nil map
	// leaves those labels as they are. IfMatch is the member's Revision, 0 for any.
	PutMember struct {
		Node                 string
		Registered, Declared map[string]string
		IfMatch              int64
		By                   string
	}
	// SetDown and SetDuplicate change one member's flags.
	SetDown struct {
		Node string
		Down bool
	}
	SetDuplicate struct{ Node, Why, By string } // empty Why clears it
	// RemoveMember forgets a node; refused while it holds.
	RemoveMember struct{ Node, By string }
)

func (Acquire) op()      {}
func (Confirm) op()      {}
func (Release) op()      {}
func (Revoke) op()       {}
func (ForceRelease) op() {}
func (Expire) op()       {}
func (Admit) op()        {}
func (PutSpec) op()      {}
func (DeleteGroup) op()  {}
func (SetFreeze) op()    {}
func (LiftFreeze) op()   {}
func (PutMember) op()    {}
func (SetDown) op()      {}
func (SetDuplicate) op() {}
func (RemoveMember) op() {}

// Answer is what the one who asked learns.
type Answer struct {
	Kind     Kind
	Detail   string
	Blockers []Blocker
	Hold     *Hold // the hold concerned, when there is one
	Created  bool  // this very request made the hold
	Freeze   *Freeze
	Place    int   // 1 is next; 0 is not queued
	Revision int64 // at which the answer is true (the spec's, for PutSpec)
	// At is when the commit or linearizable read that the answer rests on
	// returned, by this process's monotonic clock. Set by the store.
	At time.Time
}

// Change is one key that a decision writes or deletes. Exactly one of the
// pointers is set for a put; Delete names the kind and node otherwise.
type Change struct {
	Hold         *Hold
	Member       *Member
	Spec         *Spec
	DeleteHold   string
	DeleteMember string
	DeleteWaiter string // its CreateRevision is compared, see Ticket
	DeleteSpec   bool
	Ticket       int64
	Out          *MemberOut
	DeleteOut    bool
}

// Decision is what to commit and what to answer when it committed. Without
// changes nothing is written, and the answer is final once the state it was
// decided on is known to be current (a linearizable read).
type Decision struct {
	Answer  Answer
	Head    Head // to put, when there are changes
	Changes []Change
	Events  []Event
	// GuardFreeze: the fleet-wide freeze key's ModRevision is compared too
	// (every grant, first confirm and expiry).
	GuardFreeze bool
	// GuardOut: the same for the key of the coordinator's host that is out
	// (every grant to one, and the end of its hold).
	GuardOut bool
	// Granted lists holds given to waiters in the same transaction.
	Granted []Hold
}

// Writes reports whether the decision changes anything. A change of the head
// alone (a freeze) counts.
func (d *Decision) Writes() bool { return len(d.Changes) > 0 || len(d.Events) > 0 }

// Event is one line of the audit trail, put by the transaction that makes the
// change it tells of.
type Event struct {
	V       int       `json:"v"`
	Scope   string    `json:"scope"` // "group/<name>", "rollout/<id>" or "fleet"
	Seq     int64     `json:"seq"`
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"` // hold.granted, hold.confirmed, hold.released, …
	Actor   string    `json:"actor,omitempty"`
	Group   string    `json:"group,omitempty"`
	Node    string    `json:"node,omitempty"`
	Rollout string    `json:"rollout,omitempty"`
	Fence   int64     `json:"fence,omitempty"`
	Held    int       `json:"held"`             // holds of the group after the change
	Slots   int       `json:"slots"`            // slots of the group at the change
	Detail  string    `json:"detail,omitempty"` // a sentence, or the reason that was given
	// Before and After are what was changed, as JSON: a spec, a freeze, labels.
	// What was made has no Before, and what was taken away no After.
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// Changed is the event with what was and what is now; nil is nothing.
func (e Event) Changed(before, after any) Event {
	e.Before, e.After = asJSON(before), asJSON(after)
	return e
}

// asJSON is nil for nil, and for what cannot be written: an event is not lost for
// want of its details.
func asJSON(value any) json.RawMessage {
	if value == nil {
		return nil
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	return text
}
