package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// roles that may approve, each but the first including those before it.
var roles = []api.Role{api.RoleDeployer, api.RoleOperator, api.RoleAdmin}

// arrival is how what is asked found the rollout.
type arrival struct {
	stopped  bool
	at       time.Time // since when; zero when that is not known
	failures int64
}

// anotherStop reports whether the rollout stands by another pause or halt than the
// one that a resume is to lift.
func (a *Ask) anotherStop(h *Head) bool {
	if !a.StoppedAt.IsZero() {
		return !a.StoppedAt.Equal(h.stoppedAt())
	}
	return a.found != nil && a.found.stopped && !a.found.at.Equal(h.stoppedAt())
}

// known is the number of the last failure that a resume or a retry knows of: a
// later one counts.
func (a *Ask) known(h *Head) int64 {
	if a.found == nil {
		return h.Failures
	}
	return min(h.Failures, a.found.failures)
}

// bound is what is asked with the place in it at which the rollout stands now, and
// what was known of it: it is not to mean the next one when it is decided again.
func (a Ask) bound(st *State) Ask {
	h := &st.Head
	if a.found == nil && (a.Action == ActResume || a.Action == ActRetry) {
		a.found = &arrival{stops(h.State), h.stoppedAt(), h.Failures}
	}
	if a.Wave != 0 || a.opening || a.Action != ActApprove && a.Action != ActSkip || !h.State.Active() {
		return a
	}
	c := newCourse(h.Spec, st)
	if a.opening = !c.begun(h); !a.opening {
		a.Wave = c.at(h) + 1
	}
	return a
}

// approve adds a person's word to an approval gate at which the rollout stands.
func (d *Decisions) approve(st *State, ask Ask, now time.Time) *api.Error {
	h := &st.Head
	if !h.State.Active() {
		return impossible(*st, ask.Action, "it has ended")
	}
	c := newCourse(h.Spec, st)
	place, list := c.gatesAt(h, &h.Spec)
	switch {
	case ask.Wave > len(c.specs) || ask.Wave < 0:
		return noWave(c, ask.Wave)
	case ask.Wave > 0 && ask.Wave < place, ask.opening && place > 0:
		return nil // it has gone on from there
	case ask.Wave > place:
		return impossible(*st, ask.Action, fmt.Sprintf("%s is not at its gates yet", c.name(ask.Wave-1)))
	}
	i, refused := approval(st, list, ask.Gate, c, place)
	if refused != nil {
		return refused
	}
	g, name := list[i].Approval, gateName(list, i)
	count, role := needed(g)
	if slices.Index(roles, ask.Role) < slices.Index(roles, role) {
		return api.Errorf(api.Forbidden, "gate %s is approved by the role %s or higher; %s has the role %s", name, role, ask.By, cmp.Or(string(ask.Role), "none"))
	}
	if g.NotStarter && ask.By == h.By {
		return api.Errorf(api.Forbidden, "gate %s: %s started the rollout, and somebody else is to approve it", name, ask.By)
	}
	key := gateKey(place, name)
	gs := h.Gates[key]
	if slices.ContainsFunc(gs.Approvals, func(a api.Approval) bool { return a.By == ask.By }) {
		return nil
	}
	gs.Approvals = append(slices.Clone(gs.Approvals), api.Approval{By: ask.By, At: now, Reason: ask.Reason})
	if d.Head.Gates = maps.Clone(h.Gates); d.Head.Gates == nil {
		d.Head.Gates = map[string]GateState{}
	}
	d.Head.Gates[key] = gs
	d.Head.Waves = c.waves
	d.event(EventApproved, ask.By, "", fmt.Sprintf("gate %s approved (%d of %d) %s", name, len(gs.Approvals), count, ask.by()), now)
	d.told(approvals{len(gs.Approvals) - 1}, approvals{len(gs.Approvals)})
	d.Changed = true
	return nil
}

// approval finds the approval gate that is meant.
func approval(st *State, list []api.GateSpec, name string, c *course, place int) (int, *api.Error) {
	var found []int
	var names []string
	for i, g := range list {
		if g.Approval != nil && (name == "" || name == gateName(list, i)) {
			found = append(found, i)
			names = append(names, gateName(list, i))
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return 0, invalid([]api.FieldError{{Path: "gate", Detail: "several gates wait for approval: say which, one of " + listed(names)}})
	case name != "" && len(list) > 0:
		return 0, invalid([]api.FieldError{{Path: "gate", Detail: fmt.Sprintf("%q is no approval gate at which it stands", name)}})
	case place > 0 && len(list) == 0 && c.waves[place-1].FinishedAt.IsZero():
		return 0, impossible(*st, ActApprove, c.name(place-1)+" is still at its nodes")
	}
	return 0, impossible(*st, ActApprove, "it stands at no approval gate")
}

// skip leaves out what remains of a wave: nodes that have not begun, its soak
// and its gates; before the first wave, the gates there. Approvals are not
// skipped: that is a person's word, and so is it.
func (d *Decisions) skip(st *State, ask Ask, now time.Time) *api.Error {
	h := &st.Head
	if !h.State.Active() {
		return impossible(*st, ask.Action, "it has ended")
	}
	c := newCourse(h.Spec, st)
	if ask.Wave > len(c.specs) || ask.Wave < 0 {
		return noWave(c, ask.Wave)
	}
	d.Head.Waves = c.waves
	name := "the gates before " + c.name(0)
	w := &d.Head.Opening
	switch {
	case ask.opening && c.begun(h):
		return nil // it has gone on from there
	case ask.Wave > 0:
		w, name = &d.Head.Waves[ask.Wave-1], c.name(ask.Wave-1)
	case c.begun(h):
		w, name = &d.Head.Waves[c.at(h)], c.name(c.at(h))
	case len(h.Spec.Gates) == 0:
		return impossible(*st, ask.Action, "its first wave has not begun; say which wave to leave out")
	}
	switch {
	case !w.SkippedAt.IsZero() || !w.DoneAt.IsZero():
		return nil
	case w == &d.Head.Opening && onlyApprovals(h.Spec.Gates):
		return impossible(*st, ask.Action, name+" are approvals: approve them")
	case !w.FinishedAt.IsZero() && !now.Before(w.FinishedAt.Add(Duration(c.specs[c.at(h)].Soak))) && onlyApprovals(c.specs[c.at(h)].Gates):
		return impossible(*st, ask.Action, name+" waits for approval only: approve it")
	}
	w.SkippedBy, w.SkippedAt, w.SkipReason, w.SkippedRetried = ask.By, now, ask.Reason, h.Retried
	d.event(EventWaveSkipped, ask.By, "", name+" skipped "+ask.by(), now)
	d.told(standOf(&st.Head), standOf(&d.Head))
	d.Changed = true
	return nil
}

func onlyApprovals(list []api.GateSpec) bool {
	return !slices.ContainsFunc(list, func(g api.GateSpec) bool { return g.Approval == nil })
}

func noWave(c *course, n int) *api.Error {
	return invalid([]api.FieldError{{Path: "wave", Detail: fmt.Sprintf("%d: want 1 to %d, or leave it out for where it stands", n, len(c.specs))}})
}
