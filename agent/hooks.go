package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/agent/host"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// hooks is what the loop remembers of the hooks of the job at hand. It is of
// this process only: after a start they run again.
type hooks struct {
	// since is when a point first asked to be called again, by host.Clock.
	since map[host.HookPoint]time.Duration
	// preReboot and postReboot are those that have succeeded, mayReboot that for
	// which nothing keeps the host from a reboot either, and usersGone the drain
	// for which nobody is waited for any more.
	preReboot, mayReboot, postReboot, usersGone occasion
}

// occasion is one that hooks run for: a direction of a job, in one boot.
type occasion struct {
	fence int64
	back  bool
	boot  string
}

func (a *Agent) occasion() occasion {
	return occasion{a.state.Fence, a.state.Back, a.bootID}
}

// hook runs the hooks of a point for an act. One that asks to be called again
// is, for NotYetFor, and has failed then.
func (a *Agent) hook(do Do, point host.HookPoint, run func() error) Outcome {
	err := run()
	if !errors.Is(err, host.ErrNotYet) {
		delete(a.hooks.since, point)
	}
	if err == nil {
		return Outcome{Do: do, Status: Done}
	}
	if !errors.Is(err, host.ErrNotYet) {
		return Outcome{Do: do, Status: Failed, Reason: string(point), Detail: err.Error()}
	}
	now := max(1, a.cfg.Host.Clock())
	if a.hooks.since == nil {
		a.hooks.since = map[host.HookPoint]time.Duration{}
	}
	first, asked := a.hooks.since[point]
	if !asked {
		a.hooks.since[point] = now
	} else if now-first >= a.cfg.NotYetFor {
		delete(a.hooks.since, point)
		return Outcome{Do: do, Status: Failed, Reason: string(point), Detail: fmt.Sprintf("%v, for longer than %s", err, a.cfg.NotYetFor)}
	}
	a.rest(do, 0, 30*time.Second)
	a.setMessage(string(point) + ": " + err.Error())
	return Outcome{Do: do, Status: Unknown}
}

// runHook is hook for the points that are nothing but hooks.
func (a *Agent) runHook(ctx context.Context, do Do, point host.HookPoint) Outcome {
	return a.hook(do, point, func() error { return a.cfg.Host.Hook(ctx, point, a.ofJob().env(&a.state)) })
}

// doDrain waits for people to leave, where that is asked for, and then drains.
func (a *Agent) doDrain(ctx context.Context) Outcome {
	if at := a.occasion(); a.cfg.WaitForUsers > 0 && a.hooks.usersGone != at {
		out := a.waitForUsers(ctx)
		if out.Status != Done {
			return out
		}
		a.hooks.usersGone = at
	}
	return a.hook(DoDrain, host.HookDrain, func() error { return a.cfg.Host.Drain(ctx, a.ofJob().env(&a.state)) })
}

// userHook stands for the wait for people among the hooks.
const userHook host.HookPoint = "users"

// waitForUsers waits for people to leave, for at most WaitForUsers.
func (a *Agent) waitForUsers(ctx context.Context) Outcome {
	users, err := a.cfg.Host.Users(ctx)
	why := "people are logged in: " + strings.Join(users, ", ")
	switch {
	case err != nil:
		why = "whether people are logged in cannot be told: " + err.Error()
	case len(users) == 0:
		delete(a.hooks.since, userHook)
		return Outcome{Do: DoDrain, Status: Done}
	}
	now := max(1, a.cfg.Host.Clock())
	if a.hooks.since == nil {
		a.hooks.since = map[host.HookPoint]time.Duration{}
	}
	first, asked := a.hooks.since[userHook]
	if !asked {
		first = now
		a.hooks.since[userHook] = now
	}
	if now-first >= a.cfg.WaitForUsers {
		delete(a.hooks.since, userHook)
		a.log.Warn("going on although people may be logged in", "waited", a.cfg.WaitForUsers, "why", why)
		return Outcome{Do: DoDrain, Status: Done}
	}
	a.rest(DoDrain, 0, 15*time.Second)
	a.setMessage("waiting until nobody is logged in: " + why)
	return Outcome{Do: DoDrain, Status: Unknown}
}

// doUndrain is repeated until it succeeds.
func (a *Agent) doUndrain(ctx context.Context) Outcome {
	out := a.retried(DoUndrain, a.cfg.Host.Undrain(ctx, a.ofJob().env(&a.state)))
	if out.Status == Done {
		a.hooks = hooks{}
	}
	return out
}

// preApply runs the hooks before a bundle is put in place.
func (a *Agent) preApply(ctx context.Context) Outcome {
	if a.state.Job.Bundle == "" {
		return Outcome{Do: DoApply, Status: Done}
	}
	return a.runHook(ctx, DoApply, host.HookPreApply)
}

// doPreReboot runs the hooks before a reboot, and then waits until the host
// itself may be rebooted.
func (a *Agent) doPreReboot(ctx context.Context) Outcome {
	at := a.occasion()
	if a.hooks.preReboot != at {
		if out := a.runHook(ctx, DoPreReboot, host.HookPreReboot); out.Status != Done {
			return out
		}
		a.hooks.preReboot = at
	}
	err := a.cfg.Host.MayReboot(ctx)
	switch {
	case err == nil:
		a.hooks.mayReboot = at
		return Outcome{Do: DoPreReboot, Status: Done}
	case errors.Is(err, host.ErrNotYet):
		a.rest(DoPreReboot, 0, 30*time.Second)
		a.setMessage(err.Error())
		return Outcome{Do: DoPreReboot, Status: Unknown}
	}
	return Outcome{Do: DoPreReboot, Status: Failed, Detail: err.Error()}
}

// postReboot runs the hooks after a reboot of this job's, before the host is
// looked at.
func (a *Agent) postReboot(ctx context.Context, do Do) Outcome {
	s, at := &a.state, a.occasion()
	rebooted := s.Interrupt != bundle.InterruptNone && !s.Interrupt.OfUnits() && (s.Interrupting || s.BackAgain)
	if !rebooted || a.hooks.postReboot == at {
		return Outcome{Do: do, Status: Done}
	}
	out := a.runHook(ctx, do, host.HookPostReboot)
	if out.Status == Done {
		a.hooks.postReboot = at
	}
	if out.Status == Failed {
		out.Reason = "unhealthy"
	}
	return out
}

// userspace is asked for only while a soft reboot is under way.
func (a *Agent) userspace() string {
	if a.state.Interrupt != bundle.InterruptSoftReboot || a.state.Phase != api.PhaseApplying && a.state.Phase != api.PhaseRebooting {
		return ""
	}
	u, err := a.cfg.Host.Userspace(context.Background()) // it bounds itself
	if err != nil {
		a.log.Warn("the boot of the userspace is not known", "err", err)
	}
	return u
}
