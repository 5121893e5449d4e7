package web

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// driftedFrom are the listed nodes that do not have any more what one bundle
// brought them to, and where a rollout that brings them back is begun.
type driftedFrom struct {
	Bundle string
	Name   string
	Nodes  int
	URL    string
}

// driftKeys are what the form of such a rollout takes over from the list's filter.
var driftKeys = []string{"q", "group", "selector", "bundle"}

// driftPage is how many nodes are asked for at once.
const driftPage = 1000

// drifts are the drifted nodes that match a filter, by the bundle that they should
// have, most nodes first.
func (s *server) drifts(ctx context.Context, q api.NodeQuery, in url.Values) ([]driftedFrom, error) {
	nodes, err := s.drifted(ctx, q)
	if err != nil {
		return nil, err
	}
	var list []driftedFrom
	for _, n := range nodes {
		i := slices.IndexFunc(list, func(d driftedFrom) bool { return d.Bundle == n.Drift.Bundle })
		if i < 0 {
			i = len(list)
			list = append(list, driftedFrom{Bundle: n.Drift.Bundle, Name: n.Drift.Name,
				URL: withQuery("/rollouts/new", append([]string{"drifted"}, driftKeys...), in, "drifted", n.Drift.Bundle)})
		}
		list[i].Nodes++
	}
	slices.SortStableFunc(list, func(a, b driftedFrom) int { return b.Nodes - a.Nodes })
	return list, nil
}

// drifted are all the drifted nodes that match a filter.
func (s *server) drifted(ctx context.Context, q api.NodeQuery) (nodes []api.Node, err error) {
	q.Drifted, q.Sort, q.After, q.Limit = true, "", "", driftPage
	for {
		list, err := s.backend.Nodes(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, n := range list.Nodes {
			if n.Drift != nil {
				nodes = append(nodes, n)
			}
		}
		if q.After = list.Next; q.After == "" {
			return nodes, nil
		}
	}
}

// bringBack makes the form one of the nodes that have drifted from a bundle.
func (s *server) bringBack(ctx context.Context, f *rolloutForm, in url.Values) error {
	q := api.NodeQuery{Group: in.Get("group"), Bundle: in.Get("bundle")}
	q.Text, q.Selector = textAndLabels(in.Get("q"), in.Get("selector"))
	nodes, err := s.drifted(ctx, q)
	if err != nil {
		return err
	}
	f.Spec.Bundle, f.Spec.Group, f.Spec.Selector = in.Get("drifted"), "", ""
	for _, n := range nodes {
		if n.Drift.Bundle == f.Spec.Bundle && (in.Get("node") == "" || n.ID == in.Get("node")) {
			f.Spec.Nodes = append(f.Spec.Nodes, n.ID)
		}
	}
	if len(f.Spec.Nodes) == 0 {
		return api.Errorf(api.NotFound, "no node that is asked for has drifted from bundle %s by now", shortDigest(f.Spec.Bundle))
	}
	f.Spec.Reason = "they have drifted"
	return nil
}

// listedNodes reads names, one a line.
func listedNodes(text string) (nodes []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			nodes = append(nodes, line)
		}
	}
	return nodes
}

// NodeLines are the listed nodes as they are typed, one a line.
func (f rolloutForm) NodeLines() string { return strings.Join(f.Spec.Nodes, "\n") }

// NodeRows is how many lines the field shows.
func (f rolloutForm) NodeRows() int { return min(max(len(f.Spec.Nodes), 1), 8) }
