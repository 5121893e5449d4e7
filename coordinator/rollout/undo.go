package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

const (
	// undoAfter is how long after an engine has seen a halt it brings nodes back: a
	// node that was let begin just before is known to have begun by then.
	undoAfter = 5 * time.Second
	// maxUndone bounds the bundles to which nodes of one rollout are brought
	// back, each by a rollout of its own.
	maxUndone = 8
	// maxListed bounds the nodes that the specs of these rollouts name together, and
	// maxListedBytes their ids: a longer list is in the selection only, which is
	// written once. All are made in one transaction.
	maxListed      = 1000
	maxListedBytes = 32 << 10
)

// halt is one that an engine has seen. Another failure makes it another one: a
// rollout may have gone on and halted again between two looks.
type halt struct {
	since    time.Time
	failures int64
}

// back is the nodes of a halted rollout that had one bundle before.
type back struct {
	bundle string
	nodes  []Selected // failed ones first
}

// undoing finds what brings nodes of a halted rollout back to what they had: of
// the wave in which it halted, or of all. Nodes that nothing was done to stay as
// they are. left says of the others why they are not brought back.
func undoing(st *State, shown []api.RolloutNode) (list []back, left []string) {
	h := &st.Head
	c := newCourse(h.Spec, st)
	nodes := map[string][]Selected{}
	unknown := 0
	for _, failed := range []bool{true, false} {
		for i, n := range st.Nodes {
			r, begun := st.Results[n.Node]
			state := shown[i].State
			switch {
			case h.Undo == api.RollbackFailedWave && c.of(n) != c.at(h):
				continue
			case (state == api.NodeBroken) != failed:
				continue
			case !begun && state != api.NodeUpdating, state == api.NodeUpdated && r.Detail == hadAlready:
				continue
			}
			had := cmp.Or(r.Before, n.Before)
			if had == "" || had == h.Spec.Bundle {
				unknown++
				continue
			}
			nodes[had] = append(nodes[had], Selected{Node: n.Node, Group: n.Group, Before: h.Spec.Bundle})
		}
	}
	for bundle, n := range nodes {
		list = append(list, back{bundle, n})
	}
	slices.SortFunc(list, func(a, b back) int {
		return cmp.Or(cmp.Compare(len(b.nodes), len(a.nodes)), cmp.Compare(a.bundle, b.bundle))
	})
	if unknown > 0 {
		left = append(left, plural(unknown, "node")+" of which it is not known what they had before")
	}
	for ; len(list) > maxUndone; list = list[:len(list)-1] {
		b := list[len(list)-1]
		left = append(left, fmt.Sprintf("%s with bundle %s before: more than %d bundles", plural(len(b.nodes), "node"), label("", b.bundle), maxUndone))
	}
	return list, left
}

// undo makes the rollouts that bring back nodes of those that halted. They are
// made by the transaction that says so in the halted one, so that whoever comes
// next in office finds both or neither. It reports false when the term is over.
func (o *office) undo(ctx context.Context, p *picture) bool {
	now := o.e.cfg.Now().UTC()
	for _, id := range p.order {
		st, d := p.states[id], p.decisions[id]
		if !mustUndo(&st, &d) {
			delete(o.halted, id)
			continue
		}
		if o.halt(id, st.Head.Failures, now) < undoAfter {
			continue
		}
		change, err := o.bringBack(ctx, &st, &d, now)
		switch {
		case err == nil:
			o.e.log.Info("nodes of a halted rollout are brought back", "id", id, "by", change.Head.Rollbacks)
		case errors.Is(err, ErrNotElected):
			return false
		case !errors.Is(err, ErrChanged) && ctx.Err() == nil:
			o.failed(err, "bringing nodes of a halted rollout back failed, trying again", "id", id)
		}
	}
	return true
}

// bringBack makes the rollouts of an undo. What the store does not take at once is
// made smaller: first nothing is told of what the nodes have now, then those of the
// bundle that the fewest had are left as they are.
func (o *office) bringBack(ctx context.Context, st *State, d *Decisions, now time.Time) (Change, error) {
	nameOf := func(digest string) (string, error) { return o.e.bundleName(ctx, digest) }
	for _, size := range undoSizes() {
		change, err := undone(st, d, size, now, nameOf)
		if err != nil {
			return change, err
		}
		change.Term = o.term
		if err = o.e.cfg.Store.Write(ctx, change); !errors.Is(err, ErrTooMuch) {
			return change, err
		}
	}
	return Change{}, ErrTooMuch
}

// undoSize is how much is told of an undo, and how much undone.
type undoSize struct {
	slim    bool // without what the nodes have now, which they report themselves
	bundles int  // to which nodes are brought back
}

