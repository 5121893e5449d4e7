package etcdstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

var errDead = errors.New("this coordinator is dead")

// mortal is a store whose process can die: nothing it does reaches etcd any
// more, and it gives nothing up.
type mortal struct {
	*Store
	mu   sync.Mutex
	term *term
	dead bool
}

func (m *mortal) isElected() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.term != nil
}

func (m *mortal) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	m.term.session.Orphan() // its lease is kept alive no longer
}

func (m *mortal) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

func (m *mortal) Campaign(ctx context.Context) (rollout.Term, error) {
	if m.isDead() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	t, err := m.Store.Campaign(ctx)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.term = t.(*term)
	return mortalTerm{t.(*term), m}, nil
}

func (m *mortal) Write(ctx context.Context, c rollout.Change) error {
	if m.isDead() {
		return errDead
	}
	if t, ok := c.Term.(mortalTerm); ok {
		c.Term = t.term
	}
	return m.Store.Write(ctx, c)
}

type mortalTerm struct {
	*term
	m *mortal
}

func (t mortalTerm) Resign(ctx context.Context) error {
	if t.m.isDead() {
		return errDead
	}
	return t.term.Resign(ctx)
}

func started(t *testing.T, s *Store) *Store {
	t.Helper()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func put(t *testing.T, s *Store, id string, nodes ...rollout.Selected) rollout.State {
	t.Helper()
	all, err := s.ReadAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	head := rollout.Head{V: 1, ID: id, State: api.RolloutRunning, EventSeq: 1, CreatedAt: time.Now().UTC()}
	err = s.Create(t.Context(), rollout.Creation{
		Head: head, Nodes: nodes, Catalog: all.Catalog,
		Event: semaphore.Event{V: 1, Scope: "rollout/" + id, Seq: 1, Kind: rollout.EventCreated},
	})
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Read(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestStore_TheViewShowsAChangeOnceItsWriteReturned(t *testing.T) {
	s := started(t, newWorld(t, 0, 1).store())
	st := put(t, s, "ro-a", rollout.Selected{Node: "a/b %", Group: "web"})
	before := s.View().Rollouts["ro-a"]
	st.Head.Why = "written"
	err := s.Write(t.Context(), rollout.Change{
		Revision: st.Revision, Head: st.Head,
		Results: []rollout.Result{{V: 1, Node: "a/b %", State: api.NodeUpdated, Attempt: 1, At: time.Now()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	after := s.View().Rollouts["ro-a"]
	if after.Head.Why != "written" || after.Results["a/b %"].State != api.NodeUpdated {
		t.Errorf("view: %+v", after)
	}
	if len(before.Results) != 0 {
		t.Error("a view that was handed out changed")
	}
}

// What others wrote has moved the revision on, and the view is told of none of it.
func TestStore_ForgettingANodeOfWhichNothingIsKnownWaitsForNoView(t *testing.T) {
	s := started(t, newWorld(t, 0, 1).store())
	least := time.Hour
	for range 3 { // a busy machine may be late once, one that waits is late each time
		if _, err := s.client.Put(t.Context(), "elsewhere", "written"); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := s.ForgetSettled(t.Context(), "n00"); err != nil {
			t.Fatal(err)
		}
		least = min(least, time.Since(begin))
	}
	if least >= attemptTimeout {
		t.Errorf("it takes %s at least", least)
	}
}

func TestStore_AWriteOnAnOlderRevisionChangesNothing(t *testing.T) {
	s := started(t, newWorld(t, 0, 1).store())
	st := put(t, s, "ro-a")
	if err := s.Write(t.Context(), rollout.Change{Revision: st.Revision, Head: st.Head}); err != nil {
		t.Fatal(err)
	}
	st.Head.Why = "late"
	if err := s.Write(t.Context(), rollout.Change{Revision: st.Revision, Head: st.Head}); !errors.Is(err, rollout.ErrChanged) {
		t.Errorf("got %v", err)
	}
	if now, err := s.Read(t.Context(), "ro-a"); err != nil || now.Head.Why != "" {
		t.Errorf("it is %q, err %v", now.Head.Why, err)
	}
}

func TestStore_TheLateWritesOfAFormerLeaderLose(t *testing.T) {
	w := newWorld(t, 0, 1)
	s, other := started(t, w.store()), started(t, w.store())
	st := put(t, s, "ro-a")
	former, err := s.Campaign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := former.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	now, err := other.Campaign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = now.Resign(context.Background()) })
	if err := s.Write(t.Context(), rollout.Change{Revision: st.Revision, Head: st.Head, Term: former}); !errors.Is(err, rollout.ErrNotElected) {
		t.Errorf("the former leader's write: %v", err)
	}
	if err := s.Delete(t.Context(), "ro-a", st.Revision, former); !errors.Is(err, rollout.ErrNotElected) {
		t.Errorf("the former leader's delete: %v", err)
	}
	if err := other.Write(t.Context(), rollout.Change{Revision: st.Revision, Head: st.Head, Term: now}); err != nil {
		t.Errorf("the leader's write: %v", err)
	}
}

func TestStore_OneIsElectedAndTheNextFollowsAtOnceWhenItResigns(t *testing.T) {
	w := newWorld(t, 0, 1)
	first, err := w.store().Campaign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next := make(chan rollout.Term, 1)
	go func() {
		if t2, err := w.store().Campaign(t.Context()); err == nil {
			next <- t2
		}
	}()
	select {
	case <-next:
		t.Fatal("two are elected")
	case <-time.After(300 * time.Millisecond):
	}
	if err := first.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case second := <-next:
		_ = second.Resign(context.Background())
	case <-time.After(time.Minute):
		t.Fatal("nobody followed")
	}
	select {
	case <-first.Done():
	case <-time.After(time.Minute):
		t.Error("the first does not learn of its end")
	}
}

func TestStore_ADeletedRolloutIsGoneFromTheView(t *testing.T) {
	s := started(t, newWorld(t, 0, 1).store())
	st := put(t, s, "ro-a", rollout.Selected{Node: "n1", Group: "web"})
	term, err := s.Campaign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = term.Resign(context.Background()) })
	if err := s.Delete(t.Context(), "ro-a", st.Revision, term); err != nil {
		t.Fatal(err)
	}
	if n := len(s.View().Rollouts); n != 0 {
		t.Errorf("%d rollouts in view", n)
	}
	if _, err := s.Read(t.Context(), "ro-a"); !errors.Is(err, rollout.ErrNotFound) {
		t.Errorf("read: %v", err)
	}
}

func TestStore_BelowTheFloorNoRolloutIsCreated(t *testing.T) {
	w := newWorld(t, 0, 1)
	s := started(t, New(Config{Client: etcd.Client(), Prefix: w.prefix, Floor: func() error { return semaphore.ErrDiskLow }}))
	if err := s.Create(t.Context(), rollout.Creation{Head: rollout.Head{V: 1, ID: "ro-a"}}); !errors.Is(err, semaphore.ErrDiskLow) {
		t.Errorf("got %v", err)
	}
}
