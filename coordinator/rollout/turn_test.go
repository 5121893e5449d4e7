package rollout

import (
	"fmt"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Nodes whose zone is full must not keep those of another zone from being asked,
// nor must one that nobody hears.
func TestTurns_AreApartForEachValueOfALimitAndPassOverTheUnheard(t *testing.T) {
	st := rolloutOf(0, 0)
	st.Head.Spec.Order = &api.OrderSpec{}
	f := &fleetView{nodes: map[string]*api.Node{}, groups: map[string]*groupView{}}
	group := semaphore.State{Group: "web", Members: map[string]semaphore.Member{}, Spec: semaphore.Spec{
		Slots: semaphore.Slots{N: 1}, Limits: []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: 1}}},
	}}
	var views []NodeView
	for i := range 8 {
		id, zone := fmt.Sprintf("n%d", i), "a"
		if i >= 6 {
			zone = "b"
		}
		f.nodes[id] = &api.Node{ID: id}
		group.Members[id] = semaphore.Member{Node: id, Registered: map[string]string{"zone": zone}}
		st.Nodes = append(st.Nodes, Selected{Node: id, Group: "web"})
		views = append(views, NodeView{Node: id, Group: "web", Known: true})
	}
	f.nodes["n1"].State = api.NodeUnreachable
	f.groups["web"] = &groupView{exists: true, state: group}
	f.takeTurns(&st, views)
	var got []int
	for _, v := range views {
		got = append(got, v.Turn)
	}
	if want := "[0 0 0 1 2 3 0 0]"; fmt.Sprint(got) != want {
		t.Errorf("turns %v, want %s", got, want)
	}
}
