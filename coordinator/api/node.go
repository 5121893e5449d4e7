package api

import "time"

// Phase is where an agent stands. It belongs to the node's report.
type Phase string

// The phases, in order.
const (
	PhaseIdle      Phase = "idle"
	PhaseWaiting   Phase = "waiting"
	PhaseHolding   Phase = "holding"
	PhaseDraining  Phase = "draining"
	PhaseApplying  Phase = "applying"
	PhaseRebooting Phase = "rebooting"
	PhaseVerifying Phase = "verifying"
	PhaseReleasing Phase = "releasing"
	PhaseFailed    Phase = "failed"
)

// Report is what a node says of itself.
type Report struct {
	Seq       uint64            `json:"seq"` // grows within a boot; an older one is ignored
	Group     string            `json:"group"`
	Labels    map[string]string `json:"labels,omitempty"`
	MachineID string            `json:"machine_id,omitempty"`
	Phase     Phase             `json:"phase"`
	Fence     int64             `json:"fence,omitempty"`   // of the hold it believes it has
	Bundle    string            `json:"bundle,omitempty"`  // digest of the bundle in place
	Rollout   string            `json:"rollout,omitempty"` // that it works on, or worked on last
	Attempt   int               `json:"attempt,omitempty"`
	Answered  string            `json:"answered,omitempty"` // id of the Order that ended last
	Healthy   bool              `json:"healthy"`
	Message   string            `json:"message,omitempty"` // a sentence on what it does or waits for
	Failure   *Failure          `json:"failure,omitempty"` // of the bundle tried last
	// Trouble is why the agent does nothing at all, such as a full disk or a
	// damaged journal; the host stays as it is until that is mended.
	Trouble     string `json:"trouble,omitempty"`
	NeedsReboot bool   `json:"needs_reboot,omitempty"`
	// RebootReason says why the host asks for a reboot, such as the packages that
	// do; or why it is not known whether it does.
	RebootReason string `json:"reboot_reason,omitempty"`
	Version      string `json:"version,omitempty"`   // of the agent
	OS           string `json:"os,omitempty"`        // PRETTY_NAME of os-release
	Simulated    bool   `json:"simulated,omitempty"` // the host is not real
	// BootedAt is when the host was booted, by its own clock.
	BootedAt time.Time `json:"booted_at,omitzero"`
}

// Failure says what went wrong with a bundle on a node.
type Failure struct {
	Bundle  string    `json:"bundle"`
	Rollout string    `json:"rollout,omitempty"`
	Reason  string    `json:"reason"`  // lost_slot, check, apply, command, unhealthy, reboot, attempts, …
	Detail  string    `json:"detail"`  // a sentence
	Healthy bool      `json:"healthy"` // rolled back, verified and in service again
	At      time.Time `json:"at"`
}

// Node is a node as the coordinator knows it.
type Node struct {
	ID        string            `json:"id"`
	Group     string            `json:"group"`
	Labels    map[string]string `json:"labels,omitempty"`   // effective: declared win over registered
	Declared  map[string]string `json:"declared,omitempty"` // by an operator
	State     NodeState         `json:"state"`
	Via       string            `json:"via"` // agent, fleetlock
	Instance  string            `json:"instance,omitempty"`
	BootID    string            `json:"boot_id,omitempty"`
	Report    Report            `json:"report"`
	FirstSeen time.Time         `json:"first_seen,omitzero"`
	LastHeard time.Time         `json:"last_heard,omitzero"`
	ChangedAt time.Time         `json:"changed_at,omitzero"` // of the report
	Hold      *Hold             `json:"hold,omitempty"`
	Wanted    *Wanted           `json:"wanted,omitempty"`
	Order     *Order            `json:"order,omitempty"`     // not answered yet
	Duplicate string            `json:"duplicate,omitempty"` // why grants for this id stopped
	Drift     *Drift            `json:"drift,omitempty"`     // it does not have what it was brought to
	Revision  int64             `json:"revision"`
}

// Drift says what a node was brought to and does not report any more.
type Drift struct {
	Bundle  string    `json:"bundle"`         // digest of the bundle that it should have
	Name    string    `json:"name,omitempty"` // of that
	Rollout string    `json:"rollout"`        // that brought it there
	Since   time.Time `json:"since,omitzero"` // of the report that says otherwise
}

// NodeState sums a node up in one word.
type NodeState string

