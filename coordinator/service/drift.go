package service

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// markDrift notes which nodes have drifted, and counts them.
func (s *Service) markDrift(o *overview) {
	drift := s.roll.Drift()
	for i := range o.nodes {
		if n := &o.nodes[i]; n.Via == "agent" {
			if n.Drift = drift(n); n.Drift != nil {
				o.figures.Drifted++
			}
		}
	}
}

// drifted groups the nodes that have drifted by the bundle that they should have.
func drifted(o *overview) []api.Attention {
	by := map[string][]*api.Node{}
	var bundles []string
	for i := range o.nodes {
		n := &o.nodes[i]
		if n.Drift == nil {
			continue
		}
		if by[n.Drift.Bundle] == nil {
			bundles = append(bundles, n.Drift.Bundle)
		}
		by[n.Drift.Bundle] = append(by[n.Drift.Bundle], n)
	}
	var list []api.Attention
	for _, bundle := range bundles {
		nodes := by[bundle]
		var names []string
		since := nodes[0].Drift.Since
		for _, n := range nodes {
			names = append(names, n.ID)
			if n.Drift.Since.Before(since) {
				since = n.Drift.Since
			}
		}
		slices.Sort(names)
		if more := len(names) - namesShown; more > 0 {
			names = append(names[:namesShown], fmt.Sprintf("%d more", more))
		}
		what := nodes[0].Drift.Name
		if what == "" {
			what = bundle[:min(12, len(bundle))]
		}
		a := api.Attention{
			Kind: attentionDrifted, Severity: warn, Since: since,
			Title:  fmt.Sprintf("%s drifted from bundle %s", fmt.Sprintf("%d %s", len(nodes), plural(len(nodes), "node has", "nodes have")), what),
			Detail: fmt.Sprintf("They were brought to it and report another, or none: %s. `lockkeeper rollout start --drifted` brings them back to it, within their slots.", strings.Join(names, ", ")),
		}
		if len(nodes) == 1 {
			a.Node, a.Group = nodes[0].ID, nodes[0].Group
		}
		list = append(list, a)
	}
	return list
}
