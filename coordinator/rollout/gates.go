package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
)

// rewriteGate is how old the stored answer of a gate may be that says the same
// in other numbers: a gate that is asked each second is not written each second.
const rewriteGate = 30 * time.Second

// gateKey names a gate: the wave after which it stands, 0 for before the first,
// and its name.
func gateKey(place int, name string) string { return strconv.Itoa(place) + "/" + name }

// gateName is the name of a gate at its place: its own, or its kind, with its
// number there if another has that name.
func gateName(list []api.GateSpec, i int) string {
	name := condition.Name(list[i])
	for j := range list[:i] {
		if condition.Name(list[j]) == name {
			return fmt.Sprintf("%s %d", name, i+1)
		}
	}
	return name
}

// needed is how many people must approve, and of what role at least.
func needed(a *api.ApprovalGate) (count int, role api.Role) {
	return max(1, a.Count), api.Role(cmp.Or(a.Role, string(api.RoleOperator)))
}

// gatesAt are the gates at which a rollout stands, and their place: those before
// the first wave, or those of the current one. None while nodes are at work.
func (c *course) gatesAt(h *Head, spec *api.RolloutSpec) (place int, list []api.GateSpec) {
	if !c.begun(h) {
		return 0, spec.Gates
	}
	at := c.at(h)
	if c.waves[at].FinishedAt.IsZero() || !c.waves[at].DoneAt.IsZero() {
		return at + 1, nil
	}
	return at + 1, c.specs[at].Gates
}

// pass asks whether all gates of a place pass, and says so. skipped leaves only
// approvals to wait for.
func (d *Decisions) pass(spec api.RolloutSpec, st *State, place int, list []api.GateSpec, skipped bool, where string, now time.Time) (text string, ok bool) {
	if len(list) == 0 {
		return "", true
	}
	d.Head.Gates = maps.Clone(d.Head.Gates)
	if d.Head.Gates == nil {
		d.Head.Gates = map[string]GateState{}
	}
	var missing, passed []string
	approvals := true
	for i, g := range list {
		if skipped && g.Approval == nil {
			continue
		}
		name := gateName(list, i)
		gs, passes := d.ask(st, gateKey(place, name), g, now)
		if passes {
			passed = append(passed, strings.TrimSpace(name+" "+gs.Value))
			continue
		}
		if over := gateLimit(g); over > 0 && now.Sub(gs.AskedAt)-without(st.Observed.Outages, gs.AskedAt) >= over {
			d.halt(spec, now, "gate %s %s has not passed within %s: %s", name, where, over, gs.Detail)
			return "", false
		}
		missing = append(missing, name)
		approvals = approvals && g.Approval != nil
	}
	switch {
	case len(missing) == 0 && len(passed) == 0:
		return "its gates were skipped", true
	case len(missing) == 0:
		return "gates passed: " + strings.Join(passed, ", "), true
	case approvals:
		d.stage(api.RolloutApproval, fmt.Sprintf("%s: waits for approval (%s)", where, strings.Join(missing, ", ")))
	default:
		d.stage(api.RolloutSoaking, fmt.Sprintf("%s: waits for gates to pass (%s)", where, strings.Join(missing, ", ")))
	}
	return "", false
}

// gateLimit is how long a gate may be asked until the rollout halts, 0 for ever.
func gateLimit(g api.GateSpec) time.Duration {
	limit := Duration(g.Deadline)
	if g.Approval != nil {
		if e := Duration(g.Approval.Expires); e > 0 && (limit == 0 || e < limit) {
			limit = e
		}
	}
	return limit
}

// ask looks at one gate, and keeps what it says as far as it is worth a write.
func (d *Decisions) ask(st *State, key string, g api.GateSpec, now time.Time) (GateState, bool) {
	old, known := d.Head.Gates[key]
	gs := old
	if gs.AskedAt.IsZero() {
		gs.AskedAt, gs.Since = now, now
	}
	passes := false
	if g.Approval != nil {
		count, role := needed(g.Approval)
		passes = len(gs.Approvals) >= count
		gs.Detail = fmt.Sprintf("%d of %s by the role %s or higher", len(gs.Approvals), plural(count, "approval"), role)
	} else if a, ok := st.Observed.Gates[key]; ok {
		passes = a.Passes
		if passes != gs.Passes || a.At.Sub(gs.CheckedAt) >= rewriteGate {
			gs.Value, gs.Detail, gs.CheckedAt = a.Value, a.Detail, a.At
		}
	} else if gs.Passes || gs.Detail == "" {
		gs.Detail = "was not asked yet"
	}
	if passes != gs.Passes {
		gs.Passes, gs.Since = passes, now
	}
	if !known || !sameGate(old, gs) {
		d.Head.Gates[key] = gs
		d.Changed = true
	}
	return gs, passes
}

func sameGate(a, b GateState) bool {
	return a.AskedAt.Equal(b.AskedAt) && a.CheckedAt.Equal(b.CheckedAt) && a.Since.Equal(b.Since) &&
		a.Passes == b.Passes && a.Value == b.Value && a.Detail == b.Detail && len(a.Approvals) == len(b.Approvals)
}

// gateStates are the gates at which a rollout stands as the API tells them.
func (c *course) gateStates(h *Head, st *State) []api.RolloutGate {
	place, list := c.gatesAt(h, &h.Spec)
	var out []api.RolloutGate
	for i, g := range list {
		name := gateName(list, i)
		key := gateKey(place, name)
		gs := h.Gates[key]
		r := api.RolloutGate{
			Wave: place, Name: name, Kind: condition.Kind(g), Condition: condition.Of(g), Passes: gs.Passes,
			Value: gs.Value, Detail: gs.Detail, Since: gs.Since, Checked: gs.CheckedAt, Approvals: slices.Clone(gs.Approvals),
		}
		if a, ok := st.Observed.Gates[key]; ok {
			r.Passes, r.Value, r.Detail, r.Checked = a.Passes, a.Value, a.Detail, a.At
		}
		if g.Approval != nil {
			var role api.Role
			r.Needed, role = needed(g.Approval)
			r.Role, r.Detail = string(role), "" // the numbers say it
		}
		if g.PromQL != nil {
			threshold := g.PromQL.Value
			r.Threshold = &threshold
		}
		if limit := gateLimit(g); limit > 0 && !gs.AskedAt.IsZero() {
			r.Expires = gs.AskedAt.Add(limit)
		}
		out = append(out, r)
	}
	return out
}
