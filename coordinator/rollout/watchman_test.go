package rollout

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// fakeSemaphores decides by the real rules, in memory.
type fakeSemaphores struct {
	semaphore.Store
	mu      sync.Mutex
	groups  map[string]semaphore.State
	changed chan struct{}
}

func newFakeSemaphores(groups ...string) *fakeSemaphores {
	s := &fakeSemaphores{groups: map[string]semaphore.State{}, changed: make(chan struct{})}
	for _, g := range groups {
		s.groups[g] = semaphore.State{
			Group: g, HeadRev: 1, Revision: 1, Head: semaphore.Head{V: 1, Next: 1},
			Spec:  semaphore.Spec{V: 1, Slots: semaphore.Slots{N: 1}},
			Holds: map[string]semaphore.Hold{}, Members: map[string]semaphore.Member{},
		}
	}
	return s
}

func (s *fakeSemaphores) change(group string, how func(*semaphore.State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.groups[group]
	how(&st)
	s.groups[group] = st
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *fakeSemaphores) Do(_ context.Context, group string, op semaphore.Op) (semaphore.Answer, error) {
	var answer semaphore.Answer
	s.change(group, func(st *semaphore.State) {
		d := semaphore.Decide(st, op, time.Now())
		*st = st.Apply(d)
		answer = d.Answer
	})
	return answer, nil
}

func (s *fakeSemaphores) View(group string) (semaphore.State, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.groups[group]
	return st, ok
}

func (s *fakeSemaphores) Groups() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for g := range s.groups {
		names = append(names, g)
	}
	slices.Sort(names)
	return names
}

func (s *fakeSemaphores) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *fakeSemaphores) must(t *testing.T, group string, op semaphore.Op) semaphore.Answer {
	t.Helper()
	a, err := s.Do(t.Context(), group, op)
	if err != nil || a.Kind != semaphore.OK {
		t.Fatalf("%T: %s %s %v", op, a.Kind, a.Detail, err)
	}
	return a
}

// grant makes a node a member and gives it a slot that it has not confirmed.
func (s *fakeSemaphores) grant(t *testing.T, group, node string) semaphore.Hold {
	t.Helper()
	s.must(t, group, semaphore.PutMember{Node: node})
	return *s.must(t, group, semaphore.Acquire{Node: node, Instance: "i", Request: "r", Via: semaphore.ViaAgent}).Hold
}

func (s *fakeSemaphores) holds(group, node string) bool {
	st, _ := s.View(group)
	_, ok := st.Holds[node]
	return ok
}

func (s *fakeSemaphores) down(group, node string) bool {
	st, _ := s.View(group)
	return st.Members[node].Down
}

// fakeStore has no rollouts, and elects whoever asks.
type fakeStore struct {
	Store
	changed chan struct{}
	over    chan struct{}
}

func (s *fakeStore) Start(context.Context) error { return nil }
func (s *fakeStore) Stop()                       {}
func (s *fakeStore) View() Snapshot              { return Snapshot{} }
func (s *fakeStore) Changed() <-chan struct{}    { return s.changed }
func (s *fakeStore) Campaign(ctx context.Context) (Term, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return fakeTerm{s.over}, nil
}

type fakeTerm struct{ over chan struct{} }

func (t fakeTerm) Done() <-chan struct{}        { return t.over }
func (t fakeTerm) Resign(context.Context) error { return nil }

// fakeFleet is the nodes as the test says.
type fakeFleet struct {
	mu      sync.Mutex
	nodes   map[string]api.Node
	changed chan struct{}
}

func newFakeFleet() *fakeFleet {
	return &fakeFleet{nodes: map[string]api.Node{}, changed: make(chan struct{})}
}

func (f *fakeFleet) Nodes() []api.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []api.Node
	for _, n := range f.nodes {
		list = append(list, n)
	}
	return list
}

func (f *fakeFleet) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *fakeFleet) hear(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes[id] = api.Node{ID: id, Group: "web", Via: "agent", LastHeard: time.Now(), Report: api.Report{Phase: api.PhaseIdle, Healthy: true}}
}

// elected runs an elected engine in virtual time.
func elected(t *testing.T, test func(s *fakeSemaphores, f *fakeFleet)) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFakeSemaphores("web"), newFakeFleet()
		e := NewEngine(EngineConfig{Store: &fakeStore{changed: make(chan struct{}), over: make(chan struct{})}, Fleet: f, Semaphores: s})
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer e.Stop()
		time.Sleep(2 * time.Second) // an election takes its time
		test(s, f)
	})
}

