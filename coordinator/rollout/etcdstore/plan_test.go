package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// took says how long past updates took.
func took(list ...time.Duration) func(context.Context, string) []time.Duration {
	return func(context.Context, string) []time.Duration { return list }
}

func TestPlan_TellsWavesNodesAndWhenEachWillBeDone(t *testing.T) {
	w := newWorld(t, 5, 2)
	w.lasted = took(2*time.Minute, 2*time.Minute)
	e := w.engine(w.store())
	w.report("n00", func(r *api.Report) { r.Bundle = newBundle })
	before, err := w.store().ReadAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p, err := e.Plan(api.RolloutSpec{
		Bundle: newBundle, Group: "web", Gates: []api.GateSpec{{Name: "change", Approval: &api.ApprovalGate{}}},
		Waves: []api.WaveSpec{{Name: "canary", Count: 2, Soak: "10m"}, {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if p.Total != 5 || p.Already != 1 || len(p.Waves) != 2 || len(p.Gates) != 1 || !strings.HasPrefix(p.Gates[0], "change: ") {
		t.Fatalf("plan %+v", p)
	}
	// n00 has it, n01 takes 2 min, the soak 10 min, three nodes by two 4 min.
	if got := p.Estimate.Sub(began).Round(time.Minute); got != 16*time.Minute || p.TakesS < 955 || p.TakesS > 965 {
		t.Errorf("it would be done in %s (%d s)", got, p.TakesS)
	}
	var nodes []string
	for _, wave := range p.Waves {
		nodes = append(nodes, wave.Name+":")
		for _, n := range wave.Nodes {
			text := n.Node
			if !n.Estimate.IsZero() {
				text += " " + n.Estimate.Sub(began).Round(time.Minute).String()
			}
			nodes = append(nodes, text)
		}
	}
	if got, want := strings.Join(nodes, ", "), "canary:, n00, n01 2m0s, rest:, n02 14m0s, n03 14m0s, n04 16m0s"; got != want {
		t.Errorf("nodes %s, want %s", got, want)
	}
	if c := p.Waves[1].Concurrency; c.Nodes != 2 || c.Bound != "slots" || !strings.Contains(c.Detail, "group web has 2 slots") {
		t.Errorf("the second wave's bound: %+v", c)
	}
	if c := p.Waves[0].Concurrency; c.Nodes != 1 || c.Bound != "wave" {
		t.Errorf("the canary's bound: %+v", c)
	}
	if !strings.Contains(p.EstimateBasis, "the last 2 updates there, 2m on average") || !strings.Contains(p.EstimateBasis, "people to approve at once") {
		t.Errorf("basis: %s", p.EstimateBasis)
	}
	for _, want := range []string{"5 nodes to bundle app-b in 2 waves, at most 2 at once", "1 already there", "done in about 16m"} {
		if !strings.Contains(p.Summary, want) {
			t.Errorf("summary %q lacks %q", p.Summary, want)
		}
	}
	after, err := w.store().ReadAll(t.Context())
	if err != nil || after.Catalog != before.Catalog || len(after.Rollouts) != 0 {
		t.Errorf("the plan changed something: %+v %v", after, err)
	}
}

func TestPlan_SaysWhatBlocksAndWhoIsLeftOut(t *testing.T) {
	w := newWorld(t, 4, 2)
	e := w.engine(w.store())
	w.report("n01", func(r *api.Report) { r.NeedsReboot = true })
	w.report("n02", func(r *api.Report) { r.NeedsReboot = true; r.Trouble = "its journal is damaged" })
	w.mu.Lock()
	n := w.nodes["n03"]
	n.Via = "fleetlock"
	w.nodes["n03"] = n
	w.mu.Unlock()
	w.do(semaphore.SetFreeze{Freeze: semaphore.Freeze{ID: "f", By: "ann", Reason: "storm", At: time.Now()}})
	w.eventually("the freeze to be seen", func() bool { st, _ := w.sems.View("web"); return st.Head.Freeze != nil })
	p, err := e.Plan(api.RolloutSpec{Bundle: newBundle, Group: "web", NeedsReboot: true})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Estimate.IsZero() || len(p.Blockers) == 0 || p.Blockers[0].Kind != api.Frozen || !strings.Contains(p.Summary, "none may go now") {
		t.Errorf("frozen, it is planned to end %s, blockers %+v: %s", p.Estimate, p.Blockers, p.Summary)
	}
	if got := fmt.Sprint(p.Excluded); got != "[{n00 does not say that it needs a reboot} {n03 has no agent: it comes through FleetLock, so nothing can be rolled out to it}]" {
		t.Errorf("left out: %s", got)
	}
	if got := strings.Join(p.Warnings, "; "); !strings.Contains(got, "1 node is in trouble and would do nothing: n02") {
		t.Errorf("warnings: %s", got)
	}
	if !strings.Contains(p.EstimateBasis, "5m a node are assumed, for no update there is on record") {
		t.Errorf("basis: %s", p.EstimateBasis)
	}
}

func TestPlan_AWindowThatHoldsNoUpdateIsRefusedAsAtTheStart(t *testing.T) {
	w := newWorld(t, 2, 1)
	w.lasted = took(40*time.Minute, 44*time.Minute)
	e := w.engine(w.store())
	spec := api.RolloutSpec{Bundle: newBundle, Group: "web", Windows: []api.WindowSpec{{Start: "22:00", Duration: "4h"}, {Start: "04:00", Duration: "30m"}}}
	for what, err := range map[string]error{
		"plan":  func() error { _, err := e.Plan(spec); return err }(),
		"start": func() error { _, _, err := e.Create(t.Context(), spec, "ann", ""); return err }(),
	} {
		var refused *api.Error
		if !errors.As(err, &refused) || refused.Kind != api.Invalid || len(refused.Fields) != 1 || refused.Fields[0].Path != "windows[1].duration" ||
			!strings.Contains(refused.Detail, "usually takes 42m: want at least 42m") {
			t.Errorf("%s: %v", what, err)
		}
	}
	spec.Windows = spec.Windows[:1]
	if _, err := e.Plan(spec); err != nil {
		t.Error(err)
	}
}

func TestPlan_ARolloutUnderWayTakesItsTurnFirst(t *testing.T) {
	w := newWorld(t, 4, 1)
	w.lasted = took(time.Minute)
	e := w.engine(w.store())
	r := w.create(e, func(s *api.RolloutSpec) { s.Group, s.Nodes = "", []string{"n00", "n01"} })
	w.eventually("it to be seen", func() bool { _, ok := e.Get(r.ID); return ok })
	spec := api.RolloutSpec{Bundle: oldBundle, Nodes: []string{"n01", "n02"}}
	if _, err := e.Plan(spec); err == nil || !strings.Contains(err.Error(), r.ID) {
		t.Errorf("a plan over a node of another rollout: %v", err)
	}
	spec.Conflict = api.ConflictQueue
	spec.Bundle, spec.Nodes = strings.Repeat("a", 64), []string{"n01"}
	w.report("n01", func(r *api.Report) { r.Bundle = "" })
	p, err := e.Plan(spec)
	if err != nil {
		t.Fatal(err)
	}
	if p.TakesS < 175 || p.TakesS > 190 || !strings.Contains(strings.Join(p.Warnings, ";"), "it waits for the end of rollout "+r.ID) {
		t.Errorf("behind two minutes of the other it takes %d s; %v", p.TakesS, p.Warnings)
	}
}

func TestEngine_SaysWhenARolloutWillBeDoneAndKeepsItCurrent(t *testing.T) {
	w := newWorld(t, 4, 2)
	e := w.engine(w.store())
	began := time.Now()
	r := w.create(e, func(s *api.RolloutSpec) { s.Waves = []api.WaveSpec{{Count: 2, Soak: "5m"}, {}} })
	w.eventually("an estimate", func() bool { r, _ = e.Get(r.ID); return !r.Estimate.IsZero() })
	if got := r.Estimate.Sub(began).Round(time.Minute); got != 15*time.Minute || r.Progress.EstimateS < 870 || r.Progress.EstimateS > 910 {
		t.Errorf("done in %s (%d s)", got, r.Progress.EstimateS)
	}
	var got []string
	for _, n := range r.Nodes {
		got = append(got, n.Estimate.Sub(began).Round(time.Minute).String())
	}
	for _, wave := range r.Waves {
		got = append(got, wave.Estimate.Sub(began).Round(time.Minute).String())
	}
	if text := strings.Join(got, " "); text != "5m0s 5m0s 15m0s 15m0s 10m0s 15m0s" {
		t.Errorf("nodes and waves: %s", text)
	}
	if !strings.Contains(r.EstimateBasis, "5m a node are assumed") {
		t.Errorf("basis: %s", r.EstimateBasis)
	}
	w.act(e, r.ID, "pause")
	w.eventually("the estimate to be gone", func() bool { r, _ = e.Get(r.ID); return r.Estimate.IsZero() && r.Progress.EstimateS == 0 })
	w.act(e, r.ID, "resume")
	w.eventually("an estimate", func() bool { r, _ = e.Get(r.ID); return !r.Estimate.IsZero() })
	// Its own nodes say more than what was assumed.
	w.pace = 300 * time.Millisecond // so that the engine sees them at work
	w.agents()
	w.eventually("the rest to be expected sooner", func() bool {
		r, _ = e.Get(r.ID)
		return r.Progress.Updated == 2 && r.Estimate.Sub(began) < 7*time.Minute
	})
}
