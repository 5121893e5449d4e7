package fleet

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Kind tells apart who is heard: the same id may come both ways.
type Kind string

// The kinds of presence.
const (
	Agents    Kind = "agent"     // marked by the agent's instance
	FleetLock Kind = "fleetlock" // marked by the address of the host
)

const (
	// silentAfter is how long an id may be silent until its coordinator tells
	// the others. It is longer than any long poll takes.
	silentAfter = 75 * time.Second
	// scanEvery is how often those that went silent are looked for.
	scanEvery = 15 * time.Second
	// sayPause lies between two writes, so that many share one.
	sayPause = 200 * time.Millisecond
	// sayRetry lies between two tries to write.
	sayRetry = time.Second
	// MaxSightings is how many ids one write tells of.
	MaxSightings = 100
	// forgetAfter is how long contacts are remembered that nobody tells of.
	forgetAfter = time.Hour
)

// Sighting is what one coordinator says of one id: that it hears it, until it
// says otherwise or is gone itself.
type Sighting struct {
	V     int    `json:"v"`
	Owner string `json:"owner"`          // the coordinator that says so
	Mark  string `json:"mark,omitempty"` // which of the hosts that might use the id
	// Silent is for how many seconds the id was not heard when this was
	// written; 0 while it is heard. A length of time needs no common clock.
	Silent int64 `json:"silent_s,omitempty"`

	ID       string `json:"-"`
	Revision int64  `json:"-"`
}

// SightingChange is one change of the stored sightings.
type SightingChange struct {
	ID       string
	Sighting Sighting // zero when Deleted
	Deleted  bool
	Reset    bool // the watch began anew: all that is not sent before the next Synced is gone
	Synced   bool
}

// PresenceStore keeps the sightings of all coordinators, those of one for as
// long as it lives. Errors are as those of Store.
type PresenceStore interface {
	// Owner names this coordinator.
	Owner() string
	// PutSightings says so of at most MaxSightings ids, whoever spoke of them
	// before, and returns the store's revision.
	PutSightings(ctx context.Context, kind Kind, list []Sighting) (int64, error)
	// DropSighting forgets an id.
	DropSighting(ctx context.Context, kind Kind, id string) error
	// GetSighting is the stored sighting of an id by a linearizable read; its
	// Revision is 0 when there is none.
	GetSighting(ctx context.Context, kind Kind, id string) (Sighting, error)
	// FollowSightings sends all sightings, then every change, until ctx ends.
	FollowSightings(ctx context.Context, kind Kind) <-chan []SightingChange
}

// PresenceConfig of a Presence.
type PresenceConfig struct {
	Store  PresenceStore
	Kind   Kind
	Logger *slog.Logger     // nil: discarded
	Now    func() time.Time // nil: time.Now
}

// Presence shares between coordinators who is heard where. An id that is heard
// again and again costs one write, when it is first heard; one more when it
// falls silent, and when it is back.
//
// A nil Presence is one of a coordinator without others.
type Presence struct {
	cfg PresenceConfig
	me  string

	mu    sync.RWMutex
	here  map[string]contact
	said  map[string]saying
	due   map[string]bool // perhaps to be written
	kick  chan struct{}
	fault bool // the last write failed, and was logged

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// contact is the last one here.
type contact struct {
	at   time.Time
	mark string
}

// saying is what the store has of an id, and what it had.
type saying struct {
	Sighting
	there   bool      // the key is there
	stale   bool      // not sent again since the watch began anew
	heard   time.Time // last contact elsewhere that is known of, of one that is not live
	changed time.Time // when this was learned
}

func (s *saying) live() bool { return s.there && s.Silent == 0 }

// NewPresence makes a Presence. Nothing runs before Start.
func NewPresence(cfg PresenceConfig) *Presence {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Presence{
		cfg: cfg, me: cfg.Store.Owner(), here: map[string]contact{}, said: map[string]saying{},
		due: map[string]bool{}, kick: make(chan struct{}, 1),
	}
}

// Start follows what the others say, and says what is heard here, until Stop.
func (p *Presence) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	changes := p.cfg.Store.FollowSightings(ctx, p.cfg.Kind)
	p.wg.Go(func() {
		for list := range changes {
			p.apply(list)
		}
	})
	p.wg.Go(func() { p.monitor(ctx) })
}

// Stop ends what Start began, and waits for it. What was said stays said for
// as long as the store keeps it.
func (p *Presence) Stop() {
	if p.cancel != nil {
		p.cancel()
	}
	p.wg.Wait()
}

// Hear notes a contact here.
func (p *Presence) Hear(id, mark string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	p.here[id] = contact{at: now, mark: mark}
	if _, write := p.wish(id, now); write {
		p.want(id)
	}
}

