package web

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/internal/shellword"
)

// why is a verdict as a page shows it.
type why struct {
	Heading  string
	Summary  string
	MayGo    bool
	Blockers []api.Blocker
	Earliest time.Time // as far as a clock decides
	Estimate time.Time // of a node that wants to go
	Basis    string    // that the estimate rests on
	CLI      string    // the command that says the same
	Passes   []pass
	Standing *standing // of a node that may not go, and of which nothing is wanted
}

// pass is a condition that holds.
type pass struct{ What, Why, Kind string }

// groupData is the page of one group.
type groupData struct {
	withEvents
	Group    api.Group
	Why      why
	Lanes    [][]stay
	Strip    strip
	Calendar *calendar
	Turns    map[string]time.Time // of the first who wait
	Basis    string               // of the turns
	Drifted  int                  // of its nodes
}

// groupRows is how many of those who are out the page of a group lists, and half as
// many of those who wait.
const groupRows = 50

// OldestHolds are the first of those who are out.
func (d groupData) OldestHolds() []api.Hold {
	return d.Group.Holds[:min(len(d.Group.Holds), groupRows)]
}

// FirstInQueue are the first of those who wait.
func (d groupData) FirstInQueue() []api.Waiter {
	return d.Group.Queue[:min(len(d.Group.Queue), groupRows/2)]
}

// staysRead is how many events of holds the history of a group is read from.
const staysRead = 5000

func loadGroup(ctx context.Context, s *server, f *Frame, name string, q url.Values) error {
	g, err := s.backend.Group(ctx, name)
	if err != nil {
		return err
	}
	ex, err := s.backend.Explain(ctx, name)
	if err != nil {
		return err
	}
	d := groupData{Group: g, Why: why{Heading: "Why nothing moves", Summary: ex.Summary, CLI: "lockkeeper explain --group " + shellword.Word(name)}}
	for _, e := range ex.Groups {
		if e.Group == name {
			d.Why.Summary, d.Why.Blockers, d.Why.Earliest = e.Summary, e.Blockers, e.Earliest
		}
	}
	if g.Status.Held > g.Status.Stuck {
		d.Why.Heading = "Why nobody else goes"
	}
	d.Why.MayGo = len(d.Why.Blockers) == 0
	if d.Why.MayGo {
		d.Why.Heading = "As it stands"
	}
	events, err := s.backend.Events(ctx, api.EventQuery{Group: name, Kind: "hold", Last: true, Limit: staysRead})
	if err != nil {
		return err
	}
	now := s.opts.Now()
	stays := staysOf(events.Events, g.Holds)
	var turns []waiterTurn
	turns, d.Basis = turnsOf(g.Queue, func(node string) (time.Time, string) {
		v, err := s.backend.ExplainNode(ctx, node)
		if err != nil {
			return time.Time{}, "" // it does not wait any more
		}
		return v.Estimate, v.EstimateBasis
	})
	d.Turns = map[string]time.Time{}
	for _, t := range turns {
		d.Turns[t.Node] = t.At
	}
	d.Strip = newStrip(name, q.Get("span"), stays, turns, g.Status.Slots, now)
	d.Lanes = lanes(stays)
	d.Calendar = newCalendar(g, q.Get("zone"), now)
	if f.Status.Figures.Drifted > 0 { // seldom: the nodes are looked through then alone
		nodes, err := s.backend.AllNodes(ctx)
		if err != nil {
			return err
		}
		for i := range nodes {
			if nodes[i].Group == name && nodes[i].Drift != nil {
				d.Drifted++
			}
		}
	}
	d.withEvents, err = s.latest(ctx, api.EventQuery{Group: name})
	f.Data = d
	return err
}

// nodeData is the page of one node.
type nodeData struct {
	withEvents
	Node    api.Node
	Why     why
	Place   int
	Of      int // how many wait
	Phases  []phaseStep
	Since   time.Time  // that it is in its phase
	History []pastStay // newest first
	Usual   string     // the median of those that came back
	Priority
}

// Priority of a node that waits.
type Priority struct {
	Waits bool
	Value int
}

// pastStay is one time out of service, drawn on the scale of the longest.
type pastStay struct {
	stay
	Width string
}

// phaseStep is one step of an update; Now is where the node stands.
type phaseStep struct {
	Look      look
	Done, Now bool
}

