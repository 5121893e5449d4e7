package service

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestDrift_IsCountedListedAndUnderAttentionByBundleUntilTheNodeIsForgotten(t *testing.T) {
	b := start(t)
	for _, id := range []string{"n1", "n2", "n3", "n4"} {
		b.hello(id, "default")
	}
	first, second := strings.Repeat("a", 64), strings.Repeat("b", 64)
	b.rollouts.set(func() {
		b.rollouts.drift = map[string]*api.Drift{
			"n1": {Bundle: first, Name: "base", Rollout: "ro-1"}, "n2": {Bundle: first, Name: "base", Rollout: "ro-1"}, "n4": {Bundle: second, Rollout: "ro-2"},
		}
	})
	var s api.Status
	b.eventually("all to be seen", func() bool {
		var err error
		s, err = b.Status(b.admin())
		return err == nil && s.Figures.Drifted == 3
	})
	var told []string
	for _, a := range s.Attention {
		if a.Kind == "drifted" {
			told = append(told, a.Title+" "+a.Node+": "+a.Detail)
		}
	}
	if len(told) != 2 || !strings.Contains(told[0], "2 nodes have drifted from bundle base : ") || !strings.Contains(told[0], "n1, n2") ||
		!strings.Contains(told[1], "1 node has drifted from bundle bbbbbbbbbbbb n4: ") {
		t.Errorf("attention: %q", told)
	}
	list, err := b.Nodes(b.admin(), api.NodeQuery{Drifted: true})
	if err != nil || list.Total != 3 || list.Nodes[2].ID != "n4" || list.Nodes[2].Drift.Bundle != second {
		t.Errorf("%+v %v", list, err)
	}
	if n, err := b.Node(b.admin(), "n1"); err != nil || n.Drift == nil {
		t.Errorf("%+v %v", n, err)
	}
	if err := b.DeleteNode(b.admin(), "n1"); err != nil {
		t.Fatal(err)
	}
	b.hello("n1", "default")
	if n, err := b.Node(b.admin(), "n1"); err != nil || n.Drift != nil {
		t.Errorf("after it was forgotten: %+v %v", n, err)
	}
}
