package service

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestNodes_AreFilteredAndPaged(t *testing.T) {
	b := start(t)
	b.withGroup("web", "1")
	for i := range 5 {
		req := poll([]string{"default", "web"}[i%2])
		req.Report.Labels = map[string]string{"zone": []string{"a", "b"}[i%2]}
		id := fmt.Sprintf("N%d", i)
		if _, err := b.Poll(b.as(id), id, req); err != nil {
			t.Fatal(err)
		}
	}
	b.confirm(b.acquire("web", "N1"))
	find := func(q api.NodeQuery) api.NodeList {
		list, err := b.Nodes(b.admin(), q)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	b.eventually("the hold is seen", func() bool { return find(api.NodeQuery{State: "out"}).Total == 1 })
	for name, c := range map[string]struct {
		q    api.NodeQuery
		want int
	}{
		"all":      {api.NodeQuery{}, 5},
		"text":     {api.NodeQuery{Text: "n3"}, 1},
		"group":    {api.NodeQuery{Group: "web"}, 2},
		"state":    {api.NodeQuery{State: "idle"}, 4},
		"selector": {api.NodeQuery{Selector: "zone=a"}, 3},
		"both":     {api.NodeQuery{Selector: "zone=a, role=web"}, 0},
	} {
		if got := find(c.q); got.Total != c.want || len(got.Nodes) != c.want || got.Next != "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	var ids []string
	q := api.NodeQuery{Limit: 2}
	for range 5 {
		page := find(q)
		if page.Total != 5 {
			t.Errorf("total %d", page.Total)
		}
		for _, n := range page.Nodes {
			ids = append(ids, n.ID)
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	if fmt.Sprint(ids) != "[N0 N1 N2 N3 N4]" {
		t.Errorf("by pages: %v", ids)
	}
	for path, q := range map[string]api.NodeQuery{"limit": {Limit: 5000}, "state": {State: "asleep"}, "selector": {Selector: "zone"}} {
		_, err := b.Nodes(b.admin(), q)
		field(t, err, path)
	}
	for _, selector := range []string{"zone=a,zone=b", "zone!=a"} { // as of a rollout
		_, err := b.Nodes(b.admin(), api.NodeQuery{Selector: selector})
		field(t, err, "selector")
	}
}

func TestNodes_ByStateComeMostUrgentFirstPageByPage(t *testing.T) {
	b := start(t)
	for i := range 4 {
		id := fmt.Sprintf("n%d", i)
		req := poll("default")
		req.Report.Bundle = []string{"aa11", "ab22"}[i%2]
		if i == 2 {
			req.Report.Phase = api.PhaseFailed
		}
		if _, err := b.Poll(b.as(id), id, req); err != nil {
			t.Fatal(err)
		}
	}
	b.confirm(b.acquire("default", "n3"))
	list := func(q api.NodeQuery) (ids []string) {
		for range 10 {
			page, err := b.Nodes(b.admin(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range page.Nodes {
				ids = append(ids, n.ID)
			}
			if q.After = page.Next; q.After == "" {
				break
			}
		}
		return ids
	}
	b.eventually("the failed one, the one that is out, the rest", func() bool {
		return fmt.Sprint(list(api.NodeQuery{Sort: "state", Limit: 1})) == "[n2 n3 n0 n1]"
	})
	if got := fmt.Sprint(list(api.NodeQuery{Bundle: "aa"})); got != "[n0 n2]" {
		t.Errorf("with a bundle: %s", got)
	}
	if _, err := b.Nodes(b.admin(), api.NodeQuery{Sort: "state", After: "n1"}); err == nil {
		t.Error("the next of another order is accepted")
	}
	if _, err := b.Nodes(b.admin(), api.NodeQuery{Sort: "zone"}); err == nil {
		t.Error("an unknown order is accepted")
	}
}

func TestPatchNode_DeclaresLabelsThatWin(t *testing.T) {
	b := start(t)
	req := poll("default")
	req.Report.Labels = map[string]string{"zone": "a", "role": "web"}
	if _, err := b.Poll(b.as("n"), "n", req); err != nil {
		t.Fatal(err)
	}
	n, err := b.PatchNode(b.admin(), "n", api.NodePatch{Labels: map[string]string{"zone": "b"}}, "")
	if err != nil || n.Labels["zone"] != "b" || n.Labels["role"] != "web" || n.Declared["zone"] != "b" {
		t.Fatalf("%+v %v", n, err)
	}
	b.hello("other", "default")
	if _, err := b.Poll(b.as("n"), "n", req); err != nil {
		t.Fatal(err)
	}
	if n, _ = b.Node(b.admin(), "n"); n.Labels["zone"] != "b" {
		t.Error("the node's own report won")
	}
	if n, err = b.PatchNode(b.admin(), "n", api.NodePatch{Labels: map[string]string{}}, strconv.FormatInt(n.Revision, 10)); err != nil || n.Labels["zone"] != "a" {
		t.Errorf("%+v %v", n, err)
	}
	_, err = b.PatchNode(b.admin(), "n", api.NodePatch{}, strconv.FormatInt(n.Revision+1, 10))
	mustRefuse(t, err, api.Changed)
	_, err = b.PatchNode(b.admin(), "n", api.NodePatch{Labels: map[string]string{"": "x"}}, "")
	field(t, err, "labels")
	_, err = b.PatchNode(b.admin(), "nobody", api.NodePatch{}, "")
	mustRefuse(t, err, api.NotFound)
}

func TestDeleteNode_ForgetsItUnlessItHoldsAndItsNextReportBringsItBack(t *testing.T) {
	b := start(t)
	b.hello("n", "default")
	h := b.acquire("default", "n")
	mustRefuse(t, b.DeleteNode(b.admin(), "n"), api.InUse)
	if err := b.Release(b.as("n"), "default", "n", h.Fence, "i1"); err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteNode(b.admin(), "n"); err != nil {
		t.Fatal(err)
	}
	_, err := b.Node(b.admin(), "n")
	mustRefuse(t, err, api.NotFound)
	mustRefuse(t, b.DeleteNode(b.admin(), "n"), api.NotFound)
	b.hello("n", "default")
	if n, err := b.Node(b.admin(), "n"); err != nil || n.Group != "default" {
		t.Errorf("%+v %v", n, err)
	}
}

func TestNodes_AreSeenByEveryCoordinatorAndAfterARestart(t *testing.T) {
	a := start(t)
	other := startAt(t, a.prefix)
	a.hello("n", "default")
	other.eventually("the other coordinator knows it", func() bool { _, err := other.Node(other.admin(), "n"); return err == nil })
	later := startAt(t, a.prefix)
	n, err := later.Node(later.admin(), "n")
	if err != nil || n.Instance != "i1" || n.State != api.NodeIdle {
		t.Errorf("%+v %v", n, err)
	}
}

func TestPatchNode_OfTwoWhoReadTheSameTheSecondIsRefused(t *testing.T) {
	b := start(t)
	b.hello("agent", "default")
	if _, err := b.lock("default", "core", "10.0.0.1:1"); err != nil { // one without an agent
		t.Fatal(err)
	}
	for _, id := range []string{"agent", "core"} {
		var n api.Node
		b.eventually("node "+id, func() bool {
			var err error
			n, err = b.Node(b.admin(), id)
			return err == nil && n.Revision > 0
		})
		match := strconv.FormatInt(n.Revision, 10)
		first, err := b.PatchNode(b.admin(), id, api.NodePatch{Labels: map[string]string{"zone": "a"}}, match)
		if err != nil || first.Revision <= n.Revision {
			t.Fatalf("%s: %v, at revision %d after %d", id, err, first.Revision, n.Revision)
		}
		_, err = b.PatchNode(b.admin(), id, api.NodePatch{Labels: map[string]string{"role": "web"}}, match)
		mustRefuse(t, err, api.Changed)
		if n, err := b.Node(b.admin(), id); err != nil || n.Declared["zone"] != "a" {
			t.Errorf("%s: %v, %v: the labels of the first are lost", id, n.Declared, err)
		}
		// Whoever was told may go on from what is there.
		match = strconv.FormatInt(first.Revision, 10)
		if _, err := b.PatchNode(b.admin(), id, api.NodePatch{Labels: map[string]string{"zone": "a", "role": "web"}}, match); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}
