package rollout

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
)

// anyWaves draws a rollout in waves with soaks, gates and budgets.
func anyWaves(t *rapid.T) State {
	var waves []api.WaveSpec
	var sizes []int
	for i := range rapid.IntRange(1, 4).Draw(t, "waves") {
		w := api.WaveSpec{Name: fmt.Sprint("w", i)}
		w.Soak = rapid.SampledFrom([]string{"", "1m"}).Draw(t, "soak")
		w.MaxFailures = rapid.SampledFrom([]api.Slots{"", "0", "1", "50%"}).Draw(t, "wave budget")
		for range rapid.IntRange(0, 2).Draw(t, "gates") {
			g := api.GateSpec{Name: fmt.Sprint("g", len(w.Gates)), HTTP: &api.HTTPGate{}}
			if rapid.Bool().Draw(t, "approval") {
				g = api.GateSpec{Name: g.Name, Approval: &api.ApprovalGate{Expires: rapid.SampledFrom([]string{"", "3m"}).Draw(t, "expires")}}
			}
			g.Deadline = rapid.SampledFrom([]string{"", "2m"}).Draw(t, "deadline")
			w.Gates = append(w.Gates, g)
		}
		waves = append(waves, w)
		sizes = append(sizes, rapid.IntRange(0, 3).Draw(t, "size"))
	}
	sizes[0]++
	st := inWaves(waves, sizes...)
	s := &st.Head.Spec
	s.MaxFailures = rapid.SampledFrom([]api.Slots{"", "1", "30%", "100%"}).Draw(t, "budget")
	s.AutoRollback = rapid.SampledFrom([]string{"", api.RollbackAll, api.RollbackFailedWave}).Draw(t, "rollback")
	if rapid.Bool().Draw(t, "starts later") {
		s.Start = noon.Add(time.Minute)
	}
	if rapid.Bool().Draw(t, "gate before") {
		s.Gates = []api.GateSpec{{Name: "g", HTTP: &api.HTTPGate{}}}
	}
	return st
}

func TestDecide_PropertiesOfWaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st := anyWaves(t)
		now := noon
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "seconds")) * time.Second)
			if action := rapid.SampledFrom(append([]string{"", "", "", ""}, Actions...)).Draw(t, "action"); action != "" {
				ask := Ask{Action: action, By: rapid.SampledFrom([]string{"ann", "bob"}).Draw(t, "by"), Role: api.RoleAdmin}
				if action == ActSkip || action == ActApprove {
					ask.Wave = rapid.IntRange(0, len(st.Head.Spec.Waves)).Draw(t, "wave")
				}
				if d, err := Apply(st, ask, now); err == nil && d.Changed {
					st = applied(st, d)
					if again, err := Apply(st, ask, now); err != nil || again.Changed {
						t.Fatalf("%+v once more: changed %v, err %v", ask, again.Changed, err)
					}
				}
			}
			st.Observed.Gates = map[string]condition.Answer{}
			for place := range len(st.Head.Spec.Waves) + 1 {
				for _, name := range []string{"g", "g0", "g1"} {
					st.Observed.Gates[gateKey(place, name)] = condition.Answer{Passes: rapid.IntRange(0, 3).Draw(t, "passes") > 0, At: now}
				}
			}
			var fleet []NodeView
			for _, n := range st.Nodes {
				v := rapid.SampledFrom([]NodeView{idle(n.Node), idle(n.Node), in(api.PhaseDraining, n.Node), done(n.Node), done(n.Node), failedAt(noon, n.Node)}).Draw(t, "view")
				v.Wave = n.Wave
				fleet = append(fleet, v)
			}
			for range 40 {
				before := st
				old := cmp.Diff(before.Head, st.Head)
				d := Decide(st.Head.Spec, st, fleet, now)
				if diff := cmp.Diff(before.Head, st.Head); diff != old {
					t.Fatalf("it changed its argument: %s", diff)
				}
				checkWaves(t, &st, &d)
				if !d.Changed {
					break
				}
				st = applied(st, d)
			}
			if d := Decide(st.Head.Spec, st, fleet, now); d.Changed {
				t.Fatalf("decided 40 times, it still changes:\n%s", cmp.Diff(st.Head, d.Head))
			}
			checkAsked(t, &st, fleet, now)
		}
	})
}

func checkWaves(t *rapid.T, st *State, d *Decisions) {
	if n := d.Head.EventSeq - st.Head.EventSeq; n != int64(len(d.Events)) {
		t.Fatalf("%d events, and the sequence moved by %d", len(d.Events), n)
	}
	if n := len(d.Results) + 2*len(d.Events) + 3; n > MaxChanges { // each event may have a notice
		t.Fatalf("%d keys in one transaction", n)
	}
	if d.Head.Wave < st.Head.Wave {
		t.Fatalf("from wave %d it goes back to wave %d", st.Head.Wave, d.Head.Wave)
	}
	for i, w := range d.Head.Waves {
		switch {
		case i < d.Head.Wave && w.DoneAt.IsZero():
			t.Fatalf("wave %d is not done, and it is at wave %d", i, d.Head.Wave)
		case i > d.Head.Wave && !w.StartedAt.IsZero():
			t.Fatalf("wave %d has begun, and it is at wave %d", i, d.Head.Wave)
		case !w.DoneAt.IsZero() && (w.FinishedAt.IsZero() || w.DoneAt.Before(w.FinishedAt)):
			t.Fatalf("wave %d is done and not finished: %+v", i, w)
		}
		if soak := Duration(d.Head.Spec.Waves[i].Soak); !w.DoneAt.IsZero() && w.SkippedAt.IsZero() && w.DoneAt.Sub(w.FinishedAt) < soak {
			t.Fatalf("wave %d soaks %s of %s", i, w.DoneAt.Sub(w.FinishedAt), soak)
		}
	}
	total := 0
	for _, w := range d.Waves {
		total += w.Total
	}
	if total != len(st.Nodes) || len(d.Waves) != len(d.Head.Spec.Waves) {
		t.Fatalf("%d nodes in %d waves are shown", total, len(d.Waves))
	}
	if d.Head.State == api.RolloutHalted && st.Head.State != api.RolloutHalted && d.Head.Spec.AutoRollback != "" && d.Head.Undo == "" {
		t.Fatal("it halts by itself, and nothing is to be brought back")
	}
}

// checkAsked: only nodes of waves that have begun are asked to begin, and only
// while it runs.
func checkAsked(t *rapid.T, st *State, fleet []NodeView, now time.Time) {
	for _, v := range fleet {
		if Wanted(st, v, now) == nil || v.begun() {
			continue
		}
		if st.Head.State != api.RolloutRunning || v.Wave > st.Head.Wave || len(st.Head.Waves) > 0 && st.Head.Waves[v.Wave].StartedAt.IsZero() || now.Before(st.Head.Spec.Start) {
			t.Fatalf("%s of wave %d is asked, in state %s, wave %d", v.Node, v.Wave, st.Head.State, st.Head.Wave)
		}
	}
	keys := slices.Collect(maps.Keys(st.Head.Gates))
	if len(keys) > 2 {
		t.Fatalf("gates of several places are kept: %v", keys)
	}
}
