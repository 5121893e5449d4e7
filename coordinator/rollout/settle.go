package rollout

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Two promises hold the failure budget against a slot that goes on at once.
// Both rest on what is in the store, so that it does not matter which
// coordinator is asked, and whether any engine is elected:
//
//   - a host returns its slot only after its failure is recorded (Settle), and
//   - whoever is granted a slot begins with it only while its rollout runs
//     (MayBegin).

// Settle records a failure that a node reports, and halts its rollout if that
// breaks the budget. When it returns nil, nothing is left to record of the
// report. Errors are semaphore.ErrNoQuorum, the context's, or an *api.Error of kind
// newer_schema: it is for a coordinator that can read the rollout.
func (e *Engine) Settle(ctx context.Context, node string, report api.Report) error {
	id := failedIn(&report)
	if id == "" {
		return nil
	}
	if st, ok := e.cfg.Store.View().Rollouts[id]; ok && st.Newer == "" && !news(&st, node, &report) {
		return nil // what the watch brought was committed
	}
	for try := 1; ; try++ {
		st, err := e.cfg.Store.Read(ctx, id)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err == nil {
			if refused := unreadable(st.Newer); refused != nil {
				return refused
			}
			d := decideFailure(st, node, report, e.cfg.Now().UTC())
			if !d.Changed {
				return nil
			}
			err = e.cfg.Store.Write(ctx, Change{Revision: st.Revision, Head: d.Head, Results: d.Results, Events: d.Events})
			if err == nil {
				e.log.Info("a node of the rollout failed", "id", id, "node", node, "state", d.Head.State)
				e.refresh()
				return nil
			}
		}
		if !again(ctx, err, try) {
			return err
		}
	}
}

// MayBegin returns nil while the rollout runs, by a read made after the call:
// then a node that was granted a slot for it may begin. It refuses with an
// *api.Error of kind conflict; other errors are semaphore.ErrNoQuorum,
// semaphore.ErrNewerSchema or the context's.
func (e *Engine) MayBegin(ctx context.Context, id string) error {
	h, err := e.cfg.Store.ReadHead(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return api.Errorf(api.Conflict, "there is no rollout %s any more: nothing begins for it", id)
	case err != nil:
		return err
	}
	if refused := h.mayBegin(e.cfg.Now()); refused != nil {
		return refused
	}
	return nil
}

// mayBegin refuses when nothing may begin for the rollout.
func (h *Head) mayBegin(now time.Time) *api.Error {
	switch {
	case h.State != api.RolloutRunning:
		return api.Errorf(api.Conflict, "rollout %s is %s: nothing begins for it", h.ID, h.State)
	case !h.begun():
		return api.Errorf(api.Conflict, "rollout %s has not begun: nothing begins for it", h.ID)
	}
	if b := shut(&h.Spec, now); b != nil {
		return api.Errorf(api.Conflict, "rollout %s: nothing begins for it: %s", h.ID, b.Detail)
	}
	return nil
}

// failedIn is the rollout in which a node reports a failure, "" for none.
func failedIn(p *api.Report) string {
	switch {
	case p.Failure == nil:
		return ""
	case p.Failure.Rollout != "":
		return p.Failure.Rollout
	}
	return p.Rollout
}

// news reports whether a report may tell of a failure that is not recorded. One
// older than the recorded one is a report that was long under way.
func news(st *State, node string, p *api.Report) bool {
	if !st.Head.State.Active() || st.Newer != "" ||
		!slices.ContainsFunc(st.Nodes, func(n Selected) bool { return n.Node == node }) {
		return false
	}
	r := st.Results[node]
	return r.Failure == 0 || p.Failure.At.After(r.FailedAt)
}

// decideFailure decides about one node's failure what Decide would, and leaves all
// else to the elected engine.
func decideFailure(st State, node string, report api.Report, now time.Time) Decisions {
	d := Decisions{Head: st.Head}
	if !news(&st, node, &report) {
		return d
	}
	r, begun := st.Results[node]
	v := NodeView{Node: node, Known: true, Report: report, ChangedAt: now}
	s := observe(&st.Head, r, begun, &v)
	if s.failure == nil {
		return d
	}
	i := slices.IndexFunc(st.Nodes, func(n Selected) bool { return n.Node == node })
	next, _ := result(&st.Head, st.Nodes[i], r, begun, s, &v, now)
	d.record([]Result{next}, st.Results, now)
	d.budget(newCourse(st.Head.Spec, &st), st.Head.Spec, st, now)
	return d
}
