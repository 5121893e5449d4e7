package rollout

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
)

func httpGate(name string) api.GateSpec {
	return api.GateSpec{Name: name, HTTP: &api.HTTPGate{URL: "http://127.0.0.1:1/" + name}}
}

// says lets gates answer.
func says(st State, now time.Time, passes map[string]bool) State {
	st.Observed.Gates = map[string]condition.Answer{}
	for key, p := range passes {
		st.Observed.Gates[key] = condition.Answer{Passes: p, Value: "1", Detail: "saw 1", At: now}
	}
	return st
}

// gated is a rollout of two waves of one node, whose first is over and has these
// gates behind it.
func gated(t *testing.T, gates ...api.GateSpec) State {
	t.Helper()
	st := inWaves([]api.WaveSpec{{Name: "canary", Count: 1, Gates: gates}, {Name: "rest"}}, 1, 1)
	st.Head.By = "ann"
	st = at(t, noon, st, done("n1"), idle("n2"))
	if st.Head.Waves[0].FinishedAt.IsZero() || st.Head.Wave != 0 {
		t.Fatalf("the first wave is not at its gates: %+v", st.Head)
	}
	return st
}

func TestDecide_TheNextWaveBeginsOnceAllGatesPassAtTheSameTime(t *testing.T) {
	st := gated(t, httpGate("a"), httpGate("b"))
	if st.Head.State != api.RolloutSoaking || !strings.Contains(st.Head.Why, "a, b") {
		t.Fatalf("it is %s: %s", st.Head.State, st.Head.Why)
	}
	for i, answers := range []map[string]bool{
		{"1/a": true}, {"1/a": true, "1/b": false}, {"1/a": false, "1/b": true}, {"2/a": true, "2/b": true},
	} {
		st = at(t, noon, says(st, noon, answers), done("n1"), idle("n2"))
		if st.Head.Wave != 0 {
			t.Fatalf("answers %d are enough: %v", i, answers)
		}
	}
	st = at(t, noon, says(st, noon, map[string]bool{"1/a": true, "1/b": true}), done("n1"), idle("n2"))
	if st.Head.Wave != 1 || st.Head.State != api.RolloutRunning || st.Head.Gates != nil {
		t.Errorf("it is %s in wave %d, with gates %v", st.Head.State, st.Head.Wave, st.Head.Gates)
	}
}

func TestDecide_GatesBeforeTheFirstWave(t *testing.T) {
	st := rolloutOf(1, 0)
	st.Head.Spec.Gates = []api.GateSpec{httpGate("a")}
	st = at(t, noon, st, idle("n1"))
	if st.Head.State != api.RolloutSoaking || asked(st, noon, idle("n1")) != "" {
		t.Fatalf("before its gate it is %s and asks %q", st.Head.State, asked(st, noon, idle("n1")))
	}
	d := Decide(st.Head.Spec, st, nil, noon)
	if len(d.Gates) != 1 || d.Gates[0].Wave != 0 || d.Gates[0].Passes || d.Gates[0].Kind != "http" {
		t.Errorf("gates: %+v", d.Gates)
	}
	st = at(t, noon, says(st, noon, map[string]bool{"0/a": true}), idle("n1"))
	if st.Head.State != api.RolloutRunning || asked(st, noon, idle("n1")) != "n1" {
		t.Errorf("it is %s", st.Head.State)
	}
}

func TestDecide_AnAnswerOfNobodyInOfficeIsNone(t *testing.T) {
	st := gated(t, httpGate("a"), httpGate("b"))
	st = at(t, noon, says(st, noon, map[string]bool{"1/a": true}), done("n1"), idle("n2"))
	if !st.Head.Gates["1/a"].Passes {
		t.Fatal("an answer is not kept")
	}
	// The next engine has asked b only: that a passed before is no answer.
	st = at(t, noon, says(st, noon, map[string]bool{"1/b": true}), done("n1"), idle("n2"))
	if st.Head.Wave != 0 {
		t.Error("it goes on by an answer that its engine did not get")
	}
}

