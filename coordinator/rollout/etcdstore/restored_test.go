package etcdstore

import (
	"slices"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
)

func TestPauseAll_PausesWhatRunsAuditedAndLeavesTheRest(t *testing.T) {
	w := newWorld(t, 1, 1)
	s := started(t, w.store())
	put(t, s, "ro-running", rollout.Selected{Node: "n00", Group: "web"})
	halted := put(t, s, "ro-halted")
	halted.Head.State, halted.Head.Why = api.RolloutHalted, "node n07 failed"
	if err := s.Write(t.Context(), rollout.Change{Revision: halted.Revision, Head: halted.Head}); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"ro-running"}, nil} { // again changes nothing
		got, err := PauseAll(t.Context(), etcd.Client(), w.prefix, "restore", "restored from the test")
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("time %d: paused %v, %v; want %v", i, got, err, want)
		}
	}
	st, err := s.Read(t.Context(), "ro-running")
	if err != nil || st.Head.State != api.RolloutPaused || !strings.Contains(st.Head.Why, "restored from the test") {
		t.Errorf("%+v, %v", st.Head, err)
	}
	if n := kinds(w.events("ro-running"))[rollout.EventPaused]; n != 1 {
		t.Errorf("%d events of the pause, want 1", n)
	}
	if st, err := s.Read(t.Context(), "ro-halted"); err != nil || st.Head.State != api.RolloutHalted || st.Head.Why != "node n07 failed" {
		t.Errorf("the halted one is %+v, %v", st.Head, err)
	}
}
