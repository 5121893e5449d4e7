package web

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

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

// calm reports that the headline only says who is out and who waits.
func calm(st api.Status) bool {
	return st.OK && st.Frozen == nil
}

// outlookOf is what goes on beyond who is out: how many rollouts can still go on,
// and the one that does, or the one that ended last.
type outlookOf struct {
	Active int
	One    *api.Rollout
	Word   string // of its state, within a sentence
	Each   string // how many are in which state: "1 running, 2 paused"
}

func outlook(list []api.Rollout) (o outlookOf) {
	for i := range list {
		switch r := &list[i]; {
		case r.State.Active():
			if o.Active++; o.Active == 1 {
				o.One = r
			}
		case o.Active == 0 && (o.One == nil || r.EndedAt.After(o.One.EndedAt)):
			o.One = r
		}
	}
	var each []string
	for _, state := range api.RolloutStates {
		n := 0
		for i := range list {
			if list[i].State == state && state.Active() {
				n++
			}
		}
		if n > 0 {
			each = append(each, fmt.Sprintf("%d %s", n, strings.ToLower(rolloutLooks[state].Word)))
		}
	}
	o.Each = strings.Join(each, ", ")
	if o.One != nil {
		o.Word = strings.ToLower(rolloutLooks[o.One.State].Word)
	}
	return o
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
