package rollout

import (
	"hash/fnv"
	"io"
	"strconv"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// heardWithin is how long a node may be silent and still count as seen: an agent
// says nothing while its long poll lasts.
const heardWithin = 75 * time.Second

// Clocks measure what a rollout's deadlines count: for how long nodes are in
// place and at work, and for how long nothing moves. Each looks at its own clock
// only, from its first look on: whoever takes over begins anew, so that a change
// of the elected engine makes these times longer and never shorter. They stand
// still without quorum and while the fleet or a node's group is frozen.
type Clocks struct {
	last  time.Time
	nodes map[nodeKey]*nodeClock
	idle  map[string]*idleClock // by rollout
	round int
}

type nodeKey struct{ rollout, node string }

type nodeClock struct {
	round int
	// healthy is for how long it was in place, with a report that changed then.
	inPlace bool
	changed time.Time
	healthy time.Duration
	busy    time.Duration // at work on attempt
	attempt int
}

type idleClock struct {
	round int
	seen  uint64 // what there was to see
	seq   int64
	stuck bool // nothing could start
	idle  time.Duration
}

// NewClocks makes clocks that have seen nothing.
func NewClocks() *Clocks {
	return &Clocks{nodes: map[nodeKey]*nodeClock{}, idle: map[string]*idleClock{}}
}

// Step begins a look at all rollouts. Stopped says that there is no quorum, so
// that the time since the last look does not count; nor does that in which the
// process itself was stopped.
func (c *Clocks) Step(now time.Time, stopped bool) (step time.Duration) {
	if !c.last.IsZero() && !stopped {
		step = min(max(0, now.Sub(c.last)), longestStep)
	}
	c.last = now
	c.round++
	return step
}

// Look measures one rollout: it fills in the times of its nodes' views, and
// returns for how long nothing moved, as of which event. frozen says of a group
// whether it is frozen.
func (c *Clocks) Look(st *State, views []NodeView, step time.Duration, frozen func(group string) bool) (idle time.Duration, seq int64) {
	h := &st.Head
	stands := false
	quiet := h.Spec.ProgressDeadline != ""
	timed := h.Spec.MinHealthyTime != "" || h.Spec.HealthyDeadline != ""
	if !quiet && !timed {
		return 0, 0 // it has no such deadline, and may have many nodes
	}
	sum := fnv.New64a()
	for i := range views {
		v := &views[i]
		r, begun := st.Results[v.Node]
		if begun && r.State == api.NodeUpdated {
			continue
		}
		still := frozen(v.Group)
		stands = stands || still
		if timed {
			c.node(h, r, v, step, still)
		}
		if quiet {
			see(sum, v)
		}
	}
	k := c.idle[h.ID]
	if k == nil {
		k = &idleClock{}
		c.idle[h.ID] = k
	}
	k.round = c.round
	seen, stuck := sum.Sum64(), h.Stalled != nil
	// That it comes to a stop, or may go on, is told by an event and is no movement.
	told := h.EventSeq != k.seq && stuck == k.stuck
	switch {
	case seen != k.seen || told || h.State != api.RolloutRunning:
		k.idle = 0
	case !stuck && !stands:
		k.idle += step
	}
	k.seen, k.seq, k.stuck = seen, h.EventSeq, stuck
	return k.idle, k.seq
}

// node measures one node.
func (c *Clocks) node(h *Head, r Result, v *NodeView, step time.Duration, still bool) {
	key := nodeKey{h.ID, v.Node}
	there := v.Known && inPlace(h, v) && c.last.Sub(v.LastHeard) <= heardWithin
	busy := r.State == api.NodeUpdating
	k := c.nodes[key]
	if !there && !busy {
		delete(c.nodes, key)
		return
	}
	if k == nil {
		k = &nodeClock{}
		c.nodes[key] = k
	}
	k.round = c.round
	switch {
	case !there:
		k.inPlace, k.healthy = false, 0
	case !k.inPlace || !k.changed.Equal(v.ChangedAt):
		k.inPlace, k.changed, k.healthy = true, v.ChangedAt, 0
	default:
		k.healthy += step
	}
	switch {
	case !busy || k.attempt != r.Attempt:
		k.busy, k.attempt = 0, r.Attempt
	case !still:
		k.busy += step
	}
	v.Healthy, v.Busy, v.BusyAttempt = k.healthy, k.busy, k.attempt
}

// see adds what of a node may move.
func see(sum io.Writer, v *NodeView) {
	p := &v.Report
	failed := ""
	if p.Failure != nil {
		failed = p.Failure.At.String()
	}
	for _, s := range []string{
		v.Node, string(p.Phase), p.Bundle, strconv.FormatBool(p.Healthy), failed,
		strconv.FormatInt(v.Fence, 10), strconv.FormatBool(v.Unconfirmed),
	} {
		_, _ = io.WriteString(sum, s)
		_, _ = sum.Write([]byte{0})
	}
}

// Forget drops what the last look did not see.
func (c *Clocks) Forget() {
	for key, k := range c.nodes {
		if k.round != c.round {
			delete(c.nodes, key)
		}
	}
	for id, k := range c.idle {
		if k.round != c.round {
			delete(c.idle, id)
		}
	}
}
