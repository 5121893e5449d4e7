package service

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestLabels_ANameThatIsNoneIsRefusedOfANodeAndOfAnOperator(t *testing.T) {
	b := start(t)
	b.hello("n1", "default")
	for name, ask := range map[string]func(labels map[string]string) error{
		"a node": func(labels map[string]string) error {
			req := poll("default")
			req.Report.Seq, req.Report.Labels = 2, labels
			_, err := b.Poll(b.as("n1"), "n1", req)
			return err
		},
		"an operator": func(labels map[string]string) error {
			_, err := b.PatchNode(b.admin(), "n1", api.NodePatch{Labels: labels}, "")
			return err
		},
	} {
		err := ask(map[string]string{"zone": "a", "my key": "x"})
		if kindOf(err) != api.Invalid || !strings.Contains(err.Error(), `label "my key": want a name of 1 to 128 of the characters a-z A-Z 0-9 _ - . /`) {
			t.Errorf("%s: %v", name, err)
		}
		if err := ask(map[string]string{"topology.kubernetes.io/zone": "a"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A host that has had such a label since before names were checked must not be lost
// when its coordinator is updated.
func TestLabels_StoredOnesOfAnyNameStay(t *testing.T) {
	b := start(t)
	for _, op := range []semaphore.Op{
		semaphore.PutMember{Node: "old", Registered: map[string]string{"my key": "x"}, By: "old"},
		semaphore.PutMember{Node: "old", Declared: map[string]string{"größe": "7", "zone": "a"}, By: "ann"},
	} {
		if _, err := b.sem.Do(t.Context(), "default", op); err != nil {
			t.Fatal(err)
		}
	}
	req := poll("default")
	req.Report.Labels = map[string]string{"my key": "y"}
	if _, err := b.Poll(b.as("old"), "old", req); err != nil {
		t.Fatalf("its host is lost: %v", err)
	}
	n, err := b.Node(b.admin(), "old")
	if err != nil || n.Labels["my key"] != "y" || n.Labels["größe"] != "7" {
		t.Fatalf("%v, labels %v", err, n.Labels)
	}
	list, err := b.Nodes(b.admin(), api.NodeQuery{Selector: "my key=y"})
	if err != nil || list.Total != 1 {
		t.Errorf("by its label %d nodes are found, %v", list.Total, err)
	}
	// An operator changes the others, and can take it back.
	for _, declared := range []map[string]string{{"größe": "7", "zone": "b"}, {"zone": "b"}} {
		if _, err := b.PatchNode(b.admin(), "old", api.NodePatch{Labels: declared}, ""); err != nil {
			t.Errorf("declare %v: %v", declared, err)
		}
	}
	_, err = b.PatchNode(b.admin(), "old", api.NodePatch{Labels: map[string]string{"größe": "7"}}, "")
	if kindOf(err) != api.Invalid {
		t.Errorf("one that was taken back is declared again: %v", err)
	}
}
