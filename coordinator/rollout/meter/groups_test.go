package meter_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout/meter"
)

// seriesOf are the values of a metric, by the labels group and state, of what is
// shown of a rollout with these nodes.
func seriesOf(t *testing.T, name string, nodes []api.RolloutNode) map[[2]string]float64 {
	t.Helper()
	r := api.Rollout{ID: "01R", State: api.RolloutRunning, Nodes: nodes}
	for _, n := range nodes {
		p := &r.Progress
		*map[string]*int{
			api.NodePending: &p.Pending, api.NodeQueued: &p.Waiting, api.NodeUpdating: &p.Updating, api.NodeUpdated: &p.Updated,
			api.NodeBroken: &p.Failed, api.NodeSkipped: &p.Skipped, api.NodeAborted: &p.Aborted,
		}[n.State]++
	}
	reg := prometheus.NewRegistry()
	meter.New(reg, time.Now).Show([]api.Rollout{r})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[[2]string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, series := range f.Metric {
			labels := map[string]string{}
			for _, l := range series.Label {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["rollout"] != "01R" {
				t.Errorf("%s is of rollout %q", name, labels["rollout"])
			}
			got[[2]string{labels["group"], labels["state"]}] = series.GetGauge().GetValue()
		}
	}
	return got
}

// states are all that a node of a rollout may be in.
var states = []string{api.NodePending, api.NodeQueued, api.NodeUpdating, api.NodeUpdated, api.NodeBroken, api.NodeSkipped, api.NodeAborted}

// agrees holds the groups' sums to what is told of the whole rollout.
func agrees(t *testing.T, nodes []api.RolloutNode) {
	t.Helper()
	sums := map[string]float64{}
	for key, n := range seriesOf(t, "lockkeeper_rollout_group_nodes", nodes) {
		sums[key[1]] += n
	}
	whole := seriesOf(t, "lockkeeper_rollout_nodes", nodes)
	if len(whole) != len(states) || len(sums) != len(states) {
		t.Errorf("%d states of the rollout, %d of its groups, want %d", len(whole), len(sums), len(states))
	}
	for key, want := range whole {
		if got := sums[key[1]]; got != want {
			t.Errorf("the groups have %v %s, the rollout %v", got, key[1], want)
		}
	}
}

func TestGroupNodes_TellHowFarARolloutIsInEachGroup(t *testing.T) {
	nodes := []api.RolloutNode{
		{Node: "w1", Group: "web", State: api.NodeUpdated}, {Node: "w2", Group: "web", State: api.NodeUpdated},
		{Node: "w3", Group: "web", State: api.NodeUpdating}, {Node: "d1", Group: "db", State: api.NodeBroken},
	}
	for _, state := range states {
		nodes = append(nodes, api.RolloutNode{Node: "m-" + state, Group: "mixed", State: state})
	}
	got := seriesOf(t, "lockkeeper_rollout_group_nodes", nodes)
	if len(got) != 3*len(states) {
		t.Errorf("%d series of 3 groups, want each state of each", len(got))
	}
	for _, want := range []struct {
		group, state string
		nodes        float64
	}{
		{"web", api.NodeUpdated, 2}, {"web", api.NodeUpdating, 1}, {"web", api.NodeBroken, 0},
		{"db", api.NodeBroken, 1}, {"db", api.NodeUpdated, 0},
	} {
		if n, there := got[[2]string{want.group, want.state}]; !there || n != want.nodes {
			t.Errorf("%s: %v are %s (there: %v), want %v", want.group, n, want.state, there, want.nodes)
		}
	}
	for _, state := range states {
		if n := got[[2]string{"mixed", state}]; n != 1 {
			t.Errorf("mixed: %v are %s, want 1", n, state)
		}
	}
	agrees(t, nodes)
}

// A fleet in which nearly each host has a group of its own must not become as many
// series; what is left out is still counted.
func TestGroupNodes_AreBoundedAndLeaveNoNodeOut(t *testing.T) {
	var nodes []api.RolloutNode
	for i := range 3000 {
		nodes = append(nodes, api.RolloutNode{Group: fmt.Sprintf("alone-%04d", i), State: states[i%len(states)]})
	}
	for range 5 {
		nodes = append(nodes, api.RolloutNode{Group: "zoo", State: api.NodeUpdated})
	}
	got := seriesOf(t, "lockkeeper_rollout_group_nodes", nodes)
	if want := (100 + 1) * len(states); len(got) != want {
		t.Errorf("%d series, want %d", len(got), want)
	}
	if n := got[[2]string{"zoo", api.NodeUpdated}]; n != 5 {
		t.Errorf("the greatest group has %v nodes updated, want 5", n)
	}
	for _, group := range []string{"alone-0000", "alone-0098", ""} {
		if _, there := got[[2]string{group, api.NodePending}]; !there {
			t.Errorf("nothing is told of group %q", group)
		}
	}
	if _, there := got[[2]string{"alone-0099", api.NodePending}]; there {
		t.Error("alone-0099 is past the bound, and has series of its own")
	}
	agrees(t, nodes)
}

// With few groups there is no rest, which would look like a group without a name.
func TestGroupNodes_AreOfNamedGroupsWhileTheyFit(t *testing.T) {
	var nodes []api.RolloutNode
	for i := range 100 {
		nodes = append(nodes, api.RolloutNode{Group: fmt.Sprint(i), State: api.NodePending})
	}
	for key := range seriesOf(t, "lockkeeper_rollout_group_nodes", nodes) {
		if key[0] == "" {
			t.Fatal("100 groups have a rest")
		}
	}
	agrees(t, nodes)
}

// BenchmarkCollect is a scrape while 20 rollouts of 10,000 nodes each, in 100 groups, run.
func BenchmarkCollect(b *testing.B) {
	nodes := make([]api.RolloutNode, 10_000)
	for i := range nodes {
		nodes[i] = api.RolloutNode{Group: fmt.Sprintf("group-%d", i%100), State: states[i%len(states)]}
	}
	list := make([]api.Rollout, 20)
	for i := range list {
		list[i] = api.Rollout{ID: fmt.Sprint(i), State: api.RolloutRunning, Nodes: nodes}
	}
	reg := prometheus.NewRegistry()
	meter.New(reg, time.Now).Show(list)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := reg.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