// Elsewhere is when another coordinator last heard the id, as far as it is
// known here; zero for never. While another hears it that is now. The mark is
// that of the host which the other hears, or heard last of all.
func (p *Presence) Elsewhere(id string) (heard time.Time, mark string) {
	if p == nil {
		return time.Time{}, ""
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	s := p.said[id]
	switch {
	case s.Owner == p.me:
		return s.heard, ""
	case s.live():
		return p.cfg.Now(), s.Mark
	}
	return s.heard, s.Mark
}

// Forget forgets an id, here and for the others. A failure leaves a sighting
// that ends with its coordinator.
func (p *Presence) Forget(ctx context.Context, id string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	delete(p.here, id)
	delete(p.due, id)
	delete(p.said, id)
	p.mu.Unlock()
	if err := p.cfg.Store.DropSighting(ctx, p.cfg.Kind, id); err != nil {
		p.cfg.Logger.Debug("a sighting could not be forgotten", "node", id, "error", err)
	}
}

// want has an id looked at by the writer. With the lock held.
func (p *Presence) want(id string) {
	p.due[id] = true
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// wish is what this coordinator has to say of an id now, and whether that is to
// be written. With the lock held.
//
// What another says of a host that it hears is left as it is: a host that goes
// back and forth costs nothing. Another mark is said if it is newer, else two
// coordinators would contradict each other without end.
func (p *Presence) wish(id string, now time.Time) (Sighting, bool) {
	c, found := p.here[id]
	if !found {
		return Sighting{}, false
	}
	s := p.said[id]
	mine := s.there && s.Owner == p.me
	w := Sighting{V: 1, ID: id, Owner: p.me, Mark: c.mark}
	if silent := now.Sub(c.at); silent >= silentAfter {
		w.Silent = int64(silent / time.Second)
		return w, mine && s.live()
	}
	if newer := c.at.After(s.changed); mine {
		return w, s.Silent > 0 && newer || s.Mark != c.mark
	} else {
		return w, !s.live() || s.Mark != c.mark && newer
	}
}

// apply takes over what the store says.
func (p *Presence) apply(list []SightingChange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	for _, c := range list {
		switch {
		case c.Reset:
			for id, s := range p.said {
				s.stale = true
				p.said[id] = s
			}
		case c.Synced:
			for id, s := range p.said {
				if s.stale && s.there {
					p.gone(id, now)
				}
			}
		case c.Deleted:
			p.gone(c.ID, now)
		default:
			p.take(c.ID, c.Sighting, now)
		}
	}
}

// take takes over a sighting. With the lock held.
func (p *Presence) take(id string, now Sighting, at time.Time) {
	s := p.said[id]
	s.stale = false
	if now.Revision > s.Revision {
		if s.live() && s.Owner != p.me {
			s.heard = at // until now it was heard there
		}
		s.Sighting, s.there, s.changed = now, true, at
		if now.Silent > 0 && now.Owner != p.me {
			s.heard = at.Add(-time.Duration(now.Silent) * time.Second)
		}
	}
	p.said[id] = s
	p.review(id, at)
}

// gone takes over that nobody says anything of the id any more: its coordinator
// is gone. With the lock held.
func (p *Presence) gone(id string, now time.Time) {
	s, found := p.said[id]
	if !found {
		return
	}
	if s.live() && s.Owner != p.me {
		s.heard = now
	}
	s.there, s.stale, s.changed = false, false, now
	p.said[id] = s
	p.review(id, now)
}

func (p *Presence) review(id string, now time.Time) {
	if _, write := p.wish(id, now); write {
		p.want(id)
	}
}

// monitor writes what is due, and looks for those that fell silent.
func (p *Presence) monitor(ctx context.Context) {
	scan := time.NewTicker(scanEvery)
	defer scan.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.kick:
		case <-scan.C:
			p.scan()
		}
		pause := sayPause
		if !p.say(ctx) {
			pause = sayRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// scan finds those that fell silent, and forgets what is long ago.
func (p *Presence) scan() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	for id, c := range p.here {
		p.review(id, now)
		if !p.due[id] && now.Sub(c.at) > forgetAfter {
			delete(p.here, id)
		}
	}
	for id, s := range p.said {
		if !s.there && now.Sub(s.heard) > forgetAfter {
			delete(p.said, id)
		}
	}
}

// say writes all that is due. It reports false when some is still due.
func (p *Presence) say(ctx context.Context) bool {
	for {
		list := p.takeDue()
		if len(list) == 0 {
			return true
		}
		revision, err := p.cfg.Store.PutSightings(ctx, p.cfg.Kind, list)
		p.mu.Lock()
		for _, s := range list {
			if err != nil {
				p.want(s.ID)
				continue
			}
			s.Revision = revision
			p.take(s.ID, s, p.cfg.Now())
		}
		first := err != nil && !p.fault
		p.fault = err != nil
		p.mu.Unlock()
		if first && ctx.Err() == nil {
			p.cfg.Logger.Warn("the other coordinators cannot be told who is heard here; trying again", "error", err)
		}
		if err != nil {
			return false
		}
	}
}

// takeDue takes at most MaxSightings off what is due.
func (p *Presence) takeDue() []Sighting {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []Sighting
	now := p.cfg.Now()
	for id := range p.due {
		if len(list) == MaxSightings {
			break
		}
		delete(p.due, id)
		if s, write := p.wish(id, now); write {
			list = append(list, s)
		}
	}
	return list
}
