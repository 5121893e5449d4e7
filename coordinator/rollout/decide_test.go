package rollout

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

var (
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	bundle = strings.Repeat("b", 64)
	other  = strings.Repeat("c", 64)
)

const id = "ro-1"

// rolloutOf is a running rollout over n1, n2, … of group web.
func rolloutOf(nodes, maxFailures int) State {
	st := State{
		Head: Head{
			V: 1, ID: id, State: api.RolloutRunning, EventSeq: 1, CreatedAt: noon,
			Spec: api.RolloutSpec{Bundle: bundle, Group: "web", MaxFailures: api.Slots(strconv.Itoa(maxFailures))},
		},
		Results: map[string]Result{}, Revision: 1,
	}
	for i := range nodes {
		st.Nodes = append(st.Nodes, Selected{Node: fmt.Sprintf("n%d", i+1), Group: "web"})
	}
	return st
}

// idle is a node with the older bundle, that nobody asked for anything.
func idle(node string) NodeView {
	return NodeView{
		Node: node, Group: "web", Known: true, ChangedAt: noon,
		Report: api.Report{Phase: api.PhaseIdle, Healthy: true, Bundle: other},
	}
}

func done(node string) NodeView {
	v := idle(node)
	v.Report.Bundle, v.Report.Rollout = bundle, id
	return v
}

func in(phase api.Phase, node string) NodeView {
	v := idle(node)
	v.Report.Phase, v.Report.Rollout = phase, id
	v.Held = inFlight[phase]
	v.Fence = 7
	return v
}

func failedAt(at time.Time, node string) NodeView {
	v := idle(node)
	v.Report.Rollout = id
	v.Report.Failure = &api.Failure{Bundle: bundle, Rollout: id, Reason: "unhealthy", Detail: "no answer on port 80", Healthy: true, At: at}
	return v
}

// settle applies decisions until there is nothing more to do.
func settled(t testing.TB, st State, fleet ...NodeView) (State, Decisions) {
	t.Helper()
	for range 100 {
		d := Decide(st.Head.Spec, st, fleet, noon)
		if !d.Changed {
			return st, d
		}
		st = applied(st, d)
	}
	t.Fatal("decided 100 times and still not settled")
	return st, Decisions{}
}

func applied(st State, d Decisions) State {
	next := st
	next.Head, next.Revision = d.Head, st.Revision+1
	next.Results = map[string]Result{}
	for k, r := range st.Results {
		next.Results[k] = r
	}
	for _, r := range d.Results {
		next.Results[r.Node] = r
	}
	return next
}

func act(t *testing.T, st State, action string) State {
	t.Helper()
	d, err := Apply(st, Ask{Action: action, By: "ann", Reason: "because"}, noon)
	if err != nil {
		t.Fatalf("%s of a rollout that is %s: %v", action, st.Head.State, err)
	}
	return applied(st, d)
}

func states(d Decisions) string {
	var out []string
	for _, n := range d.Nodes {
		out = append(out, n.State)
	}
	return strings.Join(out, " ")
}

