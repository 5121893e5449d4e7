package storetest_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
	"github.com/lockkeeper/lockkeeper/semaphore/storetest"
)

// The suite is tried on the simplest store there can be: one map behind one
// lock, on which Decide's outcome is applied at once.
func TestMemory(t *testing.T) {
	open := func(*testing.T) (a, b semaphore.Store) {
		m := &memory{groups: map[string]semaphore.State{}, places: map[string][]*place{}, changed: make(chan struct{}), reserved: map[string]reservation{}}
		return &memoryStore{m, "a"}, &memoryStore{m, "b"}
	}
	storetest.Run(t, open, storetest.Options{
		PutRaw: func(t *testing.T, s semaphore.Store, key string, value []byte) {
			m := s.(*memoryStore).memory
			m.mu.Lock()
			defer m.mu.Unlock()
			var v struct{ V int }
			if err := json.Unmarshal(value, &v); err != nil || v.V <= semaphore.SchemaVersion {
				t.Fatalf("%s: want a newer value: %v", value, err)
			}
			group := strings.Split(key, "/")[1]
			state := m.groups[group]
			state.NewerSchema = key
			m.groups[group] = state
		},
		Advance: func(_ *testing.T, s semaphore.Store, d time.Duration) {
			m := s.(*memoryStore).memory
			m.mu.Lock()
			defer m.mu.Unlock()
			m.ahead += d
		},
		MaxWaiters: mostWaiters,
	})
}

const mostWaiters = 64

type memory struct {
	mu       sync.Mutex
	revision int64
	ahead    time.Duration
	groups   map[string]semaphore.State // without their queues
	places   map[string][]*place
	freeze   *semaphore.Freeze
	froze    []semaphore.Span
	changed  chan struct{}
	reserved map[string]reservation
}

// reservation is what is kept in a group for a waiter that was overtaken.
type reservation struct {
	node  string
	until time.Time
	since map[string]int64 // by how many grants, when the last one of a node ended
}

// place is a waiter, with the calls that are parked for it at each store.
type place struct {
	semaphore.Waiter
	owner  string
	parked map[string]int
}

type memoryStore struct {
	*memory
	name string
}

func (m *memory) tell() {
	m.revision++
	close(m.changed)
	m.changed = make(chan struct{})
}

// state is the group as this store sees it. The lock is held.
func (s *memoryStore) state(group string) semaphore.State {
	state := s.groups[group]
	state.Group, state.Revision, state.Freeze, state.Froze = group, s.revision, s.freeze, s.froze
	state.Queue = nil
	for _, p := range s.places[group] {
		w := p.Waiter
		w.Present = p.owner == s.name && p.parked[s.name] > 0
		w.Elsewhere = p.owner != s.name
		state.Queue = append(state.Queue, w)
	}
	semaphore.SortQueue(state.Queue, s.now())
	s.reserve(group, &state)
	return state
}

func (s *memoryStore) reserve(group string, state *semaphore.State) {
	r := s.reserved[group]
	i := slices.IndexFunc(state.Queue, func(w semaphore.Waiter) bool { return w.Node == r.node })
	if over := !s.now().Before(r.until); i < 0 || over {
		if i >= 0 {
			r.since[r.node] = semaphore.Overtaken(state, state.Queue[i])
		}
		r.node = ""
		i = slices.IndexFunc(state.Queue, func(w semaphore.Waiter) bool { return semaphore.MayReserve(state, w, r.since[w.Node]) })
		if i >= 0 {
			r.node, r.until = state.Queue[i].Node, s.now().Add(30*time.Second)
		}
	}
	if r.since == nil {
		r.since = map[string]int64{}
	}
	s.reserved[group] = r
	if i >= 0 {
		state.Queue[i].Reserved = true
	}
}

func (m *memory) now() time.Time { return time.Now().Add(m.ahead) }

func (s *memoryStore) decide(group string, op semaphore.Op) semaphore.Answer {
	state := s.state(group)
	d := semaphore.Decide(&state, op, s.now())
	if !d.Writes() {
		return d.Answer
	}
	next := state.Apply(d)
	d.Answer.Revision = next.Revision
	s.places[group] = slices.DeleteFunc(s.places[group], func(p *place) bool {
		return !slices.ContainsFunc(next.Queue, func(w semaphore.Waiter) bool { return w.Node == p.Node })
	})
	s.groups[group] = next
	s.tell()
	return d.Answer
}

