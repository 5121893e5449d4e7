package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// stress is 64 clients of two stores whose transactions get lost or late, and
// that now and then see no leader. It keeps every answer of success.
type stress struct {
	*fleet
	stores  []semaphore.Store
	mu      sync.Mutex
	answers []told
	known   map[string]semaphore.Hold // the last hold that somebody was told of, by node
	made    map[int64]string          // the request that was told it made the hold, by fence
}

func revision(t *testing.T) int64 {
	resp, err := node.Client().Get(context.Background(), "none", clientv3.WithCountOnly())
	if err != nil {
		t.Error(err)
		return 0
	}
	return resp.Header.Revision
}

// note keeps an answer of success.
func (s *stress) note(t *testing.T, op semaphore.Op, start int64, a semaphore.Answer) {
	record := toldOf(op, a, start, revision(t))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, record)
	acquire, ok := op.(semaphore.Acquire)
	if !ok {
		return
	}
	s.known[acquire.Node] = *a.Hold
	if a.Created && acquire.Via == semaphore.ViaFleetLock {
		if other, twice := s.made[a.Hold.Fence]; twice && other != acquire.Request {
			t.Errorf("%s and %s were both told that they made fence %d", other, acquire.Request, a.Hold.Fence)
		}
		s.made[a.Hold.Fence] = acquire.Request
	}
}

// op is what a client thinks of next.
func (s *stress) op(n, turn int) semaphore.Op {
	id := fmt.Sprintf("n%d", n%16)
	s.mu.Lock()
	h, held := s.known[id]
	s.mu.Unlock()
	switch dice := rand.IntN(100); {
	case dice < 2:
		return semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: 2 + rand.IntN(3)}}, IfMatch: -1}
	case dice < 3:
		return semaphore.SetFreeze{Freeze: semaphore.Freeze{ID: fmt.Sprintf("f%d-%d", n, turn), By: "operator"}}
	case held && dice < 25:
		return semaphore.Confirm{Node: id, Instance: h.Instance, BootID: "b", Fence: h.Fence}
	case held && dice < 65:
		return release(&h)
	case held && dice < 68:
		return semaphore.Revoke{Node: id, Name: id, Fence: h.Fence, By: "operator"}
	case held && dice < 70:
		return semaphore.Expire{Node: id, Fence: h.Fence}
	case n%16%2 == 0:
		return fleetLock(id, fmt.Sprintf("r%d-%d", n, turn))
	}
	return agent(id)
}

// enough answers show something.
const enough = 100

func (s *stress) told() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.answers)
}

func (s *stress) client(ctx context.Context, t *testing.T, n int) {
	for turn := 0; ctx.Err() == nil; turn++ {
		store := s.stores[rand.IntN(len(s.stores))]
		call, hangUp := ctx, func() {}
		if rand.IntN(3) == 0 {
			call, hangUp = context.WithTimeout(ctx, time.Duration(rand.IntN(50))*time.Millisecond)
		}
		op := s.op(n, turn)
		start := revision(t)
		var a semaphore.Answer
		var err error
		if acquire, ok := op.(semaphore.Acquire); ok {
			a, err = store.Acquire(call, "g", &acquire, time.Duration(rand.IntN(200))*time.Millisecond)
		} else {
			a, err = store.Do(call, "g", op)
		}
		hangUp()
		switch {
		case err != nil:
			if !errors.Is(err, semaphore.ErrNoQuorum) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%+v: %v", op, err)
			}
			continue
		case a.Kind != semaphore.OK:
			continue
		}
		s.note(t, op, start, a)
		switch op.(type) {
		case semaphore.SetFreeze:
			s.lift(ctx, t, store, a.Freeze.ID)
		case semaphore.Expire:
			s.clock.advance(time.Hour) // so that it may ask again
		}
	}
}

func (s *stress) lift(ctx context.Context, t *testing.T, store semaphore.Store, id string) {
	op := semaphore.LiftFreeze{ID: id, By: "operator"}
	for start := revision(t); ctx.Err() == nil; {
		if a, err := store.Do(ctx, "g", op); err == nil {
			if a.Kind == semaphore.OK {
				s.note(t, op, start, a)
			}
			return
		}
	}
}

// stopFleet freezes the fleet and lifts that again, now and then.
func (s *stress) stopFleet(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		store := s.stores[rand.IntN(len(s.stores))]
		start := revision(t)
		f, err := store.Freeze(ctx, semaphore.Freeze{By: "operator", Reason: "test"})
		if err != nil {
			continue
		}
		s.mu.Lock()
		s.answers = append(s.answers, told{
			what: "freeze " + f.ID, start: start, end: revision(t),
			at: func(m moment) bool { return m.freeze != nil && m.freeze.ID == f.ID },
		})
		s.mu.Unlock()
		for start = revision(t); ctx.Err() == nil; {
			if a, err := store.Unfreeze(ctx, f.ID, "operator"); err == nil && a.Kind == semaphore.OK {
				s.mu.Lock()
				s.answers = append(s.answers, told{
					what: "unfreeze " + f.ID, start: start, end: revision(t),
					at: func(m moment) bool { return m.freeze == nil },
				})
				s.mu.Unlock()
				break
			}
		}
	}
}

// Every answer of success has to be true at some moment between its question
// and itself, whatever was lost, late, abandoned or without a leader.
func TestStress_EveryAnswerIsTrueWhenItIsGiven(t *testing.T) {
	s := &stress{fleet: newFleet(t), known: map[string]semaphore.Hold{}, made: map[int64]string{}}
	quiet := s.store()
	from := revision(t)
	s.declare(quiet, 3, 16)
	w := &wander{}
	for range 2 {
		cfg := s.config()
		client, faults := newFaulty(cfg.Client)
		faults.always = w.spoil
		var away atomic.Int64
		cfg.Client, cfg.HasLeader = client, func() bool {
			return away.Add(1)%400 < 380
		}
		s.stores = append(s.stores, s.open(cfg))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	var group sync.WaitGroup
	for n := range 64 {
		group.Go(func() { s.client(ctx, t, n) })
	}
	group.Go(func() { s.stopFleet(ctx, t) })
	group.Go(func() {
		defer cancel()
		for ctx.Err() == nil && (time.Since(began) < 4*time.Second || s.told() < enough) {
			if _, err := w.arrive(); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	group.Wait()
	s.putRaw("end", "")
	h := s.readHistory(from, revision(t))
	h.judge(t)
	for _, a := range s.answers {
		h.believe(t, a)
	}
	t.Logf("%d revisions, %d answers", len(h), len(s.answers))
	if len(s.answers) < enough {
		t.Error("the test shows nothing")
	}
}
