package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/agent/host"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// do carries out one act. An error ends the run; how the act went is in the
// outcome.
func (a *Agent) do(ctx context.Context, act Action) (Outcome, error) {
	switch act.Do {
	case DoPlan:
		return a.doPlan(ctx, act.Job), nil
	case DoAcquire:
		return a.doAcquire(ctx), nil
	case DoConfirm:
		return a.doConfirm(ctx), nil
	case DoLeave:
		return a.answered(ctx, act.Do, unlessNoGroup(a.cfg.Coordinator.LeaveQueue(ctx, a.state.Group, a.cfg.Node))), nil
	case DoRelease:
		return a.doRelease(ctx, act.Fence), nil
	case DoDrain:
		return a.doDrain(ctx), nil
	case DoUndrain:
		return a.doUndrain(ctx), nil
	case DoApply:
		if out := a.preApply(ctx); out.Status != Done {
			return out, nil
		}
		return a.doApply(ctx)
	case DoRollBack:
		return a.doRollBack()
	case DoUnits:
		if err := a.cfg.Host.Units(ctx, a.state.Interrupt, a.state.Units); err != nil {
			return Outcome{Do: act.Do, Status: Failed, Detail: err.Error()}, nil
		}
		return Outcome{Do: act.Do, Status: Done}, nil
	case DoPreReboot:
		return a.doPreReboot(ctx), nil
	case DoReboot:
		return a.doReboot(ctx)
	case DoVerify, DoRecheck:
		if out := a.postReboot(ctx, act.Do); out.Status != Done {
			return out, nil
		}
		return a.doVerify(ctx, act.Do), nil
	}
	return Outcome{}, errors.New("no such act: " + string(act.Do))
}

// unlessNoGroup is the error of giving back what is a group's: one that was
// deleted has neither holds nor a queue, so it is done.
func unlessNoGroup(err error) error {
	var refused *api.Error
	if errors.As(err, &refused) && refused.Kind == api.UnknownGroup {
		return nil
	}
	return err
}

// answered is the outcome of a request that is repeated until it succeeds.
func (a *Agent) answered(ctx context.Context, do Do, err error) Outcome {
	if err == nil {
		return Outcome{Do: do, Status: Done}
	}
	if ctx.Err() == nil {
		var refused *api.Error
		least := time.Duration(0)
		if errors.As(err, &refused) {
			least = refused.RetryAfter
		}
		a.rest(do, least, 30*time.Second)
	}
	return Outcome{Do: do, Status: Unknown, Detail: err.Error()}
}

// retried is the outcome of a local act that is repeated until it succeeds.
func (a *Agent) retried(do Do, err error) Outcome {
	if err == nil {
		return Outcome{Do: do, Status: Done}
	}
	a.rest(do, 0, 30*time.Second)
	return Outcome{Do: do, Status: Unknown, Detail: err.Error()}
}

// firstLook is how long the first request for a slot waits: its refusal says
// what is waited for, and the place in the queue, which is kept until the next.
const firstLook = time.Second

// takenBack reports that what a slot is asked for is wanted no more, as far as the
// coordinator and persons say. Whether the host itself still wishes it is seen by
// the loop. With the lock held.
func (a *Agent) takenBack() bool {
	o := Observation{Known: a.known, Wanted: a.wanted, Request: a.needs.request}
	if j := a.state.Job; j != nil && j.Bundle == "" && j.Request == "" {
		o.Request = &RebootRequest{ID: newID()} // stands for the host's wish
	}
	return o.withdrawn(&a.state)
}

func (a *Agent) doAcquire(ctx context.Context) Outcome {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	a.acquire = cancel
	if a.takenBack() { // since it was decided: whoever did that found nothing to end
		cancel()
	}
	s := a.state
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.acquire = nil
		a.mu.Unlock()
	}()
	reason := s.Job.Name
	if s.Job.Undo {
		reason = "rollback of " + s.Job.Name
	}
	if s.Job.Rollout != "" {
		reason = "rollout " + s.Job.Rollout + ": " + s.Job.Name
	}
	start, wait := time.Now(), a.cfg.AcquireWait
	if a.queued != s.Request {
		wait = min(wait, firstLook) // to be able to say soon what it waits for
	}
	a.queued = s.Request
	resp, err := a.cfg.Coordinator.Acquire(ctx, s.Group, a.cfg.Node, api.AcquireRequest{
		Instance: a.instance, Request: s.Request, BootID: a.bootID, Reason: reason,
	}, wait)
	if err == nil && !a.own(&resp.Hold) {
		err = errNotOurs
	}
	if err == nil {
		return Outcome{Do: DoAcquire, Status: Done, Fence: resp.Hold.Fence}
	}
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Kind.Status() != 423 {
		return a.answered(ctx, DoAcquire, err)
	}
	// It had its time in the queue: ask again at once, or soon when the
	// coordinator did not let it wait.
	delete(a.pauses, DoAcquire)
	if time.Since(start) < wait/2 {
		a.rest(DoAcquire, refused.RetryAfter, 30*time.Second)
	}
	a.setMessage(waitingFor(refused))
	return Outcome{Do: DoAcquire, Status: Unknown}
}

