package service

import (
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

// peers remembers where FleetLock ids ask from, in memory: it is all that
// tells two hosts of one id apart.
type peers struct {
	mu   sync.Mutex
	seen map[string]contact
}

// note takes a request in; an empty address is one that is not known. It
// returns the address that asked meanwhile under the same id, empty when there
// is none. A strict one keeps the first address, for as long as that asks.
func (p *peers) note(id, addr string, now time.Time, strict bool) (other string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, found := p.seen[id]
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
