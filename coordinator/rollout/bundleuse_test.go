package rollout

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestBundleUse_IsWhatNodesAreBroughtToOrWouldBeBroughtBackTo(t *testing.T) {
	before, began := strings.Repeat("1", 64), strings.Repeat("2", 64)
	st := rolloutOf(2, 0)
	st.Nodes[0].Before = before
	st.Results["n2"] = Result{V: 1, Node: "n2", State: api.NodeUpdating, Before: began}
	for _, c := range []struct {
		rollback, digest string
		state            api.RolloutState
		want             string
	}{
		{"", bundle, api.RolloutPaused, "to this bundle"},
		{"", bundle, api.RolloutSucceeded, ""},
		{"none", before, api.RolloutRunning, ""},
		{"all", before, api.RolloutHalted, "back to this bundle"},
		{"failed_wave", began, api.RolloutRunning, "back to this bundle"},
		{"all", before, api.RolloutAborted, ""},
		{"all", strings.Repeat("3", 64), api.RolloutRunning, ""},
	} {
		st.Head.Spec.AutoRollback, st.Head.State = c.rollback, c.state
		if got := bundleUse(&st, c.digest); got == "" != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}