var updatePath = []api.Phase{api.PhaseIdle, api.PhaseWaiting, api.PhaseHolding, api.PhaseDraining,
	api.PhaseApplying, api.PhaseRebooting, api.PhaseVerifying, api.PhaseReleasing}

func loadNode(ctx context.Context, s *server, f *Frame, id string, _ url.Values) error {
	n, err := s.backend.Node(ctx, id)
	if err != nil {
		return err
	}
	v, err := s.backend.ExplainNode(ctx, id)
	if err != nil {
		return err
	}
	d := nodeData{Node: n, Place: v.Place, Of: v.Waiting, Since: n.ChangedAt,
		Why: why{Heading: "Why not now", Summary: v.Summary, MayGo: v.MayGo, Blockers: v.Blockers,
			Earliest: v.Earliest, Estimate: v.Estimate, Basis: v.EstimateBasis, CLI: "lockkeeper explain " + shellword.Argument(id)}}
	if v.MayGo {
		d.Why.Heading = "As it stands"
	}
	if n.Group != "" {
		g, err := s.backend.Group(ctx, n.Group)
		if err != nil {
			return err
		}
		d.Why.Passes = passes(g, v, s.opts.Now())
		for _, w := range g.Queue {
			if w.Node == id {
				d.Priority = Priority{true, w.Priority}
				d.Since = w.Since // its report is newer: each place that it gains renews it
			}
		}
	}
	if !v.MayGo && v.Wanted == nil && v.Hold == nil && v.Place == 0 && !n.Report.NeedsReboot {
		if d.Why.Standing, err = s.standing(ctx, f.Status.Rollouts, id); err != nil {
			return err
		}
	}
	d.Phases = phaseSteps(n.Report.Phase)
	if err := s.history(ctx, &d); err != nil {
		return err
	}
	list, err := s.backend.Events(ctx, api.EventQuery{Node: id, Last: true, Limit: journalRows})
	slices.Reverse(list.Events)
	d.withEvents = withEvents{list.Events}
	f.Data = d
	return err
}

const (
	journalRows = 25  // of a node's own events
	historyRows = 10  // of its times out of service
	historyRead = 500 // events of its holds that are read for that
)

// history is when the node was out of service before.
func (s *server) history(ctx context.Context, d *nodeData) error {
	list, err := s.backend.Events(ctx, api.EventQuery{Node: d.Node.ID, Kind: "hold", Last: true, Limit: historyRead})
	if err != nil {
		return err
	}
	stays := staysOf(list.Events, nil)
	if m := usual(stays); m > 0 {
		d.Usual = ageText(m)
	}
	longest := time.Duration(1)
	for _, past := range slices.Backward(stays) {
		if len(d.History) < historyRows {
			d.History = append(d.History, pastStay{stay: past})
			longest = max(longest, past.took(past.To))
		}
	}
	for i := range d.History {
		past := &d.History[i]
		past.Width = percentText(max(1, 100*float64(past.took(past.To))/float64(longest)))
	}
	return nil
}

// passes says of the conditions that do not keep a node why they do not.
func passes(g api.Group, v api.Verdict, now time.Time) []pass {
	blocked := map[api.Kind]bool{}
	for _, b := range v.Blockers {
		blocked[b.Kind] = true
	}
	var out []pass
	add := func(kind api.Kind, what, why string) {
		if !blocked[kind] {
			out = append(out, pass{what, why, string(kind)})
		}
	}
	st := g.Status
	if st.Held < st.Slots {
		add(api.Full, "A slot is free", fmt.Sprintf("%d of %d slots are held", st.Held, st.Slots))
	}
	if v.Place <= 1 {
		add(api.Queue, "Nobody is ahead", plural(st.Waiting, "node waits", "nodes wait")+" in the group")
	}
	if st.Frozen == nil {
		add(api.Frozen, "Not frozen", "neither the group nor the fleet")
	}
	if st.Window != nil && st.Window.Open {
		add(api.Window, "A window is open", "until "+st.Window.Until.UTC().Format("2 Jan 15:04 UTC"))
	} else if st.Window == nil {
		add(api.Window, "No window limits it", "the group may start at any time")
	}
	if st.Blackout == nil {
		why := "none is planned"
		for _, b := range g.Spec.Blackouts {
			if b.Start.After(now) {
				why = "next: " + b.Name + ", " + b.Start.UTC().Format("2 Jan 15:04 UTC")
				break
			}
		}
		add(api.Blackout, "No blackout", why)
	}
	if g.Spec.GrantInterval != "" && st.NextGrant.IsZero() {
		add(api.Interval, "The interval is over", spanText(g.Spec.GrantInterval)+" between two starts")
	}
	if len(g.Spec.Limits) > 0 {
		var limits []string
		for _, l := range g.Spec.Limits {
			limits = append(limits, fmt.Sprintf("at most %s per %s", l.Max, l.By))
		}
		add(api.LimitReached, "Its labels leave room", strings.Join(limits, ", "))
	}
	return out
}