func TestDecide_AGatePastItsDeadlineHaltsAndAResumeGivesItTheWholeTime(t *testing.T) {
	g := httpGate("a")
	g.Deadline = "1h"
	st := gated(t, g)
	st.Observed.Outages = []Span{{noon.Add(10 * time.Minute), noon.Add(40 * time.Minute)}}
	for _, passes := range []bool{false, true, false} { // it flaps, together with another
		st = at(t, noon.Add(89*time.Minute), says(st, noon, map[string]bool{"1/b": passes}), done("n1"), idle("n2"))
	}
	if st.Head.State != api.RolloutSoaking {
		t.Fatalf("the time without quorum counts: %s, %s", st.Head.State, st.Head.Why)
	}
	late := noon.Add(90 * time.Minute)
	st = at(t, late, st, done("n1"), idle("n2"))
	if st.Head.State != api.RolloutHalted || !strings.Contains(st.Head.Why, "gate a after wave canary") {
		t.Fatalf("it is %s: %s", st.Head.State, st.Head.Why)
	}
	d, err := Apply(st, Ask{Action: ActResume, By: "ann"}, late)
	if err != nil || d.Head.State != api.RolloutSoaking {
		t.Fatalf("resumed, it is %s, %v", d.Head.State, err)
	}
	st = at(t, late.Add(59*time.Minute), at(t, late, applied(st, d), done("n1"), idle("n2")), done("n1"), idle("n2"))
	if st.Head.State != api.RolloutSoaking {
		t.Errorf("after the resume it is %s: %s", st.Head.State, st.Head.Why)
	}
}

func TestApprove_NPeopleOfARoleButNotTheStarter(t *testing.T) {
	gates := []api.GateSpec{httpGate("a"), {Name: "release", Approval: &api.ApprovalGate{Role: "operator", Count: 2, NotStarter: true}}}
	st := gated(t, gates...)
	by := func(who string, role api.Role) Ask {
		return Ask{Action: ActApprove, By: who, Role: role, Reason: "fine"}
	}
	for _, c := range []struct {
		ask  Ask
		kind api.Kind // empty: it counts, or nothing is to do
		n    int
	}{
		{by("ann", api.RoleAdmin), api.Forbidden, 0},
		{by("bob", api.RoleDeployer), api.Forbidden, 0},
		{by("bob", ""), api.Forbidden, 0},
		{Ask{Action: ActApprove, By: "bob", Role: api.RoleAdmin, Gate: "a"}, api.Invalid, 0},
		{Ask{Action: ActApprove, By: "bob", Role: api.RoleAdmin, Wave: 2}, api.Conflict, 0},
		{Ask{Action: ActApprove, By: "bob", Role: api.RoleAdmin, Wave: 3}, api.Invalid, 0},
		{by("bob", api.RoleOperator), "", 1},
		{by("bob", api.RoleAdmin), "", 1},
		{by("cid", api.RoleAdmin), "", 2},
	} {
		d, err := Apply(st, c.ask, noon)
		if (err == nil) != (c.kind == "") || err != nil && err.Kind != c.kind {
			t.Fatalf("%+v: %v, want %q", c.ask, err, c.kind)
		}
		if d.Changed {
			st = at(t, noon, applied(st, d), done("n1"), idle("n2"))
		}
		if n := len(st.Head.Gates["1/release"].Approvals); n != c.n {
			t.Fatalf("%+v: %d approvals, want %d", c.ask, n, c.n)
		}
	}
	if st.Head.State != api.RolloutSoaking {
		t.Fatalf("approved, and gate a misses: it is %s", st.Head.State)
	}
	st = at(t, noon, says(st, noon, map[string]bool{"1/a": true}), done("n1"), idle("n2"))
	if st.Head.Wave != 1 {
		t.Errorf("it is in wave %d: %s", st.Head.Wave, st.Head.Why)
	}
	if d, err := Apply(st, Ask{Action: ActApprove, By: "dan", Role: api.RoleAdmin, Wave: 1}, noon); err != nil || d.Changed {
		t.Errorf("approval of what it has passed: %v, changed %v", err, d.Changed)
	}
	if _, err := Apply(st, by("dan", api.RoleAdmin), noon); err == nil || err.Kind != api.Conflict || !strings.Contains(err.Detail, "still at its nodes") {
		t.Errorf("approval while nodes are at work: %v", err)
	}
}

