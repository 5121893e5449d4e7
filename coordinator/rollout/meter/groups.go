package meter

import (
	"cmp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// shownGroups is how many groups of one rollout have series of their own: those in
// which it has the most nodes. A node may be alone in its group, so without a bound
// there could be as many series as nodes, of each rollout.
const shownGroups = 100

var descGroupNodes = prometheus.NewDesc("lockkeeper_rollout_group_nodes", "Nodes of a rollout, by group and by state as of lockkeeper_rollout_nodes: of the 100 groups in which it has the most, and without a group those of all others.", append(ofOne, "group", "state"), nil)

// nodeStates are those of a node in a rollout.
var nodeStates = [...]string{api.NodePending, api.NodeQueued, api.NodeUpdating, api.NodeUpdated, api.NodeBroken, api.NodeSkipped, api.NodeAborted}

// tally is how many nodes are in each of nodeStates.
type tally [len(nodeStates)]int

// byGroup counts nodes by group and state. Groups past the bound are summed under
// the empty name. Which they are depends on whose the nodes are, not on their
// states: no series ends because nodes get on.
func byGroup(nodes []api.RolloutNode) map[string]*tally {
	groups, total := map[string]*tally{}, map[string]int{}
	for i := range nodes {
		n := &nodes[i]
		if groups[n.Group] == nil {
			groups[n.Group] = &tally{}
		}
		if at := slices.Index(nodeStates[:], n.State); at >= 0 {
			groups[n.Group][at]++
		}
		total[n.Group]++
	}
	if len(groups) <= shownGroups {
		return groups
	}
	names := make([]string, 0, len(groups))
	for name := range groups {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(total[b]-total[a], cmp.Compare(a, b)) })
	rest := &tally{}
	for _, name := range names[shownGroups:] {
		for at, n := range groups[name] {
			rest[at] += n
		}
		delete(groups, name)
	}
	groups[""] = rest
	return groups
}

// collectGroups tells how far a rollout is in each group.
func collectGroups(out chan<- prometheus.Metric, r *api.Rollout) {
	for group, counts := range byGroup(r.Nodes) {
		for at, n := range counts {
			out <- gauge(descGroupNodes, float64(n), r.ID, r.Spec.Name, group, nodeStates[at])
		}
	}
}
