package rollout

import (
	"errors"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// TestApply_Table is the table of doc.go: "=" is no change, "409" a conflict.
func TestApply_Table(t *testing.T) {
	actions := []string{ActPause, ActResume, ActHalt, ActAbort, ActRetry}
	for state, row := range map[api.RolloutState]string{
		api.RolloutRunning:   "paused = halted aborted running",
		api.RolloutPaused:    "= running halted aborted paused",
		api.RolloutHalted:    "409 running = aborted running",
		api.RolloutSucceeded: "409 409 409 409 409",
		api.RolloutFailed:    "409 409 409 409 running",
		api.RolloutAborted:   "409 409 409 = 409",
	} {
		for i, want := range strings.Fields(row) {
			t.Run(string(state)+" "+actions[i], func(t *testing.T) {
				st := rolloutOf(2, 0)
				st.Head.State, st.Head.Failures = state, 1
				st.Results["n1"] = Result{V: 1, Node: "n1", State: api.NodeBroken, Attempt: 1, Failure: 1, At: noon}
				if state == api.RolloutSucceeded {
					st.Results["n1"] = Result{V: 1, Node: "n1", State: api.NodeUpdated, Attempt: 1, At: noon}
				}
				d, err := Apply(st, Ask{Action: actions[i], By: "ann"}, noon)
				switch want {
				case "409":
					var e *api.Error
					if !errors.As(error(err), &e) || e.Kind != api.Conflict || !strings.Contains(e.Detail, string(state)) {
						t.Errorf("got %v, want a conflict that names %s", err, state)
					}
				case "=":
					if err != nil || d.Changed {
						t.Errorf("changed %v, err %v", d.Changed, err)
					}
				default:
					if err != nil || !d.Changed || string(d.Head.State) != want {
						t.Fatalf("became %s, err %v", d.Head.State, err)
					}
					again, err := Apply(applied(st, d), Ask{Action: actions[i], By: "ann"}, noon)
					if err != nil || again.Changed {
						t.Errorf("asked again: changed %v, err %v", again.Changed, err)
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
