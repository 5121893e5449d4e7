package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// ParseSelector reads "zone=a,role=web": every pair must match. Empty matches all.
func ParseSelector(text string) (map[string]string, error) {
	want := map[string]string{}
	if strings.TrimSpace(text) == "" {
		return want, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key == "" {
			return nil, fmt.Errorf("%q: want label=value pairs with commas between them, such as zone=a,role=web", text)
		}
		if old, twice := want[key]; twice && old != value {
			return nil, fmt.Errorf("%q: label %s cannot be both %q and %q", text, key, old, value)
		}
		want[key] = value
	}
	return want, nil
}

// NewSelector reads a selector that is not stored yet: its labels have names that
// labels can have. Those of older rollouts may not.
func NewSelector(text string) (map[string]string, error) {
	want, err := ParseSelector(text)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if bad := semaphore.ValidLabel(name); bad != nil && err == nil {
			err = fmt.Errorf("%q: %w", text, bad)
		}
	}
	return want, err
}

// Select finds the nodes that a valid spec names, by group and then id.
// groupExists says whether a group is declared.
func Select(spec api.RolloutSpec, nodes []api.Node, groupExists func(string) bool) ([]api.Node, *api.Error) {
	if spec.Group != "" && !groupExists(spec.Group) {
		return nil, api.Errorf(api.UnknownGroup, "group %q does not exist", spec.Group)
	}
	var out []api.Node
	if len(spec.Nodes) > 0 {
		known := make(map[string]api.Node, len(nodes))
		for _, n := range nodes {
			known[n.ID] = n
		}
		var fields []api.FieldError
		for i, id := range spec.Nodes {
			n, ok := known[id]
			switch path := fmt.Sprintf("nodes[%d]", i); {
			case !ok:
				fields = append(fields, api.FieldError{Path: path, Detail: fmt.Sprintf("node %q is not known: no agent of that id ever reported", id)})
			case !hasAgent(n):
				fields = append(fields, api.FieldError{Path: path, Detail: fmt.Sprintf("node %q has no agent (it comes through FleetLock), so nothing can be rolled out to it", id)})
			default:
				out = append(out, n)
			}
		}
		if e := invalid(fields); e != nil {
			return nil, e
		}
	} else {
		want, err := ParseSelector(spec.Selector)
		if err != nil {
			return nil, api.Errorf(api.Invalid, "selector %v", err)
		}
		for _, n := range nodes {
			if selects(spec, want, n) {
				out = append(out, n)
			}
		}
	}
	if spec.NeedsReboot {
		out = slices.DeleteFunc(out, func(n api.Node) bool { return !n.Report.NeedsReboot })
	}
	if len(out) == 0 {
		return nil, emptySelection(spec)
	}
	slices.SortFunc(out, func(a, b api.Node) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

// selects reports whether a spec's group and selector, which is want, match a node.
func selects(spec api.RolloutSpec, want map[string]string, n api.Node) bool {
	return hasAgent(n) && (spec.Group == "" || n.Group == spec.Group) && matches(n.Labels, want)
}

func emptySelection(spec api.RolloutSpec) *api.Error {
	path, what := "group", fmt.Sprintf("group %q", spec.Group)
	switch {
	case spec.Selector != "" && spec.Group != "":
		path, what = "selector", fmt.Sprintf("selector %q in group %q", spec.Selector, spec.Group)
	case spec.Selector != "":
		path, what = "selector", fmt.Sprintf("selector %q", spec.Selector)
	}
	detail := what + " selects no node with an agent"
	if spec.NeedsReboot {
		path, detail = "needs_reboot", "of what is selected, no node with an agent says that it needs a reboot"
	}
	return invalid([]api.FieldError{{Path: path, Detail: detail}})
}

func hasAgent(n api.Node) bool { return n.Via != string(semaphore.ViaFleetLock) }

func matches(labels, want map[string]string) bool {
	for key, value := range want {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}
