package etcdstore

import (
	"maps"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// group is one group in memory. All of it but turn and kick is guarded by the
// Store's mu. The maps are replaced and never changed, since states that were
// handed out share them. The queue is changed in place for as long as no state
// was handed out with it: 10,000 waiters that come and go are not copied each
// time.
type group struct {
	name string
	turn chan struct{} // held by the one whose transaction is in flight
	kick chan struct{} // wakes the admission loop

	rev     int64 // head, spec, holds and members are known as of it
	head    semaphore.Head
	headRev int64
	spec    semaphore.Spec
	specRev int64
	holds   map[string]semaphore.Hold
	members map[string]semaphore.Member
	newer   map[string]bool // keys whose value this program cannot know

	queue    []semaphore.Waiter
	shared   bool             // a state was handed out with the queue: ownQueue before a change
	places   map[string]place // by node, of every waiter in the queue
	gone     map[string]int64 // deleted at that revision, and the watch may be behind
	sortedAt time.Time
	shutFor  shutFor

	pending []*request         // for the next batch
	waiters map[string]*waiter // whose place this store keeps
	loop    bool               // the admission loop runs
	users   int
}

// place is what is known of one key of the queue beside its value.
type place struct {
	rev   int64 // ModRevision
	lease int64
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
			name:    name,
			turn:    make(chan struct{}, 1),
			kick:    make(chan struct{}, 1),
			holds:   map[string]semaphore.Hold{},
			members: map[string]semaphore.Member{},
			newer:   map[string]bool{},
			places:  map[string]place{},
			gone:    map[string]int64{},
			waiters: map[string]*waiter{},
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
	if g.users == 0 && len(g.pending) == 0 && g.headRev == 0 && len(g.waiters) == 0 && len(g.queue) == 0 && len(g.members) == 0 {
		delete(s.groups, g.name)
	}
}

// state is what the group is known to be.
func (s *Store) state(g *group) semaphore.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stateLocked(g)
}

func (s *Store) stateLocked(g *group) semaphore.State {
	st := s.peek(g)
	g.shared = true
	return st
}

// peek is the state for a look that ends before s.mu is let go.
func (s *Store) peek(g *group) semaphore.State {
	if now := s.cfg.Now(); len(g.queue) > 1 && now.Sub(g.sortedAt) > time.Minute {
		// Priorities rise with time.
		g.ownQueue()
		semaphore.SortQueue(g.queue, now)
		g.sortedAt = now
	}
	clockOff := ""
	if g.spec.Timed() {
		if err := s.cfg.ClockOff(); err != nil {
			clockOff = err.Error()
		}
	}
	st := semaphore.State{
		ClockOff: clockOff,
		Group:    g.name, Revision: max(g.rev, s.rev),
		HeadRev: g.headRev, SpecRev: g.specRev, FreezeRev: s.freezeRev,
		Head: g.head, Spec: g.spec, Holds: g.holds, Members: g.members,
		Queue: slices.Clip(g.queue), Freeze: s.freezeCopy(), FenceFloor: s.cfg.FenceFloor(),
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

// ownQueue makes the queue one that may be changed in place.
func (g *group) ownQueue() {
	if g.shared {
		g.queue, g.shared = slices.Clone(g.queue), false
	}
}

// idle reports whether nobody can be granted anything, whoever waits: what
// ends that wakes the admission loop.
func (s *Store) idle(g *group) bool {
	return s.freeze != nil || g.head.Freeze != nil || len(g.holds) >= g.spec.Slots.Of(len(g.members)) || s.shut(g)
}

// shut reports whether no member may start now, by the clock. What is found is
// kept until it ends, or what it rests on changes: 10,000 who come and go ask.
func (s *Store) shut(g *group) bool {
	if !g.spec.Timed() {
		return false
	}
	now := s.cfg.Now()
	if k := g.shutFor; k.specRev == g.specRev && k.lastGrant.Equal(g.head.LastGrant) && now.Before(k.until) {
		return true
	}
	st := s.peek(g)
	until, is := st.ShutUntil(now)
	g.shutFor = shutFor{g.specRev, g.head.LastGrant, until}
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
		g.head, err = semaphore.DecodeHead(kv.Value)
		g.headRev = kv.ModRevision
	case specKey:
		g.spec, err = semaphore.DecodeSpec(kv.Value)
		g.specRev = kv.ModRevision
	case holdKeys:
		var h semaphore.Hold
		h, err = semaphore.DecodeHold(kv.Value)
		h.Node = node
		g.holds = with(g.holds, node, h)
	case memberKeys:
		var m semaphore.Member
		m, err = semaphore.DecodeMember(kv.Value)
		m.Node = node
		g.members = with(g.members, node, m)
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
		g.head, g.headRev = semaphore.Head{}, 0
	case specKey:
		g.spec, g.specRev = semaphore.Spec{}, 0
	case holdKeys:
		g.holds = without(g.holds, node)
	case memberKeys:
		g.members = without(g.members, node)
	}
	delete(g.newer, key)
	return true
}

func with[V any](m map[string]V, key string, v V) map[string]V {
	m = maps.Clone(m)
	m[key] = v
	return m
}

func without[V any](m map[string]V, key string) map[string]V {
	m = maps.Clone(m)
	delete(m, key)
	return m
}
