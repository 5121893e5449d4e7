package simulate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Host is a simulated host.
type Host struct {
	ID, Group   string
	Labels      map[string]string
	NeedsReboot bool
}

// Label is a label of simulated hosts, which have its values in turn.
type Label struct {
	Name   string
	Values []string
}

// Zones is the label zone with so many values: a, b, c and on.
func Zones(n int) Label {
	l := Label{Name: "zone"}
	for i := range n {
		name := ""
		for rest := i; rest >= 0; rest = rest/26 - 1 {
			name = string(rune('a'+rest%26)) + name
		}
		l.Values = append(l.Values, name)
	}
	return l
}

// Fleet makes hosts for a rollout: so many, or those of its list, in the groups
// in turn. They have the labels that the rollout's selector wants.
func Fleet(spec api.RolloutSpec, hosts int, groups []string, labels []Label) ([]Host, error) {
	want, err := rollout.ParseSelector(spec.Selector)
	if err != nil {
		return nil, err
	}
	if spec.Group != "" {
		groups = []string{spec.Group}
	}
	ids := spec.Nodes
	if len(ids) == 0 {
		digits := max(2, len(fmt.Sprint(hosts)))
		for i := range hosts {
			ids = append(ids, fmt.Sprintf("sim-%0*d", digits, i+1))
		}
	}
	out := make([]Host, 0, len(ids))
	for i, id := range ids {
		h := Host{ID: id, Group: groups[i%len(groups)], Labels: map[string]string{}, NeedsReboot: true}
		turn := i / len(groups)
		for _, l := range labels {
			h.Labels[l.Name] = l.Values[turn%len(l.Values)]
		}
		maps.Copy(h.Labels, want)
		out = append(out, h)
	}
	return out, nil
}

// GroupSpec is a group's spec as the rules have it. The error names the field.
func GroupSpec(spec api.GroupSpec) (semaphore.Spec, error) {
	out := semaphore.Spec{V: semaphore.BaseSchema}
	var err error
	if out.Slots, err = semaphore.ParseSlots(string(spec.Slots)); err != nil {
		return out, err
	}
	for i, l := range spec.Limits {
		most, err := semaphore.ParseSlots(string(l.Max))
		if err != nil {
			return out, fmt.Errorf("limits[%d].max: %w", i, err)
		}
		out.Limits = append(out.Limits, semaphore.Limit{By: l.By, Max: most})
	}
	windows, fields := rollout.Windows(spec.Windows)
	if len(fields) > 0 {
		return out, fmt.Errorf("%s: %s", fields[0].Path, fields[0].Detail)
	}
	out.Windows = windows
	for _, b := range spec.Blackouts {
		out.Blackouts = append(out.Blackouts, semaphore.Blackout{Name: b.Name, Start: b.Start, End: b.End, Reason: b.Reason})
	}
	for path, d := range map[string]struct {
		text string
		into *semaphore.Duration
	}{
		"grant_interval": {spec.GrantInterval, &out.GrantInterval},
		"timeouts.hold":  {spec.Timeouts.Hold, &out.Timeouts.Hold},
	} {
		if d.text == "" {
			continue
		}
		v, err := time.ParseDuration(d.text)
		if err != nil {
			return out, fmt.Errorf("%s %q: want a time such as 30m", path, d.text)
		}
		*d.into = semaphore.Duration(v)
	}
	if found := semaphore.ValidateSpec(out); len(found) > 0 {
		return out, fmt.Errorf("%s: %s", found[0].Path, found[0].Detail)
	}
	return out, nil
}

// semaphores are the groups of the hosts, with nobody out of service.
func semaphores(specs map[string]semaphore.Spec, hosts []Host, now time.Time) ([]semaphore.State, error) {
	by := map[string]*semaphore.State{}
	for _, h := range hosts {
		s := by[h.Group]
		if s == nil {
			spec, ok := specs[h.Group]
			if !ok {
				return nil, fmt.Errorf("group %s is not declared: there are %s", h.Group, strings.Join(slices.Sorted(maps.Keys(specs)), ", "))
			}
			s = &semaphore.State{Group: h.Group, Revision: 1, HeadRev: 1, SpecRev: 1, Head: semaphore.Head{V: semaphore.BaseSchema, Next: 1}, Spec: spec}
			s.Keep(now)
			by[h.Group] = s
		}
		s.SetMember(semaphore.Member{V: semaphore.BaseSchema, Node: h.ID, Registered: h.Labels})
	}
	var out []semaphore.State
	for _, name := range slices.Sorted(maps.Keys(by)) {
		out = append(out, *by[name])
	}
	return out, nil
}

// before is the bundle that made up hosts had.
var before = strings.Repeat("1", 64)

// nodes are the hosts as they report before the rollout.
func nodes(hosts []Host, now time.Time) []api.Node {
	out := make([]api.Node, 0, len(hosts))
	for _, h := range hosts {
		out = append(out, api.Node{
			ID: h.ID, Group: h.Group, Labels: h.Labels, Via: string(semaphore.ViaAgent), LastHeard: now, ChangedAt: now,
			Report: api.Report{Group: h.Group, Labels: h.Labels, Phase: api.PhaseIdle, Healthy: true, Simulated: true, Bundle: before, NeedsReboot: h.NeedsReboot},
		})
	}
	return out
}