var errNotOurs = errors.New("the answer is not about this host's hold")

// own reports whether a hold that was answered is one of this agent. What
// answers need not be a coordinator, and a zero fence would compare equal.
func (a *Agent) own(h *api.Hold) bool {
	return h.Fence > 0 && h.Node == a.cfg.Node && h.Instance == a.instance
}

// waitingFor says what a refused acquire waits for.
func waitingFor(e *api.Error) string {
	var why []string
	for _, b := range e.Blockers {
		why = append(why, b.Detail)
	}
	if len(why) == 0 {
		why = append(why, e.Detail)
	}
	text := "waiting for a slot: " + strings.Join(why, "; ")
	if e.Place > 0 {
		text += " (place " + strconv.Itoa(e.Place) + ")"
	}
	return text
}

// doConfirm asks the gate. Its answer counts from when the question was sent.
func (a *Agent) doConfirm(ctx context.Context) Outcome {
	asked := a.cfg.Host.Clock()
	g := Gate{Fence: a.state.Fence, Asked: asked, Shut: asked}
	if a.gate.Fence == g.Fence && (a.gate.Answer == GateNoAnswer || a.gate.Answer == GateFrozen) {
		g.Shut = a.gate.Shut
	}
	limited, cancel := context.WithTimeout(ctx, GateFor)
	defer cancel()
	hold, err := a.cfg.Coordinator.Confirm(limited, a.state.Group, a.cfg.Node, api.ConfirmRequest{
		Fence: g.Fence, Instance: a.instance, BootID: a.bootID, Rollout: a.rollout(),
	})
	if err == nil && (hold.Fence != g.Fence || !a.own(&hold)) {
		err = errNotOurs
	}
	if err == nil {
		g.Answer = GateOpen
		a.gate = g
		return Outcome{Do: DoConfirm, Status: Done}
	}
	g.Answer, g.Detail = GateNoAnswer, err.Error()
	var refused *api.Error
	if errors.As(err, &refused) {
		switch refused.Kind {
		case api.StaleFence, api.HeldByOther, api.NotFound, api.UnknownGroup:
			g.Answer = GateGone
		case api.Frozen, api.Conflict: // or its rollout does not run
			g.Answer = GateFrozen
		}
	}
	a.gate = g
	out := Outcome{Do: DoConfirm, Status: Unknown, Detail: g.Detail}
	if g.Answer != GateGone && ctx.Err() == nil {
		a.rest(DoConfirm, 0, 5*time.Second)
	}
	return out
}

// rollout is the one that the job is of, "" for none.
func (a *Agent) rollout() string {
	if a.state.Job == nil {
		return ""
	}
	return a.state.Job.Rollout
}

// doRelease returns a slot, and a failure is told before: the release gives the
// slot to the next host at once, and the failure must have stopped the rollout
// by then. Who does not answer is asked again, for as long as it takes, with the
// slot held. A report that was refused for good is no reason to keep it.
func (a *Agent) doRelease(ctx context.Context, fence int64) Outcome {
	if a.state.Failure != nil {
		limited, cancel := context.WithTimeout(ctx, GateFor)
		err := a.tell(limited)
		cancel()
		if err != nil && !refusedForGood(err) {
			return a.answered(ctx, DoRelease, fmt.Errorf("the slot is returned once the failure is reported: %w", err))
		}
	}
	out := a.answered(ctx, DoRelease, unlessNoGroup(a.cfg.Coordinator.Release(ctx, a.state.Group, a.cfg.Node, fence, a.instance)))
	out.Fence = fence
	return out
}

// refusedForGood reports a coordinator's refusal that asking again does not end.
func refusedForGood(err error) bool {
	var refused *api.Error
	if !errors.As(err, &refused) {
		return false
	}
	status := refused.Kind.Status()
	return status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusLocked
}

// doReboot asks for the reboot. A signal to this process must not cut the
// command off: it may be the reboot itself that sends it.
func (a *Agent) doReboot(ctx context.Context) (Outcome, error) {
	err := a.cfg.Host.Reboot(context.WithoutCancel(ctx), a.state.Interrupt == bundle.InterruptSoftReboot)
	if ends(err) {
		return Outcome{}, err
	}
	if errors.Is(err, host.ErrNotYet) {
		a.rest(DoReboot, 0, 30*time.Second)
		return Outcome{Do: DoReboot, Status: Unknown, Detail: err.Error()}, nil
	}
	if err != nil {
		a.rest(DoReboot, 0, 30*time.Second)
		return Outcome{Do: DoReboot, Status: Failed, Detail: err.Error()}, nil
	}
	a.rebootAsked = max(1, a.cfg.Host.Clock())
	return Outcome{Do: DoReboot, Status: Done}, nil
}
