package agent

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"reflect"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// pinned is a coordinator that can be told which cluster to believe, and from
// which incarnation on. *client.Client is one.
type pinned interface {
	SetCluster(id string, incarnation int64)
}

func newID() string { return rand.Text() }

// trustPin makes the client believe the pinned cluster only.
func (a *Agent) trustPin() {
	if c, ok := a.cfg.Coordinator.(pinned); ok {
		c.SetCluster(a.pin.Cluster, a.pin.Incarnation)
	}
}

// monitorCoordinator reports what this host is and learns what is wanted, also
// while the loop works, until ctx ends.
func (a *Agent) monitorCoordinator(ctx context.Context) {
	seen, retry := "", a.cfg.Retry
	for ctx.Err() == nil {
		pollCtx, cancel, req := a.nextPoll(ctx, seen)
		start := time.Now()
		resp, err := a.cfg.Coordinator.Poll(pollCtx, a.cfg.Node, req)
		a.hears()
		var rest time.Duration
		switch {
		case err == nil:
			a.counters.poll(true)
			retry = a.cfg.Retry
			rest = time.Duration(min(max(0, resp.NextPollS), longestPause)) * time.Second
			if resp.Tag == seen && time.Since(start) < time.Second {
				rest = max(rest, time.Second) // it does not wait, so this side does
			}
			if a.listen(resp) {
				seen = resp.Tag
			} else {
				seen, rest = "", 10*retry
			}
		case pollCtx.Err() == nil:
			a.counters.poll(false)
			a.deaf(err)
			rest = retry + mathrand.N(retry/2)
			retry = min(2*retry, 30*time.Second)
		}
		if rest > 0 && pollCtx.Err() == nil {
			t := time.NewTimer(rest)
			select {
			case <-t.C:
			case <-pollCtx.Done(): // more to report, or the end
			}
			t.Stop()
		}
		cancel()
	}
}

// nextPoll makes the next poll. Its context ends when there is more to report.
func (a *Agent) nextPoll(ctx context.Context, seen string) (context.Context, context.CancelFunc, api.PollRequest) {
	ctx, cancel := context.WithCancel(ctx)
	why, needs := a.hostNeeds()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resend = cancel
	req := a.report(why, needs)
	req.Seen, req.WaitS = seen, int(a.cfg.PollWait/time.Second)
	return ctx, cancel, req
}

// report says what this host is. With the lock held.
func (a *Agent) report(why string, needs bool) api.PollRequest {
	h := a.cfg.Host
	// Newer is what was said later in this boot, whichever process said it and
	// whatever the wall clock does.
	a.seq = max(a.seq+1, uint64(max(0, h.Clock()/time.Microsecond)))
	s := &a.state
	r := api.Report{
		Seq: a.seq, Group: s.Group, Labels: a.cfg.Labels, MachineID: h.MachineID(),
		Phase: s.Phase, Fence: s.Fence, Bundle: s.Applied, Healthy: s.Phase != api.PhaseFailed && s.Sick == nil,
		Message: clip(a.message), Trouble: clip(a.trouble), Failure: s.Failure, NeedsReboot: needs, RebootReason: why, Version: a.cfg.Version,
		OS: h.OS(), Simulated: h.Simulated(), BootedAt: a.bootedAt,
	}
	if f := s.Failure; f != nil && len(f.Detail) > maxText {
		short := *f
		short.Detail = clip(f.Detail)
		r.Failure = &short
	}
	if e := s.Ended; e != nil && e.Undo {
		r.Answered = e.Request
	}
	for _, j := range []*Job{s.Job, s.Ended} {
		if j != nil && j.Rollout != "" {
			r.Rollout, r.Attempt = j.Rollout, j.Attempt
			break
		}
	}
	return api.PollRequest{Instance: a.instance, BootID: a.bootID, Cluster: a.pin.Cluster, Report: r}
}

// announceWithin bounds how long a reboot waits for its announcement.
const announceWithin = time.Second

// announce tells what this host is about to do, before it goes away and nobody
// can ask. It is a courtesy: no answer is waited for longer than announceWithin,
// and the gate is looked at again afterwards.
func (a *Agent) announce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, announceWithin)
	defer cancel()
	if err := a.tell(ctx); err != nil {
		a.log.Debug("the reboot could not be announced", "err", err)
	}
}

// tell reports what this host is now, beside the long poll, and returns when
// that was answered. What the answer wants comes with the long poll too.
func (a *Agent) tell(ctx context.Context) error {
	why, needs := a.hostNeeds()
	a.mu.Lock()
	req := a.report(why, needs)
	a.mu.Unlock()
	_, err := a.cfg.Coordinator.Poll(ctx, a.cfg.Node, req)
	return err
}

// longestPause between two polls, in seconds, whatever a coordinator asks for: an
// agent must not be told to be silent for so long that it counts as unreachable.
const longestPause = 60

// maxText is how long a text of a report may be, in bytes. A coordinator refuses
// a report with more than 4000, and would learn nothing of the failure then.
const maxText = 3000

// clip leaves out the middle of a text that is too long: what failed is at its
// beginning, and why at its end.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	head, tail := text[:maxText/3], text[len(text)-maxText/2:]
	return strings.ToValidUTF8(head, "") + " … " + strings.ToValidUTF8(tail, "")
}

// listen takes in an answer; false is one of a cluster that is not trusted.
func (a *Agent) listen(resp api.PollResponse) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if resp.Cluster == "" {
		return false
	}
	switch {
	case a.pin.Cluster == "", a.pin.Cluster == resp.Cluster && resp.Incarnation > a.pin.Incarnation:
		p := Pin{Cluster: resp.Cluster, Incarnation: resp.Incarnation}
		if err := a.dir.savePin(p); err != nil {
			a.log.Error("the cluster cannot be pinned, so nothing is done", "err", err)
			return false
		}
		a.log.Info("cluster pinned", "cluster", p.Cluster, "incarnation", p.Incarnation)
		a.pin = p
		a.trustPin()
	case a.pin.Cluster != resp.Cluster || resp.Incarnation < a.pin.Incarnation:
		a.refuse(resp.Cluster, "an answer of another cluster, or of one that a restore has replaced")
		return false
	}
	a.distrust = ""
	news := !a.known || !reflect.DeepEqual(a.wanted, resp.Wanted) || !reflect.DeepEqual(a.hold, resp.Hold)
	a.known, a.wanted, a.hold = true, resp.Wanted, resp.Hold
	if a.acquire != nil && a.takenBack() {
		a.acquire()
	}
	if news {
		a.news()
	}
	return true
}

// deaf takes in that a poll brought no answer.
func (a *Agent) deaf(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var refused *api.Error
	if errors.As(err, &refused) && refused.Kind == api.WrongCluster {
		a.refuse(refused.Detail, refused.Detail)
		return
	}
	a.log.Warn("poll", "err", err)
}

// refuse does nothing for a cluster that is not the pinned one, until a person
// runs `lockkeeper-agent trust`, which is looked for here.
func (a *Agent) refuse(who, why string) {
	a.known, a.wanted, a.hold = false, nil, nil
	if p, err := a.dir.loadPin(); err == nil && p != a.pin {
		a.log.Warn("the pinned cluster was changed by a person", "was", a.pin.Cluster, "is", p.Cluster)
		a.pin = p
		a.trustPin()
		return
	}
	if a.distrust != who {
		a.distrust = who
		a.log.Error("wrong cluster: nothing is done until `lockkeeper-agent trust`", "pinned", a.pin.Cluster, "incarnation", a.pin.Incarnation, "answer", why)
	}
}
