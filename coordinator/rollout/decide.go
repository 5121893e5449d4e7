package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// maxResults bounds the results of one transaction: each may come with an event
// and with what its node has settled at, and the head, the election's key, the
// events of maxSteps and a notice need room beside them. maxSteps bounds the waves
// that begin or end in one.
const (
	maxResults = MaxChanges/3 - 7
	maxSteps   = 5
)

// Kinds of events.
const (
	EventCreated     = "rollout.created"
	EventPaused      = "rollout.paused"
	EventResumed     = "rollout.resumed"
	EventRetried     = "rollout.retried"
	EventHalted      = "rollout.halted"
	EventAborted     = "rollout.aborted"
	EventSucceeded   = "rollout.succeeded"
	EventFailed      = "rollout.failed"
	EventNodeUpdated = "rollout.node.updated"
	EventNodeFailed  = "rollout.node.failed"
	EventScheduled   = "rollout.scheduled"
	EventWaveStarted = "rollout.wave.started"
	EventWaveSoaks   = "rollout.wave.finished"
	EventWaveDone    = "rollout.wave.done"
	EventWaveSkipped = "rollout.wave.skipped"
	EventApproved    = "rollout.approved"
	EventRollback    = "rollout.rollback"
	EventJoined      = "rollout.node.joined"
	EventStalled     = "rollout.stalled"
)

// Decisions is what follows from a rollout's state and its nodes' reports.
type Decisions struct {
	// Nodes and Progress are how it stands, in the order of State.Nodes.
	Nodes    []api.RolloutNode
	Progress api.RolloutProgress
	// Waves is how each wave stands, and Gates the gates at which it stands.
	Waves []api.RolloutWave
	Gates []api.RolloutGate
	// Head, Results and Events are to be written in one transaction, if Changed.
	Changed bool
	Head    Head
	Results []Result
	Events  []semaphore.Event
	// More: there is more to write than one transaction takes; decide again.
	More bool
	// Reasons says why the state changed, or why nothing may start.
	Reasons []string
}

// Decide finds what a rollout's nodes have come to and what that means for the
// rollout. It changes none of its arguments, and decided again on the state
// that its outcome makes it finds nothing to do.
func Decide(spec api.RolloutSpec, st State, fleet []NodeView, now time.Time) Decisions {
	d := Decisions{Head: st.Head, Nodes: make([]api.RolloutNode, 0, len(st.Nodes))}
	h := st.Head
	h.Spec = spec
	c := newCourse(spec, &st)
	views := newNodeViews(fleet)
	active := h.State.Active() && st.Newer == ""

	var found []Result
	var todo []*NodeView
	for i, n := range st.Nodes {
		r, begun := st.Results[n.Node]
		v := views.of(i, n)
		w := c.of(n)
		s := observe(&h, r, begun, v)
		if !h.State.Active() {
			s = ended(&h, r, begun)
		}
		out := c.waves[w].leftOut(&h, r, begun, s.state)
		shown := s.state
		switch {
		case out:
			shown, s.since = api.NodeSkipped, c.waves[w].SkippedAt
			s.detail = c.waves[w].leftOutWhy(c.specs[w].Name)
		case s.detail != "" || s.state != api.NodePending:
		case h.State == api.RolloutHalted && len(h.Rollbacks) > 0:
			s.detail = "is not asked any more: what the rollout did is undone by " + listed(h.Rollbacks)
		case w > c.at(&h):
			s.detail = c.goes[w]
		}
		d.Nodes = append(d.Nodes, api.RolloutNode{
			Node: n.Node, Group: n.Group, Wave: w + 1, State: shown, Phase: v.Report.Phase,
			Attempt: s.attempt, Detail: s.detail, Since: s.since,
		})
		count(&d.Progress, shown)
		switch next, ok := result(&h, n, r, begun, s, v, now); {
		case !ok || !active:
		case !c.begun(&h):
			// Until its first wave begins, a node is somebody else's, who may change it.
			c.early = true
		default:
			found = append(found, next)
			r = next
		}
		if c.count(&h, n, s, r, out) {
			todo = append(todo, v)
		}
	}
	if active {
		d.Head.Waves = c.waves
		d.record(found, st.Results, now)
		d.conclude(c, spec, st, todo, now)
		d.stall(&spec, todo, now)
	}
	d.show(c, &st, now)
	return d
}

