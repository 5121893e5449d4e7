package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// virtual is a world with one rollout over n1, n2, … of group web, in zones a, b
// and c in turn. Each turn takes a minute.
func virtual(nodes int, group semaphore.Spec, spec api.RolloutSpec) World {
	g := semaphore.State{
		Group: "web", Revision: 1, HeadRev: 1, SpecRev: 1, Head: semaphore.Head{V: 1, Next: 1}, Spec: group,
	}
	g.Keep(noon)
	w := World{Now: noon, Course: func(Step) Course { return Course{Takes: time.Minute} }}
	for i := range nodes {
		id := fmt.Sprintf("n%d", i+1)
		labels := map[string]string{"zone": string(rune('a' + i%3))}
		g.SetMember(semaphore.Member{V: 1, Node: id, Registered: labels})
		w.Nodes = append(w.Nodes, api.Node{
			ID: id, Group: "web", Labels: labels, Via: "agent", LastHeard: noon, ChangedAt: noon.Add(-time.Hour), Instance: "i-" + id,
			Report: api.Report{Group: "web", Phase: api.PhaseIdle, Healthy: true, Bundle: other},
		})
	}
	w.Groups = []semaphore.State{g}
	spec.Bundle, spec.Group = bundle, "web"
	dealt, refused := Deal(spec, w.Nodes, func(api.Node) bool { return false })
	if refused != nil {
		panic(refused)
	}
	st := State{
		Head:  Head{V: 1, ID: id, State: api.RolloutRunning, EventSeq: 1, Spec: spec, CreatedAt: noon},
		Nodes: dealt, Results: map[string]Result{}, Revision: 1,
	}
	if len(spec.Gates) > 0 || !spec.Start.IsZero() {
		st.Head.State = api.RolloutScheduled
	}
	w.Rollouts = []State{st}
	return w
}

func slots(n int) semaphore.Spec { return semaphore.Spec{V: 1, Slots: semaphore.Slots{N: n}} }

// ends plays the world and wants its rollout to end so.
func ends(t *testing.T, w World, state api.RolloutState, after time.Duration) PlayedRollout {
	t.Helper()
	p := Forecast(w)
	r := p.Rollouts[0]
	if got := r.Ended.Sub(w.Now); r.State.Head.State != state || got != after {
		t.Fatalf("it is %s (%s) after %s, want %s after %s", r.State.Head.State, r.State.Head.Why, got, state, after)
	}
	return r
}

