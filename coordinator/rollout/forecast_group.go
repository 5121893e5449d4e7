package rollout

import (
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// playedGroup is a group's semaphore in virtual time.
type playedGroup struct {
	number  int32
	state   semaphore.State
	wakes   time.Time // that a wake is noted for; zero for none
	told    int       // nodes out of service, as told last
	touched bool
}

// do decides and applies a request, and notes the waiters that it granted.
func (p *player) do(g *playedGroup, op semaphore.Op) semaphore.Decision {
	d := semaphore.Decide(&g.state, op, p.now)
	if !d.Writes() {
		return d
	}
	g.state = g.state.Apply(d)
	for _, c := range d.Changes {
		if c.Out != nil || c.DeleteOut {
			for _, other := range p.groups { // one key for all groups
				other.state.Out = c.Out
				p.rouse(other)
			}
		}
	}
	for i := range d.Granted {
		if h, ok := p.host(d.Granted[i].Node); ok {
			p.hosts[h].fence = d.Granted[i].Fence
			p.in(0, hostGranted, h)
		}
	}
	if !g.touched {
		g.touched = true
		p.out = append(p.out, g)
	}
	return d
}

// rouse notes when a clock lets the group's waiters go on, or that they may now.
func (p *player) rouse(g *playedGroup) {
	if g.state.Waiting() == 0 {
		return
	}
	at := p.now
	if until, shut := g.state.ShutUntil(p.now); shut {
		if until.IsZero() {
			return
		}
		at = until
	}
	if g.wakes.IsZero() || at.Before(g.wakes) {
		g.wakes = at
		p.until(at, groupWakes, int(g.number))
	}
}

// wake grants whom the rules let go now.
func (p *player) wake(g *playedGroup) {
	g.wakes = time.Time{}
	for {
		if d := p.do(g, semaphore.Admit{}); len(d.Granted) < semaphore.MaxGrants {
			break
		}
	}
	if until, shut := g.state.ShutUntil(p.now); shut && until.After(p.now) {
		p.rouse(g)
	}
}

// playedStore shows the groups as they are in virtual time.
type playedStore struct {
	semaphore.Store
	p *player
}

func (s playedStore) View(group string) (semaphore.State, bool) {
	g, ok := s.p.byName[group]
	if !ok {
		return semaphore.State{Group: group}, false
	}
	return g.state.Plain(), g.state.Exists()
}

func (s playedStore) Look(group string) (semaphore.State, bool) {
	g, ok := s.p.byName[group]
	if !ok {
		return semaphore.State{Group: group}, false
	}
	return g.state, g.state.Exists()
}
