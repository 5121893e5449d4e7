package service

import (
	"context"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/membership"
)

const (
	// lostAfter is how long nobody leads until those who wait here are sent to
	// another coordinator. An election takes less: they need not move for one.
	lostAfter = 5 * time.Second
	// lostEvery is how often that is looked at.
	lostEvery = 250 * time.Millisecond
)

// standing ends with the quorum. What a coordinator without one knows may be
// long past: a host that waited there would wait for what has come elsewhere.
type standing struct {
	mu  sync.Mutex
	now context.Context
	end context.CancelCauseFunc
}

func (q *standing) begin() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.now, q.end = context.WithCancelCause(context.Background())
}

func (q *standing) lose() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.end(noQuorum())
}

// until is done once nobody has led for lostAfter; its cause is the refusal.
func (q *standing) until() context.Context {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.now
}

// monitorQuorum sends away who waits here once there is no quorum for long.
func (s *Service) monitorQuorum(ctx context.Context) {
	ticker := time.NewTicker(lostEvery)
	defer ticker.Stop()
	var since time.Time // nobody leads; zero: somebody does
	for {
		switch {
		case s.node.HasLeader():
			since = time.Time{}
			if s.quorum.until().Err() != nil {
				s.logger.Info("there is a quorum again")
				s.quorum.begin()
			}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= lostAfter:
			if s.quorum.until().Err() == nil && s.cfg.Members != nil && len(s.node.Members()) > 1 {
				s.logger.Error("there is no quorum: what is known may be read, and nothing can be changed until a majority of the members is back", "hint", membership.LostForGood)
			}
			s.quorum.lose()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// whileQuorum is a context that ends with the quorum as well. The caller stops it.
func (s *Service) whileQuorum(ctx context.Context) (context.Context, context.CancelFunc) {
	lost := s.quorum.until()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(lost, func() { cancel(context.Cause(lost)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}