func (s *memoryStore) Do(_ context.Context, group string, op semaphore.Op) (semaphore.Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.decide(group, op), nil
}

func (s *memoryStore) Acquire(ctx context.Context, group string, asked *semaphore.Acquire, wait time.Duration) (semaphore.Answer, error) {
	op := *asked
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := s.decide(group, op)
	if wait == 0 || !answer.Kind.Passes() {
		return answer, nil
	}
	if s.placeOf(group, op.Node) == 0 && len(s.places[group]) >= mostWaiters {
		return semaphore.Answer{Kind: semaphore.RetryLater, Detail: "too many nodes wait"}, nil
	}
	p := s.park(group, op)
	defer func() { s.leave(group, p, op, ctx.Err() != nil) }()
	for answer.Kind.Passes() {
		changed := s.changed
		s.mu.Unlock()
		var err error
		// A look after a while without a change may overtake.
		op.Overtake = false
		select {
		case <-changed:
		case <-time.After(semaphore.OvertakeAfter):
			op.Overtake = true
		case <-timeout.C:
			wait = 0
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.mu.Lock()
		if err != nil || wait == 0 {
			answer.Place = s.placeOf(group, op.Node)
			return answer, err
		}
		answer = s.decide(group, op)
	}
	return answer, nil
}

func (s *memoryStore) placeOf(group, node string) int {
	state := s.state(group)
	return semaphore.Place(&state, node)
}

func (s *memoryStore) park(group string, op semaphore.Acquire) *place {
	i := slices.IndexFunc(s.places[group], func(p *place) bool { return p.Node == op.Node })
	if i < 0 {
		s.tell()
		i = len(s.places[group])
		s.places[group] = append(s.places[group], &place{
			Waiter: semaphore.Waiter{V: 1, Node: op.Node, Via: op.Via, Instance: op.Instance, Since: s.now(), CreateRevision: s.revision,
				Grants: s.groups[group].Head.Grants, Ahead: i},
			parked: map[string]int{},
		})
	}
	p := s.places[group][i]
	p.owner = s.name
	p.parked[s.name]++
	p.Request, p.BootID, p.Peer = op.Request, op.BootID, op.Peer
	return p
}

func (s *memoryStore) leave(group string, p *place, op semaphore.Acquire, gone bool) {
	p.parked[s.name]--
	if gone && op.Via == semaphore.ViaAgent && p.parked[s.name] == 0 && p.owner == s.name {
		s.drop(group, op.Node)
	}
}

func (s *memoryStore) drop(group, node string) {
	s.places[group] = slices.DeleteFunc(s.places[group], func(p *place) bool { return p.Node == node })
	s.tell()
}

func (s *memoryStore) Leave(_ context.Context, group, node string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(group, node)
	return nil
}

func (s *memoryStore) SetPriority(_ context.Context, group, node string, priority int, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.places[group] {
		if p.Node == node {
			p.Priority = priority
			s.tell()
			return nil
		}
	}
	return semaphore.ErrNoWaiter
}

func (s *memoryStore) Freeze(_ context.Context, f semaphore.Freeze) (semaphore.Freeze, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, _ = semaphore.MergeFreeze(s.freeze, f)
	s.freeze = &f
	s.tell()
	return f, nil
}

func (s *memoryStore) Unfreeze(_ context.Context, id, _ string) (semaphore.Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.freeze != nil && s.freeze.ID != id {
		return semaphore.Answer{Kind: semaphore.Conflict}, nil
	}
	if s.freeze != nil {
		s.froze = semaphore.KeepFroze(s.froze, *s.freeze, s.now(), s.eachHold)
	}
	s.freeze = nil
	s.tell()
	return semaphore.Answer{}, nil
}

func (s *memoryStore) eachHold(yield func(string, *semaphore.Hold) bool) {
	for _, state := range s.groups {
		for node, h := range state.EachHold() {
			if !yield(node, h) {
				return
			}
		}
	}
}

func (s *memoryStore) Read(_ context.Context, group string) (semaphore.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state(group), nil
}

func (s *memoryStore) View(group string) (semaphore.State, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.state(group)
	return state, state.Exists()
}

func (s *memoryStore) Look(group string) (semaphore.State, bool) { return s.View(group) }

func (s *memoryStore) Groups() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := []string{}
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		if state := s.groups[name]; state.Exists() {
			names = append(names, name)
		}
	}
	return names
}

func (s *memoryStore) FleetFreeze() *semaphore.Freeze {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.freeze
}

func (s *memoryStore) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}