func TestDecide_WhereANodeStands(t *testing.T) {
	with := func(v NodeView, change func(*NodeView)) NodeView { change(&v); return v }
	for name, c := range map[string]struct {
		node NodeView
		want string
	}{
		"with the older bundle it is pending":               {idle("n1"), api.NodePending},
		"waiting for a slot it is waiting":                  {in(api.PhaseWaiting, "n1"), api.NodeQueued},
		"holding it is updating":                            {in(api.PhaseHolding, "n1"), api.NodeUpdating},
		"draining it is updating":                           {in(api.PhaseDraining, "n1"), api.NodeUpdating},
		"rebooting it is updating":                          {in(api.PhaseRebooting, "n1"), api.NodeUpdating},
		"with the bundle, not yet verified, it is updating": {with(in(api.PhaseVerifying, "n1"), func(v *NodeView) { v.Report.Bundle = bundle }), api.NodeUpdating},
		"confirmed and not told of it, it is updating":      {with(in(api.PhaseWaiting, "n1"), func(v *NodeView) { v.Held = true }), api.NodeUpdating},
		"granted and not told of it, it is waiting":         {with(in(api.PhaseWaiting, "n1"), func(v *NodeView) { v.Held, v.Unconfirmed = true, true }), api.NodeQueued},
		"holding without a confirm it is waiting":           {with(in(api.PhaseHolding, "n1"), func(v *NodeView) { v.Unconfirmed = true }), api.NodeQueued},
		"draining with a hold not seen it is updating":      {with(in(api.PhaseDraining, "n1"), func(v *NodeView) { v.Held = false }), api.NodeUpdating},
		"with the bundle and idle it is updated":            {done("n1"), api.NodeUpdated},
		"with the bundle but a hold left it is not":         {with(done("n1"), func(v *NodeView) { v.Held = true }), api.NodeUpdating},
		"with the bundle but unhealthy it is not":           {with(done("n1"), func(v *NodeView) { v.Report.Healthy = false }), api.NodePending},
		"with the bundle from before, it is updated":        {with(done("n1"), func(v *NodeView) { v.Report.Rollout = "" }), api.NodeUpdated},
		"with a failure of this bundle it failed":           {failedAt(noon, "n1"), api.NodeBroken},
		"with the bundle and its failure it failed":         {with(failedAt(noon, "n1"), func(v *NodeView) { v.Report.Bundle = bundle }), api.NodeBroken},
		"with a failure of another rollout it is pending":   {with(failedAt(noon, "n1"), func(v *NodeView) { v.Report.Failure.Rollout = "ro-0"; v.Report.Rollout = "ro-0" }), api.NodePending},
		"with a failure of another bundle it is pending":    {with(failedAt(noon, "n1"), func(v *NodeView) { v.Report.Failure.Bundle = other }), api.NodePending},
		"in phase failed it failed":                         {in(api.PhaseFailed, "n1"), api.NodeBroken},
		"in phase failed of another rollout it is pending":  {with(in(api.PhaseFailed, "n1"), func(v *NodeView) { v.Report.Rollout = "ro-0" }), api.NodePending},
		"overdue it failed":                                 {with(in(api.PhaseRebooting, "n1"), func(v *NodeView) { v.Overdue = true }), api.NodeBroken},
		"out of service for something else it is pending":   {with(in(api.PhaseRebooting, "n1"), func(v *NodeView) { v.Report.Rollout = "ro-0" }), api.NodePending},
		"never heard of it is pending":                      {NodeView{Node: "n1", Group: "web"}, api.NodePending},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decide(rolloutOf(1, 0).Head.Spec, rolloutOf(1, 0), []NodeView{c.node}, noon)
			if got := d.Nodes[0].State; got != c.want {
				t.Errorf("got %s (%s), want %s", got, d.Nodes[0].Detail, c.want)
			}
		})
	}
}

func TestDecide_AllUpdatedSucceeds(t *testing.T) {
	st, d := settled(t, rolloutOf(2, 0), done("n1"), in(api.PhaseVerifying, "n2"))
	if st.Head.State != api.RolloutRunning {
		t.Fatalf("with one node verifying it is %s", st.Head.State)
	}
	if d.Progress.Updated != 1 || d.Progress.Updating != 1 {
		t.Errorf("progress %+v", d.Progress)
	}
	st, d = settled(t, st, done("n1"), done("n2"))
	if st.Head.State != api.RolloutSucceeded || !st.Head.EndedAt.Equal(noon) {
		t.Errorf("it is %s, ended %s", st.Head.State, st.Head.EndedAt)
	}
	if got := states(d); got != "updated updated" {
		t.Errorf("nodes are %s", got)
	}
}

func TestDecide_AnUpdatedNodeStaysUpdated(t *testing.T) {
	st, _ := settled(t, rolloutOf(2, 0), done("n1"), idle("n2"))
	_, d := settled(t, st, failedAt(noon, "n1"), idle("n2"))
	if got := states(d); got != "updated pending" {
		t.Errorf("nodes are %s", got)
	}
}

func TestDecide_OneFailureTooManyHaltsAndNamesIt(t *testing.T) {
	st, _ := settled(t, rolloutOf(3, 1), failedAt(noon, "n1"), idle("n2"), idle("n3"))
	if st.Head.State != api.RolloutRunning {
		t.Fatalf("within the budget it is %s: %s", st.Head.State, st.Head.Why)
	}
	st, _ = settled(t, st, failedAt(noon, "n1"), failedAt(noon, "n2"), idle("n3"))
	if st.Head.State != api.RolloutHalted {
		t.Fatalf("past the budget it is %s", st.Head.State)
	}
	want := "node n2 failed: unhealthy: no answer on port 80 (2 failed, at most 1 may)"
	if st.Head.Why != want {
		t.Errorf("why: %q, want %q", st.Head.Why, want)
	}
}