func TestForecast_WhatARolloutTakes(t *testing.T) {
	hour := []api.WindowSpec{{Start: "13:00", Duration: "1h"}}
	open := func(cutoff time.Duration) semaphore.Window {
		return semaphore.Window{Start: "13:00", Duration: semaphore.Duration(5 * time.Minute), Cutoff: semaphore.Duration(cutoff)}
	}
	for name, c := range map[string]struct {
		nodes int
		group semaphore.Spec
		spec  api.RolloutSpec
		want  time.Duration
	}{
		"as many turns as the slots need": {10, slots(2), api.RolloutSpec{}, 5 * time.Minute},
		"a limit binds more than slots": {
			9, semaphore.Spec{V: 1, Slots: semaphore.Slots{N: 9}, Limits: []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: 1}}}},
			api.RolloutSpec{}, 3 * time.Minute,
		},
		"waves one after another, each with its soak": {
			10, slots(2), api.RolloutSpec{Waves: []api.WaveSpec{{Count: 1, Soak: "10m"}, {Soak: "1m"}}}, 17 * time.Minute,
		},
		"gates that must hold for a while, and people at once": {
			2, slots(2), api.RolloutSpec{
				Gates: []api.GateSpec{{Approval: &api.ApprovalGate{Count: 2}}},
				Waves: []api.WaveSpec{{Count: 1, Gates: []api.GateSpec{{PromQL: &api.PromQLGate{For: "5m"}}, {Approval: &api.ApprovalGate{}}}}, {}},
			}, 7 * time.Minute,
		},
		"not before its start":                            {2, slots(2), api.RolloutSpec{Start: noon.Add(time.Hour)}, 61 * time.Minute},
		"not before its window":                           {2, slots(1), api.RolloutSpec{Windows: hour}, 62 * time.Minute},
		"the rest waits for the next window of the group": {6, semaphore.Spec{V: 1, Slots: semaphore.Slots{N: 1}, Windows: []semaphore.Window{open(0)}}, api.RolloutSpec{}, 25*time.Hour + time.Minute},
		"nothing starts behind the cutoff": {
			2, semaphore.Spec{V: 1, Slots: semaphore.Slots{N: 1}, Windows: []semaphore.Window{open(4 * time.Minute)}}, api.RolloutSpec{}, 25*time.Hour + time.Minute,
		},
		"nor in a blackout": {
			1, semaphore.Spec{V: 1, Slots: semaphore.Slots{N: 1}, Blackouts: []semaphore.Blackout{{Name: "sale", Start: noon.Add(-time.Hour), End: noon.Add(30 * time.Minute)}}},
			api.RolloutSpec{}, 31 * time.Minute,
		},
		"a pause between two grants": {
			3, semaphore.Spec{V: 1, Slots: semaphore.Slots{N: 3}, GrantInterval: semaphore.Duration(10 * time.Minute)}, api.RolloutSpec{}, 21 * time.Minute,
		},
		"a node counts after its time in service": {2, slots(1), api.RolloutSpec{MinHealthyTime: "5m"}, 7 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			ends(t, virtual(c.nodes, c.group, c.spec), api.RolloutSucceeded, c.want)
		})
	}
}

func TestForecast_AFailureTooManyHaltsItAndThoseUnderWayFinish(t *testing.T) {
	w := virtual(10, slots(3), api.RolloutSpec{MaxFailures: "1"})
	w.Course = func(s Step) Course {
		c := Course{Takes: time.Minute, Fails: s.Node == "n1" || s.Node == "n4"}
		if s.Node == "n5" {
			c.Takes = time.Hour
		}
		return c
	}
	r := ends(t, w, api.RolloutHalted, 2*time.Minute)
	var out []string
	for i, turn := range r.Turns {
		out = append(out, r.State.Nodes[i].Node+" "+turn.State)
	}
	if got, want := strings.Join(out[:7], ", "), "n1 failed, n10 updated, n2 updated, n3 updated, n4 failed, n5 updated, n6 pending"; got != want {
		t.Errorf("it ended with %s, want %s", got, want)
	}
	if !strings.HasPrefix(r.State.Head.Why, "node n4 failed") {
		t.Errorf("why: %s", r.State.Head.Why)
	}
}

func TestForecast_HostsThatNeverComeBackKeepTheirSlotsUntilNoneIsLeft(t *testing.T) {
	w := virtual(5, slots(2), api.RolloutSpec{MaxFailures: "5"})
	w.Course = func(s Step) Course { return Course{Takes: time.Minute, Hangs: s.Node == "n1" || s.Node == "n3"} }
	r := ends(t, w, api.RolloutHalted, 31*time.Minute+time.Nanosecond)
	if !strings.Contains(r.State.Head.Why, "every slot is kept by failed nodes") {
		t.Errorf("why: %s", r.State.Head.Why)
	}
	w.Rollouts[0].Head.Spec.HealthyDeadline = "10m"
	w.Course = func(s Step) Course { return Course{Takes: time.Minute, Hangs: s.Node == "n1"} }
	ends(t, w, api.RolloutFailed, 10*time.Minute)
}

