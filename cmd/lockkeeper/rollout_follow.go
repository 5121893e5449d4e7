package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
	"github.com/lockkeeper/lockkeeper/internal/sleep"
)

const (
	// pollEvery is the pause between two looks at what is followed.
	pollEvery = time.Second
	// silentFor is how long no coordinator may answer before following ends.
	// The rollout goes on without its spectator.
	silentFor = 5 * time.Minute
)

// follow shows a rollout until it ended or needs a person, and makes its
// outcome the exit code. A paused one is waited for: whoever paused it can
// resume it. With a timeout the waiting ends, and the exit code says so.
func (a *app) follow(ctx context.Context, c coordinator, id string, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	view := a.rolloutView()
	var last api.Rollout
	r, err := a.poll(ctx, func() (api.Rollout, bool, error) {
		r, err := c.Rollout(ctx, id)
		if err != nil {
			return r, false, err
		}
		last = r
		return r, !r.State.Active() || r.State == api.RolloutHalted, view.show(r)
	}, view.silent)
	if ctx.Err() != nil && err != nil {
		a.hint("The rollout goes on. To follow it again: lockkeeper rollout watch %s", id)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil {
		if last.ID != "" { // for a script, what was last known
			if err := a.print(last, func() error { return nil }); err != nil {
				return err
			}
		}
		return fmt.Errorf("it has not ended within %s: %w", timeout, ctx.Err())
	}
	if err != nil {
		return err
	}
	if err := a.print(r, func() error { return nil }); err != nil {
		return err
	}
	if r.State != api.RolloutSucceeded {
		return outcome(exitPerson)
	}
	return nil
}

// poll looks again and again until done, an error, or the context's end. While
// no coordinator can answer it calls silent, and goes on for silentFor.
func (a *app) poll(ctx context.Context, look func() (api.Rollout, bool, error), silent func(error) error) (api.Rollout, error) {
	p := a.patience(silent)
	for {
		r, done, err := look()
		if err == nil && done && ctx.Err() == nil {
			return r, nil
		}
		if err := p.pause(ctx, err); err != nil {
			return r, err
		}
	}
}

// patience goes on asking while no coordinator can answer, for silentFor.
type patience struct {
	a        *app
	silent   func(error) error // is told why
	answered time.Time         // last
}

func (a *app) patience(silent func(error) error) *patience {
	return &patience{a: a, silent: silent, answered: a.now()}
}

// answer notes that a coordinator has answered.
func (p *patience) answer() { p.answered = p.a.now() }

// pause waits before the next question; err is what became of the last one. It
// returns an error that asking again does not end.
func (p *patience) pause(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		p.answer()
	case !passing(err) || p.a.now().Sub(p.answered) > silentFor:
		return err
	default:
		if err := p.silent(err); err != nil {
			return err
		}
	}
	return sleep.For(ctx, p.a.every)
}

// tryingAgain tells of silence with -v.
func (a *app) tryingAgain(err error) error {
	a.more("No answer, trying again: %s", errorLine(err))
	return nil
}

// passing reports whether asking again later may be answered.
func passing(err error) bool {
	var e *api.Error
	if errors.As(err, &e) {
		return kindCode(e.Kind) == exitUnreachable
	}
	return errors.Is(err, client.ErrUnreachable)
}

// rolloutView shows a rollout's progress.
type rolloutView interface {
	show(api.Rollout) error
	silent(error) error // no coordinator could answer
}

func (a *app) rolloutView() rolloutView {
	switch {
	case a.format != formatTable:
		return quiet{}
	case a.outTTY:
		return &rolloutBlock{a: a, block: newBlock(a.out)}
	}
	return &rolloutLines{w: a.out, errors: a.err, states: map[string]string{}, said: map[string]string{}}
}

// quiet leaves the output to the object at the end.
type quiet struct{}

func (quiet) show(api.Rollout) error { return nil }
func (quiet) silent(error) error     { return nil }

// rolloutLines writes a line for each change, for logs and pipes.
type rolloutLines struct {
	w, errors io.Writer
	states    map[string]string // by node
	said      map[string]string // by wave and gate
	last      string
	mute      bool
}

func (v *rolloutLines) show(r api.Rollout) error {
	v.mute = false
	for _, n := range r.Nodes {
		// Pending is where all begin, and says nothing.
		if before, known := v.states[n.Node]; before == n.State || !known && n.State == api.NodePending {
			continue
		}
		v.states[n.Node] = n.State
		line := n.Node + ": " + n.State
		if (n.State == api.NodeBroken || n.State == api.NodeSkipped || n.State == api.NodeAborted) && n.Detail != "" {
			line += ": " + n.Detail
		}
		fmt.Fprintln(v.w, cli.Cell(line))
	}
	if len(r.Waves) > 1 {
		for i, w := range r.Waves {
			if w.State != api.WavePending {
				v.say(waveTitle(i, w), w.State)
			}
		}
	}
	for _, g := range r.Gates {
		v.say("gate "+gateText(g), gateSaid(g))
	}
	line := fmt.Sprintf("%s: %s", stateText(r), progressText(r.Progress))
	if r.Why != "" && r.State != api.RolloutRunning {
		line += "; " + r.Why
	}
	if r.Stalled != nil && r.State.Active() {
		line += "; " + blockerText(r.Stalled.Blockers)
	}
	if line == v.last {
		return nil
	}
	v.last = line
	_, err := fmt.Fprintln(v.w, cli.Cell(line))
	return err
}

// say writes what is now true of something, once.
func (v *rolloutLines) say(what, line string) {
	if v.said[what] != line {
		v.said[what] = line
		fmt.Fprintln(v.w, cli.Cell(what+": "+line))
	}
}

// gateSaid leaves out the value, which may be another at each look.
func gateSaid(g api.RolloutGate) string {
	switch {
	case g.Passes:
		return "passes"
	case g.Needed > 0:
		return fmt.Sprintf("%d of %s", len(g.Approvals), count(g.Needed, "approval", "approvals"))
	}
	return "does not pass"
}

func (v *rolloutLines) silent(err error) error {
	if v.mute {
		return nil
	}
	v.mute = true
	_, werr := fmt.Fprintf(v.errors, "No answer, trying again: %s\n", errorLine(err))
	return werr
}
