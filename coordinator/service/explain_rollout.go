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

// unapproved are the rollouts that only a person's word keeps from going on.
func unapproved(o *overview) (list []api.Attention) {
	for _, r := range o.rollouts {
		if r.State != api.RolloutApproval {
			continue
		}
		a := api.Attention{
			Kind: attentionApproval, Severity: warn, Rollout: r.ID, Group: r.Spec.Group,
			Title: fmt.Sprintf("Rollout %s waits for approval", rolloutName(&r)), Detail: sentenceOf(r.Why),
		}
		for _, g := range r.Gates {
			if g.Passes || g.Kind != "approval" {
				continue
			}
			a.Since = latest(a.Since, g.Since)
			a.Detail += fmt.Sprintf("Gate %s has %d of %d, by the role %s or higher. ", g.Name, len(g.Approvals), g.Needed, g.Role)
		}
		a.Detail = strings.TrimSpace(a.Detail)
		list = append(list, a)
	}
	return list
}
