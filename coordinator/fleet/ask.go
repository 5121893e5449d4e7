package fleet

import (
	"context"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// answerWithin is how long the other coordinators have to say that they hear an
// id which this one has called silent. One needs a change of the watch, at most
// sayPause and a write for that.
const answerWithin = 2 * time.Second

// Ask is the last moment at which another coordinator may have heard the id, by
// a read made now: what the watch has brought may be old, and must not free a
// slot. An id that was heard here is left to this coordinator by the others, so
// it is called silent first, and they have answerWithin to say otherwise. Errors
// are as those of Store.
func (p *Presence) Ask(ctx context.Context, id string) (time.Time, error) {
	if p == nil {
		return time.Time{}, nil
	}
	if err := p.hush(ctx, id); err != nil {
		return time.Time{}, err
	}
	if err := p.awaitAnswers(ctx, id); err != nil {
		return time.Time{}, err
	}
	stored, err := p.cfg.Store.GetSighting(ctx, p.cfg.Kind, id)
	if err != nil {
		return time.Time{}, err
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	s, now := p.said[id], p.cfg.Now()
	there := stored.Revision != 0
	if there && stored.Silent == 0 || there != s.there || there && stored.Revision != s.Revision {
		return now, nil // it is heard, or what was read is yet to be taken in
	}
	return s.heard, nil
}

// hush says that the id is silent if it is this coordinator that says it is
// heard, and has not heard it for long enough to free its slot.
func (p *Presence) hush(ctx context.Context, id string) error {
	p.mu.RLock()
	s, c := p.said[id], p.here[id]
	p.mu.RUnlock()
	silent := p.cfg.Now().Sub(c.at)
	if !s.live() || s.Owner != p.me || silent < semaphore.FreeUnheard {
		return nil
	}
	w := Sighting{V: 1, ID: id, Owner: p.me, Mark: c.mark, Silent: int64(silent / time.Second)}
	revision, err := p.cfg.Store.PutSightings(ctx, p.cfg.Kind, []Sighting{w})
	if err != nil {
		return err
	}
	w.Revision = revision
	p.mu.Lock()
	defer p.mu.Unlock()
	p.take(id, w, p.cfg.Now())
	return nil
}

// awaitAnswers waits while an id was called silent so lately that another may be
// about to speak.
func (p *Presence) awaitAnswers(ctx context.Context, id string) error {
	p.mu.RLock()
	s := p.said[id]
	left := answerWithin - p.cfg.Now().Sub(s.changed)
	p.mu.RUnlock()
	if s.live() || left <= 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(min(left, answerWithin)):
		return nil
	}
}
