package rollout

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// picture is everything that the engine tells, at one moment. It is replaced,
// never changed.
type picture struct {
	rollouts  map[string]api.Rollout
	order     []string // newest first
	states    map[string]State
	decisions map[string]Decisions  // of the active ones
	active    map[string]activeNode // by the node's id
}

// activeNode is a node of an active rollout that has begun, the newest that has it.
type activeNode struct {
	rollout string
	view    *NodeView
}

// endedRollout saves looking at an ended rollout again.
type endedRollout struct {
	revision int64
	shown    api.Rollout
}

// holdKey names one hold for good.
type holdKey struct {
	group, node string
	fence       int64
}

func (e *Engine) picture() *picture {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.shown
}

// refresh decides all rollouts on what is known now and shows the outcome.
func (e *Engine) refresh() *picture {
	e.refreshing.Lock()
	defer e.refreshing.Unlock()
	now := e.cfg.Now()
	snap := e.cfg.Store.View()
	e.mu.Lock()
	overdue, expected, nodes := e.overdue, e.expected, len(e.shown.active)
	e.mu.Unlock()

	p := &picture{
		rollouts: make(map[string]api.Rollout, len(snap.Rollouts)), states: snap.Rollouts,
		decisions: map[string]Decisions{}, active: make(map[string]activeNode, nodes),
	}
	p.order = slices.Collect(maps.Keys(snap.Rollouts))
	slices.SortFunc(p.order, func(a, b string) int { // ids grow with time
		return cmp.Or(snap.Rollouts[b].Head.CreatedAt.Compare(snap.Rollouts[a].Head.CreatedAt), cmp.Compare(b, a))
	})
	var fleet *fleetView
	var step time.Duration
	if e.clocks != nil {
		step = e.clocks.Step(now, !e.cfg.Quorum())
		defer e.clocks.Forget()
	}
	ended := make(map[string]endedRollout, len(e.ended))
	for _, id := range p.order {
		st := snap.Rollouts[id]
		if !st.Head.State.Active() {
			old, ok := e.ended[id]
			if !ok || old.revision != st.Revision {
				old = endedRollout{st.Revision, present(st, Decide(st.Head.Spec, st, nil, now))}
			}
			ended[id] = old
			old.shown.Undelivered = undelivered(&st)
			p.rollouts[id] = old.shown
			continue
		}
		if fleet == nil {
			fleet = newFleetView(e.cfg.Fleet.Nodes(), e.cfg.Semaphores, overdue, now)
		}
		views := fleet.of(st)
		if st.Head.begun() { // one that waits leaves its nodes to those that it waits for
			for i := range views {
				v := &views[i]
				if _, newer := p.active[v.Node]; !newer {
					p.active[v.Node] = activeNode{id, v}
				}
			}
		}
		st.Observed = Observed{Waits: waits(snap, st.Head.After), Outages: e.cfg.Outages()}
		if e.clocks != nil {
			o := &st.Observed
			o.Gates = e.asker.answers(id)
			o.Idle, o.IdleSeq = e.clocks.Look(&st, views, step, fleet.frozen)
		}
		d := Decide(st.Head.Spec, st, views, now)
		p.decisions[id] = d
		shown := present(st, d)
		shown.Concurrency = concurrency(&st, &d, e.cfg.Semaphores.Look)
		expected[id].tell(&shown, now)
		e.past.tell(&shown)
		p.rollouts[id] = shown
	}
	e.ended = ended
	e.past.keep(p.rollouts)
	e.cfg.Meter.Show(p.list())

	e.mu.Lock()
	defer e.mu.Unlock()
	if !p.same(e.shown) {
		close(e.changed)
		e.changed = make(chan struct{})
	}
	e.shown = p
	return p
}

// list is the rollouts, newest first.
func (p *picture) list() []api.Rollout {
	list := make([]api.Rollout, 0, len(p.order))
	for _, id := range p.order {
		list = append(list, p.rollouts[id])
	}
	return list
}

// waits are those of some rollouts that have not ended. One that is forgotten has.
func waits(snap Snapshot, after []string) (out []string) {
	for _, id := range after {
		if st, ok := snap.Rollouts[id]; ok && (st.Head.State.Active() || st.Newer != "") {
			out = append(out, id)
		}
	}
	return out
}

// same reports whether two pictures tell the same. What is wanted of a node
// follows from its rollout's head and from where the node stands.
func (p *picture) same(old *picture) bool {
	return maps.EqualFunc(p.rollouts, old.rollouts, func(a, b api.Rollout) bool {
		a.Progress.EstimateS, b.Progress.EstimateS = 0, 0 // it runs down by itself; Estimate says when it is over
		return a.Revision == b.Revision && a.Why == b.Why && a.Progress == b.Progress && a.Estimate.Equal(b.Estimate) && slices.Equal(a.Nodes, b.Nodes) && slices.Equal(a.Undelivered, b.Undelivered) &&
			slices.EqualFunc(a.Gates, b.Gates, sameAnswer)
	})
}

// sameAnswer reports whether a gate says what it said. What is approved comes
// with a new revision.
func sameAnswer(a, b api.RolloutGate) bool {
	return a.Wave == b.Wave && a.Name == b.Name && a.Passes == b.Passes && a.Value == b.Value && a.Detail == b.Detail && a.Checked.Equal(b.Checked)
}

// present is a rollout as the API tells it.
func present(st State, d Decisions) api.Rollout {
	h := &st.Head
	r := api.Rollout{
		ID: h.ID, Spec: shownSpec(h.Spec), BundleName: h.BundleName, State: h.State, Why: h.Why, By: h.By,
		CreatedAt: h.CreatedAt, StoppedAt: h.stoppedAt(), EndedAt: h.EndedAt, Progress: d.Progress, Stalled: h.Stalled,
		After: h.After, SupersededBy: h.SupersededBy,
		Budget: api.RolloutBudget{Max: MayFail(h.Spec.MaxFailures, len(st.Nodes))},
		Nodes:  d.Nodes, Revision: st.Revision, Waves: d.Waves, Gates: d.Gates,
		RollbackOf: h.RollbackOf, Undelivered: undelivered(&st),
	}
	if len(h.Rollbacks) > 0 {
		r.Rollback = h.Rollbacks[0]
	}
	if h.begun() {
		r.Wave = min(h.Wave, len(d.Waves)-1) + 1
	}
	r.Budget.Failed, _, _ = failures(h, st, d.Results)
	if st.Newer != "" {
		r.Why = st.Newer + " was written by a newer version: this coordinator only shows the rollout, as far as it can read it"
	}
	return r
}
