package rollout

import (
	"context"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Plan previews what Create would do with the spec now. Errors are as of
// Create.
func (e *Engine) Plan(spec api.RolloutSpec) (api.Plan, error) {
	if err := Validate(spec); err != nil {
		return api.Plan{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	nodes, name, err := e.resolve(ctx, spec)
	if err != nil {
		return api.Plan{}, err
	}
	if conflict := conflicting(e.cfg.Store.View().Rollouts, nodes); conflict != nil {
		return api.Plan{}, conflict
	}
	now := e.cfg.Now()
	st := State{Head: Head{ID: "plan", Spec: spec, State: api.RolloutRunning}, Nodes: nodes}
	views := newFleetView(e.cfg.Fleet.Nodes(), e.cfg.Semaphores, nil, now).of(st)
	plan := api.Plan{Total: len(nodes), Groups: []api.PlanGroup{}}
	first := map[string]string{} // the first node of a group that is still to do
	for _, v := range views {
		if n := len(plan.Groups); n == 0 || plan.Groups[n-1].Group != v.Group {
			plan.Groups = append(plan.Groups, api.PlanGroup{Group: v.Group, Blockers: []api.Blocker{}})
		}
		plan.Groups[len(plan.Groups)-1].Nodes++
		if inPlace(&st.Head, v) {
			plan.Already++
		} else if first[v.Group] == "" {
			first[v.Group] = v.Node
		}
	}
	atOnce := 0
	for i := range plan.Groups {
		g := &plan.Groups[i]
		s, ok := e.cfg.Semaphores.View(g.Group)
		if !ok {
			g.Blockers = append(g.Blockers, api.Blocker{Kind: api.UnknownGroup, Detail: "group " + g.Group + " does not exist"})
			continue
		}
		g.Slots = s.SlotCount()
		atOnce += min(g.Slots, g.Nodes)
		if node := first[g.Group]; node != "" {
			g.Blockers = append(g.Blockers, blockers(semaphore.Blockers(&s, node, now))...)
		}
	}
	plan.Summary = planSummary(plan, label(name, spec.Bundle), atOnce)
	return plan, nil
}

func planSummary(p api.Plan, bundle string, atOnce int) string {
	text := fmt.Sprintf("%s to bundle %s, at most %d at once", plural(p.Total, "node"), bundle, atOnce)
	if p.Already > 0 {
		text += fmt.Sprintf("; %d already there", p.Already)
	}
	blocked := 0
	for _, g := range p.Groups {
		if len(g.Blockers) > 0 {
			blocked++
		}
	}
	switch {
	case p.Already == p.Total:
		return text + "; nothing to do"
	case blocked == 0:
		return text + "; the first may go now"
	case blocked == len(p.Groups):
		return text + "; none may go now"
	}
	return text + fmt.Sprintf("; nothing may go now in %d of %d groups", blocked, len(p.Groups))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
