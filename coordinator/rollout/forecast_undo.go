package rollout

import "github.com/lockkeeper/lockkeeper/coordinator/api"

// undoes reports whether nodes of a rollout are to be brought back in virtual time.
func (p *player) undoes(r *playedRollout) bool {
	return p.w.Undo && r.st.Head.Undo != "" && r.st.Head.State == api.RolloutHalted
}

// undo makes the rollouts that bring nodes back, by the engine's own code.
func (p *player) undo(r *playedRollout) {
	p.look(r)
	if !p.undoes(r) {
		return
	}
	d := Decide(r.st.Head.Spec, r.st, p.views(r), p.now)
	// What they had before is taken to be stored.
	c, err := undone(&r.st, &d, whole, p.now, func(string) (string, error) { return "the-one-before", nil })
	if err != nil {
		panic(err) // only nameOf returns errors
	}
	r.st.Head = c.Head
	r.st.Revision++
	r.events = append(r.events, c.Events...)
	for _, made := range c.Creates {
		next := &playedRollout{
			number: len(p.rolls), hosts: make([]int32, len(made.Nodes)), turns: make([]Turn, len(made.Nodes)),
			st: State{Head: made.Head, Nodes: made.Nodes, Results: map[string]Result{}, Revision: 1},
		}
		for i, n := range made.Nodes {
			h := p.addHost(n.Node, n.Group)
			next.hosts[i] = int32(h)
			p.hosts[h].rolls = append(p.hosts[h].rolls, hostRole{next, i})
		}
		p.rolls = append(p.rolls, next)
		p.lookSoon(next)
	}
}
