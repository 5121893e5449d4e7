package api

import "time"

// Plan previews a rollout: what a start with the same body would do.
type Plan struct {
	Total    int            `json:"total"`   // nodes selected
	Already  int            `json:"already"` // of them have the bundle
	Groups   []PlanGroup    `json:"groups"`
	Gates    []string       `json:"gates,omitempty"` // before the first wave, a line for people each
	Waves    []PlanWave     `json:"waves"`
	Excluded []PlanExcluded `json:"excluded"` // that match and are left out, and why
	// Concurrency is how many may be out at once, and which bound binds.
	Concurrency Concurrency `json:"concurrency"`
	// Estimate is when it would end, and TakesS the seconds until then; absent
	// when that cannot be said.
	Estimate      time.Time `json:"estimate,omitzero"`
	TakesS        int       `json:"takes_s,omitempty"`
	EstimateBasis string    `json:"estimate_basis,omitempty"` // measured durations, or the stated assumption
	Blockers      []Blocker `json:"blockers"`                 // that would stop it now or later
	Warnings      []string  `json:"warnings,omitempty"`
	Summary       string    `json:"summary"`
}

// PlanGroup is one group's part.
type PlanGroup struct {
	Group    string    `json:"group"`
	Nodes    int       `json:"nodes"`
	Slots    int       `json:"slots"`
	Blockers []Blocker `json:"blockers"` // that would stop the first of them now
	// NodeTakesS is how long a node takes in seconds, by which the estimates go.
	NodeTakesS int    `json:"node_takes_s"`
	Basis      string `json:"basis"`
}

// PlanWave is one wave with its nodes, in order.
type PlanWave struct {
	Name        string      `json:"name"`
	Soak        string      `json:"soak,omitempty"`
	Gates       []string    `json:"gates,omitempty"` // a line for people each
	MaxFailures int         `json:"max_failures"`    // -1 for no bound of its own
	Concurrency Concurrency `json:"concurrency"`
	Starts      time.Time   `json:"starts,omitzero"`
	Ends        time.Time   `json:"ends,omitzero"` // soaked
	Nodes       []PlanNode  `json:"nodes"`
}

// PlanNode is one node of a plan.
type PlanNode struct {
	Node     string    `json:"node"`
	Group    string    `json:"group"`
	Already  bool      `json:"already,omitempty"`
	Starts   time.Time `json:"starts,omitzero"`
	Estimate time.Time `json:"estimate,omitzero"` // when it would be updated
}

// PlanExcluded is a node that matches and is left out.
type PlanExcluded struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
}
