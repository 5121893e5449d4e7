package etcdstore

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}

// floors are a disk whose room the test has.
type floors struct{ first, second atomic.Bool }

func floor(low *atomic.Bool) func() error {
	return func() error {
		if low.Load() {
			return semaphore.ErrDiskLow
		}
		return nil
	}
}

func (w *world) withFloors(log *slog.Logger) (*rollout.Engine, *floors) {
	f := &floors{}
	e := rollout.NewEngine(rollout.EngineConfig{
		Store: New(Config{
			Client: etcd.Client(), Prefix: w.prefix, Name: "test", Floor: floor(&f.first), WriteFloor: floor(&f.second),
		}),
		Fleet: w, Semaphores: w.sems, Logger: log,
	})
	if err := e.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(e.Stop)
	w.engines = append(w.engines, e)
	return e, f
}

// With little room a rollout under way is still told of, halts and is paused; what
// would begin anew waits for room.
func TestEngine_BelowTheFirstFloorWhatHaltsIsWrittenAndNothingBegins(t *testing.T) {
	w := newWorld(t, 3, 1)
	w.fails["n01"] = 1
	log := &lines{}
	e, f := w.withFloors(slog.New(slog.NewTextHandler(log, nil)))
	r := w.create(e, func(s *api.RolloutSpec) { s.AutoRollback = api.RollbackAll })
	f.first.Store(true)
	w.agents()
	w.comesTo(e, r.ID, api.RolloutHalted)
	w.eventually("nodes that would be brought back", func() bool { return log.count("bringing nodes of a halted rollout back failed") > 0 })
	if list := e.List(); len(list) != 1 {
		t.Errorf("a rollout was begun on a disk that is low: %+v", list)
	}
	f.first.Store(false)
	w.eventually("them to be brought back", func() bool { return len(e.List()) == 2 })
}

// An ended rollout does not come back to life with little room, one under way can
// be stopped.
func TestAct_BelowTheFirstFloorStopsAndBeginsNothing(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.fails["n00"] = 1
	e, f := w.withFloors(nil)
	r := w.create(e, func(s *api.RolloutSpec) { s.MaxFailures = "100%" })
	w.agents()
	w.comesTo(e, r.ID, api.RolloutFailed)
	running := w.create(e, func(s *api.RolloutSpec) { s.Start = time.Now().Add(time.Hour) })
	f.first.Store(true)
	w.act(e, running.ID, rollout.ActPause)
	w.act(e, running.ID, rollout.ActAbort)
	if _, err := e.Act(t.Context(), r.ID, rollout.Ask{Action: rollout.ActRetry, By: "ann"}); !errors.Is(err, semaphore.ErrDiskLow) {
		t.Errorf("retry of one that has ended: %v", err)
	}
}

func TestEngine_BelowTheSecondFloorNothingIsWrittenAndTheLogStaysShort(t *testing.T) {
	w := newWorld(t, 3, 1)
	log := &lines{}
	e, f := w.withFloors(slog.New(slog.NewTextHandler(log, nil)))
	r := w.create(e, nil)
	w.comesTo(e, r.ID, api.RolloutRunning)
	f.first.Store(true)
	f.second.Store(true)
	_, err := e.Act(t.Context(), r.ID, rollout.Ask{Action: rollout.ActPause, By: "ann"})
	if !errors.Is(err, semaphore.ErrDiskLow) {
		t.Errorf("pause: %v", err)
	}
	w.agents() // their results would be written
	w.eventually("a failure to write", func() bool { return log.count("writing a rollout failed") > 0 })
	time.Sleep(time.Second) // of looks, each of which fails
	if n := log.count("writing a rollout failed"); n != 1 {
		t.Errorf("%d lines in a log that lies on a disk without room", n)
	}
	f.second.Store(false)
	w.comesTo(e, r.ID, api.RolloutSucceeded)
}
