package etcdstore

import (
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// group is one group in memory. All of it but turn and kick is guarded by the
// Store's mu.
type group struct {
	name string
	turn chan struct{} // held by the one whose transaction is in flight
	kick chan struct{} // wakes the admission loop

	// st is a kept state: copies of it, handed out, share what it has. Head,
	// spec, holds and members in it are known as of rev; the queue is what the
	// watch and this store's own writes brought.
	st    semaphore.State
	rev   int64
	newer map[string]bool // keys whose value this program cannot know

	places   map[string]place // by node, of every waiter in the queue
	gone     map[string]int64 // deleted at that revision, and the watch may be behind
	sortedAt time.Time        // as of when the ranks in the queue are, of all waiters alike
	shutFor  shutFor

	reserved   *reservation     // in force
	reservedAt int64            // the count of grants at which one was looked for last
	dueFrom    int64            // no waiter is overtaken by grants before this count
	overtaken  map[string]int64 // by how many, when a waiter's last reservation ended
	polls      map[string]poll  // by FleetLock id
	pollsSwept time.Time

	pending []*request         // for the next batch
	giving  map[string]bool    // nodes that the transaction in flight gives a slot to; true: the watch has news of them
	waiters map[string]*waiter // whose place this store keeps
	coming  map[string]bool    // whose place is being taken
	parked  int                // calls that wait
	loop    bool               // the admission loop runs
	users   int
}

// place is what is known of one key of the queue beside its value.
type place struct {
	rev   int64 // ModRevision
	lease int64
}

func newState(name string, now time.Time) semaphore.State {
	st := semaphore.State{Group: name}
	st.Keep(now)
	return st
}

// enter finds the group, or makes it, and keeps it until exit.
func (s *Store) enter(name string) *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groupLocked(name)
	g.users++
	return g
}

func (s *Store) groupLocked(name string) *group {
	g := s.groups[name]
	if g == nil {
		g = &group{
			name:      name,
			turn:      make(chan struct{}, 1),
			kick:      make(chan struct{}, 1),
			st:        newState(name, s.cfg.Now()),
			newer:     map[string]bool{},
			places:    map[string]place{},
			gone:      map[string]int64{},
			coming:    map[string]bool{},
			overtaken: map[string]int64{},
			polls:     map[string]poll{},
			waiters:   map[string]*waiter{},
		}
		s.groups[name] = g
	}
	return g
}

// exit forgets a group that is not in etcd once nobody asks for it.
func (s *Store) exit(g *group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.users--
	if g.users == 0 && len(g.pending) == 0 && g.st.HeadRev == 0 && len(g.waiters) == 0 && g.st.Waiting() == 0 && g.st.Size() == 0 {
		delete(s.groups, g.name)
	}
}

// state is what the group is known to be, as a kept state.
func (s *Store) state(g *group) semaphore.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stateLocked(g)
}

func (s *Store) stateLocked(g *group) semaphore.State {
	if now := s.cfg.Now(); g.st.Waiting() > 1 && now.Sub(g.sortedAt) > time.Minute {
		g.st.Reorder(now)
		g.sortedAt = now
	}
	st := g.st
	st.Revision, st.FreezeRev, st.Freeze = max(g.rev, s.rev), s.freezeRev, s.freezeCopy()
	st.Froze, st.Outages = s.froze, s.cfg.Outages
	st.FenceFloor, st.Schema = s.cfg.FenceFloor(), s.cfg.Schema()
	st.Coordinators, st.Unwell = s.cfg.Coordinators()
	st.Out, st.OutRev = s.out, s.outRev
	if st.Spec.Timed() {
		if err := s.cfg.ClockOff(); err != nil {
			st.ClockOff = err.Error()
		}
	}
	if s.freezeNew {
		st.NewerSchema = s.keys.freeze()
	}
	for key := range g.newer {
		if st.NewerSchema == "" || key < st.NewerSchema {
			st.NewerSchema = key
		}
	}
	return st
}

// idle reports whether nobody can be granted anything, whoever waits: what
// ends that wakes the admission loop.
func (s *Store) idle(g *group) bool {
	return s.freeze != nil || g.st.Head.Freeze != nil || g.st.Held() >= g.st.SlotCount() || s.shut(g)
}

// shut reports whether no member may start now, by the clock. What is found is
// kept until it ends, or what it rests on changes: 10,000 who come and go ask.
func (s *Store) shut(g *group) bool {
	if !g.st.Spec.Timed() {
		return false
	}
	now := s.cfg.Now()
	if k := g.shutFor; k.specRev == g.st.SpecRev && k.lastGrant.Equal(g.st.Head.LastGrant) && now.Before(k.until) {
		return true
	}
	st := s.stateLocked(g)
	until, is := st.ShutUntil(now)
	g.shutFor = shutFor{g.st.SpecRev, g.st.Head.LastGrant, until}
	return is
}

// shutFor is until when the group is known to be shut, if the spec and the last
// grant are still those.
type shutFor struct {
	specRev   int64
	lastGrant time.Time
	until     time.Time
}

// put takes over one key's value, at its ModRevision. It reports whether that
// was news.
func (s *Store) put(g *group, t table, node string, kv *mvccpb.KeyValue) bool {
	if t == queueKeys {
		return s.putWaiter(g, node, kv)
	}
	if kv.ModRevision <= g.rev {
		return false
	}
	var err error
	switch t {
	case headKey:
		g.st.Head, err = semaphore.DecodeHead(kv.Value)
		g.st.HeadRev = kv.ModRevision
	case specKey:
		g.st.Spec, err = semaphore.DecodeSpec(kv.Value)
		g.st.SpecRev = kv.ModRevision
	case holdKeys:
		var h semaphore.Hold
		h, err = semaphore.DecodeHold(kv.Value)
		h.Node = node
		g.st.SetHold(h)
	case memberKeys:
		var m semaphore.Member
		m, err = semaphore.DecodeMember(kv.Value)
		m.Node, m.Revision = node, kv.ModRevision
		g.st.SetMember(m)
	}
	s.judge(g, string(kv.Key), err)
	return true
}

// judge remembers a value that cannot be read as one of a newer schema:
// nothing but releases happens in its group.
func (s *Store) judge(g *group, key string, err error) {
	if err == nil {
		delete(g.newer, key)
		return
	}
	if !g.newer[key] {
		s.log.Error("a value cannot be read: its group only takes releases", "key", key, "error", err)
	}
	g.newer[key] = true
}

// remove takes over the deletion of one key, at a revision.
func (s *Store) remove(g *group, t table, node, key string, rev int64) bool {
	if t == queueKeys {
		return s.removeWaiter(g, node, rev)
	}
	if rev <= g.rev {
		return false
	}
	switch t {
	case headKey:
		g.st.Head, g.st.HeadRev = semaphore.Head{}, 0
	case specKey:
		g.st.Spec, g.st.SpecRev = semaphore.Spec{}, 0
	case holdKeys:
		g.st.DropHold(node)
	case memberKeys:
		g.st.DropMember(node)
	}
	delete(g.newer, key)
	return true
}
