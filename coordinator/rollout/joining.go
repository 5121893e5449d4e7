package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// maxJoining bounds how many nodes one transaction takes in, each with an event.
const maxJoining = MaxChanges - 8

// joiners are the nodes that have come to match a rollout that takes such nodes
// in, and belong to no other active rollout. They go into its last wave.
func joiners(st State, fleet func() []api.Node, all map[string]State) []Selected {
	spec := st.Head.Spec
	if spec.Joining != api.JoiningInclude || !st.Head.State.Active() || st.Newer != "" {
		return nil
	}
	want, err := ParseSelector(spec.Selector)
	if err != nil {
		return nil
	}
	in := make(map[string]bool, len(st.Nodes))
	for _, n := range st.Nodes {
		in[n.Node] = true
	}
	last := len(newCourse(spec, &st).specs) - 1
	var out []Selected
	for _, n := range fleet() {
		if !in[n.ID] && selects(spec, want, n) && (!spec.NeedsReboot || n.Report.NeedsReboot) {
			out = append(out, Selected{Node: n.ID, Group: n.Group, Wave: last, Joined: true, Before: n.Report.Bundle})
		}
	}
	taken := map[string]bool{}
	for _, o := range overlaps(all, out, st.Head.ID) {
		for _, node := range o.nodes {
			taken[node] = true
		}
	}
	out = slices.DeleteFunc(out, func(n Selected) bool { return taken[n.Node] })
	slices.SortFunc(out, func(a, b Selected) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Node, b.Node))
	})
	return out[:min(len(out), maxJoining)]
}

// join takes nodes in that have come to match a rollout. It reports false when
// the term is over.
func (o *office) join(ctx context.Context) bool {
	snap := o.e.cfg.Store.View()
	if snap.Unread != "" {
		return true // nobody knows here whose a node is
	}
	for id, st := range snap.Rollouts {
		found := joiners(st, o.e.cfg.Fleet.Nodes, snap.Rollouts)
		if len(found) == 0 {
			continue
		}
		d := Decisions{Head: st.Head}
		now := o.e.cfg.Now().UTC()
		for _, n := range found {
			d.event(EventJoined, "", n.Node, fmt.Sprintf("matches %s since it began", what(st.Head.Spec)), now)
		}
		selected := st.Selection
		selected.Nodes = append(slices.Clone(st.Nodes), found...)
		err := o.e.cfg.Store.Write(ctx, Change{
			Revision: st.Revision, Head: d.Head, Events: d.Events, Term: o.term, Selected: &selected, Catalog: snap.Catalog,
		})
		switch {
		case err == nil:
			o.e.log.Info("nodes joined a rollout", "id", id, "nodes", len(found))
		case errors.Is(err, ErrNotElected):
			return false
		case errors.Is(err, ErrChanged): // its arrival makes us look again
		case ctx.Err() == nil:
			o.failed(err, "taking nodes into a rollout failed, trying again", "id", id)
		}
	}
	return true
}

// what says what a rollout selects.
func what(spec api.RolloutSpec) string {
	switch {
	case spec.Selector == "":
		return "group " + spec.Group
	case spec.Group == "":
		return "selector " + spec.Selector
	}
	return fmt.Sprintf("selector %s of group %s", spec.Selector, spec.Group)
}
