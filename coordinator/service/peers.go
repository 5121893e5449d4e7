package service

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// peersKept bounds the FleetLock ids whose address is remembered.
	peersKept = 20_000
	// meanwhile is how close two requests of one id from two addresses are
	// for it to be more than a new address after a reboot.
	meanwhile = time.Minute
)

// contact is the last FleetLock request of an id.
type contact struct {
	addr  string
	at    time.Time
	other string // another address that asked meanwhile
}

// hearGuest takes a FleetLock request in, here and for the other coordinators;
// an empty address is one that is not known. It returns the address that asked
// meanwhile under the same id, here or there, empty when there is none.
func (s *Service) hearGuest(id, addr string) (other string) {
	at, from := s.cfg.Guests.Elsewhere(id)
	other = s.peers.note(id, addr, contact{addr: from, at: at}, s.now(), s.cfg.StrictAddress)
	if other == "" || !s.cfg.StrictAddress {
		s.cfg.Guests.Hear(id, s.peers.address(id))
	}
	return other
}

// guestHeard is when a FleetLock id was last heard, here or, as far as it is
// known, at another coordinator; zero for never.
func (s *Service) guestHeard(id string) time.Time {
	there, _ := s.cfg.Guests.Elsewhere(id)
	return latest(s.peers.heard(id), there)
}

// forgetGuest forgets a FleetLock id everywhere.
func (s *Service) forgetGuest(ctx context.Context, id string) {
	s.peers.forget(id)
	s.cfg.Guests.Forget(ctx, id)
}

// peers remembers where FleetLock ids ask from, in memory: it is all that
// tells two hosts of one id apart.
type peers struct {
	mu   sync.Mutex
	seen map[string]contact
}

// note takes a request in, see hearGuest; elsewhere is the last contact that
// other coordinators know of. A strict one keeps the first address, for as long
// as that asks.
func (p *peers) note(id, addr string, elsewhere contact, now time.Time, strict bool) (other string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, found := p.seen[id]
	if elsewhere.addr != "" && elsewhere.at.After(last.at) {
		last.addr, last.at = elsewhere.addr, elsewhere.at
	}
	if !found && len(p.seen) >= peersKept {
		p.dropOldest()
	}
	if addr == "" {
		addr = last.addr
	}
	c := contact{addr: addr, at: now, other: last.other}
	if last.addr != addr && last.addr != "" && now.Sub(last.at) < meanwhile {
		other = last.addr
		c.other = last.addr
		if strict {
			c.addr, c.at, c.other = last.addr, last.at, addr
		}
	}
	p.seen[id] = c
	return other
}

func (p *peers) dropOldest() {
	var oldest string
	for id, c := range p.seen {
		if oldest == "" || c.at.Before(p.seen[oldest].at) {
			oldest = id
		}
	}
	delete(p.seen, oldest)
}

func (p *peers) address(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[id].addr
}

func (p *peers) heard(id string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[id].at
}

// duplicate says why two hosts seem to ask under the id.
func (p *peers) duplicate(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.seen[id]
	if c.other == "" {
		return ""
	}
	return fmt.Sprintf("addresses %s and %s ask under this id", c.addr, c.other)
}

func (p *peers) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.seen, id)
}
