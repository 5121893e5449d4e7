package semaphore

import (
	"encoding/json"
	"strconv"
	"time"
)

// BaseSchema is the `v` of the first version, which every program reads and
// writes. Values whose form is still that of then have it for ever.
const BaseSchema = 1

// maxV is SchemaVersion as text, so that a program of a later version can be
// linked for tests: -ldflags "-X github.com/lockkeeper/lockkeeper/semaphore.maxV=2".
var maxV = "1"

// SchemaVersion is the highest `v` that this program can read and write.
var SchemaVersion = mustSchema(maxV)

func mustSchema(text string) int {
	v, err := strconv.Atoi(text)
	if err != nil || v < BaseSchema {
		panic("semaphore: the schema " + strconv.Quote(text) + " that this program was linked with is none")
	}
	return v
}

// Via says by which door a hold was taken.
type Via string

// The doors.
const (
	ViaAgent     Via = "agent"
	ViaFleetLock Via = "fleetlock"
	ViaOperator  Via = "operator"
)

// HoldState is the state of a hold. A FleetLock hold is confirmed from its
// grant on.
type HoldState string

// The states of a hold.
const (
	Granted   HoldState = "granted"
	Confirmed HoldState = "confirmed"
	Revoked   HoldState = "revoked"
)

// ConfirmWithin is how long a grant may stay unconfirmed before it is given
// to the next.
const ConfirmWithin = 30 * time.Second

// OvertakeAfter is how long a slot may stay free although the first in order
// belongs to another coordinator, before the next coordinator with a waiter
// that may go takes it (Acquire.Overtake, Admit.Overtake).
const OvertakeAfter = 100 * time.Millisecond

// Head is the one key that every transaction of a group compares and puts.
type Head struct {
	V        int     `json:"v"`
	Next     int64   `json:"next_fence"`        // the next fence to give, at least 1
	EventSeq int64   `json:"event_seq"`         // sequence of the group's last event
	Freeze   *Freeze `json:"freeze,omitempty"`  // the group's own stop
	Deleted  bool    `json:"deleted,omitempty"` // tombstone: the group is gone, its fences are not
	// Froze are the times in which the group was frozen while a hold was out that
	// still is.
	Froze []Span `json:"froze,omitempty"`
	// Grants counts the grants that the group ever made; a waiter is overtaken
	// by those since it came (Overtaken).
	Grants int64 `json:"grants,omitempty"`
	// LastGrant is when the last one was made, in a group with a grant interval.
	LastGrant time.Time `json:"last_grant,omitzero"`
	Extra     Extra     `json:"-"`
}

// Spec is what the operator declared for a group.
type Spec struct {
	V                int     `json:"v"`
	Slots            Slots   `json:"slots"`
	Limits           []Limit `json:"limits,omitempty"`
	CountUnreachable bool    `json:"count_unreachable,omitempty"` // down members take a slot too
	// Windows in which nodes may start; with none they always may.
	Windows []Window `json:"windows,omitempty"`
	// Blackouts in which nothing starts, windows or not.
	Blackouts []Blackout `json:"blackouts,omitempty"`
	// GrantInterval lies between two grants, at least; 0 is none.
	GrantInterval Duration  `json:"grant_interval,omitzero"`
	Timeouts      Timeouts  `json:"timeouts,omitzero"`
	UpdatedAt     time.Time `json:"updated_at,omitzero"`
	Extra         Extra     `json:"-"`
}

// Timeouts of a group. A zero means the default.
type Timeouts struct {
	// Hold is how long a hold may last before it is overdue (default 30 min).
	Hold Duration `json:"hold,omitzero"`
	// FleetLockHold is the same for holds taken through FleetLock (default 1 h).
	FleetLockHold Duration `json:"fleetlock_hold,omitzero"`
}

// Limit bounds the holds among nodes that share a value of the label By.
type Limit struct {
	By  string `json:"by"`
	Max Slots  `json:"max"` // a percentage is of the members with that value
}

// Hold is a slot taken.
type Hold struct {
	V        int       `json:"v"`
	Node     string    `json:"node"`
	State    HoldState `json:"state"`
	Via      Via       `json:"via"`
	Instance string    `json:"instance,omitempty"` // the agent's random instance id
	Request  string    `json:"request,omitempty"`  // the request that made it
	BootID   string    `json:"boot_id,omitempty"`
	Peer     string    `json:"peer,omitempty"` // address that asked (FleetLock)
	// OtherPeer is another address that asked under this id while it held.
	OtherPeer string `json:"other_peer,omitempty"`
	// Renewed is the FleetLock request that gave the hold its present fence,
	// empty while it has the one it was made with.
	Renewed  string            `json:"renewed,omitempty"`
	Fence    int64             `json:"fence"`
	Labels   map[string]string `json:"labels,omitempty"` // as granted
	Since    time.Time         `json:"since"`
	Deadline time.Time         `json:"deadline,omitzero"`
	Reason   string            `json:"reason,omitempty"`
	Revoked  *Mark             `json:"revoked,omitempty"`
	Extra    Extra             `json:"-"`
}

