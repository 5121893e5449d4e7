package web

import (
	"context"
	"slices"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// standing is where a node stands of which nothing is wanted now: what keeps its
// group's slots from it is then no answer to why it does not go.
type standing struct {
	Rollout *api.Rollout // the active one that has it; nil: none
	Node    api.RolloutNode
}

// standing looks the node up in the active rollouts, in the order of the list.
func (s *server) standing(ctx context.Context, list []api.Rollout, node string) (*standing, error) {
	for i := range list {
		if !list[i].State.Active() {
			continue
		}
		r, err := s.backend.Rollout(ctx, list[i].ID)
		if err != nil {
			return nil, err
		}
		if at := slices.IndexFunc(r.Nodes, func(n api.RolloutNode) bool { return n.Node == node }); at >= 0 {
			return &standing{&r, r.Nodes[at]}, nil
		}
	}
	return &standing{}, nil
}
