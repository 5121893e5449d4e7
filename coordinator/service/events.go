package service

import (
	"context"
	"fmt"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

const maxEvents = 10_000

// Events is a page of the audit trail.
func (s *Service) Events(ctx context.Context, q api.EventQuery) (api.EventList, error) {
	if _, err := need(ctx, api.RoleViewer); err != nil {
		return api.EventList{}, err
	}
	var v invalid
	if q.Limit == 0 {
		q.Limit = defaultPage
	}
	if q.Limit < 1 || q.Limit > maxEvents {
		v.add("limit", fmt.Sprintf("want 1 to %d", maxEvents))
	}
	if q.After < 0 {
		v.add("after", "want a revision, a whole number from 0 on")
	}
	if err := v.err(); err != nil {
		return api.EventList{}, err
	}
	list, err := s.db.Events(ctx, q)
	return list, s.problem(ctx, err)
}

// WatchEvents sends the events behind a revision, then each new one. The
// channel is closed when ctx ends, or when the events cannot be read.
func (s *Service) WatchEvents(ctx context.Context, after int64) (<-chan api.Event, error) {
	if _, err := need(ctx, api.RoleViewer); err != nil {
		return nil, err
	}
	if after < 0 {
		return nil, api.Errorf(api.Invalid, "after: want a revision, a whole number from 0 on")
	}
	return s.db.WatchEvents(ctx, after), nil
}
