package api

import "time"

// Group is a group with its spec and what goes on in it.
type Group struct {
	Name     string      `json:"name"`
	Revision int64       `json:"revision"` // for If-Match
	Spec     GroupSpec   `json:"spec"`
	Status   GroupStatus `json:"status"`
	Holds    []Hold      `json:"holds"` // oldest first
	Queue    []Waiter    `json:"queue"` // in order
	// Created: the request that this answers made the group. It travels as 201.
	Created bool `json:"-"`
}

// GroupSpec is what an operator declares.
type GroupSpec struct {
	// Slots is a number ("2") or a percentage of the members ("5%").
	Slots            Slots   `json:"slots"`
	Limits           []Limit `json:"limits,omitempty"`
	CountUnreachable bool    `json:"count_unreachable,omitempty"`
	// Windows in which nodes may start; with none they always may.
	Windows []WindowSpec `json:"windows,omitempty"`
	// Blackouts in which nothing starts, windows or not.
	Blackouts []BlackoutSpec `json:"blackouts,omitempty"`
	// GrantInterval lies between two grants, at least ("10m").
	GrantInterval string        `json:"grant_interval,omitempty"`
	Timeouts      GroupTimeouts `json:"timeouts,omitzero"`
}

// GroupTimeouts are texts such as "30m".
type GroupTimeouts struct {
	Hold          string `json:"hold,omitempty"`           // until a hold is overdue; default 30m
	FleetLockHold string `json:"fleetlock_hold,omitempty"` // the same for FleetLock; default 1h
}

// Limit: at most Max holds among nodes that share a value of the label By.
type Limit struct {
	By  string `json:"by"`
	Max Slots  `json:"max"`
}

// GroupStatus is the group in figures.
type GroupStatus struct {
	Members int     `json:"members"`
	Slots   int     `json:"slots"` // of these members, now
	Held    int     `json:"held"`
	Free    int     `json:"free"` // may be taken now, 0 when frozen or when a clock lets nobody start
	Waiting int     `json:"waiting"`
	Frozen  *Freeze `json:"frozen,omitempty"` // the fleet's or the group's stop
	// Window is absent in a group without windows, Blackout when none is in
	// force, NextGrant when the grant interval is over or there is none.
	Window    *WindowStatus `json:"window,omitempty"`
	Blackout  *BlackoutSpec `json:"blackout,omitempty"`
	NextGrant time.Time     `json:"next_grant,omitzero"`
	// Shut says in a sentence why a clock lets nobody start now.
	Shut string `json:"shut,omitempty"`
	// Stuck counts holds that are overdue or of failed nodes.
	Stuck int `json:"stuck"`
}

// Hold is a slot taken.
type Hold struct {
	Group    string    `json:"group"`
	Node     string    `json:"node"`
	State    string    `json:"state"` // granted, confirmed, revoked
	Via      string    `json:"via"`   // agent, fleetlock, operator
	Instance string    `json:"instance,omitempty"`
	BootID   string    `json:"boot_id,omitempty"`
	Fence    int64     `json:"fence"`
	Since    time.Time `json:"since"`
	// Deadline is when the hold became or, if nothing stops the clock from now on,
	// becomes overdue. The clock stands still while the group or the fleet is
	// frozen, and without a quorum; DeadlineStill says why it does now.
	Deadline      time.Time  `json:"deadline,omitzero"`
	DeadlineStill string     `json:"deadline_still,omitempty"`
	Overdue       bool       `json:"overdue,omitempty"`
	Reason        string     `json:"reason,omitempty"`
	Revoked       *Mark      `json:"revoked,omitempty"`
	Phase         string     `json:"phase,omitempty"` // the node's last report, not the hold's
	Failed        bool       `json:"failed,omitempty"`
	Heard         *time.Time `json:"last_heard,omitempty"`
}

// Values of Hold.DeadlineStill.
const (
	DeadlineFrozen   = "frozen"
	DeadlineNoQuorum = "no_quorum" // there is none, or one is back since a moment
)

// Mark says who did something, when and why.
type Mark struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// Waiter is a place in a queue.
type Waiter struct {
	Node     string    `json:"node"`
	Via      string    `json:"via"`
	Priority int       `json:"priority"`
	Place    int       `json:"place"` // 1 is next
	Since    time.Time `json:"since"`
	Reason   string    `json:"reason,omitempty"`
}

// Freeze is a stop that holds until it is lifted.
type Freeze struct {
	ID     string    `json:"id"`
	Group  string    `json:"group,omitempty"` // empty: the whole fleet
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Stop   bool      `json:"stop,omitempty"`
}

// FreezeRequest asks for a stop.
type FreezeRequest struct {
	Reason string `json:"reason"`
	Stop   bool   `json:"stop,omitempty"` // confirmed holders halt at their next gate too
}

// Blocker is one reason why a node may not go now.
type Blocker struct {
	Kind   Kind      `json:"kind"`
	Detail string    `json:"detail"`
	Until  time.Time `json:"until,omitzero"`
}

// Verdict says why a node may or may not go now.
type Verdict struct {
	Node     string    `json:"node"`
	Group    string    `json:"group"`
	MayGo    bool      `json:"may_go"`
	Summary  string    `json:"summary"` // one sentence
	Blockers []Blocker `json:"blockers"`
	Place    int       `json:"place,omitempty"`
	Waiting  int       `json:"waiting,omitempty"` // how many wait
	// Earliest is the first moment at which no window, blackout, grant interval
	// or wait of its own keeps it; absent when it is now, or nobody can say.
	Earliest time.Time `json:"earliest,omitzero"`
	// Estimate is when it is granted if each hold lasts as long as those of
	// late, which EstimateBasis tells of; absent when nothing is known of that.
	Estimate      time.Time `json:"estimate,omitzero"`
	EstimateBasis string    `json:"estimate_basis,omitempty"`
	Hold          *Hold     `json:"hold,omitempty"`
	Wanted        *Wanted   `json:"wanted,omitempty"`
	Revision      int64     `json:"revision"`
}

// Explanation says, for the whole fleet or one group, why nothing moves.
type Explanation struct {
	Summary string             `json:"summary"`
	Groups  []GroupExplanation `json:"groups"`
}

// GroupExplanation is one group's part.
type GroupExplanation struct {
	Group    string    `json:"group"`
	Summary  string    `json:"summary"`
	Blockers []Blocker `json:"blockers"` // for the next in order, or for anybody
	Next     string    `json:"next,omitempty"`
	Earliest time.Time `json:"earliest,omitzero"` // when a clock lets the next, or anybody, start
}
