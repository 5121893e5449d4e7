package service

import (
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// revocations knows since when this coordinator has known of each revoke. Only
// that is sure: the mark's own time is by the clock of the coordinator that put
// it, which may be off.
type revocations struct {
	mu    sync.Mutex
	since map[revocation]time.Time
}

// revocation names a revoked hold: no two of a group share a fence.
type revocation struct {
	group string
	fence int64
}

// note is since when the revoke is known, which is now if it was not before.
func (r *revocations) note(group string, fence int64, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since == nil {
		r.since = map[revocation]time.Time{}
	}
	key := revocation{group, fence}
	if _, known := r.since[key]; !known {
		r.since[key] = now
	}
	return r.since[key]
}

func (r *revocations) forget(group string, fence int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.since, revocation{group, fence})
}

// freeable decides what must be true of a hold that is to be freed, on the
// state as just read: so that a live agent anywhere had the time to return it,
// the wait counts from when this coordinator knew of the revoke.
func (s *Service) freeable(st *semaphore.State, op semaphore.ForceRelease) semaphore.Answer {
	now := s.now()
	h, holds := st.Holds[op.Node]
	if holds && h.Fence == op.Fence && h.State == semaphore.Revoked {
		since := s.revoked.note(st.Group, h.Fence, now)
		mark := semaphore.Mark{}
		if h.Revoked != nil {
			mark = *h.Revoked
		}
		if mark.At.Before(since) {
			mark.At = since
		}
		h.Revoked = &mark
		changed := *st
		changed.Holds = map[string]semaphore.Hold{op.Node: h}
		st = &changed
	}
	return semaphore.Decide(st, op, now).Answer
}
