package rollout

import (
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// show tells how the waves stand after the decision, and the gates.
func (d *Decisions) show(c *course, st *State, now time.Time) {
	h := d.Head
	for i, s := range c.specs {
		w, t := &c.waves[i], &c.tally[i]
		r := api.RolloutWave{
			Name: s.Name, State: c.state(&h, i, now), Total: t.total, Updated: t.updated, Failed: t.failed, Skipped: t.out, MaxFailures: -1,
			StartedAt: w.StartedAt, FinishedAt: w.FinishedAt, DoneAt: w.DoneAt,
		}
		if s.MaxFailures != "" {
			r.MaxFailures = MayFail(s.MaxFailures, t.total)
		}
		if !w.FinishedAt.IsZero() && s.Soak != "" && w.SkippedAt.IsZero() {
			r.SoakUntil = w.FinishedAt.Add(Duration(s.Soak))
		}
		d.Waves = append(d.Waves, r)
	}
	if h.State.Active() {
		d.Gates = c.gateStates(&h, st)
	}
}

// state is where a wave stands.
func (c *course) state(h *Head, i int, now time.Time) string {
	w := &c.waves[i]
	switch {
	case !w.SkippedAt.IsZero() && (!w.DoneAt.IsZero() || i != c.at(h) || !h.State.Active()):
		return api.WaveSkipped
	case !w.DoneAt.IsZero() || h.State == api.RolloutSucceeded || h.State == api.RolloutFailed:
		return api.WaveDone
	case !h.State.Active():
		return api.WaveAborted
	case w.StartedAt.IsZero():
		return api.WavePending
	case w.FinishedAt.IsZero():
		return api.WaveRunning
	case now.Before(w.FinishedAt.Add(Duration(c.specs[i].Soak))) && w.SkippedAt.IsZero():
		return api.WaveSoaking
	}
	return api.WaveGates
}

// concurrency is how many of the nodes that are to be done now may be out at
// once; nil when none is to be done, as while it soaks.
func concurrency(st *State, d *Decisions, look func(group string) (semaphore.State, bool)) *api.Concurrency {
	h := &st.Head
	if !h.State.Active() || !h.begun() {
		return nil
	}
	var nodes []Selected
	for i, n := range st.Nodes {
		switch state := d.Nodes[i].State; {
		case state == api.NodeUpdated, state == api.NodeBroken, state == api.NodeSkipped, n.Wave > h.Wave:
		default:
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	c := AtOnce(d.Waves[min(h.Wave, len(d.Waves)-1)].Name, nodes, look)
	return &c
}
