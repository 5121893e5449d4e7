package service

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Of a host that was rolled back and is well it is said that it is in service; not
// of one that is broken and whose slot was freed by name.
func TestFreed_AHostThatIsNotHealthyIsNotCalledInService(t *testing.T) {
	failed := func(id string, healthy bool) api.Node {
		return api.Node{ID: id, Group: "web", State: api.NodeFailed, Report: api.Report{
			Healthy: healthy, Failure: &api.Failure{Reason: "unhealthy", Detail: "curl: exit status 7", Healthy: healthy},
		}}
	}
	o := &overview{nodes: []api.Node{failed("broken", false), failed("well", true)}}
	for kind, list := range map[string][]api.Attention{attentionFailed: freed(o), attentionRolledBack: rolledBack(o)} {
		if len(list) != 1 || list[0].Kind != kind {
			t.Fatalf("%s: %+v, want one", kind, list)
		}
		if said := list[0].Title + list[0].Detail; strings.Contains(said, "in service") != (kind == attentionRolledBack) {
			t.Errorf("%s: %s", kind, said)
		}
	}
	if got := freed(o)[0]; got.Node != "broken" || got.Severity != bad || !strings.Contains(got.Detail, "curl: exit status 7") {
		t.Errorf("the list says %+v", got)
	}
	if got, want := sentence(o), "1 host is not healthy without a slot; 1 host is in service after a failed update"; got != want {
		t.Errorf("the answer is %q, want %q", got, want)
	}
}
