package rollout

import (
	"fmt"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// waves are the steps, their order and what stands between them.
func (c *complaints) waves(spec api.RolloutSpec) {
	switch {
	case len(spec.Waves) > 0 && spec.Grow != nil:
		c.wrong("grow", "give either waves or grow, not both")
	case len(spec.Waves) > maxWaves:
		c.wrong("waves", "%d waves: at most %d", len(spec.Waves), maxWaves)
	}
	if spec.Grow != nil {
		c.grow(*spec.Grow)
	}
	names := map[string]int{}
	upTo, percent := 0, 0
	for i, w := range spec.Waves {
		path := fmt.Sprintf("waves[%d]", i)
		c.text(path+".name", w.Name, maxName)
		if first, twice := names[w.Name]; twice && w.Name != "" {
			c.wrong(path+".name", "%q is there already, as waves[%d]", w.Name, first)
		}
		names[w.Name] = i
		c.size(path, w, i == len(spec.Waves)-1, &upTo, &percent)
		c.duration(path+".soak", w.Soak)
		c.gates(path+".gates", w.Gates)
		if err := validBudget(w.MaxFailures); err != nil {
			c.wrong(path+".max_failures", "%v", err)
		}
	}
	c.gates("gates", spec.Gates)
	if o := spec.Order; o != nil && o.ByLabel != "" && o.Spread != "" {
		c.wrong("order.spread", "give either by_label or spread, not both: one puts equal values together, the other apart")
	}
	if o := spec.Order; o != nil {
		c.label("order.by_label", o.ByLabel)
		c.label("order.spread", o.Spread)
	}
}

// size is how many nodes a wave has. upTo and percent are those of the waves
// before, which each next one exceeds.
func (c *complaints) size(path string, w api.WaveSpec, last bool, upTo, percent *int) {
	given := 0
	for _, is := range []bool{w.Count != 0, w.Percent != 0, w.Selector != ""} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		c.wrong(path, "give one of count, percent and selector, or none for all nodes that are left")
	case given == 0 && !last:
		c.wrong(path, "has neither count, percent nor selector, so that it takes all nodes that are left: only the last wave may")
	case w.Count < 0:
		c.wrong(path+".count", "%d: want 1 or more", w.Count)
	case w.Count > 0 && w.Count <= *upTo:
		c.wrong(path+".count", "%d is not more than the %d of a wave before: count is up to how many nodes, those before included", w.Count, *upTo)
	case w.Percent < 0 || w.Percent > 100:
		c.wrong(path+".percent", "%d: want 1 to 100", w.Percent)
	case w.Percent > 0 && w.Percent <= *percent:
		c.wrong(path+".percent", "%d is not more than the %d of a wave before: percent is up to how many of all nodes, those before included", w.Percent, *percent)
	}
	*upTo, *percent = max(*upTo, w.Count), max(*percent, w.Percent)
	if w.Selector != "" {
		if _, err := NewSelector(w.Selector); err != nil {
			c.wrong(path+".selector", "%v", err)
		}
	}
}

func (c *complaints) grow(g api.GrowSpec) {
	if g.Start < 0 {
		c.wrong("grow.start", "%d: want 1 or more", g.Start)
	}
	if g.Factor != 0 && !(g.Factor > 1 && g.Factor <= 100) {
		c.wrong("grow.factor", "%v: want more than 1 and at most 100", g.Factor)
	}
	c.duration("grow.soak", g.Soak)
	c.gates("grow.gates", g.Gates)
	if err := validBudget(g.MaxFailures); err != nil {
		c.wrong("grow.max_failures", "%v", err)
	}
}

func (c *complaints) gates(path string, list []api.GateSpec) {
	if len(list) > maxGates {
		c.wrong(path, "%d gates: at most %d at one place", len(list), maxGates)
	}
	names := map[string]int{}
	for i, g := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		c.text(at+".name", g.Name, maxName)
		if first, twice := names[g.Name]; twice && (g.Name != "" || len(list) > 1) {
			c.wrong(at+".name", "%q is there already, as %s[%d]: gates that stand together have different names", g.Name, path, first)
		}
		names[g.Name] = i
		kinds := 0
		for _, is := range []bool{g.PromQL != nil, g.Alertmanager != nil, g.HTTP != nil, g.Command != nil, g.Approval != nil} {
			if is {
				kinds++
			}
		}
		if kinds != 1 {
			c.wrong(at, "has %d kinds: want exactly one of promql, alertmanager, http, command and approval", kinds)
		}
		c.duration(at+".deadline", g.Deadline)
		if a := g.Approval; a != nil {
			c.oneOf(at+".approval.role", a.Role, string(api.RoleDeployer), string(api.RoleOperator), string(api.RoleAdmin))
			if a.Count < 0 || a.Count > 10 {
				c.wrong(at+".approval.count", "%d: want 1 to 10 people", a.Count)
			}
			c.duration(at+".approval.expires", a.Expires)
		}
	}
}
