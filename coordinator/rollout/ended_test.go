package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// skipping is a rollout of which the canary is done, and the wave in which n2 is
// under way and n3 and n4 have not begun.
func skipping(t *testing.T) State {
	t.Helper()
	st := inWaves([]api.WaveSpec{{Name: "canary", Count: 1}, {Name: "half", Count: 3}, {Name: "rest"}}, 1, 2, 1)
	return at(t, noon, st, done("n1"), in(api.PhaseDraining, "n2"), idle("n3"), idle("n4"))
}

func stands(d Decisions) string {
	var out []string
	for _, n := range d.Nodes {
		out = append(out, n.Node+" "+n.State)
	}
	return strings.Join(out, ", ")
}

func TestSkip_NodesLeftOutAreSkippedAndSayByWhomAndWhy(t *testing.T) {
	st := skipping(t)
	d, refused := Apply(st, Ask{Action: ActSkip, By: "bob", Reason: "soaked on staging"}, noon.Add(time.Minute))
	if refused != nil {
		t.Fatal(refused)
	}
	st = applied(st, d)
	got := Decide(st.Head.Spec, st, []NodeView{done("n1"), in(api.PhaseDraining, "n2"), idle("n3"), idle("n4")}, noon.Add(time.Minute))
	if s := stands(got); s != "n1 updated, n2 updating, n3 skipped, n4 pending" {
		t.Errorf("they stand as %s", s)
	}
	p := got.Progress
	if p.Skipped != 1 || p.Pending != 1 || p.Total != 4 || got.Waves[1].Skipped != 1 {
		t.Errorf("counted are %+v, and in the wave %+v", p, got.Waves[1])
	}
	if n := got.Nodes[2]; n.Detail != "left out: wave half was skipped by bob: soaked on staging" || !n.Since.Equal(noon.Add(time.Minute)) {
		t.Errorf("n3 says %q since %s", n.Detail, n.Since)
	}
	st = at(t, noon.Add(time.Hour), st, done("n1"), done("n2"), idle("n3"), done("n4"))
	got = Decide(st.Head.Spec, st, nil, noon.Add(time.Hour))
	if s := stands(got); st.Head.State != api.RolloutSucceeded || s != "n1 updated, n2 updated, n3 skipped, n4 updated" || got.Nodes[2].Detail == "" {
		t.Errorf("in the end it is %s with %s", st.Head.State, s)
	}
}

// A rollout that has ended has no node that waits for something.
func TestAbort_NodesWithoutAResultSayThatItEndedAndWhy(t *testing.T) {
	for _, first := range []string{"", ActHalt, ActSkip} {
		t.Run(first, func(t *testing.T) {
			st := skipping(t)
			for _, action := range []string{first, ActAbort} {
				if action == "" {
					continue
				}
				d, refused := Apply(st, Ask{Action: action, By: "bob", Reason: "wrong bundle"}, noon.Add(time.Minute))
				if refused != nil {
					t.Fatal(refused)
				}
				st = applied(st, d)
			}
			got := Decide(st.Head.Spec, st, nil, noon.Add(time.Hour))
			n3 := "aborted"
			if first == ActSkip {
				n3 = "skipped"
			}
			if s := stands(got); s != fmt.Sprintf("n1 updated, n2 aborted, n3 %s, n4 aborted", n3) {
				t.Errorf("they stand as %s", s)
			}
			for node, want := range map[int]string{1: "was under way, and finishes by itself, when the rollout ended: ", 3: "had not begun when the rollout ended: "} {
				if n := got.Nodes[node]; n.Detail != want+"aborted by bob: wrong bundle" || !n.Since.Equal(noon.Add(time.Minute)) {
					t.Errorf("%s says %q since %s", n.Node, n.Detail, n.Since)
				}
			}
			if p := got.Progress; p.Pending+p.Waiting+p.Updating != 0 {
				t.Errorf("an ended rollout counts %+v", p)
			}
			for i, w := range got.Waves[1:] {
				want := api.WaveAborted
				if i == 0 && first == ActSkip {
					want = api.WaveSkipped
				}
				if w.State != want {
					t.Errorf("wave %s is %s, want %s", w.Name, w.State, want)
				}
			}
		})
	}
}

// One whose nodes are brought back is not resumed, and says so of those that it
// has not asked.
func TestHalt_NodesNotAskedSayThatTheOthersAreBroughtBack(t *testing.T) {
	st := skipping(t)
	st.Head.State, st.Head.Rollbacks = api.RolloutHalted, []string{"ro-1-undo-1"}
	d := Decide(st.Head.Spec, st, []NodeView{done("n1"), in(api.PhaseDraining, "n2"), idle("n3"), idle("n4")}, noon)
	for _, i := range []int{2, 3} {
		if n := d.Nodes[i]; n.State != api.NodePending || !strings.Contains(n.Detail, "undone by ro-1-undo-1") {
			t.Errorf("%s is %s: %q", n.Node, n.State, n.Detail)
		}
	}
}
