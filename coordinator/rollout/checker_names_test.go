package rollout

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Nodes of the same wave are alike: a world in which two of them change names is
// the same one. The checker keeps one of those that differ in names only, so that
// a trace may go on with the other name. That nothing goes by names is held
// against the decisions (same).

// renaming gives each node another one's name, and keeps what is known by it.
type renaming struct {
	to             [mNodes]int // index of the node whose name it gets
	states, writes map[int32]int32
}

// renamings are all but the one that changes nothing.
func renamings(c *mConfig) (out []*renaming) {
	lists := [][mNodes]int{{0, 2, 1}}
	switch {
	case c.small:
		lists = [][mNodes]int{{1, 0, 2}}
	case c.flat:
		lists = [][mNodes]int{{0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	}
	for _, to := range lists {
		out = append(out, &renaming{to, map[int32]int32{0: 0}, map[int32]int32{0: 0}})
	}
	return out
}

// first is the one to keep of the worlds that differ in names only.
func (m *model) first(w mWorld) mWorld {
	first := w
	for _, r := range m.renamings {
		if o := m.renamed(r, w); order(&o, &first) < 0 {
			first = o
		}
	}
	return first
}

func (m *model) renamed(r *renaming, w mWorld) mWorld {
	o := w
	for i, n := range w.nodes {
		o.nodes[r.to[i]] = n
	}
	for _, number := range []*int32{&o.main, &o.undo, &o.seenMain, &o.seenUndo} {
		*number = m.renamedState(r, *number)
	}
	for i := range o.engines {
		o.engines[i].write = m.renamedWrite(r, o.engines[i].write)
	}
	return o
}

func order(a, b *mWorld) int {
	c := cmp.Or(cmp.Compare(a.main, b.main), cmp.Compare(a.undo, b.undo), cmp.Compare(a.seenMain, b.seenMain), cmp.Compare(a.seenUndo, b.seenUndo),
		cmp.Compare(a.engines[0].write, b.engines[0].write), cmp.Compare(a.engines[1].write, b.engines[1].write))
	for i := 0; c == 0 && i < mNodes; i++ {
		c = cmp.Compare(a.nodes[i].number(), b.nodes[i].number())
	}
	return c
}

// number tells one node from all others.
func (n *mNode) number() (out uint64) {
	for _, part := range []uint8{uint8(n.phase), n.attempt, n.ended[0], n.ended[1], n.applied[0], n.applied[1], n.failed, n.failures} {
		out = out<<7 + uint64(part)
	}
	for _, part := range []bool{n.undo, n.isNew, n.everNew} {
		out = out<<1 + uint64(btoi(part))
	}
	return out
}

var names = regexp.MustCompile(`\bn[1-3]\b`)

func rename[T any](r *renaming, v T) (out T) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	b = names.ReplaceAllFunc(b, func(text []byte) []byte { return []byte(name(r.to[text[1]-'1'])) })
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	return out
}

func (r *renaming) nodes(list []Selected) []Selected {
	list = slices.Clone(list)
	for i := range list {
		list[i].Node = name(r.to[list[i].Node[1]-'1'])
	}
	return list
}

func (m *model) renamedState(r *renaming, number int32) int32 {
	known, ok := r.states[number]
	if !ok {
		st := m.states[number]
		st.Head, st.Results, st.Nodes = rename(r, st.Head), rename(r, st.Results), r.nodes(st.Nodes)
		known = m.keep(st)
		r.states[number] = known
	}
	return known
}

func (m *model) renamedWrite(r *renaming, number int32) int32 {
	known, ok := r.writes[number]
	if !ok {
		w := m.writes[number]
		c := Change{Head: rename(r, w.change.Head), Results: rename(r, w.change.Results), Events: rename(r, w.change.Events)}
		for _, made := range w.change.Creates {
			c.Creates = append(c.Creates, Creation{Head: rename(r, made.Head), Nodes: r.nodes(made.Nodes), Event: made.Event})
		}
		known = m.pend(&State{}, mWrite{w.undo, c})
		r.writes[number] = known
	}
	return known
}

// unnamed panics if a decision goes by the names of nodes. By names are numbered
// only failures that are found at once, and what is acknowledged or retried of
// them is either none or all.
func (m *model) unnamed(st *State, write int32, undo bool, fleet []NodeView) {
	failed := 0
	for _, r := range m.writes[write].change.Results {
		failed += btoi(r.State == api.NodeBroken)
	}
	if failed > 1 {
		return
	}
	for _, r := range m.renamings {
		o := m.states[m.renamedState(r, m.keep(*st))]
		views := make([]NodeView, 0, len(fleet))
		for _, v := range fleet {
			v.Node = name(r.to[v.Node[1]-'1'])
			views = append(views, v)
		}
		slices.SortFunc(views, func(a, b NodeView) int { return strings.Compare(a.Node, b.Node) })
		d := Decide(o.Head.Spec, o, views, noon)
		if got := m.pend(&o, mWrite{undo, Change{Head: d.Head, Results: d.Results, Events: d.Events}}); got != m.renamedWrite(r, write) {
			panic(fmt.Sprintf("a decision goes by names:\n%+v\n%+v", m.writes[m.renamedWrite(r, write)].change, m.writes[got].change))
		}
	}
}
