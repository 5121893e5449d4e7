package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/internal/sleep"
)

const (
	// forecastEvery is the least time between two forecasts of the active rollouts.
	// One that takes long (10,000 nodes: about a second) is followed by a pause of
	// forecastShare times as long, at most forecastAge.
	forecastEvery = 2 * time.Second
	forecastShare = 30
	forecastAge   = time.Minute
)

// expected is when a rollout and what is in it will probably be done.
type expected struct {
	ends  time.Time
	basis string
	waves []time.Time
	nodes map[string]time.Time // those that are to be updated
}

// expect keeps the forecasts of the active rollouts current until ctx ends.
func (e *Engine) expect(ctx context.Context) {
	for {
		changed, began := e.Changed(), time.Now()
		e.forecast(ctx)
		if sleep.For(ctx, min(forecastAge, max(forecastEvery, forecastShare*time.Since(began)))) != nil {
			return
		}
		old := time.NewTimer(forecastAge)
		select {
		case <-changed:
		case <-old.C:
		case <-ctx.Done():
		}
		old.Stop()
	}
}

// forecast plays the active rollouts through from where they are.
func (e *Engine) forecast(ctx context.Context) {
	p := e.picture()
	var active []State
	for _, id := range slices.Backward(p.order) {
		if st := p.states[id]; st.Head.State.Active() && st.Newer == "" {
			active = append(active, st)
		}
	}
	found := map[string]expected{}
	if len(active) > 0 {
		w, paces := e.world(ctx, active)
		played := Forecast(w)
		e.mu.Lock()
		before := e.expected
		e.mu.Unlock()
		for i := range active {
			id := active[i].Head.ID
			found[id] = expectedOf(&played.Rollouts[i], w.Now, e.basis(&active[i], paces[i], w.Nodes)).near(before[id], w.Now)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expected = found
}

// paces are those of a rollout's groups.
type paces map[string]pace

// world is the fleet as it is now, with the rollouts given.
func (e *Engine) world(ctx context.Context, active []State) (World, []paces) {
	w := World{Now: e.cfg.Now().UTC(), Rollouts: active}
	nodes := e.cfg.Fleet.Nodes()
	in := make(map[string]string, len(nodes)) // group, by node
	for i := range nodes {
		in[nodes[i].ID] = nodes[i].Group
	}
	lasted := map[string][]time.Duration{}
	all := make([]paces, len(active))
	for i := range active {
		all[i] = paces{}
		for k, n := range active[i].Nodes {
			group := cmp.Or(in[n.Node], n.Group)
			if _, known := lasted[group]; !known {
				lasted[group] = nil
				if e.cfg.Lasted != nil {
					lasted[group] = e.cfg.Lasted(ctx, group)
				}
				if s, ok := e.cfg.Semaphores.Look(group); ok {
					w.Groups = append(w.Groups, s)
				}
			}
			if _, known := all[i][group]; !known {
				all[i][group] = newPace(group, &active[i], lasted[group])
			}
			if group != n.Group { // it moved since
				active[i].Nodes = slices.Clone(active[i].Nodes)
				active[i].Nodes[k].Group = group
			}
		}
	}
	for i := range nodes {
		if _, concerned := lasted[nodes[i].Group]; concerned {
			w.Nodes = append(w.Nodes, nodes[i])
		}
	}
	others := map[string]pace{}
	w.Course = func(s Step) Course {
		if s.Rollout >= 0 {
			p := all[s.Rollout][s.Group]
			return Course{Takes: p.of(s.At)}
		}
		p, known := others[s.Group]
		if !known {
			p = newPace(s.Group, nil, lasted[s.Group])
			others[s.Group] = p
		}
		return Course{Takes: p.of(s.At)}
	}
	e.mu.Lock()
	overdue := e.overdue
	e.mu.Unlock()
	if overdue != nil {
		w.Overdue = func(group, node string, fence int64) bool { return overdue[holdKey{group, node, fence}] }
	}
	return w, all
}

// expectedOf reads a forecast: nothing of a rollout that does not come to its end.
func expectedOf(r *PlayedRollout, now time.Time, basis string) expected {
	x := expected{nodes: map[string]time.Time{}, basis: basis}
	settles := Duration(r.State.Head.Spec.MinHealthyTime)
	for i, t := range r.Turns {
		if !t.Ended.IsZero() && t.Ended.After(now) && t.State == api.NodeUpdated {
			x.nodes[r.State.Nodes[i].Node] = t.Ended.Add(settles).Round(time.Second)
		}
	}
	for _, wave := range r.State.Head.Waves {
		at := wave.DoneAt
		if !at.After(now) {
			at = time.Time{}
		}
		x.waves = append(x.waves, at.Round(time.Second))
	}
	if !r.State.Head.State.Active() && r.Ended.After(now) {
		x.ends = r.Ended.Round(time.Second)
	}
	return x
}

// near keeps what was said before where that is as good, so that a time that is
// shown does not tremble.
func (x expected) near(old expected, now time.Time) expected {
	keep := func(t, said time.Time) time.Time {
		if t.IsZero() || said.IsZero() {
			return t
		}
		if d := t.Sub(said).Abs(); d <= max(3*time.Second, t.Sub(now)/50) && said.After(now) {
			return said
		}
		return t
	}
	x.ends = keep(x.ends, old.ends)
	for i := range x.waves {
		if i < len(old.waves) {
			x.waves[i] = keep(x.waves[i], old.waves[i])
		}
	}
	for node, t := range x.nodes {
		x.nodes[node] = keep(t, old.nodes[node])
	}
	return x
}

// basis says by what a forecast goes, in a sentence or a few.
func (e *Engine) basis(st *State, all paces, nodes []api.Node) string {
	const most = 3
	var parts []string
	for _, group := range sortedGroups(all) {
		if len(parts) == most {
			parts = append(parts, fmt.Sprintf("and so on for %d more groups", len(all)-most))
			break
		}
		parts = append(parts, all[group].basis)
	}
	if gatesAhead(st) {
		parts = append(parts, "gates are taken to pass as soon as they can, and people to approve at once")
	}
	if silent := notHeard(st, nodes); len(silent) > 0 {
		parts = append(parts, fmt.Sprintf("%s not heard of (%s), and taken to come", isOrAre(len(silent)), listed(silent)))
	}
	return strings.Join(parts, "; ")
}

func isOrAre(n int) string {
	if n == 1 {
		return "1 node is"
	}
	return fmt.Sprintf("%d nodes are", n)
}

func sortedGroups(all paces) []string {
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// gatesAhead reports whether there are gates still to pass.
func gatesAhead(st *State) bool {
	c := newCourse(st.Head.Spec, st)
	if !c.begun(&st.Head) && len(st.Head.Spec.Gates) > 0 {
		return true
	}
	for w := c.at(&st.Head); w < len(c.specs); w++ {
		if len(c.specs[w].Gates) > 0 && c.waves[w].DoneAt.IsZero() {
			return true
		}
	}
	return false
}

// notHeard are the nodes still to do that were not heard of for a while.
func notHeard(st *State, nodes []api.Node) (out []string) {
	silent := map[string]bool{}
	for i := range nodes {
		if nodes[i].State == api.NodeUnreachable {
			silent[nodes[i].ID] = true
		}
	}
	if len(silent) == 0 {
		return nil
	}
	for _, n := range st.Nodes {
		if r := st.Results[n.Node]; silent[n.Node] && r.State != api.NodeUpdated {
			out = append(out, n.Node)
		}
	}
	return out
}

// tell puts a forecast into what is shown of a rollout.
func (x expected) tell(r *api.Rollout, now time.Time) {
	switch r.State {
	case api.RolloutPaused, api.RolloutHalted:
		x.ends, x.waves = time.Time{}, nil // those under way finish, and that is all
	}
	if x.ends.After(now) {
		r.Estimate, r.EstimateBasis = x.ends, x.basis
		r.Progress.EstimateS = max(1, int(x.ends.Sub(now).Round(time.Second)/time.Second))
	}
	for i, at := range x.waves {
		if i < len(r.Waves) && r.Waves[i].DoneAt.IsZero() {
			r.Waves[i].Estimate = at
		}
	}
	for i := range r.Nodes {
		if n := &r.Nodes[i]; n.State != api.NodeUpdated && n.State != api.NodeBroken {
			if at := x.nodes[n.Node]; r.State != api.RolloutPaused && r.State != api.RolloutHalted || n.State == api.NodeUpdating {
				n.Estimate = at
			}
		}
	}
}
