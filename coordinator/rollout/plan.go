package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// planID is the id of a rollout that is only planned.
const planID = "plan"

// Plan previews what Create would do with the spec now: the same selection,
// waves and rules, played through from where the fleet is. It changes nothing.
// Errors are as of Create.
func (e *Engine) Plan(spec api.RolloutSpec) (api.Plan, error) {
	if err := Validate(spec); err != nil {
		return api.Plan{}, err
	}
	e.planning.Lock()
	defer e.planning.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	nodes, name, err := e.resolve(ctx, spec)
	if err != nil {
		return api.Plan{}, err
	}
	now := e.cfg.Now().UTC()
	c := Creation{Head: Head{ID: planID, Spec: spec, BundleName: name, CreatedAt: now, EventSeq: 1}, Nodes: nodes}
	view := e.cfg.Store.View()
	if refused := unreadable(view.Unread); refused != nil {
		return api.Plan{}, refused
	}
	all := view.Rollouts
	if refused := meet(&c, overlaps(all, nodes), now); refused != nil {
		return api.Plan{}, refused
	}
	if refused := tooLarge(e.cfg.Store.Fits(c), &c); refused != nil {
		return api.Plan{}, refused
	}
	ended := map[string]bool{}
	for _, s := range c.Supersedes {
		ended[s.Head.ID] = true
	}
	var active []State
	for _, id := range e.picture().order {
		if st := all[id]; st.Head.State.Active() && st.Newer == "" && !ended[id] {
			active = append(active, st)
		}
	}
	slices.Reverse(active)
	active = append(active, State{Head: c.Head, Nodes: nodes, Results: map[string]Result{}})
	w, paces := e.world(ctx, active)
	played := Forecast(w)

	last := len(active) - 1
	p := &planner{e: e, spec: &spec, st: &active[last], nodes: w.Nodes, paces: paces[last], played: &played.Rollouts[last], now: now}
	p.ended = sortedIDs(ended)
	return p.plan(label(name, spec.Bundle)), nil
}

