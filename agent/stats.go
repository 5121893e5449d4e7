package agent

import (
	"maps"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Stats is what an agent's metrics say. Counters are those of this process.
type Stats struct {
	Group       string
	Phase       api.Phase
	PhaseSince  time.Time // as this process saw it
	Healthy     bool
	Holds       bool // a slot
	Failed      bool // the bundle or reboot tried last
	NeedsReboot bool
	NeedUnclear bool // the command is no answer
	LastAnswer  time.Time
	Polls       map[string]uint64 // by result: answered, failed
	Acts        map[ActResult]uint64
}

// ActResult names a counter of acts.
type ActResult struct {
	Do     Do
	Status Status
}

// counters are what the agent counts. The zero value is ready.
type counters struct {
	mu         sync.Mutex
	phaseSince time.Time
	lastAnswer time.Time
	polls      map[string]uint64
	acts       map[ActResult]uint64
}

func (c *counters) act(o Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.acts == nil {
		c.acts = map[ActResult]uint64{}
	}
	c.acts[ActResult{o.Do, o.Status}]++
}

func (c *counters) poll(answered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.polls == nil {
		c.polls = map[string]uint64{}
	}
	if answered {
		c.polls["answered"]++
		c.lastAnswer = time.Now()
	} else {
		c.polls["failed"]++
	}
}

func (c *counters) phase() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phaseSince = time.Now()
}

// Stats may be called at any time.
func (a *Agent) Stats() Stats {
	_, needs := a.hostNeeds()
	a.mu.Lock()
	s := &a.state
	out := Stats{
		Group: s.Group, Phase: s.Phase, Healthy: s.Phase != api.PhaseFailed && s.Sick == nil, Holds: s.Fence != 0,
		Failed: s.Failure != nil, NeedsReboot: needs, NeedUnclear: a.needs.unclear != "",
	}
	a.mu.Unlock()
	c := &a.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	out.PhaseSince, out.LastAnswer = c.phaseSince, c.lastAnswer
	out.Polls, out.Acts = maps.Clone(c.polls), maps.Clone(c.acts)
	return out
}
