package rollout

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func node(id, group, zone string) api.Node {
	return api.Node{ID: id, Group: group, Via: "agent", Labels: map[string]string{"zone": zone}}
}

var fleetOfFour = []api.Node{
	node("w2", "web", "b"), node("w1", "web", "a"), node("d1", "db", "a"),
	{ID: "old", Group: "web", Via: "fleetlock"},
}

func exists(group string) bool { return group == "web" || group == "db" || group == "empty" }

func TestSelect_FindsTheNodesInOrder(t *testing.T) {
	for name, c := range map[string]struct {
		spec api.RolloutSpec
		want string
	}{
		"a group":                {api.RolloutSpec{Group: "web"}, "w1 w2"},
		"a selector":             {api.RolloutSpec{Selector: "zone=a"}, "d1 w1"},
		"a group and a selector": {api.RolloutSpec{Group: "web", Selector: "zone = b"}, "w2"},
		"a list":                 {api.RolloutSpec{Nodes: []string{"w2", "d1"}}, "d1 w2"},
	} {
		t.Run(name, func(t *testing.T) {
			nodes, err := Select(c.spec, fleetOfFour, exists)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, n := range nodes {
				ids = append(ids, n.ID)
			}
			if got := strings.Join(ids, " "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestSelect_WhatCannotBeSelectedIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		spec api.RolloutSpec
		kind api.Kind
		says string
	}{
		"an unknown group":     {api.RolloutSpec{Group: "wbe"}, api.UnknownGroup, `"wbe"`},
		"an empty group":       {api.RolloutSpec{Group: "empty"}, api.Invalid, "selects no node"},
		"an empty selection":   {api.RolloutSpec{Selector: "zone=c"}, api.Invalid, `"zone=c" selects no node`},
		"an unknown node":      {api.RolloutSpec{Nodes: []string{"w1", "w9"}}, api.Invalid, `nodes[1]: node "w9" is not known`},
		"a node without agent": {api.RolloutSpec{Nodes: []string{"old"}}, api.Invalid, "FleetLock"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Select(c.spec, fleetOfFour, exists)
			if err == nil || err.Kind != c.kind || !strings.Contains(err.Detail, c.says) {
				t.Errorf("got %v, want %s with %q", err, c.kind, c.says)
			}
		})
	}
}

func TestValidate_NamesTheFieldAndWhatIsAccepted(t *testing.T) {
	good := func(change func(*api.RolloutSpec)) api.RolloutSpec {
		s := api.RolloutSpec{Bundle: bundle, Group: "web"}
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		spec  api.RolloutSpec
		field string
	}{
		"no bundle":            {good(func(s *api.RolloutSpec) { s.Bundle = "" }), "bundle"},
		"a bundle in capitals": {good(func(s *api.RolloutSpec) { s.Bundle = strings.Repeat("B", 64) }), "bundle"},
		"nothing selected":     {good(func(s *api.RolloutSpec) { s.Group = "" }), "group"},
		"a group and nodes":    {good(func(s *api.RolloutSpec) { s.Nodes = []string{"n1"} }), "nodes"},
		"a bad group":          {good(func(s *api.RolloutSpec) { s.Group = "a/b" }), "group"},
		"a bad selector":       {good(func(s *api.RolloutSpec) { s.Selector = "zone" }), "selector"},
		"a contradiction":      {good(func(s *api.RolloutSpec) { s.Selector = "zone=a,zone=b" }), "selector"},
		"a node twice":         {good(func(s *api.RolloutSpec) { s.Group = ""; s.Nodes = []string{"a", "a"} }), "nodes[1]"},
		"an empty node":        {good(func(s *api.RolloutSpec) { s.Group = ""; s.Nodes = []string{""} }), "nodes[0]"},
		"a budget below 0":     {good(func(s *api.RolloutSpec) { s.MaxFailures = "-1" }), "max_failures"},
		"a name without end":   {good(func(s *api.RolloutSpec) { s.Name = strings.Repeat("x", 300) }), "name"},
		"a reason without end": {good(func(s *api.RolloutSpec) { s.Reason = strings.Repeat("x", 3000) }), "reason"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Validate(c.spec)
			if err == nil || err.Kind != api.Invalid || err.Fields[0].Path != c.field {
				t.Errorf("got %+v, want %s named", err, c.field)
			}
		})
	}
	if err := Validate(good(func(*api.RolloutSpec) {})); err != nil {
		t.Errorf("a good spec is refused: %v", err)
	}
}

func TestConflicting_NamesTheNodeAndTheActiveRollout(t *testing.T) {
	st := rolloutOf(2, 0)
	all := map[string]State{id: st}
	err := conflicting(all, []Selected{{Node: "n2", Group: "web"}})
	if err == nil || err.Kind != api.Conflict || !strings.Contains(err.Detail, `"n2"`) || !strings.Contains(err.Detail, id) {
		t.Errorf("got %v", err)
	}
	st.Head.State = api.RolloutAborted
	if err := conflicting(map[string]State{id: st}, []Selected{{Node: "n2", Group: "web"}}); err != nil {
		t.Errorf("an aborted rollout stands in the way: %v", err)
	}
}

// Nodes that come to match join a rollout whose selector was stored before the names
// of labels were checked.
func TestJoiners_OfASelectorThatWouldBeRefusedNow(t *testing.T) {
	st := State{Head: Head{ID: id, Spec: api.RolloutSpec{Bundle: bundle, Selector: "my key=x", Joining: api.JoiningInclude}, State: api.RolloutRunning}}
	fleet := func() []api.Node {
		return []api.Node{{ID: "n1", Group: "web", Via: "agent", Labels: map[string]string{"my key": "x"}, LastHeard: noon}}
	}
	if got := joiners(st, fleet, nil); len(got) != 1 {
		t.Errorf("%d nodes join", len(got))
	}
}
