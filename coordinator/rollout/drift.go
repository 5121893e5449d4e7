package rollout

import (
	"context"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Settled is what a rollout has brought a node to last. It outlives the rollout,
// and is put by the transaction that records the node's success.
type Settled struct {
	V       int       `json:"v"`
	Node    string    `json:"node"`
	Bundle  string    `json:"bundle"`
	Name    string    `json:"name,omitempty"` // of the bundle
	Rollout string    `json:"rollout"`
	At      time.Time `json:"at"`

	Extra semaphore.Extra `json:"-"`
}

// Settles are the nodes that a change records as updated.
func (c *Change) Settles() []Settled {
	var out []Settled
	for _, r := range c.Results {
		if r.State == api.NodeUpdated {
			out = append(out, Settled{
				Node: r.Node, Bundle: c.Head.Spec.Bundle, Name: c.Head.BundleName, Rollout: c.Head.ID, At: r.At,
			})
		}
	}
	return out
}

// Drift says of nodes, as of now, whether they report another bundle than the one
// that they were brought to last, or none. A node at work has not drifted, nor has
// one of an active rollout: what it is to have is about to change.
func (e *Engine) Drift() func(*api.Node) *api.Drift {
	active, settled := e.picture().active, e.cfg.Store.View().Settled
	return func(n *api.Node) *api.Drift {
		s, ok := settled[n.ID]
		if _, busy := active[n.ID]; !ok || busy || n.Hold != nil || n.Report.Bundle == s.Bundle ||
			n.Report.Phase != api.PhaseIdle && n.Report.Phase != api.PhaseFailed {
			return nil
		}
		return &api.Drift{Bundle: s.Bundle, Name: s.Name, Rollout: s.Rollout, Since: n.ChangedAt}
	}
}

// Forget forgets what a node was brought to. Errors are semaphore.ErrNoQuorum or
// the context's.
func (e *Engine) Forget(ctx context.Context, node string) error {
	for try := 1; ; try++ {
		if err := e.cfg.Store.ForgetSettled(ctx, node); err == nil || !again(ctx, err, try) {
			return err
		}
	}
}