func TestDecide_FailuresWithinTheBudgetEndAsFailed(t *testing.T) {
	st, _ := settled(t, rolloutOf(2, 1), failedAt(noon, "n1"), done("n2"))
	if st.Head.State != api.RolloutFailed {
		t.Errorf("it is %s: %s", st.Head.State, st.Head.Why)
	}
}

func TestDecide_ResumeAcknowledgesTheFailuresSoFar(t *testing.T) {
	st, _ := settled(t, rolloutOf(3, 0), failedAt(noon, "n1"), idle("n2"), idle("n3"))
	st = act(t, st, ActResume)
	st, _ = settled(t, st, failedAt(noon, "n1"), idle("n2"), idle("n3"))
	if st.Head.State != api.RolloutRunning {
		t.Fatalf("resumed, it is %s: %s", st.Head.State, st.Head.Why)
	}
	st, _ = settled(t, st, failedAt(noon, "n1"), failedAt(noon, "n2"), idle("n3"))
	if st.Head.State != api.RolloutHalted || !strings.HasPrefix(st.Head.Why, "node n2 failed") {
		t.Errorf("after the next failure it is %s: %s", st.Head.State, st.Head.Why)
	}
}

func TestDecide_RetryAsksTheFailedNodesAgainWithTheNextAttempt(t *testing.T) {
	st, _ := settled(t, rolloutOf(2, 0), failedAt(noon, "n1"), done("n2"))
	if w := Wanted(&st, failedAt(noon, "n1"), noon); w != nil {
		t.Errorf("a failed node is asked again without a retry: %+v", w)
	}
	st = act(t, st, ActRetry)
	st, d := settled(t, st, failedAt(noon, "n1"), done("n2"))
	if st.Head.State != api.RolloutRunning || states(d) != "pending updated" {
		t.Fatalf("retried, it is %s with nodes %s", st.Head.State, states(d))
	}
	if w := Wanted(&st, failedAt(noon, "n1"), noon); w == nil || w.Attempt != 2 {
		t.Errorf("wanted of the failed node: %+v", w)
	}
	again, _ := settled(t, st, failedAt(noon.Add(time.Minute), "n1"), done("n2"))
	if again.Head.State != api.RolloutHalted || again.Results["n1"].Attempt != 2 {
		t.Errorf("failed again, it is %s at attempt %d", again.Head.State, again.Results["n1"].Attempt)
	}
	st, _ = settled(t, st, done("n1"), done("n2"))
	if st.Head.State != api.RolloutSucceeded {
		t.Errorf("with all updated it is %s", st.Head.State)
	}
}

func TestDecide_TheNodesOwnSecondFailureDoesNotSpoilARetry(t *testing.T) {
	later := noon.Add(time.Minute)
	st, _ := settled(t, rolloutOf(1, 0), failedAt(noon, "n1"))
	st, _ = settled(t, st, failedAt(later, "n1")) // the agent tried twice by itself
	if n := st.Head.Failures; n != 1 {
		t.Fatalf("one node counts as %d failures", n)
	}
	st = act(t, st, ActRetry)
	st, _ = settled(t, st, failedAt(later, "n1"))
	if st.Head.State != api.RolloutRunning {
		t.Errorf("the failure from before the retry counted: %s, %s", st.Head.State, st.Head.Why)
	}
}

func TestDecide_AnOverdueNodeThatComesBackIsUpdated(t *testing.T) {
	v := in(api.PhaseRebooting, "n1")
	v.Overdue = true
	st, _ := settled(t, rolloutOf(2, 1), v, idle("n2"))
	if st.Head.Failures != 1 {
		t.Fatal("an overdue node does not count as failed")
	}
	if w := Wanted(&st, v, noon); w == nil {
		t.Error("an overdue node in flight is told that nothing is wanted of it")
	}
	_, d := settled(t, st, done("n1"), idle("n2"))
	if got := states(d); got != "updated pending" {
		t.Errorf("nodes are %s", got)
	}
}

