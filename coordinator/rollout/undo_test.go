package rollout

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// halts is a rollout in two waves of which the second halted: n1 was updated in
// the first, n2 and n3 in the second, n4 is under way, n5 failed, n6 had it.
func halts(t *testing.T, scope string) (State, []NodeView) {
	t.Helper()
	st := inWaves([]api.WaveSpec{{Name: "canary", Count: 1}, {Name: "rest"}}, 1, 6)
	st.Head.Spec.AutoRollback = scope
	had := done("n6")
	had.Report.Rollout = ""
	fleet := []NodeView{idle("n1"), idle("n2"), idle("n3"), idle("n4"), idle("n5"), had, idle("n7")}
	for i := range 4 {
		fleet[i] = in(api.PhaseDraining, fleet[i].Node)
		if st = at(t, noon, st, fleet...); i == 3 {
			break
		}
		fleet[i] = done(fleet[i].Node)
		st = at(t, noon, st, fleet...)
	}
	fleet[4] = failedAt(noon, "n5")
	st = at(t, noon, st, fleet...)
	if st.Head.State != api.RolloutHalted {
		t.Fatalf("it is %s: %s", st.Head.State, st.Head.Why)
	}
	return st, fleet
}

func TestUndoing_TakesFailedNodesFirstThenThoseThatWereChanged(t *testing.T) {
	for scope, want := range map[string]string{
		api.RollbackAll:        "n5 n1 n2 n3 n4",
		api.RollbackFailedWave: "n5 n2 n3 n4",
	} {
		st, fleet := halts(t, scope)
		if st.Head.Undo != scope {
			t.Fatalf("%s: to be undone is %q", scope, st.Head.Undo)
		}
		list, left := undoing(&st, Decide(st.Head.Spec, st, fleet, noon).Nodes)
		if len(list) != 1 || list[0].bundle != other || len(left) != 0 {
			t.Fatalf("%s: %+v, left %v", scope, list, left)
		}
		var names []string
		for _, n := range list[0].nodes {
			names = append(names, n.Node)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s, want %s", scope, got, want)
		}
	}
}

func TestUndoing_OneRolloutForEachBundleAndThoseUnknownAreNamed(t *testing.T) {
	st, fleet := halts(t, api.RollbackAll)
	third := strings.Repeat("d", 64)
	for node, had := range map[string]string{"n1": third, "n2": ""} {
		r := st.Results[node]
		r.Before = had
		st.Results[node] = r
	}
	list, left := undoing(&st, Decide(st.Head.Spec, st, fleet, noon).Nodes)
	if len(list) != 2 || list[0].bundle != other || len(list[0].nodes) != 3 || list[1].bundle != third {
		t.Errorf("%+v", list)
	}
	if len(left) != 1 || !strings.Contains(left[0], "1 node of which it is not known") {
		t.Errorf("left: %v", left)
	}
	// What it had when it was selected serves too.
	st.Nodes[1].Before = third
	if list, left = undoing(&st, Decide(st.Head.Spec, st, fleet, noon).Nodes); len(left) != 0 || len(list[1].nodes) != 2 {
		t.Errorf("%+v, left %v", list, left)
	}
}

func TestBringBack_GoesOnWhateverFailsAndIsNotBroughtBackItself(t *testing.T) {
	st, fleet := halts(t, api.RollbackAll)
	list, _ := undoing(&st, Decide(st.Head.Spec, st, fleet, noon).Nodes)
	c := backBy(&st, list[0], "old", 1, &listing{len(list[0].nodes), 1 << 10}, noon)
	if err := Validate(c.Head.Spec); err != nil {
		t.Errorf("its spec is refused: %v", err)
	}
	if c.Head.RollbackOf != id || c.Head.Spec.AutoRollback != "" || c.Head.ID != id+"-undo-1" || !strings.Contains(c.Event.Detail, "node n5 failed") {
		t.Errorf("%+v", c)
	}
	back := State{Head: c.Head, Nodes: c.Nodes, Results: map[string]Result{}, Revision: 1}
	var views []NodeView
	for _, n := range back.Nodes { // all fail but one, which has the old bundle again
		v := idle(n.Node)
		if n.Node != "n1" {
			v.Report.Bundle, v.Report.Rollout = bundle, back.Head.ID
			v.Report.Failure = &api.Failure{Bundle: other, Rollout: back.Head.ID, Reason: "unhealthy", At: noon}
		}
		views = append(views, v)
	}
	back = at(t, noon, back, views...)
	if back.Head.State != api.RolloutFailed || back.Head.Undo != "" {
		t.Errorf("it is %s: %s", back.Head.State, back.Head.Why)
	}
}