func TestWatchman_AGrantNobodyConfirmsIsTakenBackAfter30s(t *testing.T) {
	elected(t, func(s *fakeSemaphores, _ *fakeFleet) {
		s.grant(t, "web", "n1")
		time.Sleep(semaphore.ConfirmWithin - 2*time.Second)
		if !s.holds("web", "n1") {
			t.Fatal("taken back too early")
		}
		time.Sleep(4 * time.Second)
		if s.holds("web", "n1") {
			t.Error("still held after 32 s")
		}
		st, _ := s.View("web")
		if m := st.Members["n1"]; m.Unconfirmed != 1 || m.RetryAfter.IsZero() {
			t.Errorf("the member does not remember: %+v", m)
		}
	})
}

func TestWatchman_AConfirmedHoldIsNeverTakenBack(t *testing.T) {
	elected(t, func(s *fakeSemaphores, _ *fakeFleet) {
		h := s.grant(t, "web", "n1")
		s.must(t, "web", semaphore.Confirm{Node: "n1", Instance: "i", BootID: "b", Fence: h.Fence})
		time.Sleep(24 * time.Hour)
		if !s.holds("web", "n1") {
			t.Error("a confirmed hold was taken back")
		}
	})
}

func TestWatchman_WhileFrozenTheTimeToConfirmStandsStill(t *testing.T) {
	elected(t, func(s *fakeSemaphores, _ *fakeFleet) {
		s.grant(t, "web", "n1")
		time.Sleep(20 * time.Second)
		s.change("web", func(st *semaphore.State) {
			st.Freeze = &semaphore.Freeze{V: 1, ID: "f", By: "ann", At: time.Now(), Reason: "storm"}
		})
		time.Sleep(time.Hour)
		s.change("web", func(st *semaphore.State) { st.Freeze = nil })
		time.Sleep(7 * time.Second)
		if !s.holds("web", "n1") {
			t.Fatal("the time of the freeze counted")
		}
		time.Sleep(6 * time.Second)
		if s.holds("web", "n1") {
			t.Error("the time before the freeze did not count")
		}
	})
}

func TestWatchman_SilentMembersAreDownAfter2MinAndUpWhenHeard(t *testing.T) {
	elected(t, func(s *fakeSemaphores, f *fakeFleet) {
		s.must(t, "web", semaphore.PutMember{Node: "n1"})
		s.must(t, "web", semaphore.PutMember{Node: "lock"}) // through FleetLock: never heard
		s.change("web", func(st *semaphore.State) { st.Spec.CountUnreachable = true })
		f.hear("n1")
		time.Sleep(unheard - 5*time.Second)
		if s.down("web", "n1") {
			t.Fatal("set down too early")
		}
		time.Sleep(10 * time.Second)
		if !s.down("web", "n1") || s.down("web", "lock") {
			t.Fatalf("down: n1 %v, lock %v", s.down("web", "n1"), s.down("web", "lock"))
		}
		f.hear("n1")
		time.Sleep(2 * time.Second)
		if s.down("web", "n1") {
			t.Error("heard again, and still down")
		}
	})
}

func TestWatchman_NobodyIsSetDownInTheFirst2MinInOffice(t *testing.T) {
	elected(t, func(s *fakeSemaphores, f *fakeFleet) {
		s.must(t, "web", semaphore.PutMember{Node: "n1"})
		s.change("web", func(st *semaphore.State) { st.Spec.CountUnreachable = true })
		f.hear("n1")
		f.mu.Lock()
		n := f.nodes["n1"]
		n.LastHeard = time.Now().Add(-time.Hour)
		f.nodes["n1"] = n
		f.mu.Unlock()
		time.Sleep(unheard - 5*time.Second)
		if s.down("web", "n1") {
			t.Fatal("set down by an engine that has not listened for 2 min")
		}
		time.Sleep(10 * time.Second)
		if !s.down("web", "n1") {
			t.Error("never set down")
		}
	})
}

