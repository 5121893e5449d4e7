package service

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// standing says where a node stands in the newest active rollout that has it and
// that asks nothing of it, "" for none.
func (s *Service) standing(node string) string {
	for _, r := range s.roll.List() {
		if !r.State.Active() {
			continue
		}
		full, ok := s.roll.Get(r.ID)
		if !ok {
			continue
		}
		i := slices.IndexFunc(full.Nodes, func(n api.RolloutNode) bool { return n.Node == node })
		if i < 0 {
			continue
		}
		n := &full.Nodes[i]
		text := fmt.Sprintf("rollout %s (%s) has it as %s", rolloutName(&full), stateWords(full.State), n.State)
		if n.Detail != "" {
			text += ", " + strings.TrimSuffix(n.Detail, ".")
		}
		if full.Why != "" {
			text += "; " + strings.TrimSuffix(full.Why, ".")
		}
		return text
	}
	return ""
}

// stateWords is a rollout's state for people.
func stateWords(state api.RolloutState) string { return strings.ReplaceAll(string(state), "_", " ") }
