package rollout

import (
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Actions are what a person may do to a rollout.
const (
	ActPause  = "pause"
	ActResume = "resume"
	ActHalt   = "halt"
	ActAbort  = "abort"
	ActRetry  = "retry"
)

// Apply decides an action on a rollout; doc.go has the table. An action whose
// outcome is there already changes nothing; an impossible one is a Conflict
// that names the state.
func Apply(st State, action, by, reason string, now time.Time) (Decisions, *api.Error) {
	d := Decisions{Head: st.Head}
	state := st.Head.State
	why := func(what string) string {
		text := what + " by " + by
		if reason != "" {
			text += ": " + reason
		}
		return text
	}
	move := func(to api.RolloutState, kind, what string) {
		d.Head.State, d.Head.Why = to, why(what)
		if to.Active() {
			d.Head.EndedAt = time.Time{}
		} else {
			d.Head.EndedAt, d.Head.Stalled = now, nil
		}
		d.event(kind, by, "", d.Head.Why, now)
		d.Changed = true
	}
	switch action {
	case ActPause:
		switch state {
		case api.RolloutRunning:
			move(api.RolloutPaused, EventPaused, "paused")
		case api.RolloutPaused:
		default:
			return d, impossible(st, action, "only a running one can be paused")
		}
	case ActResume:
		switch state {
		case api.RolloutRunning:
		case api.RolloutPaused:
			move(api.RolloutRunning, EventResumed, "resumed")
		case api.RolloutHalted:
			d.Head.Acknowledged = st.Head.Failures
			move(api.RolloutRunning, EventResumed, "resumed, with the failures so far acknowledged,")
		default:
			return d, impossible(st, action, "only a paused or halted one can go on")
		}
	case ActHalt:
		switch state {
		case api.RolloutRunning, api.RolloutPaused:
			move(api.RolloutHalted, EventHalted, "halted")
		case api.RolloutHalted:
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
		_, failed, _ := failures(&st.Head, st, nil)
		if failed == 0 {
			break
		}
		d.Head.Retried, d.Head.Acknowledged = st.Head.Failures, st.Head.Failures
		to := api.RolloutRunning
		if state == api.RolloutPaused {
			to = api.RolloutPaused
		}
		move(to, EventRetried, "retry of "+plural(failed, "failed node"))
	default:
		return d, api.Errorf(api.Invalid, "action %q: want one of pause, resume, halt, abort, retry", action)
	}
	return d, nil
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
	// The memory of which failure it was stays, so that it does not count again.
	r.V, r.State, r.Attempt, r.At = SchemaVersion, api.NodePending, max(1, r.Attempt)+1, now
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
		d.Head.State, d.Head.Why, d.Head.EndedAt = api.RolloutRunning, node+" is "+r.Detail, time.Time{}
	}
	d.event(EventRetried, by, node, r.Detail, now)
	d.Changed = true
	return d, nil
}

func impossible(st State, action, why string) *api.Error {
	return api.Errorf(api.Conflict, "%s of rollout %s: it is %s; %s", action, st.Head.ID, st.Head.State, why)
}

// Wanted is what the rollout wants of a node now: nil when it is not selected,
// has its result, or may not start because the rollout does not run.
func Wanted(st *State, v NodeView) *api.Wanted {
	if !st.Head.State.Active() || st.Newer != "" {
		return nil
	}
	r, begun := st.Results[v.Node]
	s := observe(&st.Head, r, begun, v)
	switch s.state {
	case api.NodeUpdated:
		return nil
	case api.NodeBroken:
		// A node that is merely overdue may still come through.
		if !v.Held || !inFlight[v.Report.Phase] || v.Report.Failure != nil || v.Report.Rollout != st.Head.ID {
			return nil
		}
	case api.NodeUpdating:
	default:
		if st.Head.State != api.RolloutRunning || v.First > 0 {
			return nil
		}
	}
	return &api.Wanted{Rollout: st.Head.ID, Bundle: st.Head.Spec.Bundle, Name: st.Head.BundleName, Attempt: s.attempt}
}
