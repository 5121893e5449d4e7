package rollout

import (
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// show tells how the waves stand after the decision, and the gates.
func (d *Decisions) show(c *course, st *State, now time.Time) {
	h := d.Head
	for i, s := range c.specs {
		w, t := &c.waves[i], &c.tally[i]
		r := api.RolloutWave{
			Name: s.Name, State: c.state(&h, i, now), Total: t.total, Updated: t.updated, Failed: t.failed, MaxFailures: -1,
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

// state is where a wave stands. One that an end came upon is pending for good.
func (c *course) state(h *Head, i int, now time.Time) string {
	w := &c.waves[i]
	switch {
	case !w.SkippedAt.IsZero() && (!w.DoneAt.IsZero() || i != c.at(h)):
		return api.WaveSkipped
	case !w.DoneAt.IsZero() || h.State == api.RolloutSucceeded || h.State == api.RolloutFailed:
		return api.WaveDone
	case !h.State.Active() || w.StartedAt.IsZero():
		return api.WavePending
	case w.FinishedAt.IsZero():
		return api.WaveRunning
	case now.Before(w.FinishedAt.Add(Duration(c.specs[i].Soak))) && w.SkippedAt.IsZero():
		return api.WaveSoaking
	}
	return api.WaveGates
}
