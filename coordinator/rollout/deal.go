package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Deal puts a valid spec's nodes into its waves, in the order in which they go.
// hosts says on which nodes a coordinator runs: those are in the last wave,
// whatever selects them. It refuses waves that leave a node out, that select a
// node twice, or whose selector matches none.
func Deal(spec api.RolloutSpec, nodes []api.Node, hosts func(api.Node) bool) ([]Selected, *api.Error) {
	specs := WaveSpecs(spec, len(nodes))
	wave, refused := bySelector(specs, nodes)
	if refused != nil {
		return nil, refused
	}
	last := len(specs) - 1
	var rest []int // nodes that no selector names, in order
	for _, i := range ordered(spec.Order, nodes) {
		switch {
		case hosts(nodes[i]):
			wave[i] = last
		case wave[i] < 0:
			rest = append(rest, i)
		}
	}
	dealt := 0
	for w, s := range specs {
		placed := 0 // in this wave and those before
		for _, at := range wave {
			if at >= 0 && at <= w {
				placed++
			}
		}
		upTo := len(nodes)
		switch {
		case s.Selector != "":
			continue
		case s.Count > 0:
			upTo = s.Count
		case s.Percent > 0:
			upTo = (len(nodes)*s.Percent + 99) / 100
		}
		for ; dealt < len(rest) && placed < upTo; dealt++ {
			wave[rest[dealt]] = w
			placed++
		}
	}
	if left := rest[dealt:]; len(left) > 0 {
		return nil, invalid([]api.FieldError{{Path: "waves", Detail: fmt.Sprintf(
			"%s of the selection are in no wave, such as %s: let the last wave have neither count, percent nor selector, so that it takes all that are left",
			plural(len(left), "node"), nodes[left[0]].ID)}})
	}
	out := make([]Selected, 0, len(nodes))
	for _, i := range ordered(spec.Order, nodes) {
		out = append(out, Selected{Node: nodes[i].ID, Group: nodes[i].Group, Wave: wave[i], Before: nodes[i].Report.Bundle})
	}
	slices.SortStableFunc(out, func(a, b Selected) int { return cmp.Compare(a.Wave, b.Wave) })
	return out, nil
}

// bySelector finds the wave whose selector names each node, -1 for none.
func bySelector(specs []api.WaveSpec, nodes []api.Node) ([]int, *api.Error) {
	wave := make([]int, len(nodes))
	for i := range wave {
		wave[i] = -1
	}
	for w, s := range specs {
		if s.Selector == "" {
			continue
		}
		path := fmt.Sprintf("waves[%d].selector", w)
		want, err := ParseSelector(s.Selector)
		if err != nil {
			return nil, invalid([]api.FieldError{{Path: path, Detail: err.Error()}})
		}
		found := false
		for i, n := range nodes {
			if !matches(n.Labels, want) {
				continue
			}
			if wave[i] >= 0 {
				return nil, invalid([]api.FieldError{{Path: path, Detail: fmt.Sprintf(
					"node %s is in waves[%d] already (%s): a node is in one wave only", n.ID, wave[i], specs[wave[i]].Selector)}})
			}
			wave[i], found = w, true
		}
		if !found {
			return nil, invalid([]api.FieldError{{Path: path, Detail: fmt.Sprintf("%q matches none of the %s", s.Selector, plural(len(nodes), "selected node"))}})
		}
	}
	return wave, nil
}

// ordered is the indexes of the nodes in the order in which they go: as the
// spec says, then by group and id.
func ordered(o *api.OrderSpec, nodes []api.Node) []int {
	order := make([]int, len(nodes))
	for i := range order {
		order[i] = i
	}
	if o == nil {
		o = &api.OrderSpec{}
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := &nodes[a], &nodes[b]
		by := 0
		if o.ByLabel != "" {
			by = natural(x.Labels[o.ByLabel], y.Labels[o.ByLabel])
		}
		if by == 0 && o.OldestUptime {
			by = older(x.Report.BootedAt, y.Report.BootedAt)
		}
		return cmp.Or(by, cmp.Compare(x.Group, y.Group), cmp.Compare(x.ID, y.ID))
	})
	if o.Spread != "" {
		order = spread(order, nodes, o.Spread)
	}
	return order
}

// natural compares texts, and numbers by their value: rack 9 is before rack 10.
func natural(a, b string) int {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if errX == nil && errY == nil && x != y {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(a, b)
}

// older puts the earlier boot first, and one that is not known last.
func older(a, b time.Time) int {
	switch {
	case a.IsZero() || b.IsZero():
		return cmp.Compare(btoi(a.IsZero()), btoi(b.IsZero()))
	default:
		return a.Compare(b)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// spread takes in turn one node of each value of a label, each value's nodes in
// the order given.
func spread(order []int, nodes []api.Node, label string) []int {
	var values []string
	by := map[string][]int{}
	for _, i := range order {
		value := nodes[i].Labels[label]
		if _, known := by[value]; !known {
			values = append(values, value)
		}
		by[value] = append(by[value], i)
	}
	slices.SortFunc(values, natural)
	out := make([]int, 0, len(order))
	for len(out) < len(order) {
		for _, value := range values {
			if list := by[value]; len(list) > 0 {
				out, by[value] = append(out, list[0]), list[1:]
			}
		}
	}
	return out
}