func TestDecide_OnlyApprovalsMissing(t *testing.T) {
	st := gated(t, httpGate("a"), api.GateSpec{Name: "release", Approval: &api.ApprovalGate{Expires: "24h"}})
	st = at(t, noon, says(st, noon, map[string]bool{"1/a": true}), done("n1"), idle("n2"))
	if st.Head.State != api.RolloutApproval || !strings.Contains(st.Head.Why, "release") {
		t.Fatalf("it is %s: %s", st.Head.State, st.Head.Why)
	}
	st = at(t, noon.Add(24*time.Hour), st, done("n1"), idle("n2"))
	if st.Head.State != api.RolloutHalted || !strings.Contains(st.Head.Why, "0 of 1 approval by the role operator") {
		t.Errorf("a day later it is %s: %s", st.Head.State, st.Head.Why)
	}
}

func TestSkip_LeavesOutNodesSoakAndGatesButNoApproval(t *testing.T) {
	waves := []api.WaveSpec{{Name: "canary", Count: 3, Soak: "1h", Gates: []api.GateSpec{httpGate("a"), {Name: "ok", Approval: &api.ApprovalGate{}}}}, {Name: "rest"}}
	st := inWaves(waves, 3, 1)
	st.Head.Spec.MaxFailures = "1"
	fleet := []NodeView{done("n1"), in(api.PhaseDraining, "n2"), idle("n3"), idle("n4")}
	st = at(t, noon, st, fleet...)
	skip := func(wave int) {
		d, err := Apply(st, Ask{Action: ActSkip, By: "ann", Reason: "n3 burns", Wave: wave}, noon)
		if err != nil {
			t.Fatal(err)
		}
		st = at(t, noon, applied(st, d), fleet...)
		if d, err := Apply(st, Ask{Action: ActSkip, By: "bob", Wave: max(1, wave)}, noon); err != nil || d.Changed {
			t.Fatalf("skipped again: %v, changed %v", err, d.Changed)
		}
	}
	skip(0)
	if got := asked(st, noon, fleet...); got != "n2" || st.Head.State != api.RolloutRunning {
		t.Fatalf("with a node under way it is %s and asks %q", st.Head.State, got)
	}
	fleet[1] = done("n2")
	st = at(t, noon, st, fleet...)
	if st.Head.State != api.RolloutApproval {
		t.Fatalf("it is %s: %s", st.Head.State, st.Head.Why)
	}
	d, err := Apply(st, Ask{Action: ActApprove, By: "bob", Role: api.RoleOperator}, noon)
	if err != nil {
		t.Fatal(err)
	}
	fleet[3] = done("n4")
	st = at(t, noon, applied(st, d), fleet...)
	if st.Head.State != api.RolloutSucceeded || st.Head.Why != "3 nodes updated, 1 left out" {
		t.Errorf("it is %s: %s", st.Head.State, st.Head.Why)
	}
	shown := Decide(st.Head.Spec, st, nil, noon)
	if shown.Waves[0].State != api.WaveSkipped {
		t.Errorf("the wave is shown as %s", shown.Waves[0].State)
	}
}

func TestSkip_AWaitForApprovalOnlyIsRefused(t *testing.T) {
	st := gated(t, api.GateSpec{Name: "ok", Approval: &api.ApprovalGate{}})
	if _, err := Apply(st, Ask{Action: ActSkip, By: "ann"}, noon); err == nil || err.Kind != api.Conflict || !strings.Contains(err.Detail, "approve it") {
		t.Errorf("got %v", err)
	}
}

func TestSkip_ANodeTriedAgainLaterIsNotLeftOut(t *testing.T) {
	st := inWaves([]api.WaveSpec{{Count: 2}, {}}, 2, 1)
	st.Head.Spec.MaxFailures = "2"
	fleet := []NodeView{failedAt(noon, "n1"), idle("n2"), idle("n3")}
	st = at(t, noon, st, fleet...)
	d, err := Apply(st, Ask{Action: ActSkip, By: "ann", Wave: 1}, noon)
	if err != nil {
		t.Fatal(err)
	}
	st = at(t, noon, applied(st, d), fleet...)
	if got := asked(st, noon, fleet...); got != "n3" {
		t.Fatalf("asked: %q", got)
	}
	d, refused := Apply(st, Ask{Action: ActRetry, By: "ann"}, noon.Add(time.Minute))
	if refused != nil {
		t.Fatal(refused)
	}
	st = at(t, noon.Add(time.Minute), applied(st, d), fleet...)
	if got := asked(st, noon, fleet...); got != "n1 n3" {
		t.Errorf("asked: %q", got)
	}
}

