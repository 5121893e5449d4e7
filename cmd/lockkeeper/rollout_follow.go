package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
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
// resume it.
func (a *app) follow(ctx context.Context, c coordinator, id string) error {
	view := a.rolloutView()
	r, err := a.poll(ctx, func() (api.Rollout, bool, error) {
		r, err := c.Rollout(ctx, id)
		if err != nil {
			return r, false, err
		}
		return r, !r.State.Active() || r.State == api.RolloutHalted, view.show(r)
	}, view.silent)
	if errors.Is(err, context.Canceled) {
		a.hint("The rollout goes on. To follow it again: lockkeeper rollout show %s --wait", id)
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
	answered := a.now()
	for {
		r, done, err := look()
		switch {
		case ctx.Err() != nil:
			return r, ctx.Err()
		case err == nil && done:
			return r, nil
		case err == nil:
			answered = a.now()
		case !passing(err) || a.now().Sub(answered) > silentFor:
			return r, err
		default:
			if err := silent(err); err != nil {
				return r, err
			}
		}
		if err := sleep(ctx, a.every); err != nil {
			return r, err
		}
	}
}

// passing reports whether asking again later may be answered.
func passing(err error) bool {
	var e *api.Error
	if errors.As(err, &e) {
		return kindCode(e.Kind) == exitUnreachable
	}
	return errors.Is(err, client.ErrUnreachable)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
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
	return &rolloutLines{w: a.out, errors: a.err, states: map[string]string{}}
}

// quiet leaves the output to the object at the end.
type quiet struct{}

func (quiet) show(api.Rollout) error { return nil }
func (quiet) silent(error) error     { return nil }

// rolloutLines writes a line for each change, for logs and pipes.
type rolloutLines struct {
	w, errors io.Writer
	states    map[string]string
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
		if n.State == api.NodeBroken && n.Detail != "" {
			line += ": " + n.Detail
		}
		fmt.Fprintln(v.w, cli.Cell(line))
	}
	line := fmt.Sprintf("%s: %s", stateText(r), progressText(r.Progress))
	if r.Why != "" && r.State != api.RolloutRunning {
		line += "; " + r.Why
	}
	if line == v.last {
		return nil
	}
	v.last = line
	_, err := fmt.Fprintln(v.w, cli.Cell(line))
	return err
}

func (v *rolloutLines) silent(err error) error {
	if v.mute {
		return nil
	}
	v.mute = true
	_, werr := fmt.Fprintf(v.errors, "No answer, trying again: %s\n", errorLine(err))
	return werr
}

// rolloutBlock draws a rollout in place on a terminal.
type rolloutBlock struct {
	a     *app
	block *block
	last  []string
}

// barWidth is the width of the bar of progress.
const barWidth = 30

func (v *rolloutBlock) show(r api.Rollout) error {
	v.last = v.lines(r)
	return v.block.draw(v.last)
}

func (v *rolloutBlock) silent(err error) error {
	return v.block.draw(append([]string{v.a.paint(yellow, "No answer, trying again: "+errorLine(err))}, v.last...))
}

func (v *rolloutBlock) lines(r api.Rollout) []string {
	a, p := v.a, r.Progress
	head := fmt.Sprintf("%s %s  %s", cli.Cell(r.ID), cli.Cell(rolloutName(r)), a.paint(rolloutColour(r), stateText(r)))
	if p.EstimateS > 0 && r.State.Active() {
		head += "  about " + cli.Span(time.Duration(p.EstimateS)*time.Second) + " left"
	}
	lines := []string{head, a.bar(p) + " " + progressText(p)}
	if r.Why != "" {
		lines = append(lines, a.paint(rolloutColour(r), r.Why))
	}
	if r.Stalled != nil {
		lines = append(lines, a.paint(yellow, "stalled: "+blockerText(r.Stalled.Blockers)))
	}
	// A low terminal cuts the end off: what waits is the least of it.
	var moving []api.RolloutNode
	for _, state := range []string{api.NodeBroken, api.NodeUpdating, api.NodeQueued} {
		for _, n := range r.Nodes {
			if n.State == state {
				moving = append(moving, n)
			}
		}
	}
	if len(moving) == 0 {
		return lines
	}
	return append(lines, tableLines(a.rolloutNodeHeading(), a.rolloutNodeRows(moving))...)
}

// bar shows updated, failed and updating nodes as parts of the whole.
func (a *app) bar(p api.RolloutProgress) string {
	if p.Total == 0 {
		return "[" + strings.Repeat("·", barWidth) + "]"
	}
	updated := barWidth * p.Updated / p.Total
	failed := barWidth * (p.Updated + p.Failed) / p.Total
	updating := barWidth * (p.Updated + p.Failed + p.Updating) / p.Total
	return "[" + a.paint(green, strings.Repeat("█", updated)) +
		a.paint(red, strings.Repeat("✗", failed-updated)) +
		a.paint(blue, strings.Repeat("▒", updating-failed)) +
		strings.Repeat("·", barWidth-updating) + "]"
}

func tableLines(heading []string, rows [][]string) []string {
	var b strings.Builder
	// A strings.Builder takes every write.
	_ = cli.Table(&b, heading, rows)
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}
