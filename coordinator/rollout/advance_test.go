package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// inWaves is a rollout over n1, n2, … whose waves have so many nodes each.
func inWaves(waves []api.WaveSpec, sizes ...int) State {
	n := 0
	for _, s := range sizes {
		n += s
	}
	st := rolloutOf(n, 0)
	st.Head.Spec.Waves = waves
	i := 0
	for w, size := range sizes {
		for range size {
			st.Nodes[i].Wave = w
			i++
		}
	}
	return st
}

// at decides at a time until nothing is left to decide.
func at(t testing.TB, now time.Time, st State, fleet ...NodeView) State {
	t.Helper()
	for range 100 {
		for i := range fleet {
			j := slices.IndexFunc(st.Nodes, func(n Selected) bool { return n.Node == fleet[i].Node })
			fleet[i].Wave = st.Nodes[j].Wave
		}
		d := Decide(st.Head.Spec, st, fleet, now)
		if !d.Changed {
			return st
		}
		st = applied(st, d)
	}
	t.Fatal("decided 100 times and still not settled")
	return st
}

// asked are the nodes of which something is wanted.
func asked(st State, now time.Time, fleet ...NodeView) string {
	var out []string
	for i := range fleet {
		j := slices.IndexFunc(st.Nodes, func(n Selected) bool { return n.Node == fleet[i].Node })
		fleet[i].Wave = st.Nodes[j].Wave
		if Wanted(&st, fleet[i], now) != nil {
			out = append(out, fleet[i].Node)
		}
	}
	return strings.Join(out, " ")
}

func TestDecide_OneWaveAfterAnotherWithASoakBetween(t *testing.T) {
	st := inWaves([]api.WaveSpec{{Name: "canary", Count: 1, Soak: "10m"}, {Name: "rest", Soak: "5m"}}, 1, 2)
	st = at(t, noon, st, idle("n1"), idle("n2"), idle("n3"))
	if got := asked(st, noon, idle("n1"), idle("n2"), idle("n3")); got != "n1" {
		t.Fatalf("asked: %s", got)
	}
	st = at(t, noon.Add(time.Hour), st, done("n1"), idle("n2"), idle("n3"))
	if st.Head.State != api.RolloutSoaking || !strings.Contains(st.Head.Why, "13:10:00") {
		t.Fatalf("after its nodes it is %s: %s", st.Head.State, st.Head.Why)
	}
	soaked := noon.Add(70 * time.Minute)
	st = at(t, soaked.Add(-time.Second), st, done("n1"), idle("n2"), idle("n3"))
	if got := asked(st, soaked, idle("n2"), idle("n3")); got != "" || st.Head.State != api.RolloutSoaking {
		t.Fatalf("it soaks (%s) and asks %s", st.Head.State, got)
	}
	st = at(t, soaked, st, done("n1"), idle("n2"), idle("n3"))
	if got := asked(st, soaked, done("n1"), idle("n2"), idle("n3")); got != "n2 n3" || st.Head.State != api.RolloutRunning {
		t.Fatalf("soaked, it is %s and asks %s", st.Head.State, got)
	}
	st = at(t, soaked.Add(time.Minute), st, done("n1"), done("n2"), done("n3"))
	if st.Head.State != api.RolloutSoaking {
		t.Fatalf("the last wave soaks too, and it is %s", st.Head.State)
	}
	end := soaked.Add(6 * time.Minute)
	st = at(t, end, st, done("n1"), done("n2"), done("n3"))
	if st.Head.State != api.RolloutSucceeded || !st.Head.EndedAt.Equal(end) {
		t.Fatalf("it is %s, ended %s", st.Head.State, st.Head.EndedAt)
	}
	d := Decide(st.Head.Spec, st, nil, end)
	for i, w := range d.Waves {
		if w.State != api.WaveDone || w.Updated != w.Total || w.DoneAt.IsZero() {
			t.Errorf("wave %d: %+v", i, w)
		}
	}
}