func TestForecast_GoesOnFromWhereEverybodyIs(t *testing.T) {
	w := virtual(4, slots(2), api.RolloutSpec{})
	g := &w.Groups[0]
	hold := func(node string, since time.Duration, via semaphore.Via) {
		g.SetHold(semaphore.Hold{V: 1, Node: node, State: semaphore.Confirmed, Via: via, Instance: "i-" + node, Fence: g.Head.Next, Since: noon.Add(-since), Deadline: noon.Add(time.Hour)})
		g.Head.Next++
	}
	hold("n1", 45*time.Second, semaphore.ViaAgent) // back in 15 s
	w.Nodes[0].Report.Phase, w.Nodes[0].Report.Rollout = api.PhaseRebooting, id
	g.SetMember(semaphore.Member{V: 1, Node: "guest"})
	hold("guest", 30*time.Second, semaphore.ViaFleetLock) // back in 30 s
	r := ends(t, w, api.RolloutSucceeded, 135*time.Second)
	var out []string
	for i, turn := range r.Turns {
		out = append(out, fmt.Sprint(r.State.Nodes[i].Node, " ", turn.Ended.Sub(noon)))
	}
	if got, want := strings.Join(out, ", "), "n1 15s, n2 1m15s, n3 1m30s, n4 2m15s"; got != want {
		t.Errorf("back in service: %s, want %s", got, want)
	}
}

func TestForecast_ChangesNothingThatItIsGiven(t *testing.T) {
	w := virtual(3, slots(1), api.RolloutSpec{Gates: []api.GateSpec{{Name: "go", Approval: &api.ApprovalGate{}}}})
	st := &w.Rollouts[0]
	st.Head.State, st.Head.Waves = api.RolloutApproval, []WaveState{{}}
	st.Head.Gates = map[string]GateState{gateKey(0, "go"): {AskedAt: noon}}
	before := fmt.Sprintf("%+v %+v", w.Rollouts, w.Nodes)
	ends(t, w, api.RolloutSucceeded, 3*time.Minute)
	if after := fmt.Sprintf("%+v %+v", w.Rollouts, w.Nodes); after != before {
		t.Errorf("before %s\nafter %s", before, after)
	}
}

func TestForecast_ARolloutThatWaitsBeginsWhenTheOtherHasEnded(t *testing.T) {
	w := virtual(2, slots(1), api.RolloutSpec{})
	later := w.Rollouts[0]
	later.Head.ID, later.Head.After, later.Head.State, later.Head.CreatedAt = "ro-2", []string{id}, api.RolloutScheduled, noon.Add(time.Second)
	later.Head.Spec.Bundle = strings.Repeat("d", 64)
	w.Rollouts = append(w.Rollouts, later)
	p := Forecast(w)
	if got := p.Rollouts[1].Ended.Sub(noon).Truncate(time.Second); got != 4*time.Minute {
		t.Errorf("the second ended after %s: %+v", got, p.Rollouts[1].State.Head)
	}
}