func TestWatchman_MembersDownComeUpWhereTheyNoLongerCount(t *testing.T) {
	elected(t, func(s *fakeSemaphores, _ *fakeFleet) {
		s.must(t, "web", semaphore.PutMember{Node: "n1"})
		s.must(t, "web", semaphore.SetDown{Node: "n1", Down: true})
		time.Sleep(2 * time.Second)
		if s.down("web", "n1") {
			t.Error("still down in a group that does not count the unreachable")
		}
	})
}

func TestWatchman_AHoldIsOverdueOnceItsDeadlinePassedOutsideFreezes(t *testing.T) {
	w := newWatchman(noon)
	s := newFakeSemaphores("web")
	h := semaphore.Hold{V: 1, Node: "n1", State: semaphore.Confirmed, Via: semaphore.ViaAgent, Fence: 3, Since: noon, Deadline: noon.Add(10 * time.Minute)}
	s.change("web", func(st *semaphore.State) { st.Holds["n1"] = h })
	key := holdKey{"web", "n1", 3}
	at := noon
	pass := func(d time.Duration) {
		for end := at.Add(d); at.Before(end); {
			at = at.Add(time.Second)
			w.look(s, nil, at)
		}
	}
	pass(5 * time.Minute)
	s.change("web", func(st *semaphore.State) { st.Head.Freeze = &semaphore.Freeze{V: 1, ID: "f", At: at} })
	pass(time.Hour)
	if w.overdue()[key] {
		t.Fatal("overdue while frozen")
	}
	s.must(t, "web", semaphore.LiftFreeze{ID: "f", By: "ann"})
	s.change("web", func(st *semaphore.State) { st.Head.Froze[0].End = at }) // by the time of this test
	pass(4 * time.Minute)
	// Another was elected since, who knows of the freeze by the store alone.
	other := newWatchman(noon)
	other.look(s, nil, at)
	if w.overdue()[key] || other.overdue()[key] {
		t.Fatal("the time of the freeze counted")
	}
	pass(2 * time.Minute)
	if !w.overdue()[key] {
		t.Error("not overdue after 11 min of 10")
	}
}

func TestWatchman_TimeWithoutQuorumDoesNotCount(t *testing.T) {
	w := newWatchman(noon)
	s := newFakeSemaphores("web")
	granted := s.grant(t, "web", "n1")
	h := semaphore.Hold{V: 1, Node: "n2", State: semaphore.Confirmed, Via: semaphore.ViaAgent, Fence: 3, Since: noon, Deadline: noon.Add(10 * time.Minute)}
	s.change("web", func(st *semaphore.State) { st.Holds["n2"] = h })
	key := holdKey{"web", "n2", 3}
	s.change("web", func(st *semaphore.State) {
		st.Outages = func() []semaphore.Span {
			return []semaphore.Span{
				{Start: noon.Add(-time.Hour), End: noon.Add(2 * time.Minute)}, // began before the hold
				{Start: noon.Add(5 * time.Minute), End: noon.Add(65 * time.Minute)},
			}
		}
	})
	at := noon
	for ; at.Before(noon.Add(65 * time.Minute)); at = at.Add(time.Second) {
		w.stand(at)
	}
	pass := func(d time.Duration) {
		for end := at.Add(d); at.Before(end); {
			at = at.Add(time.Second)
			w.look(s, nil, at)
		}
	}
	pass(20 * time.Second)
	if n := len(w.duties()); n != 0 {
		t.Errorf("fence %d is taken back by the time without quorum", granted.Fence)
	}
	pass(6 * time.Minute)
	if w.overdue()[key] {
		t.Error("the time without quorum counted")
	}
	pass(2 * time.Minute)
	if !w.overdue()[key] {
		t.Error("not overdue after 11 min of 10")
	}
	// Another has watched all the while, and still waits 2 min.
	other := newWatchman(noon)
	other.stand(at)
	other.look(s, nil, at.Add(time.Minute))
	if other.overdue()[key] {
		t.Error("overdue 1 min after the quorum was back")
	}
}

func TestWatchman_TimeInWhichTheProcessWasStoppedDoesNotCount(t *testing.T) {
	w := newWatchman(noon)
	s := newFakeSemaphores("web")
	h := s.grant(t, "web", "n1")
	w.look(s, nil, noon.Add(time.Second))
	w.look(s, nil, noon.Add(time.Hour))
	if n := len(w.duties()); n != 0 {
		t.Fatalf("fence %d is taken back after a pause of the process", h.Fence)
	}
}
