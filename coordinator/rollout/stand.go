package rollout

import "github.com/lockkeeper/lockkeeper/coordinator/api"

// stand is what an event tells of a rollout before and after it.
type stand struct {
	State api.RolloutState `json:"state"`
	Wave  int              `json:"wave,omitempty"` // from 1; 0 before the first
}

// standOf is where a rollout is.
func standOf(h *Head) stand {
	s := stand{State: h.State}
	if h.begun() {
		s.Wave = h.Wave + 1
	}
	return s
}

// nodeStand is what an event tells of a node before and after it.
type nodeStand struct {
	State   string `json:"state"`
	Attempt int    `json:"attempt"`
}

// approvals is what an event tells of an approval gate.
type approvals struct {
	Approvals int `json:"approvals"`
}

// nodeStandOf is what a result says of a node; nil when there is none.
func nodeStandOf(r Result) any {
	if r.State == "" {
		return nil
	}
	return nodeStand{r.State, max(1, r.Attempt)}
}

// told says in the last event what was before, and what is now.
func (d *Decisions) told(before, after any) {
	last := &d.Events[len(d.Events)-1]
	*last = last.Changed(before, after)
}
