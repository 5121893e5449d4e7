package rollout

import (
	"cmp"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// standing is where a node stands in a rollout, by its result and its report.
type standing struct {
	state   string // pending, waiting, updating, updated, failed
	attempt int
	detail  string
	since   time.Time
	failure *failure // newly found, not in the result yet
	again   *failure // of a node that has failed already: does not count twice
	there   bool     // newly found to have the bundle in place
	// settling: the bundle is in place, and not yet for min_healthy_time.
	settling bool
}

// failure is one that no result tells of yet.
type failure struct {
	reason string
	at     time.Time // as the node gave it, zero for an overdue hold
	fence  int64
}

// inFlight are the phases of a node that is out of service for an update.
var inFlight = map[api.Phase]bool{
	api.PhaseHolding: true, api.PhaseDraining: true, api.PhaseApplying: true,
	api.PhaseRebooting: true, api.PhaseVerifying: true, api.PhaseReleasing: true,
}

// observe finds where a node stands. A result of an attempt that was retried
// counts only as the memory of which failure must not count again.
func observe(h *Head, r Result, begun bool, v *NodeView) standing {
	s := standing{state: api.NodePending, attempt: max(1, r.Attempt), since: r.At}
	broken := begun && r.State == api.NodeBroken
	if broken && r.Failure <= h.Retried {
		broken = false
		s.attempt++
	}
	if begun && r.State == api.NodeUpdated {
		s.state, s.detail = api.NodeUpdated, r.Detail
		return s
	}
	if !v.Known {
		s.detail = "is not known to the coordinator: it never reported, or was forgotten"
		if broken {
			s.state, s.detail = api.NodeBroken, r.Detail
		}
		return s
	}
	f, told := findFailure(h, r, s.attempt, v)
	switch {
	case f != nil && !broken:
		s.state, s.detail, s.since, s.failure = api.NodeBroken, f.reason, v.ChangedAt, f
		return s
	case f == nil && !(told && broken) && inPlace(h, v):
		if least := Duration(h.Spec.MinHealthyTime); v.Healthy < least {
			s.settle(broken, r, v, least)
			return s
		}
		s.state, s.since, s.there = api.NodeUpdated, v.ChangedAt, true
		return s
	case broken:
		s.state, s.detail, s.again = api.NodeBroken, r.Detail, f
		return s
	}
	ours := v.Report.Rollout == h.ID || v.Report.Rollout == ""
	switch {
	case ours && v.begun():
		s.state, s.detail = api.NodeUpdating, v.Report.Message
	case ours && (v.Held || v.Report.Phase == api.PhaseWaiting || v.Report.Phase == api.PhaseHolding):
		s.state, s.detail, s.since = api.NodeQueued, v.Report.Message, v.ChangedAt
	case v.Held || inFlight[v.Report.Phase]:
		s.detail = "is out of service for something else"
	case begun && r.State == api.NodeUpdating:
		// It began and has neither the bundle nor a failure: it will ask again.
		s.detail = v.Report.Message
	case v.Report.Trouble != "":
		s.detail = v.Report.Trouble
	case v.First > 0:
		s.detail = fmt.Sprintf("coordinator %s runs on it, so that it goes last: %s first", v.Coordinator, goes(v.First))
	case v.Turn > 0:
		s.detail = fmt.Sprintf("is asked in its turn: %s first", goes(v.Turn))
	}
	return s
}

// settle is where a node stands that has the bundle in place, and not yet for
// so long as it must be in service to count as updated.
func (s *standing) settle(broken bool, r Result, v *NodeView, least time.Duration) {
	if broken {
		s.state, s.detail = api.NodeBroken, r.Detail
		return
	}
	s.state, s.since, s.settling = api.NodeUpdating, v.ChangedAt, true
	s.detail = fmt.Sprintf("in service with the bundle; counts as updated once that was so for %s", least)
}

func goes(n int) string {
	if n == 1 {
		return "1 other node goes"
	}
	return fmt.Sprintf("%d other nodes go", n)
}

// begun reports whether the node has passed its first gate: from there on it
// finishes, also when its rollout is paused or halted.
func (v *NodeView) begun() bool {
	return v.Held && !v.Unconfirmed || inFlight[v.Report.Phase] && v.Report.Phase != api.PhaseHolding
}

// inPlace: the bundle is there, and the node is back in service with it.
func inPlace(h *Head, v *NodeView) bool {
	return v.Report.Bundle == h.Spec.Bundle && v.Report.Phase == api.PhaseIdle && v.Report.Healthy && !v.Held
}

// findFailure looks for a failure of this rollout that its result does not
// tell of: one that the node reports, or a hold that is overdue. told: the
// node still reports the failure that the result tells of.
func findFailure(h *Head, r Result, attempt int, v *NodeView) (f *failure, told bool) {
	p := &v.Report
	if f := p.Failure; f != nil && f.Bundle == h.Spec.Bundle &&
		(f.Rollout == h.ID || f.Rollout == "" && p.Rollout == h.ID) {
		if r.Failure != 0 && f.At.Equal(r.FailedAt) {
			return nil, true
		}
		reason := f.Reason
		if f.Detail != "" {
			reason += ": " + f.Detail
		}
		return &failure{reason: reason, at: f.At, fence: r.Fence}, false
	}
	if p.Phase == api.PhaseFailed && p.Rollout == h.ID && p.Failure == nil && (attempt == 1 || p.Attempt >= attempt) {
		reason := "the node reports that it failed"
		if p.Message != "" {
			reason = p.Message
		}
		return &failure{reason: reason, at: r.FailedAt, fence: r.Fence}, false
	}
	if v.Overdue && v.Held && p.Rollout == h.ID && v.Fence != r.Fence {
		return &failure{
			reason: fmt.Sprintf("overdue: it still holds its slot (fence %d) past the deadline", v.Fence),
			at:     r.FailedAt, fence: v.Fence,
		}, false
	}
	if limit := Duration(h.Spec.HealthyDeadline); limit > 0 && r.State == api.NodeUpdating && v.BusyAttempt == attempt && v.Busy >= limit && !inPlace(h, v) {
		return &failure{
			reason: fmt.Sprintf("not updated within %s (healthy_deadline)", limit),
			at:     r.FailedAt, fence: cmp.Or(v.Fence, r.Fence),
		}, false
	}
	return nil, false
}
