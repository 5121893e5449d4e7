package web

import (
	"cmp"
	"slices"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// The rows of the table: all that failed or are in work up to rolloutRows, and
// others up to quietRows in all. The counts above it are of all nodes.
const (
	rolloutRows = 50
	quietRows   = 20
)

// rolloutRowsFirst are the nodes that somebody would look for first: of those whose
// turn comes, the next.
func rolloutRowsFirst(nodes []api.RolloutNode, groups []api.Group) (rows []api.RolloutNode) {
	waits := map[string]bool{}
	for _, part := range []struct {
		state string
		most  int
		turns bool
	}{
		{api.NodeBroken, rolloutRows, false}, {api.NodeUpdating, rolloutRows, false}, {api.NodeQueued, quietRows, true}, {api.NodePending, quietRows, true},
		{api.NodeSkipped, quietRows, false}, {api.NodeAborted, quietRows, false}, {api.NodeUpdated, quietRows, false},
	} {
		if len(rows) >= part.most {
			continue
		}
		var of []*api.RolloutNode
		for i := range nodes {
			if nodes[i].State == part.state {
				of = append(of, &nodes[i])
			}
		}
		if part.turns {
			slices.SortStableFunc(of, sooner)
		}
		for _, n := range of[:min(len(of), part.most-len(rows))] {
			rows = append(rows, *n)
			waits[n.Node] = n.State == api.NodeQueued
		}
	}
	since := waitingSince(groups, waits)
	for i := range rows {
		if at, ok := since[rows[i].Node]; ok {
			rows[i].Since = at
		}
	}
	return rows
}

// sooner compares when two nodes probably go; those of whom nobody can say come last.
func sooner(a, b *api.RolloutNode) int {
	if a.Estimate.IsZero() != b.Estimate.IsZero() {
		return cmp.Compare(b.Estimate.Unix(), a.Estimate.Unix())
	}
	return a.Estimate.Compare(b.Estimate)
}
