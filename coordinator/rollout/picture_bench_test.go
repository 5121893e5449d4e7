package rollout

import (
	"slices"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// stillStore has rollouts that do not change.
type stillStore struct {
	Store
	snap Snapshot
}

func (s stillStore) View() Snapshot { return s.snap }

// stillFleet makes its list anew for each who asks, as a registry does.
type stillFleet []api.Node

func (f stillFleet) Nodes() []api.Node        { return slices.Clone(f) }
func (f stillFleet) Changed() <-chan struct{} { return nil }

// BenchmarkLook is what each change costs an elected engine while a rollout of
// 10,000 nodes runs.
func BenchmarkLook(b *testing.B) {
	w := virtual(10_000, slots(100), api.RolloutSpec{})
	snap := Snapshot{Rollouts: map[string]State{w.Rollouts[0].Head.ID: w.Rollouts[0]}}
	e := NewEngine(EngineConfig{
		Store: stillStore{snap: snap}, Fleet: stillFleet(w.Nodes), Semaphores: playedStore{p: newPlayer(w)},
		Now: func() time.Time { return noon },
	})
	e.measure(NewClocks(), newAsker(nil, e.cfg.Now, e.told, func(f func()) { f() }))
	b.ReportAllocs()
	for b.Loop() {
		e.refresh()
	}
}