func TestApply_WhatIsBroughtBackIsNotTakenUpAgain(t *testing.T) {
	st, _ := halts(t, api.RollbackAll)
	d, err := Apply(st, Ask{Action: ActResume, By: "ann"}, noon)
	if err != nil || d.Head.Undo != "" {
		t.Fatalf("a resume before anything is brought back: %v, undo %q", err, d.Head.Undo)
	}
	st.Head.Rollbacks = []string{"ro-1-undo-1"}
	for _, action := range []string{ActResume, ActRetry} {
		if _, err := Apply(st, Ask{Action: action, By: "ann"}, noon); err == nil || err.Kind != api.Conflict || !strings.Contains(err.Detail, "ro-1-undo-1") {
			t.Errorf("%s: %v", action, err)
		}
	}
	if _, err := RetryNode(st, "n5", "ann", "", noon); err == nil || err.Kind != api.Conflict {
		t.Errorf("retry of a node: %v", err)
	}
	if d, err := Apply(st, Ask{Action: ActAbort, By: "ann"}, noon); err != nil || d.Head.State != api.RolloutAborted {
		t.Errorf("abort: %v", err)
	}
}

func TestApply_AHaltByAPersonBringsNothingBack(t *testing.T) {
	st := rolloutOf(2, 0)
	st.Head.Spec.AutoRollback = api.RollbackAll
	if st = act(t, st, ActHalt); st.Head.Undo != "" {
		t.Errorf("to be undone: %q", st.Head.Undo)
	}
}

// Between two looks a person may have resumed the rollout, and another node failed:
// one that was let begin in between is not known yet.
func TestUndo_AnotherFailureIsAnotherHalt(t *testing.T) {
	o := &office{halted: map[string]halt{}}
	for _, step := range []struct {
		after    time.Duration
		failures int64
		want     time.Duration
	}{
		{0, 1, 0},
		{4 * time.Second, 1, 4 * time.Second},
		{6 * time.Second, 2, 0},
		{11 * time.Second, 2, 5 * time.Second},
	} {
		if got := o.halt("ro-1", step.failures, noon.Add(step.after)); got != step.want {
			t.Errorf("after %s and %d failures it has been seen for %s, want %s", step.after, step.failures, got, step.want)
		}
	}
}

// All that is brought back is made by one transaction, whatever the nodes had and
// however long their names are: etcd takes so many keys and bytes in one.
func TestUndone_FitsIntoOneTransaction(t *testing.T) {
	const most = 1_500_000 // bytes, below what etcd takes in one request
	for name, c := range map[string]struct {
		nodes, bundles, made int
		long                 int // of a node's name
	}{
		"hundreds of bundles":             {600, 300, maxUndone, 20},
		"thousands of nodes, few bundles": {10_000, 10, maxUndone, 60},
		"all that fit into a selection":   {3_400, 4, 4, 240},
	} {
		t.Run(name, func(t *testing.T) {
			st := State{Head: Head{V: 1, ID: "ro-1", State: api.RolloutHalted, Undo: api.RollbackAll, Spec: api.RolloutSpec{Bundle: bundle}}, Results: map[string]Result{}}
			var shown []api.RolloutNode
			for i := range c.nodes {
				node := fmt.Sprintf("%0*d", c.long, i)
				st.Nodes = append(st.Nodes, Selected{Node: node, Group: "web", Before: fmt.Sprintf("%064d", i%c.bundles)})
				st.Results[node] = Result{Node: node, State: api.NodeUpdated}
				shown = append(shown, api.RolloutNode{Node: node, State: api.NodeUpdated})
			}
			if b, err := (Selection{Nodes: st.Nodes}).Encode(1); err != nil || len(b) > 1<<20 {
				t.Fatalf("a selection of %d bytes is none that there is: %v", len(b), err)
			}
			change, err := undone(&st, &Decisions{Head: st.Head, Nodes: shown}, whole, noon, func(string) (string, error) { return "app", nil })
			if err != nil || len(change.Creates) != c.made {
				t.Fatalf("%d rollouts, %v; want %d", len(change.Creates), err, c.made)
			}
			bytes, keys := 0, 3
			add := func(b []byte, err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
				bytes, keys = bytes+len(b), keys+1
			}
			add(change.Head.Encode(1))
			for _, e := range change.Events {
				add(json.Marshal(e))
			}
			for _, made := range change.Creates {
				add(made.Head.Encode(1))
				add(Selection{Nodes: made.Nodes}.Encode(1))
				add(json.Marshal(made.Event))
			}
			if bytes > most || keys > MaxChanges {
				t.Errorf("%d bytes and %d keys in one transaction, at most %d and %d", bytes, keys, most, MaxChanges)
			}
		})
	}
}
