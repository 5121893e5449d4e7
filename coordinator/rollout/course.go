package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// course is a rollout's waves with what is in each, at one decision.
type course struct {
	specs []api.WaveSpec
	waves []WaveState
	tally []waveTally
	goes  []string // where a node of the wave goes
	// early: nodes have the bundle, which is to be recorded once it has begun.
	early bool
}

// waveTally counts the nodes of a wave.
type waveTally struct {
	total, updated, failed int
	out                    int       // left out by a skip
	open                   int       // still to come to a result
	last                   time.Time // latest result
}

// newCourse reads the waves of a rollout. One stored before there were waves is
// one wave that began when it was created; so is one that waits for nothing.
func newCourse(spec api.RolloutSpec, st *State) *course {
	n := 0
	for i := range st.Nodes {
		if !st.Nodes[i].Joined { // joining changes no wave but the last
			n++
		}
	}
	c := &course{specs: WaveSpecs(spec, n), waves: slices.Clone(st.Head.Waves)}
	if len(c.specs) == 0 {
		c.specs = []api.WaveSpec{{Name: "all"}}
	}
	if len(c.waves) == 0 && st.Head.begun() {
		c.waves = []WaveState{{StartedAt: st.Head.CreatedAt}}
	}
	for len(c.waves) < len(c.specs) {
		c.waves = append(c.waves, WaveState{})
	}
	c.tally = make([]waveTally, len(c.specs))
	for w := range c.specs {
		c.goes = append(c.goes, "goes in "+c.name(w))
	}
	return c
}

// at is the index of the current wave.
func (c *course) at(h *Head) int { return min(max(0, h.Wave), len(c.specs)-1) }

// begun reports whether the first wave has begun.
func (c *course) begun(h *Head) bool { return c.at(h) > 0 || !c.waves[0].StartedAt.IsZero() }

// of is the wave of a node.
func (c *course) of(n Selected) int { return min(max(0, n.Wave), len(c.specs)-1) }

// staged reports whether there is more to it than one wave of nodes.
func (c *course) staged() bool {
	return len(c.specs) > 1 || c.specs[0].Soak != "" || len(c.specs[0].Gates) > 0
}

// name is a wave in words.
func (c *course) name(w int) string {
	if len(c.specs) == 1 {
		return "wave " + c.specs[w].Name
	}
	return fmt.Sprintf("wave %s (%d of %d)", c.specs[w].Name, w+1, len(c.specs))
}

// count adds one node to its wave, and reports whether it is still to be done
// now, which is in the current wave or one before.
func (c *course) count(h *Head, n Selected, s standing, r Result, out bool) (todo bool) {
	w := c.of(n)
	t := &c.tally[w]
	t.total++
	switch {
	case s.state == api.NodeUpdated:
		t.updated++
	case s.state == api.NodeBroken:
		t.failed++
	case out:
		t.out++
	default:
		t.open++
	}
	if s.state == api.NodeUpdated || s.state == api.NodeBroken {
		t.last = later(t.last, r.At)
	}
	return c.begun(h) && w <= c.at(h) && !out && (s.state == api.NodePending || s.state == api.NodeQueued)
}

// open counts the nodes without a result in all waves up to one.
func (c *course) open(upTo int) (n int) {
	for _, t := range c.tally[:upTo+1] {
		n += t.open
	}
	return n
}

// finished is when the last node of the waves up to one came to its result.
func (c *course) finished(upTo int) time.Time {
	at := c.waves[upTo].StartedAt
	for _, t := range c.tally[:upTo+1] {
		at = later(at, t.last)
	}
	return at
}

// leftOut reports whether a skip of its wave left a node out: it had not begun
// then, and was not tried again since.
func (w *WaveState) leftOut(h *Head, r Result, begun bool, state string) bool {
	switch {
	case w.SkippedAt.IsZero() || state != api.NodePending && state != api.NodeQueued && state != api.NodeAborted:
		return false
	case state == api.NodeAborted && begun && r.State == api.NodeUpdating:
		return false
	case begun && r.State == api.NodeBroken && r.Failure > w.SkippedRetried && r.Failure <= h.Retried:
		return false
	case begun && r.State == api.NodePending && r.At.After(w.SkippedAt):
		return false
	}
	return true
}

func (w *WaveState) leftOutWhy(name string) string {
	text := fmt.Sprintf("left out: wave %s was skipped by %s", name, w.SkippedBy)
	if w.SkipReason != "" {
		text += ": " + w.SkipReason
	}
	return text
}
