package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// checksOf names the bundle whose health checks say how the host does: the one
// that is being brought in; on the way back the one that was in place before,
// or, when there was none, that of the job, which is all that is known of health.
func checksOf(s *State) (inPlace, checks string) {
	switch {
	case s.Job == nil || s.Job.Bundle == "":
		return s.Applied, s.Applied
	case !s.Back:
		return s.Job.Bundle, s.Job.Bundle
	case s.Applied != "":
		return s.Applied, s.Applied
	}
	return "", s.Job.Bundle
}

// doVerify waits until all health checks have passed for min_healthy_time, or
// the deadline is over. A recheck gives up at the first failure.
//
// Without checks the host is healthy while it is up, which this agent shows by
// running; min_healthy_time has to pass all the same. Where no bundle says how
// long, it is a bundle's default.
//
// Both times are this host's own: they run on without a quorum, in a freeze and
// outside a window, for only the host says how it does. What the coordinators
// count for it, such as a hold's deadline, stands still meanwhile.
func (a *Agent) doVerify(ctx context.Context, do Do) Outcome {
	inPlace, checks := checksOf(&a.state)
	m := bundle.Manifest{MinHealthyTime: bundle.DefaultMinHealthyTime, HealthyDeadline: bundle.DefaultHealthyDeadline}
	if checks != "" {
		b, err := a.bundle(ctx, checks)
		if err != nil {
			return a.answered(ctx, do, fmt.Errorf("the health checks of bundle %s are not at hand: %w", checks, err))
		}
		m = b.Manifest
	}
	env := a.ofJob().env(&a.state)
	least, deadline := time.Duration(m.MinHealthyTime), time.Now().Add(time.Duration(m.HealthyDeadline))
	every := min(time.Second, max(least/5, 20*time.Millisecond))
	short := fmt.Sprintf("not healthy for %s without a break before the deadline of %s", least, m.HealthyDeadline)
	var since time.Time
	was := false // healthy at least once
	for {
		err := a.cfg.Host.Check(ctx, inPlace, m.Health, env)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return Outcome{Do: do, Status: Unknown}
		case err == nil && since.IsZero():
			since, was = now, true
		case err != nil:
			since = time.Time{}
		}
		if err == nil && now.Sub(since) >= least {
			return Outcome{Do: do, Status: Done}
		}
		if err != nil && (do == DoRecheck || !now.Before(deadline)) {
			detail := err.Error()
			if was {
				detail += "; healthy in between, and " + short
			}
			return Outcome{Do: do, Status: Failed, Reason: "unhealthy", Detail: detail}
		}
		if !now.Before(deadline) {
			return Outcome{Do: do, Status: Failed, Reason: "unhealthy", Detail: short}
		}
		if err != nil {
			a.setMessage("not healthy yet: " + err.Error())
		}
		t := time.NewTimer(every)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}