func TestDecide_ANodeTriedAgainWhileItSoaksBeginsTheSoakAnew(t *testing.T) {
	st := inWaves([]api.WaveSpec{{Name: "canary", Count: 2, Soak: "10m"}, {}}, 2, 1)
	st.Head.Spec.MaxFailures = "1"
	st = at(t, noon, st, done("n1"), failedAt(noon, "n2"), idle("n3"))
	if st.Head.State != api.RolloutSoaking {
		t.Fatalf("within the budget it is %s", st.Head.State)
	}
	d, err := RetryNode(st, "n2", "ann", "", noon.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	st = at(t, noon.Add(time.Minute), applied(st, d), done("n1"), failedAt(noon, "n2"), idle("n3"))
	if got := asked(st, noon, failedAt(noon, "n2"), idle("n3")); st.Head.State != api.RolloutRunning || got != "n2" {
		t.Fatalf("it is %s and asks %q", st.Head.State, got)
	}
	back := noon.Add(9 * time.Minute)
	st = at(t, back, st, done("n1"), done("n2"), idle("n3"))
	st = at(t, noon.Add(10*time.Minute), st, done("n1"), done("n2"), idle("n3"))
	if st.Head.State != api.RolloutSoaking {
		t.Errorf("the soak counts from the first result, not from the last: %s", st.Head.State)
	}
	st = at(t, back.Add(10*time.Minute), st, done("n1"), done("n2"), idle("n3"))
	if st.Head.State != api.RolloutRunning || st.Head.Wave != 1 {
		t.Errorf("it is %s in wave %d", st.Head.State, st.Head.Wave)
	}
}

func TestDecide_ANodeTriedAgainWithNobodyInOfficeBeginsTheSoakAnewToo(t *testing.T) {
	st := inWaves([]api.WaveSpec{{Name: "canary", Count: 1, Soak: "10m"}, {}}, 1, 1)
	st.Head.Spec.MaxFailures = "1"
	st = at(t, noon, st, failedAt(noon, "n1"), idle("n2"))
	d, err := RetryNode(st, "n1", "ann", "", noon.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	st = at(t, noon.Add(11*time.Minute), applied(st, d), done("n1"), idle("n2"))
	if st.Head.State != api.RolloutSoaking || st.Head.Wave != 0 {
		t.Errorf("it is %s in wave %d: %s", st.Head.State, st.Head.Wave, st.Head.Why)
	}
}

func TestDecide_AWaveHasABudgetOfItsOwnBesideTheRolloutsOne(t *testing.T) {
	waves := []api.WaveSpec{{Name: "canary", Count: 2, MaxFailures: "0"}, {}}
	for name, c := range map[string]struct {
		failed []string
		want   api.RolloutState
		why    string
	}{
		"one in the canary is too many there":              {[]string{"n1"}, api.RolloutHalted, "in wave canary (1 of 2)"},
		"one in the wave without one is within the other":  {[]string{"n3"}, api.RolloutRunning, ""},
		"two in the wave without one are too many for all": {[]string{"n3", "n4"}, api.RolloutHalted, "(2 failed, at most 1 may)"},
	} {
		t.Run(name, func(t *testing.T) {
			st := inWaves(waves, 2, 3)
			st.Head.Spec.MaxFailures = "1"
			fleet := []NodeView{done("n1"), done("n2"), idle("n3"), idle("n4"), idle("n5")}
			for _, n := range c.failed {
				fleet[n[1]-'1'] = failedAt(noon, n)
			}
			st = at(t, noon, st, fleet...)
			if st.Head.State != c.want || !strings.Contains(st.Head.Why, c.why) {
				t.Errorf("it is %s: %s", st.Head.State, st.Head.Why)
			}
		})
	}
}

func TestDecide_FailuresCountOverTheWholeRolloutInTheLastWaveToo(t *testing.T) {
	st := inWaves([]api.WaveSpec{{Count: 1}, {Count: 2}, {}}, 1, 1, 1)
	st.Head.Spec.MaxFailures = "2"
	fleet := []NodeView{failedAt(noon, "n1"), failedAt(noon, "n2"), idle("n3")}
	st = at(t, noon, st, fleet...)
	if st.Head.State != api.RolloutRunning || st.Head.Wave != 2 {
		t.Fatalf("it is %s in wave %d", st.Head.State, st.Head.Wave)
	}
	fleet[2] = failedAt(noon, "n3")
	st = at(t, noon, st, fleet...)
	if st.Head.State != api.RolloutHalted || !strings.HasPrefix(st.Head.Why, "node n3 failed") {
		t.Errorf("it is %s: %s", st.Head.State, st.Head.Why)
	}
}

func TestDecide_ScheduledUntilItsStartAndTheEndOfThoseBefore(t *testing.T) {
	st := rolloutOf(1, 0)
	st.Head.Spec.Start, st.Head.After = noon.Add(time.Hour), []string{"ro-0"}
	st.Head.State = api.RolloutScheduled
	st.Observed.Waits = []string{"ro-0"}
	st = at(t, noon.Add(2*time.Hour), st, idle("n1"))
	if st.Head.State != api.RolloutScheduled || asked(st, noon, idle("n1")) != "" {
		t.Fatalf("before the end of the other it is %s: %s", st.Head.State, st.Head.Why)
	}
	st.Observed.Waits = nil
	early := at(t, noon, st, idle("n1"))
	if early.Head.State != api.RolloutScheduled || !strings.Contains(early.Head.Why, "starts at 2026-03-01T13:00:00Z") {
		t.Fatalf("before its start it is %s: %s", early.Head.State, early.Head.Why)
	}
	st = at(t, noon.Add(time.Hour), st, idle("n1"))
	if st.Head.State != api.RolloutRunning || asked(st, noon.Add(time.Hour), idle("n1")) != "n1" {
		t.Fatalf("at its start it is %s: %s", st.Head.State, st.Head.Why)
	}
}

func TestDecide_ARolloutOfBeforeThereWereWavesGoesOn(t *testing.T) {
	st := rolloutOf(2, 0)
	st.Head.Waves = nil
	if got := asked(st, noon, idle("n1"), idle("n2")); got != "n1 n2" {
		t.Fatalf("asked: %s", got)
	}
	st = at(t, noon, st, done("n1"), done("n2"))
	if st.Head.State != api.RolloutSucceeded {
		t.Errorf("it is %s", st.Head.State)
	}
}

func TestDecide_OutsideItsWindowsNothingStartsAndItSaysWhy(t *testing.T) {
	st := rolloutOf(2, 0)
	st.Head.Spec.Windows = []api.WindowSpec{{Start: "13:00", Duration: "1h"}}
	st = at(t, noon, st, idle("n1"), in(api.PhaseDraining, "n2"))
	if got := asked(st, noon, idle("n1"), in(api.PhaseDraining, "n2")); got != "n2" {
		t.Errorf("asked while shut: %q", got)
	}
	if s := st.Head.Stalled; s == nil || s.Blockers[0].Kind != api.Window || !s.Blockers[0].Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("stalled: %+v", s)
	}
	open := noon.Add(time.Hour)
	st = at(t, open, st, idle("n1"), in(api.PhaseDraining, "n2"))
	if got := asked(st, open, idle("n1")); got != "n1" || st.Head.Stalled != nil {
		t.Errorf("asked while open: %q, stalled %+v", got, st.Head.Stalled)
	}
}

// What it waits for may change its nodes: whether one has the bundle is known when
// it begins.
func TestDecide_ANodeIsNotUpdatedByARolloutThatWaits(t *testing.T) {
	st := rolloutOf(2, 0)
	st.Head.State, st.Head.Waves, st.Head.After = api.RolloutScheduled, nil, []string{"ro-0"}
	st.Observed.Waits = []string{"ro-0"}
	waits := at(t, noon, st, done("n1"), done("n2"))
	if len(waits.Results) > 0 {
		t.Fatalf("while it waits it records %+v", waits.Results)
	}
	waits.Observed.Waits = nil
	began := at(t, noon, waits, idle("n1"), done("n2"))
	if r := began.Results; began.Head.State != api.RolloutRunning || len(r) != 1 || r["n2"].State != api.NodeUpdated {
		t.Errorf("begun, it is %s and has recorded %+v", began.Head.State, r)
	}
	if got := asked(began, noon, idle("n1")); got != "n1" {
		t.Errorf("of the node that was changed meanwhile is wanted %q", got)
	}
	all := at(t, noon, waits, done("n1"), done("n2"))
	if all.Head.State != api.RolloutSucceeded || len(all.Results) != 2 {
		t.Errorf("with nothing to do it is %s, and has recorded %+v", all.Head.State, all.Results)
	}
}
