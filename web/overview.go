package web

import (
	"context"
	"net/url"
	"slices"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// latestEvents is how many events a page shows beside its matter.
const latestEvents = 10

// withEvents is what a page has that shows its latest events, newest first.
type withEvents struct{ Events []api.Event }

func (s *server) latest(ctx context.Context, q api.EventQuery) (withEvents, error) {
	q.Last, q.Limit = true, latestEvents
	list, err := s.backend.Events(ctx, q)
	slices.Reverse(list.Events)
	return withEvents{list.Events}, err
}

func loadOverview(ctx context.Context, s *server, f *Frame, _ string, _ url.Values) (err error) {
	var d overviewData
	if !f.Status.Stale {
		d.Nexts = s.nexts(ctx, f.Status.Groups)
	}
	d.withEvents, err = s.latest(ctx, api.EventQuery{})
	f.Data = d
	return err
}