// ended is where a node of an ended rollout stands: its result, and nothing
// that came later.
func ended(h *Head, r Result, begun bool) standing {
	if begun && r.done(h) {
		return standing{state: r.State, attempt: max(1, r.Attempt), detail: r.Detail, since: r.At}
	}
	s := standing{state: api.NodeAborted, attempt: max(1, r.Attempt), since: h.EndedAt}
	switch {
	case !begun:
		s.detail = "had not begun"
	case r.State == api.NodeUpdating:
		s.detail = "was under way, and finishes by itself,"
	default:
		s.detail = "was to be tried again"
	}
	s.detail += " when the rollout ended: " + h.Why
	return s
}

// result is what to keep of a standing, if it is news.
func result(h *Head, n Selected, r Result, begun bool, s standing, v *NodeView, now time.Time) (Result, bool) {
	next := r
	next.Node, next.Attempt, next.At = n.Node, s.attempt, now
	next.State, next.Detail = s.state, s.detail
	if next.Before == "" {
		next.Before = before(h, n, v)
	}
	switch {
	case s.failure != nil:
		if r.State != api.NodeBroken {
			next.Failure = 0 // a new one, also of a node that a person had tried again
		}
		next.FailedAt, next.Fence = s.failure.at, s.failure.fence
		return next, true
	case s.again != nil && (!s.again.at.Equal(r.FailedAt) || s.again.fence != r.Fence):
		next.FailedAt, next.Fence, next.At = s.again.at, s.again.fence, r.At
		return next, true
	case s.there:
		next.Detail = ""
		if !begun && (v.Report.Rollout != h.ID || n.Before == h.Spec.Bundle) {
			next.Detail = hadAlready
		}
		return next, true
	case s.state == api.NodeUpdating && !s.settling && (!begun || r.State != api.NodeUpdating || r.Attempt != s.attempt):
		next.Began, next.Detail = now, ""
		return next, true
	}
	return r, false
}

// hadAlready is the detail of a node that nothing was done to.
const hadAlready = "had the bundle already"

// before is the bundle that a node had before this rollout: what it reports
// while it begins or, if that is the new one by then, what it had when it was
// selected. Empty when it is not known.
func before(h *Head, n Selected, v *NodeView) string {
	for _, b := range []string{v.Report.Bundle, n.Before} {
		if b != "" && b != h.Spec.Bundle {
			return b
		}
	}
	return ""
}

// record numbers the failures and writes the events, failures first, as many
// as fit into one transaction. was are the results so far.
func (d *Decisions) record(found []Result, was map[string]Result, now time.Time) {
	slices.SortStableFunc(found, func(a, b Result) int {
		return cmp.Compare(weight(a.State), weight(b.State))
	})
	if len(found) > maxResults {
		found, d.More = found[:maxResults], true
	}
	for i := range found {
		r := &found[i]
		switch r.State {
		case api.NodeBroken:
			if r.Failure > d.Head.Retried {
				break // it counts already; only the memory of it is newer
			}
			d.Head.Failures++
			r.Failure = d.Head.Failures
			d.event(EventNodeFailed, "", r.Node, r.Detail, now)
			d.told(nodeStandOf(was[r.Node]), nodeStandOf(*r))
		case api.NodeUpdated:
			d.event(EventNodeUpdated, "", r.Node, r.Detail, now)
			d.told(nodeStandOf(was[r.Node]), nodeStandOf(*r))
		}
	}
	d.Results = found
	d.Changed = d.Changed || len(found) > 0
}

