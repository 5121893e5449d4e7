package api

import "time"

// RolloutSpec says which nodes to bring to which bundle.
type RolloutSpec struct {
	Name        string   `json:"name,omitempty"`
	Bundle      string   `json:"bundle"`                 // sha256 digest, in hex
	Group       string   `json:"group,omitempty"`        // one group; empty with a selector or nodes: any
	Selector    string   `json:"selector,omitempty"`     // "zone=a,role=web"
	Nodes       []string `json:"nodes,omitempty"`        // ids
	MaxFailures int      `json:"max_failures,omitempty"` // so many may fail before it halts; default 0
	Reason      string   `json:"reason,omitempty"`
}

// RolloutState is the state of a rollout.
type RolloutState string

// The states.
const (
	RolloutRunning   RolloutState = "running"
	RolloutPaused    RolloutState = "paused" // by a person
	RolloutHalted    RolloutState = "halted" // by itself
	RolloutSucceeded RolloutState = "succeeded"
	RolloutFailed    RolloutState = "failed"
	RolloutAborted   RolloutState = "aborted"
)

// RolloutStates lists them all.
var RolloutStates = []RolloutState{RolloutRunning, RolloutPaused, RolloutHalted, RolloutSucceeded, RolloutFailed, RolloutAborted}

// Active reports whether the rollout can still go on.
func (s RolloutState) Active() bool {
	return s == RolloutRunning || s == RolloutPaused || s == RolloutHalted
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
	EndedAt    time.Time       `json:"ended_at,omitzero"`
	Progress   RolloutProgress `json:"progress"`
	Stalled    *Stalled        `json:"stalled,omitempty"` // may not start anything now
	Nodes      []RolloutNode   `json:"nodes,omitempty"`   // in a single rollout's answer
	Revision   int64           `json:"revision"`
}

// Stalled: nothing may start, by which verdict, since when.
type Stalled struct {
	Since    time.Time `json:"since"`
	Blockers []Blocker `json:"blockers"`
}

// RolloutProgress counts the nodes by state.
type RolloutProgress struct {
	Total    int `json:"total"`
	Pending  int `json:"pending"`
	Waiting  int `json:"waiting"`
	Updating int `json:"updating"`
	Updated  int `json:"updated"`
	Failed   int `json:"failed"`
	// EstimateS is the time to go in seconds, 0 when unknown.
	EstimateS int `json:"estimate_s,omitempty"`
}

// RolloutNode is one node of a rollout.
type RolloutNode struct {
	Node    string    `json:"node"`
	Group   string    `json:"group"`
	State   string    `json:"state"` // pending, waiting, updating, updated, failed
	Phase   Phase     `json:"phase,omitempty"`
	Attempt int       `json:"attempt,omitempty"`
	Detail  string    `json:"detail,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// The states of a node in a rollout.
const (
	NodePending  = "pending"
	NodeQueued   = "waiting"
	NodeUpdating = "updating"
	NodeUpdated  = "updated"
	NodeBroken   = "failed"
)

// RolloutActionRequest goes with pause, resume, abort and retry.
type RolloutActionRequest struct {
	Reason string `json:"reason,omitempty"`
}

// Plan previews a rollout: what a start with the same body would do.
type Plan struct {
	Total   int         `json:"total"`
	Already int         `json:"already"` // have the bundle
	Groups  []PlanGroup `json:"groups"`
	Summary string      `json:"summary"`
}

// PlanGroup is one group's part.
type PlanGroup struct {
	Group    string    `json:"group"`
	Nodes    int       `json:"nodes"`
	Slots    int       `json:"slots"`
	Blockers []Blocker `json:"blockers"` // that would stop the first of them now
}

// Bundle is a config update as stored.
type Bundle struct {
	Digest    string       `json:"digest"` // sha256 of the file, in hex
	Name      string       `json:"name"`
	Version   string       `json:"version,omitempty"` // for people
	Size      int64        `json:"size"`              // bytes
	CreatedAt time.Time    `json:"created_at"`
	By        string       `json:"by"`
	Files     []BundleFile `json:"files,omitempty"`
	Interrupt string       `json:"interrupt,omitempty"` // the greatest that a file asks for
	Nodes     int          `json:"nodes"`               // that have it in place
	// URL is where the file lies, "" for one that the coordinators store.
	URL string `json:"url,omitempty"`
	// SignedBy are the fingerprints of the keys that signed the digest, which
	// need not be trusted by anybody; Signatures are what they signed it with,
	// as text, and Manifest is the bundle's manifest.json: both in a single
	// bundle's answer.
	SignedBy   []string       `json:"signed_by,omitempty"`
	Signatures []string       `json:"signatures,omitempty"`
	Manifest   map[string]any `json:"manifest,omitempty"`
}

// BundleLink makes a bundle known that lies elsewhere. Whoever fetches it
// compares its size, its digest and its manifest.
type BundleLink struct {
	URL      string         `json:"url"`      // https, or http where agents are told to accept that
	Size     int64          `json:"size"`     // bytes of the file
	Manifest map[string]any `json:"manifest"` // its manifest.json
}

// BundleSignature is an SSH signature of a bundle's digest, as text.
type BundleSignature struct {
	Signature string `json:"signature"`
}

// BundleFile is one file of a bundle.
type BundleFile struct {
	Path      string `json:"path"`
	Mode      string `json:"mode"` // "0644"
	Size      int64  `json:"size"`
	Interrupt string `json:"interrupt"`
}