// Mark says who did something, when and why.
type Mark struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// Member is a node that belongs to the group.
type Member struct {
	V           int               `json:"v"`
	Node        string            `json:"node"`
	Registered  map[string]string `json:"registered,omitempty"`  // labels that the node gave
	Declared    map[string]string `json:"declared,omitempty"`    // labels that an operator gave; they win
	Down        bool              `json:"down,omitempty"`        // set and cleared by the elected engine
	Duplicate   string            `json:"duplicate,omitempty"`   // why grants for this id stopped
	RetryAfter  time.Time         `json:"retry_after,omitzero"`  // after an unconfirmed grant
	Unconfirmed int               `json:"unconfirmed,omitempty"` // in a row; doubles the wait, 1 min to 1 h
	Extra       Extra             `json:"-"`

	Revision int64 `json:"-"` // ModRevision of its key
}

// Waiter is a place in the queue. Order: priority (higher first), then ticket.
type Waiter struct {
	V        int       `json:"v"`
	Node     string    `json:"node"`
	Via      Via       `json:"via"`
	Instance string    `json:"instance,omitempty"`
	Priority int       `json:"priority,omitempty"`
	Since    time.Time `json:"since"`
	Reason   string    `json:"reason,omitempty"`
	// Grants is the head's count of grants when it came, and Ahead how many
	// waited before it then: grants beyond those overtook it.
	Grants int64 `json:"grants,omitempty"`
	Ahead  int   `json:"ahead,omitempty"`
	Extra  Extra `json:"-"`

	// CreateRevision of the waiter's key: its ticket, and what an admission compares.
	CreateRevision int64 `json:"-"`
	// Present: the client waits at the coordinator that decides. The store then
	// sets Request, BootID and Peer from the acquire that is parked: a grant
	// copies them into the hold.
	Present bool `json:"-"`
	// Elsewhere: the waiter belongs to another coordinator, so that whether its
	// client is there is not known here. A waiter neither present nor elsewhere
	// is absent: it keeps its place and stands in nobody's way.
	Elsewhere bool `json:"-"`
	// Reserved: it was overtaken for too long (MayReserve), so that its slot and
	// the limits that it needs are kept for it, whether it may go now or not.
	// The store sets it, for a bounded time.
	Reserved bool   `json:"-"`
	Request  string `json:"-"`
	BootID   string `json:"-"`
	Peer     string `json:"-"`
}

// Freeze is a stop that holds until it is lifted.
type Freeze struct {
	V      int       `json:"v"`
	ID     string    `json:"id"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Stop   bool      `json:"stop,omitempty"` // confirmed holders halt at their next gate too
	Extra  Extra     `json:"-"`
}

// Extra keeps the members of a stored value that this version does not know,
// so that rewriting the value loses none of them.
type Extra map[string]json.RawMessage

// State is a group at one revision: everything that a decision rests on.
type State struct {
	Group     string
	Revision  int64 // store revision at which it was read
	HeadRev   int64 // ModRevision of the head key, 0 when the group never was
	SpecRev   int64 // ModRevision of the spec key: the object's revision in the API
	FreezeRev int64 // ModRevision of the fleet-wide freeze key, 0 when absent
	Head      Head
	Spec      Spec
	Holds     map[string]Hold
	Members   map[string]Member
	Queue     []Waiter // in order
	Freeze    *Freeze  // the fleet-wide stop
	Froze     []Span   // times in which there was one
	// Outages are the times in which deadlines stand still for want of a quorum;
	// nil: none.
	Outages func() []Span
	// Coordinators are the members of the store that have a vote, where their
	// hosts may be nodes; Unwell says why none of them may go now, "" when all
	// are well.
	Coordinators []Coordinator
	Unwell       string
	// Out is the coordinator's host that is out of service, and OutRev its key's
	// ModRevision, 0 when absent.
	Out    *MemberOut
	OutRev int64
	// FenceFloor is below every fence to be given: a restored cluster has one
	// above all that it may have given before, since its heads are old.
	FenceFloor int64
	// Schema is the `v` that all coordinators read and that is written, at least
	// BaseSchema and at most SchemaVersion, whatever it says.
	Schema int
	// ClockOff says why this coordinator's clock cannot be relied on, empty
	// when it can: it then grants nothing where a clock decides.
	ClockOff string
	// NewerSchema is the key of a value whose `v` is above SchemaVersion,
	// empty when there is none. With it nothing happens but releases.
	NewerSchema string

	kept *kept // then Holds, Members and Queue are empty: see Keep
}

// writes is the `v` of what is written.
func (s *State) writes() int { return max(BaseSchema, min(s.Schema, SchemaVersion)) }

// Exists reports whether the group is declared (and not deleted).
func (s *State) Exists() bool { return s.HeadRev != 0 && !s.Head.Deleted }