func weight(state string) int {
	switch state {
	case api.NodeBroken:
		return 0
	case api.NodeUpdated:
		return 1
	}
	return 2
}

// conclude halts the rollout where it must not go on, and else brings it on.
func (d *Decisions) conclude(c *course, spec api.RolloutSpec, st State, todo []*NodeView, now time.Time) {
	counted, total, last := failures(&d.Head, st, d.Results)
	over := d.budget(c, spec, st, now)
	quiet := Duration(spec.ProgressDeadline)
	switch {
	case d.Head.State == api.RolloutRunning && counted > 0 && allKept(todo):
		d.halt(spec, now, "every slot is kept by failed nodes, so nothing can start; the last was %s: %s", last.Node, last.Detail)
	case d.More || over:
		return
	case d.Head.State == api.RolloutRunning && quiet > 0 && len(d.Results) == 0 &&
		st.Observed.IdleSeq == st.Head.EventSeq && st.Observed.Idle >= quiet:
		d.halt(spec, now, "nothing has moved for %s although nodes may start (progress_deadline)", quiet)
	}
	d.advance(c, spec, st, total, last, now)
}

// end concludes a rollout of which nothing is left to do.
func (d *Decisions) end(c *course, total int, last Result, now time.Time) {
	left := 0
	for _, t := range c.tally {
		left += t.out
	}
	nodes, out := plural(d.Progress.Total-left, "node"), ""
	if left > 0 {
		out = fmt.Sprintf(", %d left out", left)
	}
	if total == 0 {
		d.enter(api.RolloutSucceeded, EventSucceeded, now, "%s updated%s", nodes, out)
		return
	}
	d.enter(api.RolloutFailed, EventFailed, now, "%d of %s failed%s, the last was %s: %s", total, nodes, out, last.Node, last.Detail)
}

// halt stops the rollout by itself. What auto_rollback asks for is to be done
// from here on, by whoever is elected.
func (d *Decisions) halt(spec api.RolloutSpec, now time.Time, format string, args ...any) {
	if scope := spec.AutoRollback; scope != "" && scope != api.RollbackNone && len(d.Head.Rollbacks) == 0 {
		d.Head.Undo = scope
	}
	d.enter(api.RolloutHalted, EventHalted, now, format, args...)
}

// enter changes the rollout's state and says why.
func (d *Decisions) enter(to api.RolloutState, kind string, now time.Time, format string, args ...any) {
	before := standOf(&d.Head)
	d.Head.become(to, fmt.Sprintf(format, args...), now)
	if !to.Active() {
		d.Head.EndedAt, d.Head.Stalled = now, nil
	}
	d.event(kind, "", "", d.Head.Why, now)
	d.told(before, standOf(&d.Head))
	d.Reasons = append(d.Reasons, d.Head.Why)
	d.Changed = true
}

func (d *Decisions) event(kind, actor, node, detail string, now time.Time) {
	d.Head.nextEvent()
	d.Events = append(d.Events, event(&d.Head, kind, actor, node, detail, now))
}

func event(h *Head, kind, actor, node, detail string, now time.Time) semaphore.Event {
	return semaphore.Event{
		V: semaphore.BaseSchema, Scope: "rollout/" + h.ID, Seq: h.EventSeq, At: now, Kind: kind,
		Actor: actor, Node: node, Rollout: h.ID, Detail: detail,
	}
}

func count(p *api.RolloutProgress, state string) {
	p.Total++
	switch state {
	case api.NodePending:
		p.Pending++
	case api.NodeQueued:
		p.Waiting++
	case api.NodeUpdating:
		p.Updating++
	case api.NodeUpdated:
		p.Updated++
	case api.NodeBroken:
		p.Failed++
	case api.NodeSkipped:
		p.Skipped++
	case api.NodeAborted:
		p.Aborted++
	}
}
