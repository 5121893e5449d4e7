package etcdstore

import (
	"fmt"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
)

// label sets a node's effective labels.
func (w *world) label(id string, labels map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.nodes[id]
	n.Labels = labels
	w.nodes[id] = n
}

// Of a rollout with an order, two nodes for each slot are asked, so each goes at
// most one place beside its own.
func TestEngine_NodesGoInTheOrderAskedFor(t *testing.T) {
	w := newWorld(t, 8, 1)
	w.queues = true
	for i := range 8 {
		w.label(fmt.Sprintf("n%02d", i), map[string]string{"rack": fmt.Sprint(20 - i)})
	}
	e := w.engine(w.store())
	r := w.create(e, func(s *api.RolloutSpec) { s.Order = &api.OrderSpec{ByLabel: "rack"} })
	asked := 0
	for i := range 8 {
		if e.WantedFor(fmt.Sprintf("n%02d", i)) != nil {
			asked++
		}
	}
	if asked != 2 || e.WantedFor("n07") == nil || e.WantedFor("n06") == nil {
		t.Errorf("%d nodes are asked at first, want n07 and n06", asked)
	}
	w.agents()
	w.comesTo(e, r.ID, api.RolloutSucceeded)
	place := 0
	for _, ev := range w.events(r.ID) {
		if ev.Kind != rollout.EventNodeUpdated {
			continue
		}
		var n int
		if _, err := fmt.Sscanf(ev.Node, "n%d", &n); err != nil {
			t.Fatal(err)
		}
		if own := 7 - n; own < place-1 || own > place+1 {
			t.Errorf("%s went as number %d, want %d or beside it", ev.Node, place+1, own+1)
		}
		place++
	}
	w.appliedOnce()
}
