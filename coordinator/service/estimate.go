package service

import (
	"context"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

const (
	// estimateShare is how many times as long as it took an estimate is good
	// for: who watches a node in a long queue asks for it at every change.
	estimateShare = 50
	// estimatesKept bounds the estimates that are remembered.
	estimatesKept = 64
)

// estimates remembers when nodes will probably go. Playing a queue through is
// work, so it is done once at a time.
type estimates struct {
	mu   sync.Mutex
	last map[string]estimate // by group and node
}

type estimate struct {
	at    time.Time // zero: nobody can say
	basis string
	until time.Time // that it is good for
}

// estimate says when a node that wants to go is likely to be let.
func (s *Service) estimate(ctx context.Context, v *api.Verdict, st *semaphore.State, now time.Time) {
	mean, basis := s.meanHold(ctx, v.Group)
	if mean == 0 {
		return
	}
	l := &s.estimates
	l.mu.Lock()
	defer l.mu.Unlock()
	key := v.Group + "/" + v.Node
	e, known := l.last[key]
	if began := time.Now(); !known || began.After(e.until) {
		e = estimate{basis: basis}
		if at, found := semaphore.Forecast(st, v.Node, now, mean); found {
			e.at = at.UTC()
		}
		e.until = time.Now().Add(estimateShare * time.Since(began))
		if l.last == nil || len(l.last) >= estimatesKept {
			l.last = map[string]estimate{}
		}
		l.last[key] = e
	}
	if e.at.IsZero() {
		return
	}
	v.Estimate, v.EstimateBasis = e.at, e.basis
	// A remembered one may be older than the window or blackout that decides now.
	if v.Estimate.Before(v.Earliest) {
		v.Estimate = v.Earliest
	}
}
