package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// EventSuperseded is the kind of event that tells that a newer rollout ended one.
const EventSuperseded = "rollout.superseded"

// overlap is an active rollout that has some of the nodes of another.
type overlap struct {
	st    State
	nodes []string // which, in the order of the other's
}

// overlaps are the active rollouts that have one of the nodes, oldest first.
func overlaps(all map[string]State, nodes []Selected, except ...string) []overlap {
	var out []overlap
	for id, st := range all {
		if !st.Head.State.Active() || slices.Contains(except, id) {
			continue
		}
		theirs := make(map[string]bool, len(st.Nodes))
		for _, n := range st.Nodes {
			theirs[n.Node] = true
		}
		o := overlap{st: st}
		for _, n := range nodes {
			if theirs[n.Node] {
				o.nodes = append(o.nodes, n.Node)
			}
		}
		if len(o.nodes) > 0 {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b overlap) int {
		return cmp.Or(a.st.Head.CreatedAt.Compare(b.st.Head.CreatedAt), cmp.Compare(a.st.Head.ID, b.st.Head.ID))
	})
	return out
}

// conflicting refuses nodes that belong to other active rollouts, and names them.
func conflicting(all map[string]State, nodes []Selected, except ...string) *api.Error {
	return conflict(overlaps(all, nodes, except...))
}

func conflict(list []overlap) *api.Error {
	if len(list) == 0 {
		return nil
	}
	var texts []string
	for _, o := range list {
		texts = append(texts, fmt.Sprintf("%s to rollout %s, which is %s", belong(o.nodes), o.st.Head.ID, o.st.Head.State))
	}
	return api.Errorf(api.Conflict,
		"%s: abort that one or wait for its end; or say conflict: queue to begin when it has ended, or conflict: supersede to end it",
		strings.Join(texts, "; "))
}

func belong(nodes []string) string {
	if len(nodes) == 1 {
		return fmt.Sprintf("node %q belongs", nodes[0])
	}
	return fmt.Sprintf("%d nodes (%s) belong", len(nodes), listed(nodes))
}

// unreadable refuses what would rest on a value that this program cannot read:
// whose the nodes are, for a start.
func unreadable(key string) *api.Error {
	if key == "" {
		return nil
	}
	return &api.Error{
		Kind: api.NewerSchema, RetryAfter: unreadFor,
		Detail: key + " was written by a newer version, or is damaged: update this coordinator, or ask one that is",
	}
}

// unreadFor is how long to wait before asking again.
const unreadFor = 10 * time.Second

// maxOverlaps bounds how many rollouts a new one ends, which is done in the
// transaction that creates it.
const maxOverlaps = 20

// meet says what a new rollout does about the active ones that have some of its
// nodes: it is refused, waits for their end, or ends them.
func meet(c *Creation, list []overlap, now time.Time) *api.Error {
	c.Head.After, c.Supersedes = nil, nil
	switch c.Head.Spec.Conflict {
	case api.ConflictQueue:
		for _, o := range list {
			c.Head.After = append(c.Head.After, o.st.Head.ID)
		}
	case api.ConflictSupersede:
		if len(list) > maxOverlaps {
			return api.Errorf(api.Conflict, "it would end %d rollouts: at most %d at once", len(list), maxOverlaps)
		}
		for _, o := range list {
			c.Supersedes = append(c.Supersedes, superseded(o.st, &c.Head, now))
		}
	default:
		if refused := conflict(list); refused != nil {
			return refused
		}
	}
	c.Head.State, c.Head.Why = api.RolloutRunning, ""
	switch {
	case len(c.Head.After) > 0:
		c.Head.State, c.Head.Why = api.RolloutScheduled, "waits for the end of rollout "+listed(c.Head.After)
	case c.Head.Spec.Start.After(now):
		c.Head.State, c.Head.Why = api.RolloutScheduled, "starts at "+c.Head.Spec.Start.UTC().Format(time.RFC3339)
	}
	c.Event = c.Event.Changed(nil, standOf(&c.Head))
	return nil
}

// superseded ends a rollout in favour of a newer one. Its nodes under way
// finish what they began, and are wanted by the newer one then.
func superseded(st State, newer *Head, now time.Time) Change {
	d := Decisions{Head: st.Head}
	d.Head.SupersededBy = newer.ID
	d.Head.become(api.RolloutAborted, fmt.Sprintf("superseded by rollout %s of %s", newer.ID, newer.By), now)
	d.Head.EndedAt, d.Head.Stalled = now, nil
	d.event(EventSuperseded, newer.By, "", d.Head.Why, now)
	d.told(standOf(&st.Head), standOf(&d.Head))
	return Change{Revision: st.Revision, Head: d.Head, Events: d.Events}
}
