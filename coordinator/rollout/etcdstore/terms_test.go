package etcdstore

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
)

// terms is a store that elects its engine again and again.
type terms struct {
	*Store
	mu     sync.Mutex
	first  rollout.Term
	now    chan struct{}
	begins chan struct{}
}

func (s *terms) Campaign(ctx context.Context) (rollout.Term, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		t, err := s.Store.Campaign(ctx)
		if err != nil {
			return nil, err
		}
		s.first = t
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	s.now = make(chan struct{})
	s.begins <- struct{}{}
	return shortTerm{s.first.(*term), s.now}, nil
}

func (s *terms) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.now)
}

func (s *terms) Write(ctx context.Context, c rollout.Change) error {
	if t, ok := c.Term.(shortTerm); ok {
		c.Term = t.term
	}
	return s.Store.Write(ctx, c)
}

// shortTerm ends when it is told to, and what it wrote by stays good.
type shortTerm struct {
	*term
	done chan struct{}
}

func (t shortTerm) Done() <-chan struct{}        { return t.done }
func (t shortTerm) Resign(context.Context) error { return nil }

// silent is a gate that never answers.
type silent struct{ times, now atomic.Int64 }

func (g *silent) Check(ctx context.Context, _ api.GateSpec) condition.Answer {
	g.times.Add(1)
	g.now.Add(1)
	defer g.now.Add(-1)
	<-ctx.Done()
	return condition.Answer{}
}

func TestEngine_ANewTermEndsWhatTheOneBeforeBegan(t *testing.T) {
	w := newWorld(t, 1, 1)
	s := &terms{Store: w.store(), begins: make(chan struct{}, 1)}
	g := &silent{}
	var stands atomic.Pointer[chan struct{}] // while the engine is to take long for one look
	looks := make(chan struct{}, 1)
	e := rollout.NewEngine(rollout.EngineConfig{
		Store: s, Fleet: w, Semaphores: w.sems, Gates: g,
		Quorum: func() bool {
			if c := stands.Load(); c != nil {
				select {
				case looks <- struct{}{}:
				default:
				}
				<-*c
			}
			return true
		},
	})
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Stop(); _ = s.first.Resign(context.Background()) })
	<-s.begins
	w.create(e, func(s *api.RolloutSpec) {
		s.Gates = []api.GateSpec{{Name: "errors", Timeout: "1m", HTTP: &api.HTTPGate{URL: "http://127.0.0.1:1/"}}}
	})
	w.eventually("the gate to be asked", func() bool { return g.now.Load() == 1 })
	for i := range int64(4) { // the next term may be there before it is seen that this one has ended
		goOn := make(chan struct{})
		stands.Store(&goOn)
		<-looks
		s.end()
		<-s.begins
		stands.Store(nil)
		close(goOn)
		w.eventually("the gate to be asked by whoever is in office, and by nobody else", func() bool {
			return g.times.Load() == i+2 && g.now.Load() == 1
		})
	}
}
