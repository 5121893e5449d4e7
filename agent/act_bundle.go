package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/agent/host"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// doPlan compares the bundle with what is on the host. It changes nothing.
func (a *Agent) doPlan(ctx context.Context, job *Job) Outcome {
	out := Outcome{Do: DoPlan, Job: job, Status: Failed}
	b, err := a.trusted(ctx, job.Bundle, false)
	var changes []target
	if err == nil {
		changes, err = a.changes(b)
		if err != nil {
			err = &refusal{disk(err, "plan"), err}
		}
	}
	if err == nil {
		out.Status, out.Changed = Done, len(changes) > 0
		return out
	}
	if out.Reason = forGood(err); out.Reason == "" {
		out = a.answered(ctx, DoPlan, err)
		out.Job = job
		return out
	}
	out.Detail = err.Error()
	var refused *api.Error
	if errors.As(err, &refused) {
		out.Detail = refused.Detail
	}
	a.drop(job.Bundle)
	return out
}

// forGood is the reason of a failure that asking again does not mend, "" for
// any other.
func forGood(err error) string {
	var refused *api.Error
	if errors.As(err, &refused) {
		switch refused.Kind {
		case api.Invalid, api.TooLarge, api.NotFound:
			return "bundle"
		}
	}
	return disk(err, "")
}

// changes are the files of a bundle that are not yet as they should be on this
// host. It refuses a bundle that is not for this host, or for which there is no
// room.
func (a *Agent) changes(b *bundle.Bundle) ([]target, error) {
	if err := a.cfg.required(b.Manifest.Requires); err != nil {
		return nil, err
	}
	all, err := a.ofJob().targets(b)
	if err != nil {
		return nil, err
	}
	t, err := openTree(a.cfg.Host.Root(), a.step)
	if err != nil {
		return nil, err
	}
	defer t.root.Close()
	open, err := t.diff(all)
	if err != nil || len(open) == 0 {
		return nil, err
	}
	return open, t.room(open, a.dir.dir)
}

// doApply keeps what the bundle replaces, puts the files in place and runs the
// command. Repeated after a crash it goes on with the same generation.
func (a *Agent) doApply(ctx context.Context) (Outcome, error) {
	if a.state.Job.Bundle == "" {
		return Outcome{Do: DoApply, Status: Done, Interrupt: bundle.InterruptReboot}, nil
	}
	b, err := a.trusted(ctx, a.state.Job.Bundle, true)
	if err != nil {
		if reason := forGood(err); reason != "" {
			return Outcome{Do: DoApply, Status: Failed, Reason: reason, Detail: err.Error()}, nil
		}
		return a.answered(ctx, DoApply, err), nil
	}
	if p, ok := a.cfg.Host.(host.Pacer); ok {
		if err := p.Pace(ctx); err != nil {
			return Outcome{Do: DoApply, Status: Unknown}, nil
		}
	}
	reason, err := "apply", error(nil)
	g, err := a.putInPlace(ctx, b, &reason)
	switch {
	case err == nil:
		out := Outcome{Do: DoApply, Status: Done}
		out.Interrupt, out.Units = asked(b, g)
		return out, nil
	case ends(err):
		return Outcome{}, err
	case ctx.Err() != nil:
		return Outcome{Do: DoApply, Status: Unknown}, nil
	}
	return Outcome{Do: DoApply, Status: Failed, Reason: disk(err, reason), Detail: err.Error()}, nil
}

// asked is the greatest interrupt among the files that changed, and the units
// of the files that ask for it. With restart go the units that others only
// want reloaded: restarted, they have read their files too.
func asked(b *bundle.Bundle, g generation) (bundle.Interrupt, []string) {
	greatest := bundle.InterruptNone
	var units []string
	for _, f := range b.Manifest.Files {
		if !slices.ContainsFunc(g.Files, func(p previous) bool { return "/"+p.Path == f.Path }) {
			continue
		}
		greatest = greatest.Max(f.Interrupt)
		units = append(units, f.Units...)
	}
	if !greatest.OfUnits() {
		return greatest, nil
	}
	slices.Sort(units)
	return greatest, slices.Compact(units)
}

func (a *Agent) generation() string { return a.dir.path("generations", a.state.Request) }

