package rollout

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

var digest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Bounds of a rollout's texts, in bytes.
const (
	maxName   = 200
	maxReason = 2000
)

// Validate reports every field of a rollout's spec that is not acceptable,
// without looking at the fleet.
func Validate(spec api.RolloutSpec) *api.Error {
	var fields []api.FieldError
	wrong := func(path, format string, args ...any) {
		fields = append(fields, api.FieldError{Path: path, Detail: fmt.Sprintf(format, args...)})
	}
	if !digest.MatchString(spec.Bundle) {
		wrong("bundle", "want the SHA-256 digest of a bundle, 64 hexadecimal digits in lower case, not %q", spec.Bundle)
	}
	byQuery := spec.Group != "" || spec.Selector != ""
	switch {
	case byQuery && len(spec.Nodes) > 0:
		wrong("nodes", "give either nodes, or a group and/or a selector, not both")
	case !byQuery && len(spec.Nodes) == 0:
		wrong("group", "say which nodes: give a group and/or a selector, or a list of nodes")
	}
	if spec.Group != "" {
		if err := semaphore.ValidGroup(spec.Group); err != nil {
			wrong("group", "%v", err)
		}
	}
	if _, err := ParseSelector(spec.Selector); err != nil {
		wrong("selector", "%v", err)
	}
	seen := map[string]int{}
	for i, id := range spec.Nodes {
		if first, twice := seen[id]; twice {
			wrong(fmt.Sprintf("nodes[%d]", i), "%q is there already, as nodes[%d]", id, first)
		} else if err := semaphore.ValidNode(id); err != nil {
			wrong(fmt.Sprintf("nodes[%d]", i), "%v", err)
		}
		seen[id] = i
	}
	if err := validBudget(spec.MaxFailures); err != nil {
		wrong("max_failures", "%v", err)
	}
	if len(spec.Name) > maxName {
		wrong("name", "%d bytes: at most %d", len(spec.Name), maxName)
	}
	if len(spec.Reason) > maxReason {
		wrong("reason", "%d bytes: at most %d", len(spec.Reason), maxReason)
	}
	return invalid(fields)
}

// maxFields bounds the list of an error, so that 10,000 wrong ids read well.
const maxFields = 20

func invalid(fields []api.FieldError) *api.Error {
	if len(fields) == 0 {
		return nil
	}
	e := api.Errorf(api.Invalid, "%s: %s", fields[0].Path, fields[0].Detail)
	if n := len(fields); n > 1 {
		e.Detail = fmt.Sprintf("%s (and %d more)", e.Detail, n-1)
	}
	e.Fields = fields[:min(len(fields), maxFields)]
	return e
}

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

// Select finds the nodes that a valid spec names, by group and then id.
// groupExists says whether a group is declared.
func Select(spec api.RolloutSpec, nodes []api.Node, groupExists func(string) bool) ([]Selected, *api.Error) {
	if spec.Group != "" && !groupExists(spec.Group) {
		return nil, api.Errorf(api.UnknownGroup, "group %q does not exist", spec.Group)
	}
	var out []Selected
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
				out = append(out, Selected{Node: n.ID, Group: n.Group})
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
			if hasAgent(n) && (spec.Group == "" || n.Group == spec.Group) && matches(n.Labels, want) {
				out = append(out, Selected{Node: n.ID, Group: n.Group})
			}
		}
	}
	if len(out) == 0 {
		return nil, emptySelection(spec)
	}
	slices.SortFunc(out, func(a, b Selected) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Node, b.Node))
	})
	return out, nil
}

func emptySelection(spec api.RolloutSpec) *api.Error {
	path, what := "group", fmt.Sprintf("group %q", spec.Group)
	switch {
	case spec.Selector != "" && spec.Group != "":
		path, what = "selector", fmt.Sprintf("selector %q in group %q", spec.Selector, spec.Group)
	case spec.Selector != "":
		path, what = "selector", fmt.Sprintf("selector %q", spec.Selector)
	}
	return invalid([]api.FieldError{{Path: path, Detail: what + " selects no node with an agent"}})
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

// conflicting finds the first active rollout that has one of the nodes.
func conflicting(all map[string]State, nodes []Selected, except string) *api.Error {
	mine := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		mine[n.Node] = true
	}
	ids := make([]string, 0, len(all))
	for id := range all {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		st := all[id]
		if id == except || !st.Head.State.Active() {
			continue
		}
		for _, n := range st.Nodes {
			if mine[n.Node] {
				return api.Errorf(api.Conflict,
					"node %q belongs to rollout %s, which is %s: abort that one, or wait for its end", n.Node, id, st.Head.State)
			}
		}
	}
	return nil
}
