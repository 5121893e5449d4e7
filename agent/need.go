package agent

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/agent/host"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// RebootRequest is a person's wish for one reboot of this host.
type RebootRequest struct {
	ID     string `json:"id"` // random: the same one is not served twice
	Reason string `json:"reason"`
}

// needs is what asks for a reboot besides a rollout.
type needs struct {
	command string // why the command asks for one, "" when it does not
	unclear string // why the command could not be understood, "" when it could
	request *RebootRequest
}

// hostNeeds says whether the host itself asks for a reboot, and why. A command
// that failed asks for nothing; why says so then.
func (a *Agent) hostNeeds() (why string, needs bool) {
	file, needs := a.cfg.Host.NeedsReboot()
	a.mu.Lock()
	n := a.needs
	a.mu.Unlock()
	var all []string
	if needs && file != "" {
		all = append(all, file)
	}
	if n.command != "" {
		all, needs = append(all, n.command), true
	}
	if n.unclear != "" {
		all = append(all, n.unclear)
	}
	return clip(strings.Join(all, "; ")), needs
}

// monitorNeed asks the command whether the host needs a reboot, until ctx ends.
func (a *Agent) monitorNeed(ctx context.Context) {
	if a.cfg.NeedCommand == "" {
		return
	}
	t := time.NewTicker(a.cfg.NeedEvery)
	defer t.Stop()
	for {
		a.askNeed(ctx)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// needWithin bounds one call of the command.
const needWithin = time.Minute

// askNeed runs the command: exit status 0 is a reboot needed, with what it
// printed as the reason, 1 is none, and anything else is no answer.
func (a *Agent) askNeed(ctx context.Context) {
	env := []string{"LOCKKEEPER_NODE=" + a.cfg.Node, "LOCKKEEPER_GROUP=" + a.cfg.Group}
	out, err := a.cfg.Host.Run(ctx, host.Command{Line: a.cfg.NeedCommand, Env: env, Timeout: needWithin})
	if ctx.Err() != nil {
		return
	}
	var n needs
	var exit *exec.ExitError
	switch {
	case err == nil:
		n.command, _, _ = strings.Cut(out, "\n")
		if n.command == "" {
			n.command = "the command says so"
		}
	case errors.As(err, &exit) && exit.ExitCode() == 1:
	default:
		n.unclear = fmt.Sprintf("the command %q is no answer whether a reboot is needed: %v", a.cfg.NeedCommand, err)
		if out != "" {
			n.unclear += ": " + out
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	n.request = a.needs.request
	if n.unclear != "" && n.unclear != a.needs.unclear {
		a.log.Warn("whether a reboot is needed is not known", "why", n.unclear)
	}
	if n == a.needs {
		return
	}
	a.needs = n
	a.tellSoon()
}

// tellSoon wakes the loop and sends another report. With the lock held.
func (a *Agent) tellSoon() {
	if a.resend != nil {
		a.resend()
	}
	a.news()
}

// ErrBusy: the agent has a person's request for a reboot already.
var ErrBusy = errors.New("a reboot has been asked for already")

// RequestReboot makes the agent take a slot and reboot the host once, whether
// anything else asks for it or not. A request that has been served, in this
// process or before the reboot, is not served again.
func (a *Agent) RequestReboot(r RebootRequest) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if other := a.needs.request; other != nil {
		return fmt.Errorf("%w: %s", ErrBusy, other.Reason)
	}
	a.needs.request = &r
	a.tellSoon()
	return nil
}

// WithdrawReboot takes a request back: the agent leaves the queue, unless it has
// begun already.
func (a *Agent) WithdrawReboot(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.needs.request; r == nil || r.ID != id {
		return
	}
	a.needs.request = nil
	if a.acquire != nil && a.takenBack() {
		a.acquire()
	}
	a.tellSoon()
}

// Progress is how far a requested reboot is.
type Progress struct {
	Phase   api.Phase    `json:"phase"`
	Message string       `json:"message"`           // a sentence
	Working bool         `json:"working"`           // on this request
	Ended   bool         `json:"ended"`             // this request is served, or given up
	Failure *api.Failure `json:"failure,omitempty"` // why it was given up
}

// RequestProgress says how far the request with that id is.
func (a *Agent) RequestProgress(id string) Progress {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &a.state
	p := Progress{Phase: s.Phase, Message: a.message, Working: s.Job != nil && s.Job.Request == id, Ended: s.Served == id}
	if p.Ended || s.Phase == api.PhaseFailed {
		p.Failure = s.Failure
	}
	return p
}
