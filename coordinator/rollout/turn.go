package rollout

import (
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// askedPerSlot is how many nodes of an ordered rollout are asked for each slot
// that they may take: one that goes, and one that waits to go next.
const askedPerSlot = 2

// takeTurns finds which nodes of a rollout with an order are not asked yet. A
// queue is first come, first served, so the order in which nodes go is the one in
// which they are asked. Nodes that the limits of their group tell apart take turns
// apart, so that a value whose bound is reached keeps no other from going; a node
// that is not heard of is asked and holds nobody up.
func (f *fleetView) takeTurns(st *State, views []NodeView) {
	if st.Head.Spec.Order == nil {
		return
	}
	ahead := map[string]int{}
	for i := range views {
		v := &views[i]
		if st.Results[v.Node].done(&st.Head) || v.Wave > st.Head.Wave || !v.Known || v.First > 0 {
			continue
		}
		if known, ok := f.nodes[v.Node]; !ok || known.State == api.NodeUnreachable {
			continue
		}
		g := f.group(v.Group)
		m := g.state.Members[v.Node]
		key := v.Group
		for _, l := range g.state.Spec.Limits {
			key += "\x00" + m.Labels()[l.By]
		}
		if asked := askedPerSlot * max(1, g.state.SlotCount()); ahead[key] >= asked && !v.Held {
			v.Turn = ahead[key] - asked + 1
		}
		ahead[key]++
	}
}