// phaseSteps is empty for a node that is on no path: it failed, or speaks
// FleetLock and reports nothing.
func phaseSteps(at api.Phase) []phaseStep {
	var steps []phaseStep
	found := false
	for _, p := range updatePath {
		steps = append(steps, phaseStep{Look: known(phaseLooks, p), Done: !found && p != at, Now: p == at})
		found = found || p == at
	}
	if !found {
		return nil
	}
	return steps
}

// rolloutsData is the list of rollouts.
type rolloutsData struct {
	Active, Ended []api.Rollout
	More          int // ended ones left out
}

// rolloutRowsOf is a table of rollouts.
type rolloutRowsOf struct {
	Day   time.Time
	List  []api.Rollout
	Label string
}

// endedRows bounds the list of rollouts that have ended.
const endedRows = 50

func loadRollouts(ctx context.Context, s *server, f *Frame, _ string, _ url.Values) error {
	list, err := s.backend.Rollouts(ctx)
	var d rolloutsData
	for _, r := range list {
		switch {
		case r.State.Active():
			d.Active = append(d.Active, r)
		case len(d.Ended) < endedRows:
			d.Ended = append(d.Ended, r)
		default:
			d.More++
		}
	}
	f.Data = d
	return err
}

// rolloutData is the page of one rollout.
type rolloutData struct {
	withEvents
	Rollout api.Rollout
	Waves   []waveView
	Legend  []cellCount
	Ahead   []step
	Nodes   []api.RolloutNode // those that somebody would look for first
	More    int               // nodes left out
}

// cellCount is how many nodes are in a state.
type cellCount struct {
	State, Word string
	Count       int
}

func loadRollout(ctx context.Context, s *server, f *Frame, id string, _ url.Values) error {
	r, err := s.backend.Rollout(ctx, id)
	if err != nil {
		return err
	}
	d := rolloutData{Rollout: r, Waves: wavesOf(r, f.Day), Ahead: stepsAhead(r)}
	p := r.Progress
	for i, n := range []int{p.Updated, p.Updating, p.Waiting, p.Failed, p.Pending, p.Skipped, p.Aborted} {
		if n == 0 && (cellStates[i] == api.NodeSkipped || cellStates[i] == api.NodeAborted) {
			continue
		}
		d.Legend = append(d.Legend, cellCount{cellStates[i], strings.ToLower(known(rolloutNodeLooks, cellStates[i]).Word), n})
	}
	d.Nodes = rolloutRowsFirst(r.Nodes, f.Status.Groups)
	d.More = len(r.Nodes) - len(d.Nodes)
	d.withEvents, err = s.latest(ctx, api.EventQuery{Rollout: id})
	for i := range d.Events {
		d.Events[i].Rollout = "" // on its own page it need not be named
	}
	f.Data = d
	return err
}

// bundlesData is the list of bundles.
type bundlesData struct{ Bundles []api.Bundle }

func loadBundles(ctx context.Context, s *server, f *Frame, _ string, _ url.Values) error {
	list, err := s.backend.Bundles(ctx)
	f.Data = bundlesData{list}
	return err
}

// clusterData is the page of the coordinators; the status has what is live of it.
type clusterData struct {
	withEvents
	// Snapshots and Tokens are shown to those who may see them, nil to others.
	Snapshots *api.SnapshotList
	Tokens    []api.Token
}

func loadCluster(ctx context.Context, s *server, f *Frame, _ string, _ url.Values) error {
	var d clusterData
	who := auth.From(ctx)
	if who.Allows(api.RoleOperator) {
		if list, err := s.backend.Snapshots(ctx); err == nil {
			d.Snapshots = &list
		}
	}
	if who.Allows(api.RoleAdmin) {
		tokens, err := s.backend.Tokens(ctx)
		if err != nil {
			return err
		}
		d.Tokens = tokens
	}
	var err error
	d.withEvents, err = s.latest(ctx, api.EventQuery{Kind: "cluster,token,snapshot"})
	f.Data = d
	return err
}
