package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// fleetView is the nodes and their groups' semaphores at one moment.
type fleetView struct {
	now     time.Time
	nodes   map[string]*api.Node
	store   semaphore.Store
	groups  map[string]*groupView
	overdue map[holdKey]bool
}

// groupView is a group, and the same group as it would be if every healthy
// holder returned its slot and nobody else waited.
type groupView struct {
	state   semaphore.State
	exists  bool
	kept    semaphore.State
	keepers []string
	memo    map[string][]api.Blocker
}

func newFleetView(nodes []api.Node, store semaphore.Store, overdue map[holdKey]bool, now time.Time) *fleetView {
	f := &fleetView{
		now: now, nodes: make(map[string]*api.Node, len(nodes)), store: store,
		groups: map[string]*groupView{}, overdue: overdue,
	}
	for i := range nodes {
		f.nodes[nodes[i].ID] = &nodes[i]
	}
	return f
}

// of is what is known of a rollout's nodes, in their order.
func (f *fleetView) of(st State) []NodeView {
	views := make([]NodeView, 0, len(st.Nodes))
	first := map[int]int{} // by wave: nodes to do on which no coordinator runs
	mayStart := false      // one that could start is enough: then nothing is stalled
	for _, n := range st.Nodes {
		v := NodeView{Node: n.Node, Group: n.Group, Wave: n.Wave}
		if known, ok := f.nodes[n.Node]; ok {
			v.Known, v.Report = true, known.Report
			v.ChangedAt, v.LastHeard = known.ChangedAt, known.LastHeard
			if known.Group != "" {
				v.Group = known.Group
			}
		}
		g := f.group(v.Group)
		if h, held := g.state.Holds[v.Node]; held {
			v.Held, v.Fence = true, h.Fence
			v.Unconfirmed = h.State == semaphore.Granted
			v.Overdue = f.overdue[holdKey{v.Group, v.Node, h.Fence}]
		}
		r := st.Results[n.Node]
		v.Coordinator = g.state.HostOf(v.Node)
		done := r.done(&st.Head)
		if !done {
			slots := g.state.SlotCount()
			if v.Coordinator == "" {
				first[n.Wave]++
			}
			v.AllKept = g.exists && slots > 0 && len(g.keepers) >= slots && !slices.Contains(g.keepers, v.Node)
			if !mayStart && v.Known && !v.Held {
				v.Kept = f.blocked(g, v.Node)
				mayStart = len(v.Kept) == 0
			}
		}
		views = append(views, v)
	}
	for i := range views {
		if views[i].Coordinator == "" {
			continue
		}
		for wave, nodes := range first {
			if wave <= st.Nodes[i].Wave {
				views[i].First += nodes
			}
		}
	}
	f.takeTurns(&st, views)
	return views
}

// frozen reports whether nothing may start in a group because it, or the fleet,
// is frozen.
func (f *fleetView) frozen(group string) bool {
	g := f.group(group)
	return g.exists && g.state.Frozen() != nil
}

func (f *fleetView) group(name string) *groupView {
	if g, ok := f.groups[name]; ok {
		return g
	}
	g := &groupView{memo: map[string][]api.Blocker{}}
	g.state, g.exists = f.store.View(name)
	g.kept = g.state
	g.kept.Queue = nil
	// The host that is out comes back, and leadership moves.
	g.kept.Out, g.kept.Coordinators = nil, slices.Clone(g.state.Coordinators)
	for i := range g.kept.Coordinators {
		g.kept.Coordinators[i].Leads = false
	}
	g.kept.Holds = map[string]semaphore.Hold{}
	for node, h := range g.state.Holds {
		if f.keeps(name, h) {
			g.kept.Holds[node] = h
			g.keepers = append(g.keepers, node)
		}
	}
	slices.Sort(g.keepers)
	f.groups[name] = g
	return g
}

// keeps reports whether a holder will not return its slot by itself: it failed
// and is not healthy, or its hold is overdue.
func (f *fleetView) keeps(group string, h semaphore.Hold) bool {
	if f.overdue[holdKey{group, h.Node, h.Fence}] {
		return true
	}
	n, ok := f.nodes[h.Node]
	if !ok {
		return false
	}
	return n.Report.Phase == api.PhaseFailed || n.Report.Failure != nil && !n.Report.Healthy && n.Report.Phase == api.PhaseIdle
}

// blocked says why the node could not start even if every healthy holder
// returned its slot. Members that the rules cannot tell apart share an answer.
func (f *fleetView) blocked(g *groupView, node string) []api.Blocker {
	if !g.exists {
		return []api.Blocker{{Kind: api.UnknownGroup, Detail: "its group does not exist any more"}}
	}
	m, ok := g.state.Members[node]
	_, holds := g.kept.Holds[node]
	key := fmt.Sprint(ok, holds, m.Down, g.state.HostOf(node))
	for _, l := range g.state.Spec.Limits {
		key += "\x00" + m.Labels()[l.By]
	}
	if m.Duplicate != "" || m.RetryAfter.After(f.now) || !ok {
		key += "\x00" + node
	}
	if known, ok := g.memo[key]; ok {
		return known
	}
	found := blockers(semaphore.Blockers(&g.kept, node, f.now))
	for i := range found {
		if found[i].Kind == api.Full && len(g.keepers) > 0 {
			found[i].Detail = fmt.Sprintf("every slot of group %s is kept by a node that failed or is overdue: %s",
				g.state.Group, listed(g.keepers))
		}
	}
	g.memo[key] = found
	return found
}

func blockers(list []semaphore.Blocker) []api.Blocker {
	var out []api.Blocker
	for _, b := range list {
		out = append(out, api.Blocker{Kind: api.Kind(b.Kind), Detail: b.Detail, Until: b.Until})
	}
	return out
}

// listed names a few of many.
func listed(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
