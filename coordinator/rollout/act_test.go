package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// standing in a state: one of two nodes has failed within the budget, before an
// approval gate where the state has one.
func standingIn(t *testing.T, state api.RolloutState) State {
	t.Helper()
	gate := api.GateSpec{Name: "ok", Approval: &api.ApprovalGate{}}
	st := inWaves([]api.WaveSpec{{Name: "canary", Count: 1, Soak: "1h", Gates: []api.GateSpec{gate}}, {Name: "rest"}}, 1, 1)
	st.Head.Spec.MaxFailures = "1"
	n1, now := failedAt(noon, "n1"), noon
	switch state {
	case api.RolloutScheduled:
		st.Head.Spec.Start = noon.Add(24 * time.Hour)
		return at(t, noon, st, idle("n1"), idle("n2"))
	case api.RolloutRunning:
		st.Head.Spec.Waves[0].Soak, st.Head.Spec.Waves[0].Gates = "", nil
	case api.RolloutApproval:
		now = noon.Add(2 * time.Hour)
	}
	st = at(t, noon, st, n1, idle("n2"))
	st = at(t, now, st, n1, idle("n2"))
	switch state {
	case api.RolloutRunning, api.RolloutSoaking, api.RolloutApproval:
		if st.Head.State != state {
			t.Fatalf("it is %s, want %s", st.Head.State, state)
		}
		return st
	case api.RolloutSucceeded:
		st.Results["n1"] = Result{V: 1, Node: "n1", State: api.NodeUpdated, Attempt: 1, At: noon}
	}
	st.Head.State = state
	return st
}

// TestApply_Table is the table of doc.go: "=" is no change, "409" a conflict.
func TestApply_Table(t *testing.T) {
	for state, row := range map[api.RolloutState]string{
		//                     pause  resume  halt   abort   retry   approve              skip
		api.RolloutScheduled: "paused =       halted aborted =       409                  409",
		api.RolloutRunning:   "paused =       halted aborted running 409                  running",
		api.RolloutSoaking:   "paused =       halted aborted running soaking              soaking",
		api.RolloutApproval:  "paused =       halted aborted running waiting_for_approval 409",
		api.RolloutPaused:    "=      soaking halted aborted paused  paused               paused",
		api.RolloutHalted:    "409    soaking =      aborted running halted               halted",
		api.RolloutSucceeded: "409    409     409    409     409     409                  409",
		api.RolloutFailed:    "409    409     409    409     running 409                  409",
		api.RolloutAborted:   "409    409     409    =       409     409                  409",
	} {
		for i, want := range strings.Fields(row) {
			t.Run(string(state)+" "+Actions[i], func(t *testing.T) {
				st := standingIn(t, state)
				ask := Ask{Action: Actions[i], By: "ann", Role: api.RoleAdmin}
				now := noon
				if state == api.RolloutApproval { // its soak is over
					now = noon.Add(2 * time.Hour)
				}
				d, err := Apply(st, ask, now)
				switch want {
				case "409":
					if e := err; e == nil || e.Kind != api.Conflict || !strings.Contains(e.Detail, string(state)) {
						t.Errorf("got %v, want a conflict that names %s", err, state)
					}
				case "=":
					if err != nil || d.Changed {
						t.Errorf("changed %v, err %v", d.Changed, err)
					}
				default:
					if err != nil || !d.Changed || string(d.Head.State) != want {
						t.Fatalf("became %s, changed %v, err %v", d.Head.State, d.Changed, err)
					}
					again, err := Apply(applied(st, d), ask, now)
					if err != nil || again.Changed {
						t.Errorf("asked again: changed %v, err %v", again.Changed, err)
					}
					if len(d.Events) != 1 || d.Events[0].Actor != "ann" {
						t.Errorf("events: %+v", d.Events)
					}
				}
			})
		}
	}
}

func TestApply_SaysByWhomAndWhy(t *testing.T) {
	d, err := Apply(rolloutOf(1, 0), Ask{Action: ActPause, By: "ann", Reason: "lunch"}, noon)
	if err != nil || d.Head.Why != "paused by ann: lunch" {
		t.Errorf("why %q, err %v", d.Head.Why, err)
	}
	if e := d.Events[0]; e.Kind != EventPaused || e.Actor != "ann" || e.Scope != "rollout/ro-1" || e.Seq != 2 {
		t.Errorf("event %+v", e)
	}
}

func TestApply_AnUnknownActionListsTheKnownOnes(t *testing.T) {
	_, err := Apply(rolloutOf(1, 0), Ask{Action: "promote", By: "ann"}, noon)
	if err == nil || err.Kind != api.Invalid || !strings.Contains(err.Detail, "pause, resume") {
		t.Errorf("got %v", err)
	}
}
