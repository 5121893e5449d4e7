package fleet

import (
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// viewer turns entries into nodes, by one look at the semaphores.
type viewer struct {
	heard   func(*entry) time.Time
	now     time.Time
	started time.Time
	groups  map[string]groupView
}

type groupView struct {
	state     semaphore.State
	deadlines semaphore.Deadlines
	waiting   map[string]bool
}

func newViewer(r *Registry) *viewer {
	v := &viewer{heard: r.lastHeard, now: r.cfg.Now(), started: r.started, groups: map[string]groupView{}}
	if r.cfg.Semaphores == nil {
		return v
	}
	for _, name := range r.cfg.Semaphores.Groups() {
		st, found := r.cfg.Semaphores.View(name)
		if !found {
			continue
		}
		g := groupView{state: st, deadlines: st.Deadlines(v.now), waiting: make(map[string]bool, len(st.Queue))}
		for i := range st.Queue {
			g.waiting[st.Queue[i].Node] = true
		}
		v.groups[name] = g
	}
	return v
}

func (v *viewer) node(e *entry) api.Node {
	rec := &e.record
	n := api.Node{
		ID: rec.ID, Group: rec.Group, Labels: rec.Report.Labels, Via: string(semaphore.ViaAgent),
		Instance: rec.Instance, BootID: rec.BootID, Report: rec.Report, Order: rec.Order,
		FirstSeen: rec.FirstSeen, LastHeard: v.heard(e), ChangedAt: rec.ChangedAt, Revision: rec.Revision,
	}
	g := v.groups[rec.Group]
	if m, found := g.state.Members[rec.ID]; found {
		if len(m.Declared) > 0 {
			n.Labels, n.Declared = m.Labels(), m.Declared
		}
		n.Duplicate = m.Duplicate
		// Whichever was changed last: neither ever has the other's.
		n.Revision = max(n.Revision, m.Revision)
	}
	if h, found := g.state.Holds[rec.ID]; found {
		n.Hold = HoldOf(rec.Group, h, g.deadlines)
		n.Hold.Phase = string(rec.Report.Phase)
		n.Hold.Failed = Failed(&rec.Report)
		heard := n.LastHeard
		n.Hold.Heard = &heard
	}
	n.State = v.sum(&n, g.waiting[rec.ID])
	return n
}

// sum is the node in one word, the worst that is true of it.
func (v *viewer) sum(n *api.Node, waiting bool) api.NodeState {
	switch {
	case Failed(&n.Report):
		return api.NodeFailed
	case n.Hold != nil && n.Hold.Overdue:
		return api.NodeOverdue
	case n.Duplicate != "":
		return api.NodeDuplicate
	case n.Hold != nil:
		// A host that reboots is supposed to be silent; its deadline judges it.
		return api.NodeOut
	case v.now.Sub(latest(n.LastHeard, v.started)) > UnreachableAfter:
		return api.NodeUnreachable
	case waiting:
		return api.NodeWaiting
	}
	return api.NodeIdle
}

// Failed reports whether a node says that its last bundle failed, or that it
// is not healthy while nothing is being done to it.
func Failed(r *api.Report) bool {
	if r.Phase == api.PhaseFailed || r.Failure != nil {
		return true
	}
	return !r.Healthy && (r.Phase == api.PhaseIdle || r.Phase == api.PhaseWaiting)
}

// HoldOf is a hold as the API shows it, by how the deadlines of its group stand.
func HoldOf(group string, h semaphore.Hold, d semaphore.Deadlines) *api.Hold {
	out := &api.Hold{
		Group: group, Node: h.Node, State: string(h.State), Via: string(h.Via), Instance: h.Instance, BootID: h.BootID,
		Fence: h.Fence, Since: h.Since, Deadline: d.Of(h), Overdue: d.Overdue(h), Reason: h.Reason,
	}
	if !out.Deadline.IsZero() && !out.Overdue {
		out.DeadlineStill = d.Still
	}
	if h.Revoked != nil {
		out.Revoked = &api.Mark{By: h.Revoked.By, At: h.Revoked.At, Reason: h.Revoked.Reason}
	}
	return out
}
