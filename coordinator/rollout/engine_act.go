package rollout

import (
	"context"
	"errors"
	"slices"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Act does to a rollout what a person asked. An outcome that is there already is
// no error. Errors are *api.Error, semaphore.ErrNoQuorum or the context's.
func (e *Engine) Act(ctx context.Context, id string, ask Ask) (api.Rollout, error) {
	if len(ask.Reason) > maxReason {
		return api.Rollout{}, api.Errorf(api.Invalid, "reason of %d bytes: at most %d", len(ask.Reason), maxReason)
	}
	var tried unanswered
	for try := 1; ; try++ {
		st, err := e.cfg.Store.Read(ctx, id)
		var made bool
		if err == nil {
			made, err = tried.made(ctx, e.cfg.Store)
		}
		var d Decisions
		if err == nil {
			if refused := unreadable(st.Newer); refused != nil {
				return api.Rollout{}, refused
			}
			if made {
				return e.answer(id, st), nil
			}
			ask = ask.bound(&st)
			var refused *api.Error
			if d, refused = Apply(st, ask, e.cfg.Now().UTC()); refused != nil {
				return api.Rollout{}, refused
			}
			if !d.Changed {
				return e.answer(id, st), nil
			}
			err = tried.noted(d, e.carryOut(ctx, st, d))
		}
		var refused *api.Error
		switch {
		case err == nil:
			st.Head = d.Head
			return e.answer(id, st), nil
		case errors.Is(err, ErrNotFound):
			return api.Rollout{}, api.Errorf(api.NotFound, "there is no rollout %q", id)
		case errors.As(err, &refused) || !again(ctx, err, try):
			return api.Rollout{}, err
		}
	}
}

// RetryNode tries a node again that failed in the newest rollout which selects
// it. Errors are *api.Error, semaphore.ErrNoQuorum or the context's.
func (e *Engine) RetryNode(ctx context.Context, node, by, reason string) (api.Rollout, error) {
	var tried unanswered
	for try := 1; ; try++ {
		all, err := e.cfg.Store.ReadAll(ctx)
		var made bool
		if err == nil {
			made, err = tried.made(ctx, e.cfg.Store)
		}
		var st State
		if err == nil {
			if refused := unreadable(all.Unread); refused != nil {
				return api.Rollout{}, refused
			}
			var ok bool
			if st, ok = newestOf(all.Rollouts, node); !ok {
				return api.Rollout{}, api.Errorf(api.Conflict, "node %s: no rollout selects it, so there is nothing to try again", node)
			}
			if made {
				return e.answer(st.Head.ID, st), nil
			}
			if r := st.Results[node]; r.State != api.NodeBroken || r.Failure <= st.Head.Retried {
				return api.Rollout{}, api.Errorf(api.Conflict, "node %s: it has not failed in rollout %s, the newest that selects it", node, st.Head.ID)
			}
			d, refused := RetryNode(st, node, by, reason, e.cfg.Now().UTC())
			if refused != nil {
				return api.Rollout{}, refused
			}
			if err = tried.noted(d, e.carryOut(ctx, st, d)); err == nil {
				st.Head = d.Head
				return e.answer(st.Head.ID, st), nil
			}
		}
		var refused *api.Error
		if errors.As(err, &refused) || !again(ctx, err, try) {
			return api.Rollout{}, err
		}
	}
}

// newestOf is the newest rollout that selects a node and has begun.
func newestOf(all map[string]State, node string) (newest State, found bool) {
	for _, st := range all {
		selects := st.Head.begun() && slices.ContainsFunc(st.Nodes, func(n Selected) bool { return n.Node == node })
		if selects && (!found || st.Head.CreatedAt.After(newest.Head.CreatedAt)) {
			newest, found = st, true
		}
	}
	return newest, found
}

// carryOut writes an action's outcome. A rollout that had ended and comes back
// to life is held against all others as a new one is.
func (e *Engine) carryOut(ctx context.Context, st State, d Decisions) error {
	c := Change{Revision: st.Revision, Head: d.Head, Results: d.Results, Events: d.Events}
	if !st.Head.State.Active() {
		all, err := e.cfg.Store.ReadAll(ctx)
		if err != nil {
			return err
		}
		if refused := unreadable(all.Unread); refused != nil {
			return refused
		}
		if conflict := conflicting(all.Rollouts, st.Nodes, st.Head.ID); conflict != nil {
			return conflict
		}
		if _, err := e.bundleName(ctx, st.Head.Spec.Bundle); err != nil {
			return err
		}
		c.Catalog, c.Bundle = all.Catalog, st.Head.Spec.Bundle
	}
	return e.cfg.Store.Write(ctx, c)
}