func (a *Agent) putInPlace(ctx context.Context, b *bundle.Bundle, reason *string) (generation, error) {
	var none generation
	all, err := a.ofJob().targets(b)
	if err != nil {
		return none, err
	}
	t, err := openTree(a.cfg.Host.Root(), a.step)
	if err != nil {
		return none, err
	}
	defer t.root.Close()
	if err := a.check(ctx, b, all, reason); err != nil {
		return none, err
	}
	g, kept, err := loadGeneration(a.generation())
	if err != nil {
		return none, err
	}
	if !kept {
		changes, err := t.diff(all)
		if err != nil {
			return none, err
		}
		if g, err = t.save(a.generation(), b.Digest, changes); err != nil {
			return none, fmt.Errorf("keeping the previous files: %w", err)
		}
		if err := a.step("kept the previous files"); err != nil {
			return none, err
		}
	}
	open, err := t.diff(all)
	if err != nil {
		return none, err
	}
	if err := t.install(a.state.Request, open); err != nil {
		return none, err
	}
	if c := b.Manifest.Command; c != nil {
		*reason = "command"
		out, err := a.cfg.Host.Run(ctx, host.Command{Line: c.Run, Env: a.ofJob().env(&a.state), Timeout: time.Duration(c.Timeout)})
		if err != nil {
			return none, lineFailed("command", c.Run, out, err)
		}
	}
	return g, nil
}

// lineFailed says which line of a bundle failed, and what it printed, if anything.
func lineFailed(what, line, out string, err error) error {
	if out == "" {
		return fmt.Errorf("the %s %q failed: %w", what, line, err)
	}
	return fmt.Errorf("the %s %q failed: %w: %s", what, line, err, out)
}

// check runs the bundle's check with the new files in a folder of their own.
func (a *Agent) check(ctx context.Context, b *bundle.Bundle, all []target, reason *string) error {
	c := b.Manifest.Check
	if c == nil {
		return nil
	}
	*reason = "check"
	staged := a.dir.path("staged")
	if err := os.RemoveAll(staged); err != nil {
		return err
	}
	defer os.RemoveAll(staged)
	for _, t := range all {
		if err := stage(filepath.Join(staged, t.path), t); err != nil {
			return err
		}
	}
	env := append(a.ofJob().env(&a.state), "LOCKKEEPER_STAGED="+staged)
	out, err := a.cfg.Host.Run(ctx, host.Command{Line: c.Run, Env: env, Timeout: time.Duration(c.Timeout)})
	if err != nil {
		return lineFailed("check", c.Run, out, err)
	}
	*reason = "apply"
	return nil
}

// stage writes a file for the check, with its mode: it may be run.
func stage(file string, t target) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := fill(f, t); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := f.Chmod(t.mode); err != nil {
		return err
	}
	return f.Close()
}

// doRollBack puts the previous files back. Without a complete generation
// nothing was replaced.
func (a *Agent) doRollBack() (Outcome, error) {
	err := a.rollBack()
	if ends(err) {
		return Outcome{}, err
	}
	if err != nil {
		return Outcome{Do: DoRollBack, Status: Failed, Detail: "the previous files could not be put back: " + err.Error()}, nil
	}
	return Outcome{Do: DoRollBack, Status: Done}, nil
}

func (a *Agent) rollBack() error {
	g, kept, err := loadGeneration(a.generation())
	if err != nil || !kept {
		return err
	}
	t, err := openTree(a.cfg.Host.Root(), a.step)
	if err != nil {
		return err
	}
	defer t.root.Close()
	return t.putBack(a.state.Request, a.generation(), g)
}

// tidy removes generations and bundles that nothing needs: the newest
// generation stays for people, the bundle in place for its health checks.
func (a *Agent) tidy() {
	a.tidyBundles()
	undo := ""
	if u := a.state.Undo; u != nil { // what a person may ask to go back to
		undo = u.Request
	}
	generations, err := os.ReadDir(a.dir.path("generations"))
	if err != nil {
		return
	}
	generations = slices.DeleteFunc(generations, func(e os.DirEntry) bool {
		part := strings.HasSuffix(e.Name(), partSuffix)
		if part {
			_ = os.RemoveAll(a.dir.path("generations", e.Name()))
		}
		return part
	})
	slices.SortFunc(generations, func(x, y os.DirEntry) int { return modTime(y).Compare(modTime(x)) })
	for i, e := range generations {
		if i > 0 && e.Name() != undo {
			_ = os.RemoveAll(a.dir.path("generations", e.Name()))
		}
	}
}

func modTime(e os.DirEntry) time.Time {
	info, err := e.Info()
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
