package rollout

import (
	"fmt"
	"math"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// WaveSpecs is a rollout's waves as a list: those of a valid spec, the growing
// ones expanded for so many nodes, and one of all nodes when it has none. Each
// has a name.
func WaveSpecs(spec api.RolloutSpec, nodes int) []api.WaveSpec {
	var waves []api.WaveSpec
	switch {
	case spec.Grow != nil:
		waves = grown(*spec.Grow, nodes)
	case len(spec.Waves) > 0:
		waves = append(waves, spec.Waves...)
	default:
		return []api.WaveSpec{{Name: "all"}}
	}
	for i := range waves {
		if waves[i].Name == "" {
			waves[i].Name = waveName(waves[i])
		}
	}
	return waves
}

// waveName is what a wave without a name is called: its size.
func waveName(w api.WaveSpec) string {
	switch {
	case w.Selector != "":
		return w.Selector
	case w.Percent > 0:
		return fmt.Sprintf("%d%%", w.Percent)
	case w.Count > 0:
		return fmt.Sprintf("up to %d", w.Count)
	}
	return "rest"
}

// grown expands waves of start, start × factor, start × factor² … nodes, each at
// least one larger than the last as long as nodes are left.
func grown(g api.GrowSpec, nodes int) []api.WaveSpec {
	start, factor := max(1, g.Start), g.Factor
	if factor == 0 {
		factor = 2
	}
	var waves []api.WaveSpec
	for size, done := float64(start), 0; done < nodes; size = math.Max(size*factor, size+1) {
		done = min(nodes, done+int(math.Min(size, float64(nodes))))
		waves = append(waves, api.WaveSpec{Count: done, Soak: g.Soak, Gates: g.Gates, MaxFailures: g.MaxFailures})
	}
	if len(waves) > 0 {
		waves[len(waves)-1].Count = 0 // all that are left
	}
	return waves
}