func TestDecide_PausedAsksNobodyAndLetsThoseInFlightFinish(t *testing.T) {
	for _, action := range []string{ActPause, ActHalt} {
		t.Run(action, func(t *testing.T) {
			st := act(t, rolloutOf(3, 0), action)
			if w := Wanted(&st, idle("n1"), noon); w != nil {
				t.Errorf("an idle node is asked: %+v", w)
			}
			if w := Wanted(&st, in(api.PhaseWaiting, "n2"), noon); w != nil {
				t.Errorf("a waiting node is asked: %+v", w)
			}
			if w := Wanted(&st, in(api.PhaseDraining, "n3"), noon); w == nil {
				t.Error("a node in flight is not let finish")
			}
		})
	}
}

func TestDecide_StalledSaysWhyAndSinceWhen(t *testing.T) {
	frozen := idle("n2")
	frozen.Kept = []api.Blocker{{Kind: api.Frozen, Detail: "the fleet is frozen by ann: storm"}}
	st, d := settled(t, rolloutOf(2, 0), in(api.PhaseDraining, "n1"), frozen)
	s := st.Head.Stalled
	if s == nil || !s.Since.Equal(noon) || s.Blockers[0].Kind != api.Frozen {
		t.Fatalf("stalled: %+v", s)
	}
	if len(d.Reasons) != 1 || !strings.Contains(d.Reasons[0], "storm") {
		t.Errorf("reasons %q", d.Reasons)
	}
	st, _ = settled(t, st, in(api.PhaseDraining, "n1"), idle("n2"))
	if st.Head.Stalled != nil {
		t.Errorf("still stalled: %+v", st.Head.Stalled)
	}
}

func TestDecide_HaltsWhenEverySlotIsKeptByFailedNodes(t *testing.T) {
	broken, next := in(api.PhaseFailed, "n1"), idle("n2")
	broken.Held = true
	next.AllKept = true
	next.Kept = []api.Blocker{{Kind: api.Full, Detail: "1 of 1 slot is held"}}
	st, _ := settled(t, rolloutOf(2, 5), broken, next)
	if st.Head.State != api.RolloutHalted || st.Head.Stalled == nil {
		t.Fatalf("it is %s, stalled %+v", st.Head.State, st.Head.Stalled)
	}
	st, _ = settled(t, act(t, st, ActResume), broken, next)
	if st.Head.State != api.RolloutRunning {
		t.Errorf("a resume by a person is undone at once: %s", st.Head.Why)
	}
}

func TestDecide_AForgottenNodeIsNeverSaidToBeDone(t *testing.T) {
	st, d := settled(t, rolloutOf(2, 0), done("n1"))
	if st.Head.State != api.RolloutRunning || states(d) != "updated pending" {
		t.Errorf("it is %s with nodes %s", st.Head.State, states(d))
	}
	if st.Head.Stalled == nil {
		t.Error("nothing may start, and it does not say so")
	}
}

func TestDecide_MoreThanOneTransactionTakesFailuresFirst(t *testing.T) {
	st := rolloutOf(1000, 0)
	var fleet []NodeView
	for i, n := range st.Nodes {
		if i == 999 {
			fleet = append(fleet, failedAt(noon, n.Node))
		} else {
			fleet = append(fleet, done(n.Node))
		}
	}
	d := Decide(st.Head.Spec, st, fleet, noon)
	if puts := 1 + len(d.Results) + len(d.Events); puts > MaxChanges {
		t.Errorf("%d keys in one transaction, at most %d", puts, MaxChanges)
	}
	if d.Head.State != api.RolloutHalted || !d.More {
		t.Errorf("the first transaction leaves it %s, more %v", d.Head.State, d.More)
	}
}

func TestDecide_ANewerSchemaIsShownAndNotTouched(t *testing.T) {
	st := rolloutOf(1, 0)
	st.Newer = "rollouts/ro-1/head"
	d := Decide(st.Head.Spec, st, []NodeView{done("n1")}, noon)
	if d.Changed {
		t.Error("it was changed")
	}
	if w := Wanted(&st, idle("n1"), noon); w != nil {
		t.Errorf("a node is asked: %+v", w)
	}
}

func TestStoredValues_KeepMembersOfANewerVersion(t *testing.T) {
	h, err := DecodeHead([]byte(`{"v":1,"id":"ro-1","spec":{"bundle":"x"},"state":"running","by":"ann","created_at":"2026-03-01T12:00:00Z","event_seq":1,"someday":{"n":3}}`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeHead(b)
	if err != nil || string(back.Extra["someday"]) != `{"n":3}` {
		t.Errorf("rewritten it is %s (%v)", b, err)
	}
	if diff := cmp.Diff(h, back); diff != "" {
		t.Error(diff)
	}
}
