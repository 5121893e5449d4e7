package api

import "time"

// RolloutState is the state of a rollout.
type RolloutState string

// The states.
const (
	RolloutScheduled RolloutState = "scheduled" // until its start, or the end of a rollout before it
	RolloutRunning   RolloutState = "running"
	RolloutSoaking   RolloutState = "soaking"              // between waves: the soak, and gates that do not pass yet
	RolloutApproval  RolloutState = "waiting_for_approval" // between waves, and only a person's word is missing
	RolloutPaused    RolloutState = "paused"               // by a person
	RolloutHalted    RolloutState = "halted"               // by itself
	RolloutSucceeded RolloutState = "succeeded"
	RolloutFailed    RolloutState = "failed"
	RolloutAborted   RolloutState = "aborted"
)

// RolloutStates lists them all.
var RolloutStates = []RolloutState{
	RolloutScheduled, RolloutRunning, RolloutSoaking, RolloutApproval, RolloutPaused, RolloutHalted,
	RolloutSucceeded, RolloutFailed, RolloutAborted,
}

// Active reports whether the rollout can still go on.
func (s RolloutState) Active() bool {
	switch s {
	case RolloutSucceeded, RolloutFailed, RolloutAborted:
		return false
	}
	return s != ""
}

// Rollout is a rollout and how far it is.
type Rollout struct {
	ID         string          `json:"id"`
	Spec       RolloutSpec     `json:"spec"`
	BundleName string          `json:"bundle_name,omitempty"`
	State      RolloutState    `json:"state"`
	Why        string          `json:"why,omitempty"` // a sentence on the state
	By         string          `json:"by"`
	CreatedAt  time.Time       `json:"created_at"`
	StoppedAt  time.Time       `json:"stopped_at,omitzero"` // when it came to be paused or halted, while it is; absent if not known
	EndedAt    time.Time       `json:"ended_at,omitzero"`
	Progress   RolloutProgress `json:"progress"`
	Wave       int             `json:"wave"`  // the current one, from 1; 0 before the first
	Waves      []RolloutWave   `json:"waves"` // all of them, in order
	Budget     RolloutBudget   `json:"budget"`
	// Concurrency is how many nodes may be out for it now, and by which bound;
	// absent once it has ended.
	Concurrency *Concurrency `json:"concurrency,omitempty"`
	// Gates are those that it is at, with what they last said.
	Gates []RolloutGate `json:"gates,omitempty"`
	// Estimate is when it will probably have ended, and EstimateBasis by what.
	Estimate      time.Time `json:"estimate,omitzero"`
	EstimateBasis string    `json:"estimate_basis,omitempty"`
	Stalled       *Stalled  `json:"stalled,omitempty"` // may not start anything now
	// After are the rollouts for whose end it waits.
	After []string `json:"after,omitempty"`
	// RollbackOf is the rollout whose nodes this one brings back, Rollback the one
	// that does so for this, SupersededBy a newer one that ended it.
	RollbackOf   string `json:"rollback_of,omitempty"`
	Rollback     string `json:"rollback,omitempty"`
	SupersededBy string `json:"superseded_by,omitempty"`
	// Notices that could not be delivered, newest first, a few.
	Undelivered []Undelivered `json:"undelivered,omitempty"`
	Nodes       []RolloutNode `json:"nodes,omitempty"` // in a single rollout's answer
	Revision    int64         `json:"revision"`
}

// RolloutWave is one wave and how far it is.
type RolloutWave struct {
	Name        string    `json:"name"`
	State       string    `json:"state"` // pending, running, soaking, gates, done, skipped, aborted
	Total       int       `json:"total"`
	Updated     int       `json:"updated"`
	Failed      int       `json:"failed"`
	Skipped     int       `json:"skipped"`      // left out
	MaxFailures int       `json:"max_failures"` // in this wave, as a number; -1 for no bound of its own
	StartedAt   time.Time `json:"started_at,omitzero"`
	FinishedAt  time.Time `json:"finished_at,omitzero"` // its last node
	SoakUntil   time.Time `json:"soak_until,omitzero"`
	DoneAt      time.Time `json:"done_at,omitzero"` // soaked, gates passed
	Estimate    time.Time `json:"estimate,omitzero"`
}

// The states of a wave.
const (
	WavePending = "pending"
	WaveRunning = "running"
	WaveSoaking = "soaking"
	WaveGates   = "gates"
	WaveDone    = "done"
	WaveSkipped = "skipped"
	WaveAborted = "aborted" // the rollout ended before it was done
)