// whole is an undo of which nothing is left out.
var whole = undoSize{bundles: maxUndone}

// undoSizes are from the whole to nothing.
func undoSizes() []undoSize {
	list := []undoSize{whole}
	for n := maxUndone; n >= 0; n-- {
		list = append(list, undoSize{slim: true, bundles: n})
	}
	return list
}

// halt is for how long this engine has seen that nodes of a rollout are to be
// brought back, after so many failures.
func (o *office) halt(id string, failures int64, now time.Time) time.Duration {
	if noted, ok := o.halted[id]; !ok || noted.failures != failures {
		o.halted[id] = halt{now, failures}
	}
	return now.Sub(o.halted[id].since)
}

// mustUndo reports whether nodes of a rollout are to be brought back, and all
// that is known of them is written.
func mustUndo(st *State, d *Decisions) bool {
	return st.Head.Undo != "" && st.Head.State == api.RolloutHalted && st.Newer == "" && !d.Changed
}

// undone is the change of a halted rollout with which its nodes are brought back.
// nameOf is the name of a stored bundle.
func undone(st *State, d *Decisions, size undoSize, now time.Time, nameOf func(digest string) (string, error)) (Change, error) {
	list, left := undoing(st, d.Nodes)
	next := Decisions{Head: st.Head}
	h := &next.Head
	h.Undo = ""
	var made []Creation
	var told []string
	names := listing{maxListed, maxListedBytes}
	for i, b := range list {
		if i >= size.bundles {
			left = append(left, fmt.Sprintf("%s with bundle %s before: more than is written at once", plural(len(b.nodes), "node"), label("", b.bundle)))
			continue
		}
		if size.slim {
			for k := range b.nodes {
				b.nodes[k].Before = ""
			}
		}
		name, err := nameOf(b.bundle)
		var refused *api.Error
		switch {
		case errors.As(err, &refused) && refused.Kind == api.NotFound:
			left = append(left, fmt.Sprintf("%s with bundle %s before, which is not stored any more", plural(len(b.nodes), "node"), label("", b.bundle)))
			continue
		case err != nil:
			return Change{}, err
		}
		c := backBy(st, b, name, len(made)+1, &names, now)
		made = append(made, c)
		h.Rollbacks = append(slices.Clone(h.Rollbacks), c.Head.ID)
		told = append(told, fmt.Sprintf("%s to bundle %s by rollout %s", plural(len(b.nodes), "node"), label(name, b.bundle), c.Head.ID))
	}
	detail := "brings back " + listed(told)
	if len(told) == 0 {
		detail = "brings back no node"
	}
	if len(left) > 0 {
		detail += "; left as they are: " + listed(left)
	}
	h.Why += "; " + detail
	next.event(EventRollback, "", "", detail, now)
	return Change{Revision: st.Revision, Head: *h, Events: next.Events, Creates: made}, nil
}

// listing is how many nodes may still be named, and how many bytes of ids.
type listing struct{ nodes, bytes int }

// of names nodes if there is room for all of them.
func (l *listing) of(nodes []Selected) []string {
	bytes := 0
	for _, n := range nodes {
		bytes += len(n.Node)
	}
	if len(nodes) > l.nodes || bytes > l.bytes {
		return nil
	}
	l.nodes, l.bytes = l.nodes-len(nodes), l.bytes-bytes
	var ids []string
	for _, n := range nodes {
		ids = append(ids, n.Node)
	}
	return ids
}

// backBy is the rollout that brings nodes back to one bundle. It goes on
// whatever fails, and is never brought back itself.
func backBy(st *State, b back, name string, number int, names *listing, now time.Time) Creation {
	h := &st.Head
	spec := api.RolloutSpec{
		Name: "rollback of " + cmp.Or(h.Spec.Name, h.ID), Bundle: b.bundle, Reason: h.Why,
		MaxFailures: "100%", MinHealthyTime: h.Spec.MinHealthyTime, HealthyDeadline: h.Spec.HealthyDeadline,
		OnHalt: h.Spec.OnHalt, OnDone: h.Spec.OnDone, Nodes: names.of(b.nodes),
	}
	head := Head{
		ID: fmt.Sprintf("%s-undo-%d", h.ID, number), Spec: spec, BundleName: name,
		State: api.RolloutRunning, By: "auto_rollback of " + h.ID, CreatedAt: now, EventSeq: 1, RollbackOf: h.ID,
	}
	detail := fmt.Sprintf("%s back to bundle %s, because rollout %s halted: %s", plural(len(b.nodes), "node"), label(name, b.bundle), h.ID, h.Why)
	return Creation{Head: head, Nodes: b.nodes, Event: event(&head, EventCreated, "", "", detail, now).Changed(nil, standOf(&head))}
}
