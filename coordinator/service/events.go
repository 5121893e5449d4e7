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
	if err := v.err(); err != nil {
		return api.EventList{}, err
	}
	if err := s.checkAfter(ctx, q.After); err != nil {
		return api.EventList{}, err
	}
	list, err := s.db.Events(ctx, q)
	return list, s.problem(ctx, err)
}

// WatchEvents sends the events behind a revision, then each new one. The
// channel is closed when ctx or the caller's credential ends, or when the events
// cannot be read.
func (s *Service) WatchEvents(ctx context.Context, after int64) (<-chan api.Event, error) {
	if _, err := need(ctx, api.RoleViewer); err != nil {
		return nil, err
	}
	if err := s.checkAfter(ctx, after); err != nil {
		return nil, err
	}
	ctx, end := whileValid(ctx)
	context.AfterFunc(ctx, end)
	return s.db.WatchEvents(ctx, after), nil
}

// checkAfter refuses a revision that the store has not reached: whoever waited
// behind it would miss all that happens until then. It is of another cluster, or
// from before a restore. This coordinator may be behind another one that the
// revision was learnt from, so the store itself is asked.
func (s *Service) checkAfter(ctx context.Context, after int64) error {
	var v invalid
	if after < 0 {
		v.add("after", "want a revision, a whole number from 0 on")
		return v.err()
	}
	if after <= s.Revision() {
		return nil
	}
	newest, err := s.db.Revision(ctx)
	if err != nil {
		return s.problem(ctx, err)
	}
	if after > newest {
		v.add("after", fmt.Sprintf("revision %d is not reached yet, the newest is %d: it is of another cluster, or from before a restore. Begin anew with after=0, or behind the newest", after, newest))
	}
	return v.err()
}
