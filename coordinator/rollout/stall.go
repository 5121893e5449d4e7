package rollout

import (
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func allKept(todo []*NodeView) bool {
	for _, v := range todo {
		if !v.AllKept {
			return false
		}
	}
	return len(todo) > 0
}

// stall keeps the condition that nothing may start: raised when every node
// still to do is blocked by something that no healthy holder's return ends.
func (d *Decisions) stall(spec *api.RolloutSpec, todo []*NodeView, now time.Time) {
	var blockers []api.Blocker
	closed := shut(spec, now)
	if closed != nil && len(todo) > 0 {
		blockers, todo = []api.Blocker{*closed}, nil
	}
	for _, v := range todo {
		kept := v.Kept
		if !v.Known {
			kept = []api.Blocker{{Kind: api.NotFound, Detail: v.Node + " is not known to the coordinator"}}
		}
		if len(kept) == 0 {
			blockers = nil
			break
		}
		for _, b := range kept {
			if !slices.ContainsFunc(blockers, func(o api.Blocker) bool { return o.Kind == b.Kind }) {
				blockers = append(blockers, b)
			}
		}
	}
	was := d.Head.Stalled
	switch {
	case len(blockers) == 0 || !d.Head.State.Active():
		d.Head.Stalled = nil
		d.Changed = d.Changed || was != nil
		return
	case was == nil:
		d.Head.Stalled = &api.Stalled{Since: now, Blockers: blockers}
		d.event(EventStalled, "", "", blockers[0].Detail, now)
		d.Changed = true
	case !sameKinds(was.Blockers, blockers):
		d.Head.Stalled = &api.Stalled{Since: was.Since, Blockers: blockers}
		d.Changed = true
	}
	for _, b := range blockers {
		d.Reasons = append(d.Reasons, "nothing may start: "+b.Detail)
	}
}

func sameKinds(a, b []api.Blocker) bool {
	kinds := func(list []api.Blocker) []string {
		var out []string
		for _, x := range list {
			out = append(out, string(x.Kind))
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(kinds(a), kinds(b))
}
