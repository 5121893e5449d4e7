package rollout

import (
	"fmt"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// The bounds that api.Concurrency names.
const (
	boundWave   = "wave"
	boundSlots  = "slots"
	boundLimits = "limits"
)

// AtOnce is how many of a wave's nodes may be out of service at the same time
// when nobody else is, and which bound that is: the nodes themselves, the slots
// of their groups, or the limits.
func AtOnce(wave string, nodes []Selected, look func(group string) (semaphore.State, bool)) api.Concurrency {
	var groups []string
	by := map[string][]string{}
	for _, n := range nodes {
		if by[n.Group] == nil {
			groups = append(groups, n.Group)
		}
		by[n.Group] = append(by[n.Group], n.Node)
	}
	c := api.Concurrency{}
	slots, limits := 0, 0
	var details []string
	for _, group := range groups {
		s, ok := look(group)
		if !ok || !s.Exists() {
			details = append(details, fmt.Sprintf("group %s does not exist", group))
			continue
		}
		both, bySlots, byLimits := semaphore.AtOnce(&s, by[group])
		c.Nodes += both
		slots += bySlots
		limits += byLimits
		details = append(details, groupBound(group, &s, bySlots, byLimits))
	}
	switch {
	case len(nodes) <= slots && len(nodes) <= limits:
		c.Bound = boundWave
	case slots <= limits:
		c.Bound = boundSlots
	default:
		c.Bound = boundLimits
	}
	c.Detail = fmt.Sprintf("%d at once: %s has %s; %s", c.Nodes, waveText(wave), plural(len(nodes), "node"), strings.Join(details, "; "))
	return c
}

// waveText is a wave's name with the word before it.
func waveText(name string) string {
	if strings.HasPrefix(name, "wave ") {
		return name
	}
	return "wave " + name
}

func groupBound(group string, s *semaphore.State, slots, limits int) string {
	text := fmt.Sprintf("group %s has %s", group, plural(slots, "slot"))
	if s.Spec.Slots.Percent {
		text += fmt.Sprintf(" (%s of %s)", s.Spec.Slots, plural(s.Size(), "member"))
	}
	if len(s.Spec.Limits) == 0 {
		return text
	}
	var each []string
	for _, l := range s.Spec.Limits {
		each = append(each, fmt.Sprintf("%s for each %s", l.Max, l.By))
	}
	return fmt.Sprintf("%s, and its limits (%s) let %d of them be out", text, strings.Join(each, ", "), limits)
}
