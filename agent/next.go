package agent

import (
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// Next decides what to do: the state to put on disk, and then the act. It is
// pure. An outcome moves the state on; without one (after a start, or a wait)
// it names the act that the state stands before, so that a crash at any
// instant repeats an act that bears repeating, and no other.
func Next(s State, o Observation) (State, Action) {
	n, act := decide(s, o)
	if f := n.Failure; f != nil && f.At.After(n.FailedAt) {
		n.FailedAt = f.At
	}
	return n, act
}

func decide(s State, o Observation) (State, Action) {
	switch s.Phase {
	case api.PhaseWaiting:
		return waiting(s, o)
	case api.PhaseHolding:
		return holding(s, o)
	case api.PhaseDraining:
		return draining(s, o)
	case api.PhaseApplying:
		return applying(s, o)
	case api.PhaseRebooting:
		return rebooting(s, o)
	case api.PhaseVerifying:
		return verifying(s, o)
	case api.PhaseReleasing:
		return releasing(s, o)
	case api.PhaseFailed:
		return failed(s, o)
	}
	return idle(s, o)
}

func record(s State, format string, args ...any) (State, Action) {
	return s, Action{Do: DoRecord, Why: fmt.Sprintf(format, args...)}
}

// job is what should be worked on now, nil for nothing.
func (o *Observation) job(s *State) *Job {
	if !o.Known {
		return nil
	}
	if w := o.Wanted; w != nil && w.Bundle != "" {
		// One that has ended stays wanted, and must not hide what comes after it.
		if j := (&Job{Rollout: w.Rollout, Bundle: w.Bundle, Name: w.Name, Attempt: w.Attempt, Request: w.Order, Undo: w.Undo}); !j.same(s.Ended) {
			return j
		}
	}
	switch {
	case o.Request != nil && o.Request.ID != s.Served:
		return &Job{Name: "reboot that a person on the host asks for: " + o.Request.Reason, Request: o.Request.ID}
	case o.NeedsReboot && !s.Rebooted && o.NeedsWhy != "":
		return &Job{Name: "reboot that the host asks for: " + o.NeedsWhy}
	case o.NeedsReboot && !s.Rebooted:
		return &Job{Name: "reboot that the host asks for"}
	}
	return nil
}

// withdrawn reports that the coordinator, asked, no longer wants the job.
func (o *Observation) withdrawn(s *State) bool {
	if !o.Known || s.Job == nil {
		return false
	}
	j := o.job(s)
	return j == nil || j.Bundle != s.Job.Bundle || j.Undo != s.Job.Undo
}

func idle(s State, o Observation) (State, Action) {
	if s.Rebooted && !o.NeedsReboot {
		s.Rebooted = false
		s.forget("")
		return record(s, "the host does not ask for a reboot any more")
	}
	if o.done(DoRelease) {
		s.LastFence = max(s.LastFence, o.Last.Fence)
		return record(s, "returned a slot that this host has no use for")
	}
	if o.ownHold(&s) {
		return s, Action{Do: DoRelease, Fence: o.Hold.Fence, Why: "returning a slot that this host has no use for"}
	}
	job := o.job(&s)
	if job == nil || job.same(s.Ended) {
		return s, Action{Do: DoWait, Why: idleWhy(&s, &o)}
	}
	return consider(s, o, job)
}

func idleWhy(s *State, o *Observation) string {
	switch {
	case !o.Known:
		return "waiting for a first word from the coordinator"
	case s.Applied == "":
		return "nothing is wanted of this host"
	}
	return "the bundle is in place"
}

// ownHold reports a hold of this agent that the journal does not know.
func (o *Observation) ownHold(s *State) bool {
	return o.Known && o.Hold != nil && o.Hold.Via == "agent" && o.Hold.Instance == o.Instance &&
		o.Hold.Fence > s.LastFence && o.Hold.Fence != s.Fence
}

// consider looks at a job before a slot is asked for: it is planned first, and
// takes none when it would change nothing.
func consider(s State, o Observation, job *Job) (State, Action) {
	raised := s.Ended != nil && s.Ended.Rollout == job.Rollout && s.Ended.Bundle == job.Bundle && job.Attempt > s.Ended.Attempt
	if raised && s.Tries[job.Bundle] > 0 {
		s.forget(job.Bundle)
		return record(s, "a person asked for another attempt")
	}
	if job.Request != "" && s.Tries[job.Bundle] > 0 {
		s.forget(job.Bundle)
		return record(s, "a person asks for it")
	}
	if n := s.Tries[job.Bundle]; n >= o.MaxAttempts {
		return ended(s, o, job, "attempts", fmt.Sprintf("%d attempts with this bundle failed, and %d are the most", n, o.MaxAttempts))
	}
	switch {
	case job.Undo && s.Phase == api.PhaseFailed:
		return ended(s, o, job, "rollback", "the host has failed: it has gone back already, as far as it can")
	case job.Undo && (s.Undo == nil || s.Undo.Bundle != job.Bundle):
		return ended(s, o, job, "rollback", "nothing is kept of what bundle "+job.Bundle+" replaced on this host")
	case job.Bundle == "", job.Undo:
		return begin(s, o, job, true)
	}
	if o.Last.Do == DoPlan && job.same(o.Last.Job) {
		switch o.Last.Status {
		case Done:
			return begin(s, o, job, o.Last.Changed)
		case Failed:
			return ended(s, o, job, o.Last.Reason, o.Last.Detail)
		}
	}
	return s, Action{Do: DoPlan, Job: job, Why: "looking what the bundle would change"}
}

// ended ends a job that was refused before it was begun. A host that has
// failed already stays as it is.
func ended(s State, o Observation, job *Job, reason, detail string) (State, Action) {
	s.end(job)
	s.Failure = &api.Failure{
		Bundle: job.Bundle, Rollout: job.Rollout, Reason: reason, Detail: detail,
		Healthy: s.Phase != api.PhaseFailed, At: laterThan(s.FailedAt, o.At),
	}
	return record(s, "%s: %s", reason, detail)
}

// begin starts a job: it waits for a slot, or goes on with the one that a
// failed host has kept.
func begin(s State, o Observation, job *Job, changed bool) (State, Action) {
	if !changed && s.Phase != api.PhaseFailed {
		if s.Applied != job.Bundle {
			s.Undo = nil
		}
		s.Applied, s.Ended, s.Failure = job.Bundle, job, nil
		s.forget(job.Bundle)
		return record(s, "the bundle is in place: nothing changes on this host")
	}
	n, kept := s.idle(), s
	n.Cluster, n.Job, n.Request, n.BootID = o.Cluster, job, o.NewID, o.BootID
	if s.Phase == api.PhaseFailed {
		kept.Sick = nil
		n.Sick, n.Group = &kept, s.Group
		n.Fence, n.Drain, n.LastFence = s.Fence, s.Drain, s.LastFence
		n.Phase = api.PhaseHolding
		if !changed {
			n.Phase, n.Unpacked, n.Interrupt = api.PhaseVerifying, true, bundle.InterruptNone
		}
		if n.Fence == 0 && changed {
			n.Phase = api.PhaseWaiting
			return record(n, "waiting for a slot in place of the one that was returned; the host stays out of service")
		}
		return record(n, "going on with the slot that this host has kept")
	}
	n.Phase, n.Failure = api.PhaseWaiting, nil
	return n, Action{Do: DoAcquire, Why: "waiting for a slot"}
}

func waiting(s State, o Observation) (State, Action) {
	switch {
	case o.done(DoAcquire):
		s.Phase, s.Fence = api.PhaseHolding, o.Last.Fence
		return s, Action{Do: DoConfirm, Why: "asking whether the slot still stands"}
	case (o.done(DoLeave) || o.failed(DoLeave)) && s.Sick != nil:
		return record(s.asFailed(), "the newer bundle is not wanted any more: left the queue; the host stays failed")
	case o.done(DoLeave), o.failed(DoLeave):
		return record(s.idle(), "nothing is wanted any more: left the queue")
	case o.done(DoRelease):
		s.LastFence = max(s.LastFence, o.Last.Fence)
		return record(s, "returned a revoked slot")
	case o.withdrawn(&s):
		return s, Action{Do: DoLeave, Why: "nothing is wanted any more: leaving the queue"}
	case o.ownHold(&s) && o.Hold.State == "revoked":
		return s, Action{Do: DoRelease, Fence: o.Hold.Fence, Why: "returning a revoked slot"}
	}
	if job := o.job(&s); job != nil && !job.same(s.Job) {
		s.Job = job
		return record(s, "the same is asked for by another")
	}
	return s, Action{Do: DoAcquire, Why: "waiting for a slot"}
}

// confirm asks the gate, and says what it said last.
func confirm(s State, o Observation) (State, Action) {
	why := "asking whether the slot still stands"
	if o.shutFor(&s) > 0 {
		why = "cannot go on: " + o.Gate.Detail
	}
	return s, Action{Do: DoConfirm, Why: why}
}

// giveUp returns the slot, and the service, before anything was done. A host
// that is not healthy keeps its slot, if it has one, and stays out.
func giveUp(s State, format string, args ...any) (State, Action) {
	if s.Sick != nil {
		return record(s.asFailed(), format+"; the host stays failed", args...)
	}
	s.Job, s.Phase = nil, api.PhaseReleasing
	return record(s, format, args...)
}

// lost gives up because the slot is gone. A host that is not healthy waits for
// another one, out of service.
func lost(s State, o Observation) (State, Action) {
	if s.Sick != nil {
		s.Phase, s.Fence, s.Request = api.PhaseWaiting, 0, o.NewID
		return record(s, "the slot is gone: waiting for another; the host stays out of service")
	}
	return giveUp(s, "the slot is gone: %s", o.Gate.Detail)
}

func holding(s State, o Observation) (State, Action) {
	switch {
	case o.withdrawn(&s):
		return giveUp(s, "it is not wanted any more")
	case o.gone(&s):
		return lost(s, o)
	case o.fresh(&s):
		s.Phase, s.Drain = api.PhaseDraining, DrainBegun
		return s, Action{Do: DoDrain, Gated: true, Why: "draining"}
	}
	return confirm(s, o)
}

func draining(s State, o Observation) (State, Action) {
	switch {
	case o.done(DoDrain):
		s.Phase, s.Drain, s.BootID = api.PhaseApplying, DrainDone, o.BootID
		s.tries(1)
		if s.undoing() {
			return undo(s)
		}
		return apply(s, o)
	case o.failed(DoDrain):
		s.Failure = failure(s, o, "drain", o.Last.Detail)
		if s.Sick != nil {
			return failedAgain(s)
		}
		s.Failure.Healthy = true
		s.Phase = api.PhaseReleasing
		return record(s, "the drain failed: %s", o.Last.Detail)
	case o.done(DoUndrain):
		s.Phase, s.Drain = api.PhaseHolding, DrainNone
		return record(s, "in service again until the coordinator answers")
	case o.gone(&s):
		return lost(s, o)
	case o.shutFor(&s) >= DrainedFor && !s.unfit():
		return s, Action{Do: DoUndrain, Why: "nobody has confirmed the slot for long: back into service meanwhile"}
	case o.fresh(&s):
		return s, Action{Do: DoDrain, Gated: true, Why: "draining"}
	}
	return confirm(s, o)
}

// failedAgain ends a newer job that changed nothing on a failed host, with its
// failure.
func failedAgain(s State) (State, Action) {
	f := s.asFailed()
	f.Failure = s.Failure
	f.Failure.Healthy = false
	f.end(s.Job)
	return record(f, "%s: %s; the host stays failed", f.Failure.Reason, f.Failure.Detail)
}

// failure is a new one. By its time the coordinators tell it from the one
// before, so it is later than that even if the host's clock was set back.
func failure(s State, o Observation, reason, detail string) *api.Failure {
	f := &api.Failure{Reason: reason, Detail: detail, At: laterThan(s.FailedAt, o.At)}
	if s.Job != nil {
		f.Bundle, f.Rollout = s.Job.Bundle, s.Job.Rollout
	}
	return f
}

func laterThan(last, now time.Time) time.Time {
	if now.After(last) {
		return now
	}
	return last.Add(time.Millisecond)
}

func verifying(s State, o Observation) (State, Action) {
	if o.BootID != s.BootID {
		s.BootID = o.BootID
		s.Crashes++
		if s.Crashes < o.MaxAttempts {
			return record(s, "the host booted while it was being verified")
		}
		return unhealthy(s, o, fmt.Sprintf("the host booted by itself %d times while it was being verified", s.Crashes))
	}
	switch {
	case o.done(DoVerify):
		s.Phase, s.Sick = api.PhaseReleasing, nil
		if s.undoing() {
			s.Failure = nil
			s.forget(s.Job.Bundle)
			return record(s, "went back to what the bundle had replaced, and healthy")
		}
		if s.Back {
			f := *s.Failure
			f.Healthy = true
			s.Failure = &f
			return record(s, "rolled back and healthy")
		}
		s.Failure = nil
		s.forget(s.Job.Bundle)
		if s.Job.Bundle != "" {
			s.keep()
		}
		return record(s, "healthy")
	case o.failed(DoVerify):
		return unhealthy(s, o, o.Last.Detail)
	}
	return s, Action{Do: DoVerify, Why: "waiting for the health checks"}
}

func unhealthy(s State, o Observation, detail string) (State, Action) {
	if s.Back || s.Job.Bundle == "" {
		return stuck(s, o, "unhealthy", detail)
	}
	return goBack(s, o, "unhealthy", detail)
}

// stuck ends in failed: the host is not healthy and keeps its slot.
func stuck(s State, o Observation, reason, detail string) (State, Action) {
	if s.Failure == nil || !s.Back {
		s.Failure = failure(s, o, reason, detail)
	} else {
		f := *s.Failure
		f.Detail += "; rolled back, and then: " + detail
		f.Healthy = false
		s.Failure = &f
	}
	s.Phase, s.Sick = api.PhaseFailed, nil
	s.end(s.Job)
	return record(s, "failed, and the slot is kept: %s", s.Failure.Detail)
}

func releasing(s State, o Observation) (State, Action) {
	switch {
	case o.done(DoUndrain):
		s.Drain = DrainNone
	case o.done(DoRelease):
		s.end(s.Job)
		return record(s.idle(), "the slot is returned")
	}
	switch {
	case s.Drain != DrainNone:
		return s, Action{Do: DoUndrain, Why: "back into service"}
	case s.Fence == 0:
		s.end(s.Job)
		return record(s.idle(), "back into service")
	}
	return s, Action{Do: DoRelease, Fence: s.Fence, Why: "returning the slot"}
}

// recheckEvery is the pause between two looks at a failed host.
const recheckEvery = 30 * time.Second

func failed(s State, o Observation) (State, Action) {
	switch {
	case o.done(DoRollBack):
		s.Phase, s.PutBack = api.PhaseApplying, true
		return record(s, "the previous files are in place again")
	case o.done(DoRecheck):
		f := *s.Failure
		f.Healthy = true
		s.Failure, s.Phase = &f, api.PhaseReleasing
		return record(s, "healthy again")
	case o.done(DoRelease):
		s.LastFence, s.Fence = max(s.LastFence, o.Last.Fence), 0
		return record(s, "returned the revoked slot; the host stays out of service until it is healthy")
	case o.Known && s.Fence != 0 && o.Hold != nil && o.Hold.Fence == s.Fence && o.Hold.State == "revoked":
		return s, Action{Do: DoRelease, Fence: s.Fence, Why: "returning a revoked slot"}
	}
	if job := o.job(&s); job != nil && job.Bundle != "" && !job.same(s.Job) && !job.same(s.Ended) {
		return consider(s, o, job)
	}
	if o.Last.Do == DoRecheck || o.Last.Do == DoRollBack {
		return s, Action{Do: DoWait, For: recheckEvery, Why: s.Failure.Detail}
	}
	if s.Back && !s.PutBack {
		return s, Action{Do: DoRollBack, Why: "putting the previous files back"}
	}
	return s, Action{Do: DoRecheck, Why: s.Failure.Detail}
}
