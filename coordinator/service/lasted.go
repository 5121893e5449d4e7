package service

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

const (
	// lastedEvents is how far back in the audit trail holds are looked for: so
	// many events are in memory.
	lastedEvents = 5000
	// lastedHolds is how many holds of a group count, the newest.
	lastedHolds = 50
	// lastedFor is how long one look at the trail is good for.
	lastedFor = 10 * time.Second
)

// Lasted knows how long the holds of each group lasted that were returned of
// late. It is read from the audit trail, so that it outlives a restart and has
// the holds that other coordinators granted.
type Lasted struct {
	events func(context.Context, api.EventQuery) (api.EventList, error)

	mu sync.Mutex
	at time.Time // of the look, zero before the first
	by map[string][]time.Duration
}

// NewLasted reads the events as needed.
func NewLasted(events func(context.Context, api.EventQuery) (api.EventList, error)) *Lasted {
	return &Lasted{events: events}
}

// Of is how long the last holds of a group took, oldest first; none when nothing
// is on record, or the trail cannot be read: an estimate is not worth an error.
func (l *Lasted) Of(ctx context.Context, group string) []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil || time.Since(l.at) > lastedFor {
		events, err := l.events(ctx, api.EventQuery{Last: true, Limit: lastedEvents})
		if err != nil {
			return nil
		}
		l.by, l.at = holdsThatEnded(events.Events), time.Now()
	}
	return l.by[group]
}

// meanHold is the mean of the holds that a group's nodes returned of late, and
// what it rests on; 0 when there is none.
func (s *Service) meanHold(ctx context.Context, group string) (mean time.Duration, basis string) {
	list := s.lasted.Of(ctx, group)
	if len(list) == 0 {
		return 0, ""
	}
	for _, d := range list {
		mean += d
	}
	mean /= time.Duration(len(list))
	return mean, fmt.Sprintf("each hold lasts as long as the last %d of group %s did on average: %s", len(list), group, roundly(mean))
}

// holdsThatEnded are, for each group, how long the last holds took that their
// nodes returned. One that was freed by name or expired says nothing of that.
func holdsThatEnded(events []api.Event) map[string][]time.Duration {
	type slot struct{ group, node string }
	since := map[slot]time.Time{}
	by := map[string][]time.Duration{}
	for i := range events {
		e := &events[i]
		key := slot{e.Group, e.Node}
		switch e.Kind {
		case "hold.granted":
			since[key] = e.At
		case "hold.revoked", "hold.freed", "hold.expired":
			delete(since, key)
		case "hold.released":
			begun, known := since[key]
			delete(since, key)
			if took := e.At.Sub(begun); known && took > 0 {
				list := append(by[e.Group], took)
				by[e.Group] = list[max(0, len(list)-lastedHolds):]
			}
		}
	}
	return by
}

// roundly is a duration as people say it.
func roundly(d time.Duration) time.Duration {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond)
	case d < time.Minute:
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}
