package rollout

import (
	"fmt"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// advance brings the rollout on: to its first wave when its time has come, from
// the nodes of a wave to its soak, its gates and the next wave, and to its end.
// It never goes back but to nodes that are tried again.
func (d *Decisions) advance(c *course, spec api.RolloutSpec, st State, failed int, last Result, now time.Time) {
	for steps := 0; ; steps++ {
		if steps == maxSteps {
			d.More = true
			return
		}
		h := &d.Head
		held := h.State == api.RolloutPaused || h.State == api.RolloutHalted
		if !c.begun(h) {
			if held || !d.mayBegin(c, spec, &st, now) {
				return
			}
			d.startWave(c, 0, now)
			if c.early {
				d.More = true
				return
			}
		}
		at := c.at(h)
		w, s := &h.Waves[at], &c.specs[at]
		if c.open(at) > 0 {
			if !w.FinishedAt.IsZero() || !w.DoneAt.IsZero() {
				w.FinishedAt, w.DoneAt, h.Gates = time.Time{}, time.Time{}, nil
				d.Changed = true
			}
			d.stage(api.RolloutRunning, c.name(at)+" runs")
			return
		}
		isLast := at == len(c.specs)-1
		if finished := c.finished(at); w.FinishedAt.IsZero() || finished.After(w.FinishedAt) {
			w.FinishedAt, w.DoneAt = finished, time.Time{} // done before, if a node was tried again since
			d.Changed = true
			if t := &c.tally[at]; s.Soak != "" || len(s.Gates) > 0 {
				d.event(EventWaveSoaks, "", "", fmt.Sprintf("%s: %d updated, %d failed", c.name(at), t.updated, t.failed), now)
			}
		}
		if held && !(isLast && s.Soak == "" && len(s.Gates) == 0) {
			return
		}
		skipped := !w.SkippedAt.IsZero()
		if until := w.FinishedAt.Add(Duration(s.Soak)); !skipped && now.Before(until) {
			d.stage(api.RolloutSoaking, fmt.Sprintf("%s soaks until %s", c.name(at), stamp(until)))
			return
		}
		passed, ok := d.pass(spec, &st, at+1, s.Gates, skipped, "after "+c.name(at), now)
		if !ok {
			return
		}
		w.DoneAt, h.Gates = now, nil
		d.Changed = true
		if c.staged() {
			d.event(EventWaveDone, "", "", strings.TrimSuffix(c.name(at)+" is done; "+passed, "; "), now)
		}
		if isLast {
			d.end(c, failed, last, now)
			return
		}
		d.startWave(c, at+1, now)
	}
}

// mayBegin reports whether the first wave may begin, and says what it waits for.
func (d *Decisions) mayBegin(c *course, spec api.RolloutSpec, st *State, now time.Time) bool {
	if len(st.Observed.Waits) > 0 {
		d.stage(api.RolloutScheduled, "waits for the end of rollout "+listed(st.Observed.Waits))
		return false
	}
	if now.Before(spec.Start) {
		d.stage(api.RolloutScheduled, "starts at "+stamp(spec.Start))
		return false
	}
	_, ok := d.pass(spec, st, 0, spec.Gates, !d.Head.Opening.SkippedAt.IsZero(), "before "+c.name(0), now)
	return ok
}

func (d *Decisions) startWave(c *course, w int, now time.Time) {
	before := standOf(&d.Head)
	d.Head.Wave, d.Head.Gates = w, nil
	d.Head.Waves[w].StartedAt = now
	d.Changed = true
	if d.Head.State != api.RolloutRunning || c.staged() {
		d.Head.State, d.Head.Why = api.RolloutRunning, c.name(w)+" runs"
	}
	if c.staged() {
		nodes := c.tally[w].total
		d.event(EventWaveStarted, "", "", fmt.Sprintf("%s begins with %s", c.name(w), plural(nodes, "node")), now)
		d.told(before, standOf(&d.Head))
	}
}

// stage says where a rollout is that nobody keeps from going on. Of a running
// one it leaves the reason alone, which may be a person's.
func (d *Decisions) stage(to api.RolloutState, why string) {
	h := &d.Head
	if h.State == api.RolloutPaused || h.State == api.RolloutHalted || h.State == to && (h.Why == why || to == api.RolloutRunning) {
		return
	}
	h.State, h.Why = to, why
	d.Reasons = append(d.Reasons, why)
	d.Changed = true
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