func sortedIDs(ids map[string]bool) []string {
	var out []string
	for id := range ids {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// planner tells a forecast of a rollout that is not there yet.
type planner struct {
	e      *Engine
	spec   *api.RolloutSpec
	st     *State
	nodes  []api.Node // of the groups concerned
	paces  paces
	played *PlayedRollout
	now    time.Time
	ended  []string // rollouts that it would end
	views  []NodeView
	out    api.Plan
}

func (p *planner) plan(bundle string) api.Plan {
	p.views = newFleetView(p.nodes, p.e.cfg.Semaphores, nil, p.now).of(*p.st)
	p.out = api.Plan{
		Total: len(p.st.Nodes), Groups: []api.PlanGroup{}, Waves: []api.PlanWave{},
		Excluded: []api.PlanExcluded{}, Blockers: []api.Blocker{},
	}
	for _, g := range p.spec.Gates {
		p.out.Gates = append(p.out.Gates, gateText(g))
	}
	p.groups()
	p.waves()
	p.excluded()
	p.warn()
	if !p.played.State.Head.State.Active() && p.played.State.Head.State != api.RolloutAborted {
		p.out.Estimate = p.played.Ended.Round(time.Second)
		p.out.TakesS = int(p.out.Estimate.Sub(p.now).Round(time.Second) / time.Second)
	}
	p.out.EstimateBasis = p.e.basis(p.st, p.paces, p.nodes)
	p.later()
	p.out.Summary = p.summary(bundle)
	return p.out
}

func gateText(g api.GateSpec) string {
	if g.Name == "" {
		return condition.Of(g)
	}
	return g.Name + ": " + condition.Of(g)
}

// groups tells of each group, and what would stop the first of its nodes now.
func (p *planner) groups() {
	index := map[string]int{}
	first := map[string]string{}
	for _, v := range p.views {
		i, known := index[v.Group]
		if !known {
			i = len(p.out.Groups)
			index[v.Group] = i
			pace := p.paces[v.Group]
			p.out.Groups = append(p.out.Groups, api.PlanGroup{
				Group: v.Group, Blockers: []api.Blocker{}, NodeTakesS: max(1, int(pace.mean().Round(time.Second)/time.Second)), Basis: pace.basis,
			})
		}
		p.out.Groups[i].Nodes++
		if inPlace(&p.st.Head, &v) {
			p.out.Already++
		} else if first[v.Group] == "" {
			first[v.Group] = v.Node
		}
	}
	slices.SortFunc(p.out.Groups, func(a, b api.PlanGroup) int { return cmp.Compare(a.Group, b.Group) })
	for i := range p.out.Groups {
		g := &p.out.Groups[i]
		s, ok := p.e.cfg.Semaphores.Look(g.Group)
		if !ok {
			g.Blockers = append(g.Blockers, api.Blocker{Kind: api.UnknownGroup, Detail: "group " + g.Group + " does not exist"})
		} else {
			g.Slots = s.SlotCount()
			if node := first[g.Group]; node != "" {
				g.Blockers = append(g.Blockers, blockers(semaphore.Blockers(&s, node, p.now))...)
			}
		}
		for _, b := range g.Blockers {
			b.Detail = "group " + g.Group + ": " + b.Detail
			p.out.Blockers = append(p.out.Blockers, b)
		}
	}
	if b := shut(p.spec, p.now); b != nil {
		p.out.Blockers = append(p.out.Blockers, *b)
	}
}

// waves tells of each wave with its nodes in the order in which they are asked.
func (p *planner) waves() {
	specs := WaveSpecs(*p.spec, len(p.st.Nodes))
	dealt := make([][]Selected, len(specs))
	ended := p.played.State.Head.Waves
	for w, s := range specs {
		wave := api.PlanWave{Name: s.Name, Soak: s.Soak, MaxFailures: -1, Nodes: []api.PlanNode{}}
		for _, g := range s.Gates {
			wave.Gates = append(wave.Gates, gateText(g))
		}
		if w < len(ended) {
			wave.Starts, wave.Ends = ended[w].StartedAt.Round(time.Second), ended[w].DoneAt.Round(time.Second)
		}
		p.out.Waves = append(p.out.Waves, wave)
	}
	settles := Duration(p.spec.MinHealthyTime)
	for i, n := range p.st.Nodes {
		t := p.played.Turns[i]
		node := api.PlanNode{Node: n.Node, Group: p.views[i].Group, Already: inPlace(&p.st.Head, &p.views[i])}
		if !node.Already && !t.Began.IsZero() {
			node.Starts = t.Began.Round(time.Second)
		}
		if !node.Already && t.State == api.NodeUpdated && !t.Began.IsZero() {
			node.Estimate = t.Ended.Add(settles).Round(time.Second)
		}
		p.out.Waves[n.Wave].Nodes = append(p.out.Waves[n.Wave].Nodes, node)
		if !node.Already {
			dealt[n.Wave] = append(dealt[n.Wave], n)
		}
	}
	for w, s := range specs {
		wave := &p.out.Waves[w]
		if s.MaxFailures != "" {
			wave.MaxFailures = MayFail(s.MaxFailures, len(wave.Nodes))
		}
		wave.Concurrency = AtOnce(s.Name, dealt[w], p.e.cfg.Semaphores.Look)
		if p.out.Concurrency.Bound == "" || wave.Concurrency.Nodes > p.out.Concurrency.Nodes {
			p.out.Concurrency = wave.Concurrency
		}
	}
}

// maxExcluded bounds the nodes that are listed as left out.
const maxExcluded = 1000

// excluded lists the nodes that match and are left out.
func (p *planner) excluded() {
	want, _ := ParseSelector(p.spec.Selector)
	in := make(map[string]bool, len(p.st.Nodes))
	for _, n := range p.st.Nodes {
		in[n.Node] = true
	}
	left := 0
	for _, n := range p.e.cfg.Fleet.Nodes() {
		named := slices.Contains(p.spec.Nodes, n.ID)
		matching := len(p.spec.Nodes) == 0 && (p.spec.Group == "" || n.Group == p.spec.Group) && matches(n.Labels, want)
		if in[n.ID] || !named && !matching {
			continue
		}
		why := "does not say that it needs a reboot"
		if !hasAgent(n) {
			why = "has no agent: it comes through FleetLock, so nothing can be rolled out to it"
		}
		if left++; left <= maxExcluded {
			p.out.Excluded = append(p.out.Excluded, api.PlanExcluded{Node: n.ID, Reason: why})
		}
	}
	slices.SortFunc(p.out.Excluded, func(a, b api.PlanExcluded) int { return cmp.Compare(a.Node, b.Node) })
	if left > maxExcluded {
		p.out.Warnings = append(p.out.Warnings, fmt.Sprintf("%d more nodes match and are left out", left-maxExcluded))
	}
}

// warn says what a person should know before the start.
func (p *planner) warn() {
	warn := func(format string, args ...any) {
		p.out.Warnings = append(p.out.Warnings, fmt.Sprintf(format, args...))
	}
	if len(p.ended) > 0 {
		warn("it ends rollout %s", listed(p.ended))
	}
	if len(p.st.Head.After) > 0 {
		warn("it waits for the end of rollout %s", listed(p.st.Head.After))
	}
	if silent := notHeard(p.st, p.nodes); len(silent) > 0 {
		warn("%s not heard of: %s; their wave waits for them", isOrAre(len(silent)), listed(silent))
	}
	var troubled, hosts []string
	for _, v := range p.views {
		if v.Report.Trouble != "" {
			troubled = append(troubled, v.Node)
		}
		if v.Coordinator != "" {
			hosts = append(hosts, v.Node)
		}
	}
	if len(troubled) > 0 {
		warn("%s in trouble and would do nothing: %s; their wave waits for them", isOrAre(len(troubled)), listed(troubled))
	}
	if len(hosts) > 0 {
		warn("coordinators run on %s, which go last, one after another", listed(hosts))
	}
	view := newFleetView(p.nodes, p.e.cfg.Semaphores, p.e.lateHolds(), p.now)
	for _, g := range p.out.Groups {
		if keepers := view.group(g.Group).keepers; len(keepers) > 0 {
			warn("group %s: %d of %s kept by nodes that failed or are overdue: %s", g.Group, len(keepers), plural(g.Slots, "slot"), listed(keepers))
		}
	}
	for _, f := range p.unfit() {
		warn("%s", f.Detail)
	}
}

func (e *Engine) lateHolds() map[holdKey]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.overdue
}

// later lists what would stop it on its way, beside what does now.
func (p *planner) later() {
	until := p.out.Estimate
	if until.IsZero() {
		until = p.now.Add(7 * 24 * time.Hour)
	}
	for _, g := range p.out.Groups {
		s, ok := p.e.cfg.Semaphores.Look(g.Group)
		if !ok {
			continue
		}
		for _, b := range s.Spec.Blackouts {
			if b.Start.After(p.now) && b.Start.Before(until) {
				p.out.Blockers = append(p.out.Blockers, api.Blocker{
					Kind: api.Blackout, Until: b.End,
					Detail: fmt.Sprintf("group %s: blackout %q from %s to %s falls into it", g.Group, b.Name, stamp(b.Start), stamp(b.End)),
				})
			}
		}
	}
	if p.out.Estimate.IsZero() && p.out.Already < p.out.Total {
		if s := p.played.State.Head.Stalled; s != nil {
			for _, b := range s.Blockers {
				if !slices.ContainsFunc(p.out.Blockers, func(o api.Blocker) bool { return o.Kind == b.Kind }) {
					p.out.Blockers = append(p.out.Blockers, b)
				}
			}
		}
	}
}

func (p *planner) summary(bundle string) string {
	out := &p.out
	text := fmt.Sprintf("%s to bundle %s", plural(out.Total, "node"), bundle)
	if len(out.Waves) > 1 {
		text += " in " + plural(len(out.Waves), "wave")
	}
	text += fmt.Sprintf(", at most %d at once", out.Concurrency.Nodes)
	if out.Already > 0 {
		text += fmt.Sprintf("; %d already there", out.Already)
	}
	if out.Already == out.Total {
		return text + "; nothing to do"
	}
	if !out.Estimate.IsZero() {
		text += "; done in about " + short(time.Duration(out.TakesS)*time.Second)
	}
	blocked := 0
	for _, g := range out.Groups {
		if len(g.Blockers) > 0 {
			blocked++
		}
	}
	switch {
	case p.st.Head.State == api.RolloutScheduled:
		text += "; it " + strings.TrimPrefix(p.st.Head.Why, "it ")
	case shut(p.spec, p.now) != nil, blocked == len(out.Groups):
		text += "; none may go now"
	case len(p.spec.Gates) > 0:
		text += "; the first may go when its gates have passed"
	case blocked == 0:
		text += "; the first may go now"
	default:
		text += fmt.Sprintf("; nothing may go now in %d of %d groups", blocked, len(out.Groups))
	}
	return text
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