// The states, worst first.
const (
	NodeFailed      NodeState = "failed"      // last bundle failed, or unhealthy
	NodeOverdue     NodeState = "overdue"     // holds past its deadline
	NodeDuplicate   NodeState = "duplicate"   // two hosts of one id
	NodeUnreachable NodeState = "unreachable" // not heard for a while
	NodeOut         NodeState = "out"         // holds a slot
	NodeWaiting     NodeState = "waiting"
	NodeIdle        NodeState = "idle"
)

// NodeStates lists them all, worst first.
var NodeStates = []NodeState{NodeFailed, NodeOverdue, NodeDuplicate, NodeUnreachable, NodeOut, NodeWaiting, NodeIdle}

// NodeQuery filters the list of nodes.
type NodeQuery struct {
	Text     string // part of the id
	Group    string
	State    string
	Selector string // "zone=a,role=web"
	Bundle   string // digest of the bundle in place, or the head of it
	Drifted  bool   // only those that have not what they were brought to
	Sort     string // "id" (default), or "state": most urgent first
	After    string // the Next of the page before
	Limit    int    // 1 to 1000, default 100
}

// NodeList is one page of nodes.
type NodeList struct {
	Nodes []Node `json:"nodes"`
	Total int    `json:"total"`          // that match
	Next  string `json:"next,omitempty"` // value of after= for the next page
}

// NodePatch changes what an operator declares.
type NodePatch struct {
	Labels         map[string]string `json:"labels,omitzero"`           // replaces the declared ones; {} removes them all, absent leaves them
	ClearDuplicate bool              `json:"clear_duplicate,omitempty"` // only one host has this id now
}

// PollRequest is what an agent sends: what I am, what I have seen.
type PollRequest struct {
	Instance string `json:"instance"`
	BootID   string `json:"boot_id"`
	Cluster  string `json:"cluster,omitempty"` // pinned; empty at first contact
	Report   Report `json:"report"`
	Seen     string `json:"seen,omitempty"`   // Tag of the last answer; a poll waits while it is current
	WaitS    int    `json:"wait_s,omitempty"` // at most, in seconds; 0 to 60
}

// PollResponse is what is wanted of the node.
type PollResponse struct {
	Cluster     string  `json:"cluster"`
	Incarnation int64   `json:"incarnation"`
	Tag         string  `json:"tag"`
	Wanted      *Wanted `json:"wanted,omitempty"`
	Hold        *Hold   `json:"hold,omitempty"`
	NextPollS   int     `json:"next_poll_s"` // pause before the next poll, in seconds
}

// Wanted names the bundle that a node should come to, and who asks.
type Wanted struct {
	Rollout string `json:"rollout"`
	Bundle  string `json:"bundle"`            // digest
	Name    string `json:"name,omitempty"`    // of the bundle
	Attempt int    `json:"attempt,omitempty"` // raised by a retry
	// Undo: the node should go back from Bundle to what that replaced on it. Order
	// is the id of the order that asks for it, and Rollout is empty then.
	Undo  bool   `json:"undo,omitempty"`
	Order string `json:"order,omitempty"`
}

// Order is a person's wish that one node goes back from its bundle to what that
// replaced. It stands until the node has answered it.
type Order struct {
	ID     string    `json:"id"`
	Bundle string    `json:"bundle"` // digest of the one to be undone
	Name   string    `json:"name,omitempty"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// NodeActionRequest goes with retry and rollback of a node.
type NodeActionRequest struct {
	Reason string `json:"reason,omitempty"`
}

// AcquireRequest asks for a slot. The same Instance and Request get the same hold.
type AcquireRequest struct {
	Instance string `json:"instance"`
	Request  string `json:"request"`
	BootID   string `json:"boot_id,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// AcquireResponse is a grant.
type AcquireResponse struct {
	Hold Hold `json:"hold"`
}

// ConfirmRequest is the gate.
type ConfirmRequest struct {
	Fence    int64  `json:"fence"`
	Instance string `json:"instance"`
	BootID   string `json:"boot_id"`
	// Rollout that the slot is for, empty for none. The first confirm of a hold
	// is refused (409 conflict) unless that rollout runs.
	Rollout string `json:"rollout,omitempty"`
}

// RevokeRequest is the first step of freeing a slot by name.
type RevokeRequest struct {
	Fence  int64  `json:"fence"`
	Name   string `json:"name"` // the node's id, typed again
	Reason string `json:"reason"`
}

// ReleaseRequest is the second step.
type ReleaseRequest struct {
	Fence      int64  `json:"fence"`
	Name       string `json:"name"`
	Reason     string `json:"reason"`
	HostIsDown bool   `json:"host_is_down"` // must be true: the operator has looked
}

// PriorityRequest reorders a waiter.
type PriorityRequest struct {
	Priority int `json:"priority"` // -100 to 100, higher goes first
}
