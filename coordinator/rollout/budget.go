package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// MayFail is how many of so many nodes a budget lets fail. A percentage is
// rounded down: of 30 nodes, 5% are 1. An empty budget is 0.
func MayFail(budget api.Slots, nodes int) int {
	b, err := semaphore.ParseSlots(string(budget))
	switch {
	case err != nil: // a valid spec has none but the empty one
		return 0
	case b.Percent:
		return nodes * b.N / 100
	}
	return b.N
}

func validBudget(budget api.Slots) error {
	if budget == "" {
		return nil
	}
	if _, err := semaphore.ParseSlots(string(budget)); err != nil {
		return fmt.Errorf("%q: want how many nodes may fail, as a number (3) or as a percentage from 0%% to 100%%", budget)
	}
	return nil
}

// budget halts the rollout when more nodes failed than may, in it or in one
// wave, and reports whether that is so.
func (d *Decisions) budget(c *course, spec api.RolloutSpec, st State, now time.Time) bool {
	counted, _, last := failures(&d.Head, st, d.Results)
	may := MayFail(spec.MaxFailures, len(st.Nodes))
	where := ""
	over := counted > may
	if !over {
		over, where, counted, may, last = d.waveBudget(c, st)
	}
	if over && d.Head.State != api.RolloutHalted {
		d.halt(spec, now, "node %s failed: %s (%d failed%s, at most %d may)", last.Node, last.Detail, counted, where, may)
	}
	return over
}

// waveBudget finds a wave in which more nodes failed than may in it.
func (d *Decisions) waveBudget(c *course, st State) (over bool, where string, counted, may int, last Result) {
	if !slices.ContainsFunc(c.specs, func(s api.WaveSpec) bool { return s.MaxFailures != "" }) {
		return false, "", 0, 0, Result{}
	}
	nodes, found := make([][]Selected, len(c.specs)), make([][]Result, len(c.specs))
	wave := make(map[string]int, len(st.Nodes))
	for _, n := range st.Nodes {
		w := c.of(n)
		nodes[w], wave[n.Node] = append(nodes[w], n), w
	}
	for _, r := range d.Results {
		w := wave[r.Node]
		found[w] = append(found[w], r)
	}
	for w, s := range c.specs {
		if s.MaxFailures == "" {
			continue
		}
		counted, _, last = failures(&d.Head, State{Nodes: nodes[w], Results: st.Results}, found[w])
		if may = MayFail(s.MaxFailures, len(nodes[w])); counted > may {
			return true, " in " + c.name(w), counted, may, last
		}
	}
	return false, "", 0, 0, Result{}
}

// failures counts the failed nodes that count against the budget, and all
// failed ones, and finds the last, with results not yet written in their place.
func failures(h *Head, st State, found []Result) (counted, total int, last Result) {
	fresh := make(map[string]bool, len(found))
	count := func(r Result) {
		if r.State != api.NodeBroken || r.Failure <= h.Retried {
			return
		}
		total++
		if r.Failure > h.Acknowledged {
			counted++
		}
		if r.Failure > last.Failure {
			last = r
		}
	}
	for _, r := range found {
		fresh[r.Node] = true
		count(r)
	}
	for _, n := range st.Nodes {
		if r, ok := st.Results[n.Node]; ok && !fresh[n.Node] {
			count(r)
		}
	}
	return counted, total, last
}
