package rollout

import (
	"maps"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// playedRollout is a rollout in virtual time.
type playedRollout struct {
	number  int
	st      State
	hosts   []int32 // of its nodes
	turns   []Turn
	under   int // hosts that ask, wait or are out for it
	events  []semaphore.Event
	looked  time.Time // last
	due     time.Time // of the look that is noted, zero for none
	looking bool
	moved   time.Time // when something happened to a node of it last
}

func (r *playedRollout) goesOn() bool {
	s := r.st.Head.State
	return s.Active() && s != api.RolloutPaused && s != api.RolloutHalted && r.st.Newer == ""
}

func (r *playedRollout) reason() string { return "rollout " + r.st.Head.ID }

// view is what is known of one node, as far as its own result rests on it.
func (p *player) view(r *playedRollout, i int) NodeView {
	n, h := &r.st.Nodes[i], &p.hosts[r.hosts[i]]
	v := NodeView{Node: n.Node, Group: n.Group, Wave: n.Wave}
	if h.known >= 0 {
		known := &p.nodes[h.known]
		v.Known, v.Report, v.ChangedAt, v.LastHeard = true, known.Report, known.ChangedAt, known.LastHeard
	}
	if h.group != nil {
		v.Group = h.group.state.Group
		if hold, held := h.group.state.Hold(h.node); held {
			v.Held, v.Fence, v.Unconfirmed, v.Overdue = true, hold.Fence, hold.State == semaphore.Granted, h.late
		}
	}
	p.clocks(r, h, &v)
	return v
}

// clocks are the times that Clocks would have measured.
func (p *player) clocks(r *playedRollout, h *playedHost, v *NodeView) {
	if v.Known && inPlace(&r.st.Head, v) {
		since := h.returned
		if since.IsZero() {
			since = v.ChangedAt
		}
		v.Healthy = p.now.Sub(since)
	}
	if res := r.st.Results[v.Node]; res.State == api.NodeUpdating {
		v.Busy, v.BusyAttempt = p.now.Sub(res.Began), res.Attempt
	}
}

// views is what is known of all nodes, by the engine's own code.
func (p *player) views(r *playedRollout) []NodeView {
	views := newFleetView(p.nodes, playedStore{p: p}, p.late, p.now).of(r.st)
	for i := range views {
		p.clocks(r, &p.hosts[r.hosts[i]], &views[i])
	}
	return views
}

// settle records what one node has come to.
func (p *player) settle(r *playedRollout, i int) {
	if !r.st.Head.State.Active() {
		return
	}
	v := p.view(r, i)
	d := Decisions{Head: r.st.Head}
	res, begun := r.st.Results[v.Node]
	s := observe(&r.st.Head, res, begun, &v)
	if next, news := result(&r.st.Head, r.st.Nodes[i], res, begun, s, &v, p.now); news {
		d.record([]Result{next}, nil, p.now)
		if s.failure != nil {
			d.budget(newCourse(r.st.Head.Spec, &r.st), r.st.Head.Spec, r.st, p.now)
		}
		p.record(r, d)
	}
}

// record carries a decision out.
func (p *player) record(r *playedRollout, d Decisions) {
	if !d.Changed {
		return
	}
	before := r.st.Head.State
	r.st.Head = d.Head
	r.st.Revision++
	for _, res := range d.Results {
		r.st.Results[res.Node] = res
	}
	for _, e := range d.Events {
		if e.Kind != EventNodeUpdated {
			r.events = append(r.events, e)
		}
	}
	r.moved = p.now
	if before != d.Head.State {
		if !r.goesOn() {
			p.withdraw(r)
		}
		if p.undoes(r) {
			p.in(undoAfter, rolloutUndo, r.number)
		}
		if !d.Head.State.Active() {
			for _, other := range p.rolls {
				if slices.Contains(other.st.Head.After, r.st.Head.ID) {
					p.lookSoon(other)
				}
			}
		}
	}
}

// withdraw has every host leave that waits for the rollout.
func (p *player) withdraw(r *playedRollout) {
	for i := range r.hosts {
		if h := &p.hosts[r.hosts[i]]; h.rollout == r && (h.state == hostWaiting || h.state == hostAsking) {
			p.leave(h)
		}
	}
}

// lookSoon notes a look now or, after another one, as soon as the engine would.
func (p *player) lookSoon(r *playedRollout) {
	if r.looking {
		return
	}
	at := p.now
	if next := r.looked.Add(coalesce); !r.looked.IsZero() && next.After(at) {
		at = next
	}
	p.lookAt(r, at)
}

// lookAt notes a look, unless one is noted that is not later.
func (p *player) lookAt(r *playedRollout, at time.Time) {
	if !r.due.IsZero() && !r.due.After(at) && !r.due.Before(p.now) {
		return
	}
	r.due = at
	p.until(at, rolloutLook, r.number)
}

// look decides about the rollout until nothing is left to decide, and has the
// hosts ask of which something is wanted.
func (p *player) look(r *playedRollout) {
	r.due, r.looked = time.Time{}, p.now
	if !r.st.Head.State.Active() || r.st.Newer != "" {
		return
	}
	p.looks++
	r.looking = true
	views := p.views(r)
	for {
		p.observe(r)
		d := Decide(r.st.Head.Spec, r.st, views, p.now)
		if !d.Changed {
			break
		}
		p.record(r, d)
		if len(d.Results) > 0 {
			views = p.views(r)
		}
	}
	if r.st.Head.Stalled != nil {
		r.moved = p.now // what stands still by a rule is not idle
	}
	p.reconsider(r, views)
	r.looking = false
	if at := p.nextLook(r); !at.IsZero() {
		p.lookAt(r, at)
	}
}

// observe is what is known beside the stored state: gates pass as soon as they
// can, and people approve at once.
func (p *player) observe(r *playedRollout) {
	o := &r.st.Observed
	*o = Observed{Gates: map[string]condition.Answer{}}
	for _, other := range p.rolls {
		if slices.Contains(r.st.Head.After, other.st.Head.ID) && other.st.Head.State.Active() {
			o.Waits = append(o.Waits, other.st.Head.ID)
		}
	}
	if !r.moved.IsZero() {
		o.Idle, o.IdleSeq = p.now.Sub(r.moved), r.st.Head.EventSeq
	}
	r.eachGate(func(key string, g api.GateSpec) {
		gs, asked := r.st.Head.Gates[key]
		switch {
		case g.Approval != nil && asked:
			for count, _ := needed(g.Approval); len(gs.Approvals) < count; {
				gs.Approvals = append(slices.Clip(gs.Approvals), api.Approval{At: p.now})
			}
			r.st.Head.Gates = maps.Clone(r.st.Head.Gates)
			r.st.Head.Gates[key] = gs
		case g.Approval == nil:
			passes := asked && p.now.Sub(gs.AskedAt) >= Unbroken(g)
			o.Gates[key] = condition.Answer{Passes: passes, At: p.now}
		}
	})
}

// eachGate goes through the gates at which the rollout stands.
func (r *playedRollout) eachGate(yield func(key string, g api.GateSpec)) {
	place, list := newCourse(r.st.Head.Spec, &r.st).gatesAt(&r.st.Head, &r.st.Head.Spec)
	for i, g := range list {
		yield(gateKey(place, gateName(list, i)), g)
	}
}

// Unbroken is for how long gates must hold before all of them pass.
func Unbroken(gates ...api.GateSpec) (longest time.Duration) {
	for _, g := range gates {
		switch {
		case g.PromQL != nil:
			longest = max(longest, Duration(g.PromQL.For))
		case g.Alertmanager != nil:
			longest = max(longest, Duration(g.Alertmanager.For))
		}
	}
	return longest
}

// reconsider has the hosts ask of which something is wanted, and those leave of
// which nothing is wanted any more.
func (p *player) reconsider(r *playedRollout, views []NodeView) {
	if !r.goesOn() {
		return
	}
	for i := range r.hosts {
		h := &p.hosts[r.hosts[i]]
		if h.known < 0 || h.group == nil || h.state != hostFree && (h.rollout != r || h.state != hostWaiting && h.state != hostAsking) {
			continue
		}
		if role, ok := h.role(); !ok || role.rollout != r {
			continue
		}
		wanted := Wanted(&r.st, views[i], p.now) != nil
		switch {
		case wanted && h.state == hostFree:
			h.state = hostAsking
			p.startWork(h, hostRole{r, i})
			p.in(0, hostAsks, int(r.hosts[i]))
		case !wanted && h.state != hostFree:
			p.leave(h)
		}
	}
}

// nextLook is when a clock may change what is decided; zero for never.
func (p *player) nextLook(r *playedRollout) time.Time {
	if !r.goesOn() {
		return time.Time{}
	}
	var next time.Time
	soonest := func(t time.Time) {
		if t.After(p.now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	h := &r.st.Head
	spec := &h.Spec
	soonest(spec.Start)
	c := newCourse(*spec, &r.st)
	if w := c.waves[c.at(h)]; !w.FinishedAt.IsZero() {
		soonest(w.FinishedAt.Add(Duration(c.specs[c.at(h)].Soak)))
	}
	r.eachGate(func(key string, g api.GateSpec) {
		if gs, asked := h.Gates[key]; asked {
			soonest(gs.AskedAt.Add(Unbroken(g)))
		}
	})
	if b := shut(spec, p.now); b != nil {
		soonest(b.Until)
	} else {
		soonest(closes(spec, p.now))
	}
	if quiet := Duration(spec.ProgressDeadline); quiet > 0 && !r.moved.IsZero() {
		soonest(r.moved.Add(quiet))
	}
	return next
}

// closes is when the last of a rollout's open windows lets nothing start any
// more; zero without windows.
func closes(spec *api.RolloutSpec, now time.Time) (last time.Time) {
	list, _ := Windows(spec.Windows)
	for i := range list {
		if span, open := list[i].At(now); open {
			last = later(last, span.End.Add(-time.Duration(list[i].Cutoff)))
		}
	}
	return last
}

func (r *playedRollout) played(p *player) PlayedRollout {
	r.st.Head.Waves = newCourse(r.st.Head.Spec, &r.st).waves // those that were never written, too
	out := PlayedRollout{State: r.st, Turns: r.turns, Events: r.events}
	for i, n := range r.st.Nodes {
		switch res := r.st.Results[n.Node]; {
		case res.State == api.NodeUpdated, res.State == api.NodeBroken && res.Failure > r.st.Head.Retried:
			out.Turns[i].State = res.State
			if out.Turns[i].Ended.IsZero() {
				out.Turns[i].Ended = res.At
			}
		default:
			out.Turns[i].State = api.NodePending
		}
	}
	switch {
	case !r.st.Head.State.Active():
		out.Ended = r.st.Head.EndedAt
	case r.st.Head.State == api.RolloutHalted:
		for _, e := range r.events {
			if e.Kind == EventHalted {
				out.Ended = e.At
			}
		}
	}
	return out
}