// RolloutBudget is how many failures count, and how many may.
type RolloutBudget struct {
	Failed int `json:"failed"` // that count: those acknowledged do not
	Max    int `json:"max"`    // as a number
}

// Concurrency is how many nodes may be out of service at once for a rollout.
type Concurrency struct {
	Nodes  int    `json:"nodes"`
	Bound  string `json:"bound"`  // wave, slots, limits: the one that binds
	Detail string `json:"detail"` // a sentence with the numbers
}

// RolloutGate is a gate and what it last said.
type RolloutGate struct {
	Wave      int        `json:"wave"` // after which it stands, 0 for before the first
	Name      string     `json:"name"`
	Kind      string     `json:"kind"`      // promql, alertmanager, http, command, approval
	Condition string     `json:"condition"` // a line for people
	Passes    bool       `json:"passes"`
	Value     string     `json:"value,omitempty"` // what it last said
	Detail    string     `json:"detail,omitempty"`
	Since     time.Time  `json:"since,omitzero"`   // of this answer
	Checked   time.Time  `json:"checked,omitzero"` // last
	Approvals []Approval `json:"approvals,omitempty"`
	Needed    int        `json:"needed,omitempty"` // approvals
	Role      string     `json:"role,omitempty"`   // the least that may approve
	Expires   time.Time  `json:"expires,omitzero"`
	// Threshold is the number that a PromQL gate compares with.
	Threshold *float64 `json:"threshold,omitempty"`
	// Past is what it said of late, oldest first, as far as the coordinator that
	// answers has seen it since it was started; in a single rollout's answer.
	Past []GatePoint `json:"past,omitempty"`
}

// GatePoint is what a gate once said.
type GatePoint struct {
	At    time.Time `json:"at"`
	Value string    `json:"value,omitempty"` // none when it did not answer
}

// Approval is one person's word.
type Approval struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// Stalled: nothing may start, by which verdict, since when.
type Stalled struct {
	Since    time.Time `json:"since"`
	Blockers []Blocker `json:"blockers"`
}

// Undelivered is a notice that did not reach its webhook.
type Undelivered struct {
	To     string    `json:"to"` // without secrets
	What   string    `json:"what"`
	At     time.Time `json:"at"`
	Tries  int       `json:"tries"`
	Detail string    `json:"detail"`
	GaveUp bool      `json:"gave_up"`
}

// RolloutProgress counts the nodes by state.
type RolloutProgress struct {
	Total    int `json:"total"`
	Pending  int `json:"pending"`
	Waiting  int `json:"waiting"`
	Updating int `json:"updating"`
	Updated  int `json:"updated"`
	Failed   int `json:"failed"`
	Skipped  int `json:"skipped"`
	Aborted  int `json:"aborted"`
	// EstimateS is the time to go in seconds, 0 when unknown.
	EstimateS int `json:"estimate_s,omitempty"`
}

// RolloutNode is one node of a rollout.
type RolloutNode struct {
	Node     string    `json:"node"`
	Group    string    `json:"group"`
	Wave     int       `json:"wave"`  // from 1
	State    string    `json:"state"` // pending, waiting, updating, updated, failed, skipped, aborted
	Phase    Phase     `json:"phase,omitempty"`
	Attempt  int       `json:"attempt,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Estimate time.Time `json:"estimate,omitzero"` // when it will probably be updated
}

// The states of a node in a rollout. When that has ended, a node is in one of the
// last four.
const (
	NodePending  = "pending"
	NodeQueued   = "waiting"
	NodeUpdating = "updating"
	NodeUpdated  = "updated"
	NodeBroken   = "failed"
	NodeSkipped  = "skipped" // left out: its wave was skipped before it had begun
	NodeAborted  = "aborted" // the rollout ended before it had its result
)

// RolloutActionRequest goes with an action on a rollout.
type RolloutActionRequest struct {
	Reason string `json:"reason,omitempty"`
	// Wave is the one that approve and skip mean, from 1; 0 for the current one.
	Wave int `json:"wave,omitempty"`
	// Gate is the approval gate's name, where several stand at one place.
	Gate string `json:"gate,omitempty"`
	// StoppedAt is of the pause or halt that resume lifts, as the rollout gives it:
	// with another one since, it is refused. Zero for the one that it finds.
	StoppedAt time.Time `json:"stopped_at,omitzero"`
}
