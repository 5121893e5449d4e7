package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// errNoDrift: there is nothing to bring back.
var errNoDrift = errors.New("no node has drifted")

// checkDrifted is check for a rollout over the nodes that have drifted: the nodes
// are found, and the bundle is theirs unless it is named.
func (s *selection) checkDrifted() error {
	switch {
	case s.dir != "":
		return usagef("--drifted brings nodes back to a bundle that they had: want it without --dir")
	case len(s.spec.Nodes) > 0:
		return usagef("--drifted finds the nodes itself: want --group or --selector to narrow them, not a list")
	case s.spec.Joining != "":
		return usagef("--drifted is about the nodes that have drifted by now: none joins them")
	}
	return nil
}

// findDrifted makes the nodes that have drifted from one bundle the selection.
func (s *selection) findDrifted(ctx context.Context, c coordinator) error {
	nodes, _, err := allNodes(ctx, c, api.NodeQuery{Drifted: true, Group: s.spec.Group, Selector: s.spec.Selector}, 0)
	if err != nil {
		return err
	}
	digest := ""
	if s.spec.Bundle != "" {
		if digest, err = namedBundle(ctx, c, s.spec.Bundle); err != nil {
			return err
		}
	}
	by, words := map[string][]string{}, []string{}
	for _, n := range nodes {
		d := n.Drift
		if digest != "" && d.Bundle != digest {
			continue
		}
		by[d.Bundle] = append(by[d.Bundle], n.ID)
	}
	for _, b := range sortedKeys(by) {
		i := slices.IndexFunc(nodes, func(n api.Node) bool { return n.Drift.Bundle == b })
		words = append(words, strings.TrimSpace(fmt.Sprintf("%s %s (%s)", short(b), nodes[i].Drift.Name, count(len(by[b]), "node", "nodes"))))
	}
	switch len(by) {
	case 0:
		return errNoDrift
	case 1:
	default:
		return usagef("nodes have drifted from %d bundles: want --bundle with one of %s", len(by), strings.Join(words, ", "))
	}
	for b, ids := range by {
		s.spec.Bundle, s.spec.Nodes, s.spec.Group, s.spec.Selector = b, ids, "", ""
	}
	return nil
}
