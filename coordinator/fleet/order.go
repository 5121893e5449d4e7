package fleet

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Order gives a node an order, which stands until its report answers it. An
// order that stands already is kept, and returned with false. allowed looks at
// the node's last report, as stored, and refuses by an error.
func (r *Registry) Order(ctx context.Context, id string, o api.Order, e semaphore.Event, allowed func(api.Report) error) (api.Order, bool, error) {
	for range savedTries {
		rec, found, err := r.cfg.Store.GetNode(ctx, id)
		switch {
		case err != nil:
			return o, false, err
		case !found:
			return o, false, api.Errorf(api.NotFound, "no agent has reported as node %q", id)
		case rec.Order != nil:
			return *rec.Order, false, nil
		}
		if err := allowed(rec.Report); err != nil {
			return o, false, err
		}
		o.Bundle = rec.Report.Bundle
		rec.Order = &o
		err = r.cfg.Store.OrderNode(ctx, rec, e)
		if errors.Is(err, ErrChanged) {
			continue
		}
		if err != nil {
			return o, false, err
		}
		if rec, found, err = r.cfg.Store.GetNode(ctx, id); err != nil || !found {
			return o, true, err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.entry(id).take(rec)
		r.bump()
		return o, true, nil
	}
	return o, false, fmt.Errorf("node %q: %w", id, ErrChanged)
}
