package web

import (
	"context"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// nextsWithin is how long a page waits for the estimates of those who are next:
// each is asked for by a read of its group, and a page goes without sooner than late.
const nextsWithin = 150 * time.Millisecond

// overviewData is the page of the fleet.
type overviewData struct {
	withEvents
	Nexts map[string]time.Time // when the next of a group probably goes, by group
}

// nexts is when those probably go who are next in their groups, as far as somebody
// can say. A group that a clock or a person keeps shut tells of that instead.
func (s *server) nexts(ctx context.Context, groups []api.Group) map[string]time.Time {
	ctx, cancel := context.WithTimeout(ctx, nextsWithin)
	defer cancel()
	out := map[string]time.Time{}
	for i := range groups {
		g := &groups[i]
		node := firstInOrder(*g)
		if node == "" || g.Status.Frozen != nil || g.Status.Shut != "" || !g.Status.NextGrant.IsZero() {
			continue
		}
		if v, err := s.backend.ExplainNode(ctx, node); err == nil && v.Place > 0 {
			out[g.Name] = toTheMinute(v.Estimate)
		}
		if ctx.Err() != nil {
			return out
		}
	}
	return out
}

// toTheMinute is an estimate as it is told: a change of seconds changes nothing.
func toTheMinute(t time.Time) time.Time { return t.Truncate(time.Minute) }

// waitingSince is since when nodes wait, of those that are named: a report is
// renewed whenever a place in the queue changes.
func waitingSince(groups []api.Group, of map[string]bool) map[string]time.Time {
	out := map[string]time.Time{}
	for i := range groups {
		for _, w := range groups[i].Queue {
			if of[w.Node] {
				out[w.Node] = w.Since
			}
		}
	}
	return out
}
