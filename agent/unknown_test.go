package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// lossy is a coordinator whose answers get lost, so many of each call: what was
// asked has been done, and the agent does not know.
type lossy struct {
	*coordinator
	lose     map[string]int
	requests map[string]bool // ids of acquires
	fences   map[int64]bool  // that were released
}

var errLost = errors.New("connection reset by peer")

func (l *lossy) lost(call string, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.lose[call] > 0 {
		l.lose[call]--
		return errLost
	}
	return err
}

func (l *lossy) Acquire(ctx context.Context, group, id string, req api.AcquireRequest, wait time.Duration) (api.AcquireResponse, error) {
	l.mu.Lock()
	l.requests[req.Request] = true
	l.mu.Unlock()
	resp, err := l.coordinator.Acquire(ctx, group, id, req, wait)
	return resp, l.lost("acquire", err)
}

func (l *lossy) Confirm(ctx context.Context, group, id string, req api.ConfirmRequest) (api.Hold, error) {
	h, err := l.coordinator.Confirm(ctx, group, id, req)
	return h, l.lost("confirm", err)
}

func (l *lossy) Release(ctx context.Context, group, id string, fence int64, instance string) error {
	l.mu.Lock()
	l.fences[fence] = true
	l.mu.Unlock()
	return l.lost("release", l.coordinator.Release(ctx, group, id, fence, instance))
}

func TestUnknownOutcome_IsAskedAgainWithTheSameRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		digest := w.standard(bundle.InterruptReboot)
		l := &lossy{w.c, map[string]int{"acquire": 3, "confirm": 3, "release": 3}, map[string]bool{}, map[int64]bool{}}
		w.cfg.Coordinator = l
		w.c.want(wanted(digest))
		w.start()
		w.until("done", w.reported(func(r api.Report) bool { return r.Bundle == digest && r.Phase == api.PhaseIdle }))
		w.stop()
		if len(l.requests) != 1 || len(l.fences) != 1 {
			t.Errorf("asked as %v, returned %v: want one of each", l.requests, l.fences)
		}
		for call, left := range l.lose {
			if left != 0 {
				t.Errorf("%s: %d answers were never lost", call, left)
			}
		}
		if w.c.hold != nil || w.h.Boots() != 1 || w.h.drains != 1 {
			t.Errorf("hold %+v, %d boots, %d drains", w.c.hold, w.h.Boots(), w.h.drains)
		}
	})
}
