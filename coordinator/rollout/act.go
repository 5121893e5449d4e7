package rollout

import (
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Actions are what a person may do to a rollout.
const (
	ActPause   = "pause"
	ActResume  = "resume"
	ActHalt    = "halt"
	ActAbort   = "abort"
	ActRetry   = "retry"
	ActApprove = "approve"
	ActSkip    = "skip"
)

// Actions lists them all.
var Actions = []string{ActPause, ActResume, ActHalt, ActAbort, ActRetry, ActApprove, ActSkip}

// Ask is what a person asks of a rollout.
type Ask struct {
	Action string
	By     string
	Role   api.Role // of By
	Reason string
	Wave   int    // that approve and skip mean, from 1; 0 for where it stands
	Gate   string // that approve means; empty where there is one only

	// StoppedAt is of the pause or halt that resume lifts; zero for the one it finds.
	StoppedAt time.Time

	opening bool     // the gates before the first wave are meant, see bound
	found   *arrival // of resume and retry, see bound
}

// Apply decides an action on a rollout; doc.go has the table. An action whose
// outcome is there already changes nothing; an impossible one is a Conflict
// that names the state.
func Apply(st State, ask Ask, now time.Time) (Decisions, *api.Error) {
	d := Decisions{Head: st.Head}
	state, action := st.Head.State, ask.Action
	move := func(to api.RolloutState, kind, what string) {
		d.Head.become(to, what+" "+ask.by(), now)
		if to.Active() {
			d.Head.EndedAt = time.Time{}
		} else {
			d.Head.EndedAt, d.Head.Stalled = now, nil
		}
		d.event(kind, ask.By, "", d.Head.Why, now)
		d.told(standOf(&st.Head), standOf(&d.Head))
		d.Changed = true
	}
	goesOn := state.Active() && state != api.RolloutPaused && state != api.RolloutHalted
	switch action {
	case ActPause:
		switch {
		case goesOn:
			move(api.RolloutPaused, EventPaused, "paused")
		case state == api.RolloutPaused:
		default:
			return d, impossible(st, action, "only one that goes on can be paused")
		}
	case ActResume:
		switch {
		case goesOn:
		case ask.anotherStop(&st.Head):
			return d, impossible(st, action, "that was not asked about: "+st.Head.Why+"; look at it, and ask again")
		case state == api.RolloutPaused:
			d.restart(&st)
			move(d.Head.stage(), EventResumed, "resumed")
		case len(st.Head.Rollbacks) > 0:
			return d, impossible(st, action, "its nodes are brought back by rollout "+listed(st.Head.Rollbacks)+": start a new one when that has ended")
		case state == api.RolloutHalted:
			d.Head.Acknowledged = ask.known(&st.Head)
			d.restart(&st)
			move(d.Head.stage(), EventResumed, "resumed, with the failures so far acknowledged,")
		default:
			return d, impossible(st, action, "only a paused or halted one can go on")
		}
	case ActHalt:
		switch {
		case state == api.RolloutHalted:
		case state.Active():
			move(api.RolloutHalted, EventHalted, "halted")
		default:
			return d, impossible(st, action, "it has ended")
		}
	case ActAbort:
		switch {
		case state.Active():
			move(api.RolloutAborted, EventAborted, "aborted")
		case state == api.RolloutAborted:
		default:
			return d, impossible(st, action, "it has ended")
		}
	case ActRetry:
		if state != api.RolloutFailed && !state.Active() {
			return d, impossible(st, action, "it has no failed nodes to try again")
		}
		if len(st.Head.Rollbacks) > 0 {
			return d, impossible(st, action, "its nodes are brought back by rollout "+listed(st.Head.Rollbacks)+": start a new one when that has ended")
		}
		_, failed, _ := failures(&st.Head, st, nil)
		if failed == 0 {
			break
		}
		d.Head.Retried, d.Head.Acknowledged = ask.known(&st.Head), ask.known(&st.Head)
		to := api.RolloutPaused
		if state != api.RolloutPaused {
			d.restart(&st)
			to = api.RolloutRunning
		}
		move(to, EventRetried, "retry of "+plural(failed, "failed node"))
	case ActApprove:
		return d, d.approve(&st, ask, now)
	case ActSkip:
		return d, d.skip(&st, ask, now)
	default:
		return d, api.Errorf(api.Invalid, "action %q: want one of %s", action, strings.Join(Actions, ", "))
	}
	return d, nil
}

// by is who asks, and why.
func (a *Ask) by() string {
	if a.Reason == "" {
		return "by " + a.By
	}
	return "by " + a.By + ": " + a.Reason
}

// restart gives a rollout that is to go on again the whole time of its gates'
// deadlines. Approvals stay. What was to be brought back stays where it is.
func (d *Decisions) restart(st *State) {
	d.Head.Undo, d.Head.Gates = "", nil
	for key, g := range st.Head.Gates {
		if len(g.Approvals) > 0 {
			if d.Head.Gates == nil {
				d.Head.Gates = map[string]GateState{}
			}
			d.Head.Gates[key] = GateState{Approvals: g.Approvals}
		}
	}
}

// stage is where a rollout is when nobody keeps it from going on, as far as its
// head tells; Decide sees the rest.
func (h *Head) stage() api.RolloutState {
	switch {
	case !h.begun():
		return api.RolloutScheduled
	case h.Wave < len(h.Waves) && !h.Waves[h.Wave].FinishedAt.IsZero():
		return api.RolloutSoaking
	}
	return api.RolloutRunning
}

// RetryNode decides to try one failed node again: its failure counts no longer,
// and it is wanted as long as the rollout runs. A rollout that the failure had
// halted or ended runs again; one that the other failures keep halted does not,
// and the retry is a Conflict.
func RetryNode(st State, node, by, reason string, now time.Time) (Decisions, *api.Error) {
	d := Decisions{Head: st.Head}
	r := st.Results[node]
	state := st.Head.State
	if state != api.RolloutFailed && !state.Active() {
		return d, impossible(st, "retry of node "+node, "a rollout that was aborted or has succeeded is not taken up again")
	}
	if len(st.Head.Rollbacks) > 0 {
		return d, impossible(st, "retry of node "+node, "its nodes are brought back by rollout "+listed(st.Head.Rollbacks))
	}
	// The memory of which failure it was stays, so that it does not count again.
	r.State, r.Attempt, r.At = api.NodePending, max(1, r.Attempt)+1, now
	r.Detail = "tried again by " + by
	if reason != "" {
		r.Detail += ": " + reason
	}
	d.Results = []Result{r}
	counted, _, last := failures(&d.Head, st, d.Results)
	if counted > MayFail(st.Head.Spec.MaxFailures, len(st.Nodes)) {
		return d, api.Errorf(api.Conflict, "retry of node %s: rollout %s stays %s, for %d more failed and %d may, the last was %s; retry or resume the rollout", node, st.Head.ID, state, counted, MayFail(st.Head.Spec.MaxFailures, len(st.Nodes)), last.Node)
	}
	if state != api.RolloutPaused && state != api.RolloutRunning {
		d.restart(&st)
		d.Head.become(api.RolloutRunning, node+" is "+r.Detail, now)
		d.Head.EndedAt = time.Time{}
	}
	d.event(EventRetried, by, node, r.Detail, now)
	d.told(nodeStandOf(st.Results[node]), nodeStandOf(r))
	d.Changed = true
	return d, nil
}

func impossible(st State, action, why string) *api.Error {
	return api.Errorf(api.Conflict, "%s of rollout %s: it is %s; %s", action, st.Head.ID, st.Head.State, why)
}

// Wanted is what the rollout wants of a node now: nil when it is not selected,
// has its result, or may not start because its wave does not run.
func Wanted(st *State, v NodeView, now time.Time) *api.Wanted {
	h := &st.Head
	if !h.State.Active() || st.Newer != "" {
		return nil
	}
	r, begun := st.Results[v.Node]
	s := observe(h, r, begun, &v)
	switch {
	case s.state == api.NodeUpdated, s.settling:
		return nil
	case s.state == api.NodeBroken:
		// A node that is merely overdue may still come through.
		if !v.Held || !inFlight[v.Report.Phase] || v.Report.Failure != nil || v.Report.Rollout != h.ID {
			return nil
		}
	case s.state == api.NodeUpdating:
	default:
		if h.State != api.RolloutRunning || v.First > 0 || v.Turn > 0 && s.state != api.NodeQueued || v.Wave > h.Wave || !h.begun() || h.leftOut(v.Wave, r, begun, s.state) || shut(&h.Spec, now) != nil {
			return nil
		}
	}
	return &api.Wanted{Rollout: h.ID, Bundle: h.Spec.Bundle, Name: h.BundleName, Attempt: s.attempt}
}

// begun reports whether the rollout's first wave has begun.
func (h *Head) begun() bool {
	if len(h.Waves) == 0 {
		return h.Spec.Start.IsZero() && len(h.Spec.Gates) == 0 && len(h.After) == 0
	}
	return h.Wave > 0 || !h.Waves[0].StartedAt.IsZero()
}

func (h *Head) leftOut(wave int, r Result, begun bool, state string) bool {
	return wave < len(h.Waves) && h.Waves[wave].leftOut(h, r, begun, state)
}
