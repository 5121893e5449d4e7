package rollout

import (
	"context"
	"fmt"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// BundleUse says which active rollout needs a bundle and for what, "" for none,
// by a read made after the call: it brings nodes to it, or would bring them back
// to it. None comes to bring nodes to it while the catalog stays at that revision.
// Errors are semaphore.ErrNoQuorum, an *api.Error of kind newer_schema when
// a rollout cannot be read here, or the context's.
func (e *Engine) BundleUse(ctx context.Context, digest string) (use string, catalog int64, err error) {
	all, err := e.cfg.Store.ReadAll(ctx)
	if err != nil {
		return "", 0, err
	}
	if refused := unreadable(all.Unread); refused != nil {
		return "", 0, refused
	}
	for id, st := range all.Rollouts {
		if use := bundleUse(&st, digest); use != "" {
			return fmt.Sprintf("rollout %s (%s, %s) %s", id, label(st.Head.Spec.Name, st.Head.BundleName), st.Head.State, use), all.Catalog, nil
		}
	}
	return "", all.Catalog, nil
}

func bundleUse(st *State, digest string) string {
	if !st.Head.State.Active() {
		return ""
	}
	if st.Head.Spec.Bundle == digest {
		return "brings nodes to this bundle"
	}
	if scope := st.Head.Spec.AutoRollback; scope == "" || scope == api.RollbackNone {
		return ""
	}
	for _, n := range st.Nodes {
		if n.Before == digest || st.Results[n.Node].Before == digest {
			return "would bring nodes back to this bundle"
		}
	}
	return ""
}