// scripted answers one after another.
type scripted struct {
	mu     sync.Mutex
	passes []bool
	asked  int
	hangs  bool
}

func (s *scripted) Check(ctx context.Context, _ api.GateSpec) condition.Answer {
	s.mu.Lock()
	s.asked++
	passes := s.passes[min(s.asked, len(s.passes))-1]
	s.mu.Unlock()
	if s.hangs {
		<-ctx.Done()
	}
	return condition.Answer{Passes: passes, Value: "1", Detail: "saw 1", At: time.Now()}
}

// asking1 asks one gate in virtual time.
func asking1(t *testing.T, g api.GateSpec, gates Gates, test func(a *asker)) {
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		a := newAsker(gates, time.Now, func() {}, func(f func()) { wg.Go(f) })
		st := gated(t, g)
		p := &picture{states: map[string]State{id: st}, decisions: map[string]Decisions{id: {}}}
		a.follow(t.Context(), p)
		a.follow(t.Context(), p)
		synctest.Wait()
		test(a)
		a.stop()
		wg.Wait()
	})
}

func TestAsker_CountsAPassOnlyAfterSoLongWithoutABreak(t *testing.T) {
	g := api.GateSpec{Name: "a", Every: "30s", PromQL: &api.PromQLGate{For: "1m"}}
	gates := &scripted{passes: []bool{true, true, false, true}} // at 0, 30, 60 and 90 s, and on
	asking1(t, g, gates, func(a *asker) {
		for seconds := range 200 {
			want := seconds >= 150
			got := a.answers(id)["1/a"]
			if got.Passes != want {
				t.Fatalf("after %d s it passes: %v (%s)", seconds, got.Passes, got.Detail)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
	})
	if gates.asked != 7 {
		t.Errorf("asked %d times in 200 s", gates.asked)
	}
}

func TestAsker_ASlowGateIsNoPass(t *testing.T) {
	g := httpGate("a")
	g.Timeout, g.Every = "1s", "5s"
	asking1(t, g, &scripted{passes: []bool{true}, hangs: true}, func(a *asker) {
		if got := a.answers(id); len(got) != 0 {
			t.Errorf("an answer before there is one: %+v", got)
		}
		time.Sleep(2 * time.Second)
		if got := a.answers(id)["1/a"]; got.Passes || !strings.Contains(got.Detail, "more than 1s") {
			t.Errorf("%+v", got)
		}
	})
}

func TestAsker_WhatAnsweredLongAgoDoesNotPassAnyMore(t *testing.T) {
	a := newAsker(nil, func() time.Time { return noon.Add(time.Minute) }, nil, nil)
	g := httpGate("a")
	g.Every, g.Timeout = "5s", "1s"
	a.asks[askKey{id, "1/a"}] = &asking{spec: g, answer: condition.Answer{Passes: true, At: noon}}
	if got := a.answers(id)["1/a"]; got.Passes || !strings.Contains(got.Detail, "has not answered since") {
		t.Errorf("%+v", got)
	}
}

func TestAsker_WithoutAnybodyToAskNothingPassesAndSaysWhy(t *testing.T) {
	asking1(t, httpGate("a"), nil, func(a *asker) {
		if got := a.answers(id)["1/a"]; got.Passes || !strings.Contains(got.Detail, "not set up") {
			t.Errorf("%+v", got)
		}
	})
}

func TestAsker_AsksNothingWhilePaused(t *testing.T) {
	gates := &scripted{passes: []bool{true}}
	asking1(t, httpGate("a"), gates, func(a *asker) {
		st := act(t, gated(t, httpGate("a")), ActPause)
		a.follow(t.Context(), &picture{states: map[string]State{id: st}, decisions: map[string]Decisions{id: {}}})
		before := gates.asked
		time.Sleep(time.Hour)
		synctest.Wait()
		if gates.asked != before || len(a.answers(id)) != 0 {
			t.Errorf("asked %d times more", gates.asked-before)
		}
	})
}
