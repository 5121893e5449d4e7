package service

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

const (
	// sweepPause lies between two looks over all parked polls, at least: what a
	// rollout wants may change for any node.
	sweepPause = 10 * time.Millisecond
	// sweepShare is how many times as long as a look took the next is put off,
	// so that looking takes a small part of a processor.
	sweepShare = 20
	// tick is how often things that only time changes are looked at.
	tick = 2 * time.Second
)

// parked is one long poll that waits.
type parked struct {
	tag   atomic.Pointer[string] // of the answer that its node has, nil before the first
	woken chan struct{}          // holds one wake-up
}

func (p *parked) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// polls knows the long polls by node. Of two for one node the newer counts; the
// older runs into its time.
type polls struct {
	mu     sync.Mutex
	parked map[string]*parked
}

func (l *polls) enter(id string) *parked {
	p := &parked{woken: make(chan struct{}, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parked[id] = p
	return p
}

func (l *polls) leave(id string, p *parked) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parked[id] == p {
		delete(l.parked, id)
	}
}

func (l *polls) wake(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, found := l.parked[id]; found {
		p.wake()
	}
}

// all is a copy, so that the sweep does not hold the lock.
func (l *polls) all() map[string]*parked {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]*parked, len(l.parked))
	for id, p := range l.parked {
		out[id] = p
	}
	return out
}

// heldAs is what a poll tells of a hold.
type heldAs struct {
	fence int64
	state semaphore.HoldState
}

// holdDiff finds whose hold changed, by looking at holds only.
type holdDiff struct {
	heads map[string]int64 // ModRevision of each group's head
	holds map[string]map[string]heldAs
}

// changed returns the nodes whose hold changed since the last call, and notes
// revokes.
func (d *holdDiff) changed(store semaphore.Store, revoked *revocations, at time.Time) []string {
	var nodes []string
	seen := map[string]bool{}
	for _, group := range store.Groups() {
		seen[group] = true
		st, found := store.Look(group)
		if !found || d.heads[group] == st.HeadRev {
			continue
		}
		d.heads[group] = st.HeadRev
		old, now := d.holds[group], make(map[string]heldAs, st.Held())
		for node, h := range st.EachHold() {
			now[node] = heldAs{h.Fence, h.State}
			if h.State == semaphore.Revoked {
				revoked.note(group, h.Fence, at)
			}
			if old[node] != now[node] {
				nodes = append(nodes, node)
			}
		}
		for node, was := range old {
			if _, holds := now[node]; !holds {
				nodes = append(nodes, node)
			}
			if now[node].fence != was.fence {
				revoked.forget(group, was.fence)
			}
		}
		d.holds[group] = now
	}
	for group, old := range d.holds {
		if !seen[group] {
			for node, was := range old {
				nodes = append(nodes, node)
				revoked.forget(group, was.fence)
			}
			delete(d.holds, group)
			delete(d.heads, group)
		}
	}
	return nodes
}

// monitorChanges wakes the long polls that something changed for, and tells
// everybody who follows Changed.
func (s *Service) monitorChanges(ctx context.Context) {
	holds := holdDiff{heads: map[string]int64{}, holds: map[string]map[string]heldAs{}}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	sweep := time.NewTimer(0)
	defer sweep.Stop()
	<-sweep.C
	sweeping := false
	pause := sweepPause
	said := ""
	for {
		store, nodes, rollouts, db := s.store.Changed(), s.fleet.Changed(), s.roll.Changed(), s.db.Changed()
		for _, node := range holds.changed(s.store, &s.revoked, s.now()) {
			s.polls.wake(node)
		}
		for changed := false; !changed; {
			select {
			case <-ctx.Done():
				return
			case <-store:
				changed = true
			case <-nodes:
				changed = true
			case <-db:
				changed = true
			case <-rollouts:
				changed = true
			case <-sweep.C:
				sweeping = false
				began := time.Now()
				s.sweepPolls()
				pause = max(sweepPause, sweepShare*time.Since(began))
			case <-ticker.C:
				// What time alone changed shows in the sentence.
				now := s.overview().sentence + s.membersNow()
				changed = now != said
				said = now
			}
		}
		if !sweeping && closed(rollouts) {
			sweeping = true
			sweep.Reset(pause)
		}
		s.bump()
	}
}

// membersNow is what is shown of the members and changes without a revision.
func (s *Service) membersNow() string {
	var b strings.Builder
	for _, m := range s.node.Members() {
		fmt.Fprintf(&b, " %s %s %s %v %v", m.ID, m.Role, m.PeerURL, m.Started, m.Reachable)
	}
	return b.String()
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// sweepPolls wakes the long polls whose answer would be another one now, and those
// that are making their first: it may be of before the change that this is for.
func (s *Service) sweepPolls() {
	for id, p := range s.polls.all() {
		have := p.tag.Load()
		if have == nil {
			p.wake()
			continue
		}
		if rec, found := s.fleet.Record(id); found && s.answerPoll(id, rec.Group).Tag != *have {
			p.wake()
		}
	}
}