// What only a look at the whole rollout finds is found although it is looked at
// only when it may be there; and no moment has more out of service than slots and
// limits let.
func TestForecast_IsThatOfAnEngineThatLooksAtEveryMoment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(what string, from, to int) int { return rapid.IntRange(from, to).Draw(t, what) }
		group := slots(draw("slots", 1, 4))
		if rapid.Bool().Draw(t, "limit") {
			group.Limits = []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: draw("max", 1, 2)}}}
		}
		if rapid.Bool().Draw(t, "window") {
			group.Windows = []semaphore.Window{{Cron: "*/10 * * * *", Duration: semaphore.Duration(4 * time.Minute)}}
		}
		spec := api.RolloutSpec{MaxFailures: api.Slots(fmt.Sprint(draw("budget", 0, 4)))}
		for range draw("waves", 0, 3) {
			spec.Waves = append(spec.Waves, api.WaveSpec{Count: draw("count", 1, 8), Soak: rapid.SampledFrom([]string{"", "3m"}).Draw(t, "soak"), MaxFailures: rapid.SampledFrom([]api.Slots{"", "0", "50%"}).Draw(t, "wave budget")})
		}
		slices.SortFunc(spec.Waves, func(a, b api.WaveSpec) int { return a.Count - b.Count })
		if n := len(spec.Waves); n > 0 {
			spec.Waves[n-1].Count = 0
		}
		if rapid.Bool().Draw(t, "healthy time") {
			spec.MinHealthyTime = "90s"
		}
		if rapid.Bool().Draw(t, "deadline") {
			spec.HealthyDeadline = "4m"
		}
		w := virtual(draw("nodes", 1, 12), group, spec)
		courses := map[string]Course{}
		for _, n := range w.Nodes {
			courses[n.ID] = Course{
				Takes: time.Duration(draw("takes", 1, 300)) * time.Second,
				Fails: draw("fails", 0, 9) == 0, Hangs: draw("hangs", 0, 9) == 0,
			}
		}
		w.Course = func(s Step) Course { return courses[s.Node] }
		w.Out = func(at time.Time, _ string, n int) {
			if n > group.Slots.N {
				t.Fatalf("%d out of service at %s", n, at)
			}
		}
		a := Forecast(w)
		w.everyMoment = true
		b := Forecast(w)
		type end struct {
			State api.RolloutState
			Why   string
			Ended time.Time
			Waves []WaveState
			Turns []Turn
		}
		of := func(p Played) end {
			r := p.Rollouts[0]
			return end{r.State.Head.State, r.State.Head.Why, r.Ended, r.State.Head.Waves, r.Turns}
		}
		if diff := cmp.Diff(of(b), of(a)); diff != "" {
			t.Fatalf("(-looks always +looks rarely)\n%s", diff)
		}
		if a.Looks > b.Looks {
			t.Fatalf("%d looks, %d at every moment", a.Looks, b.Looks)
		}
	})
}

func BenchmarkForecast(b *testing.B) {
	for name, group := range map[string]semaphore.Spec{
		"slots": {V: 1, Slots: semaphore.Slots{N: 5, Percent: true}},
		"limit": {V: 1, Slots: semaphore.Slots{N: 5, Percent: true}, Limits: []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: 1}}}},
	} {
		w := virtual(10_000, group, api.RolloutSpec{Waves: []api.WaveSpec{{Percent: 1, Soak: "10m"}, {Percent: 10, Soak: "10m"}, {}}})
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if p := Forecast(w); p.Rollouts[0].State.Head.State != api.RolloutSucceeded {
					b.Fatal(p.Rollouts[0].State.Head.Why)
				}
			}
		})
	}
}

// The engine forecasts from its own state, whose maps a watch shares with
// everybody: an approval that is only played must not be there afterwards.
func TestForecast_ChangesNothingOfTheStateThatItPlaysFrom(t *testing.T) {
	w := virtual(4, slots(1), api.RolloutSpec{Waves: []api.WaveSpec{{Count: 1, Gates: []api.GateSpec{{Name: "go", Approval: &api.ApprovalGate{}}}}, {}}})
	st := &w.Rollouts[0]
	st.Results["n1"] = Result{V: 1, Node: "n1", State: api.NodeUpdated, At: noon}
	for i := range w.Nodes {
		if w.Nodes[i].ID == "n1" {
			w.Nodes[i].Report.Bundle = bundle
		}
	}
	views := func() []NodeView { return newFleetView(w.Nodes, playedStore{p: newPlayer(w)}, nil, noon).of(*st) }
	for d := Decide(st.Head.Spec, *st, views(), noon); d.Changed; d = Decide(st.Head.Spec, *st, views(), noon) {
		st.Head = d.Head
	}
	if len(st.Head.Gates) != 1 {
		t.Fatalf("it does not stand at its gate: %+v", st.Head)
	}
	before, err := st.Head.Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	if r := Forecast(w).Rollouts[0]; r.State.Head.State != api.RolloutSucceeded {
		t.Fatalf("played to %s: %s", r.State.Head.State, r.State.Head.Why)
	}
	if after, _ := st.Head.Encode(1); string(after) != string(before) {
		t.Errorf("the state is\n%s\nand was\n%s", after, before)
	}
}
